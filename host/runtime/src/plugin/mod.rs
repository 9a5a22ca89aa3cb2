//! A plugin's file: a component that carries its manifest, and what follows from the manifest.
//!
//! [`section`] is where the manifest is in the file, and [`manifest`] what it says. [`settings`] checks
//! the settings of a deployment against it, and [`resolve`] what it asks for against what the
//! operator allows. [`expected`] compares an answer with what one of its cases expects.
//!
//! Out of scope: compiling and running a plugin ([`crate::engine`], [`crate::pipeline`],
//! [`crate::policy`]), and where its file is stored.

pub mod declared;
pub mod expected;
pub mod manifest;
pub mod resolve;
pub mod section;
pub mod settings;
