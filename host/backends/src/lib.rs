//! What Weir's host owns on behalf of its guests: the SQL truth, vectors and keywords
//! derived from it, and the embedding of texts.
//!
//! - [`sql`]: documents, collections, positions and the log of changes (SQLite).
//! - [`embedding`]: texts to vectors (ONNX Runtime), and the splitting of texts into chunks.
//! - [`vector`]: dense and keyword search over chunks, filters, fusion.
//! - [`catch_up`]: carries the truth's changes into the derived stores, in order.
//!
//! Left out on purpose: WebAssembly, HTTP, and the cache of answers.

pub mod catch_up;
pub mod embedding;
pub mod name;
pub mod sql;
pub mod vector;

pub use weir_cache::Position;
