//! A plugin's file: a component that carries its manifest. [`section`] is where the manifest is in the file.
//!
//! Out of scope: compiling and running a plugin ([`crate::engine`], [`crate::pipeline`],
//! [`crate::policy`]), and where its file is stored.

pub mod section;
