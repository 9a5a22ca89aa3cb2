//! One file a command: its arguments, documented for `--help`, and `run`.

pub(crate) mod ci;
pub(crate) mod setup;
pub(crate) mod test;
