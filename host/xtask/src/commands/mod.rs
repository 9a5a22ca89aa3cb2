//! One module per command, with its arguments, which `--help` documents, and `run`.

pub(crate) mod bench;
pub(crate) mod ci;
pub(crate) mod compare;
pub(crate) mod demo;
pub(crate) mod dist;
pub(crate) mod eval;
pub(crate) mod replay;
pub(crate) mod setup;
pub(crate) mod soak;
pub(crate) mod structure;
pub(crate) mod test;
