//! The code blocks of Weir's documents: reads them from Markdown, and assembles the crates that a
//! document builds step by step.
//!
//! `cargo xtask test` builds these crates, and the tests run everything else. Out of scope: what
//! either of them does with a block.
//!
//! A block's info string is its language, followed by attributes:
//! - `file=CRATE/PATH`: the block is this file of a crate that the document builds.
//! - `same-as=PATH`: the block is the code of this file in the repository.

mod block;
mod package;

pub use self::block::{Block, UnknownAttribute, blocks};
pub use self::package::{IncompletePackage, Package, packages};
