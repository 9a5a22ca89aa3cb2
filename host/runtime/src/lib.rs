//! Weir's runtime: pipelines and cache policies as WebAssembly components, what they may
//! access, and how a request gets its answer.
//!
//! From top to bottom: [`answers`] finds an answer in the cache or runs the pipeline;
//! [`deploy`] says which pipeline and policy serve a name; [`trial`] runs a pipeline before it is one of
//! them, over an empty tenant; [`plugin`] reads what a plugin's file says of
//! it, and what it gets; [`pipeline`] runs components on the
//! threads of [`engine`] with the host functions of [`capability`]; [`policy`] computes keys, and [`shadow`] says what
//! another one would have done; `invalidated` says whether an administrator has ended an answer;
//! [`tenant`] owns the stores; [`request`] is what keys are computed from and what guests read,
//! and [`wishes`] what clients may ask of the cache. [`logs`] keeps what pipelines have logged.
//! [`diagnose`] says what is wrong with TOML.
//! Dependencies between modules run one way, without cycles.
//!
//! Out of scope: HTTP, the configuration file, and opening stores.

pub mod answers;
pub mod capability;
pub mod deploy;
pub mod diagnose;
pub mod engine;
mod invalidated;
pub mod logs;
pub mod pipeline;
pub mod plugin;
pub mod policy;
pub mod request;
pub mod settings;
pub mod shadow;
pub mod tenant;
pub mod trial;
pub mod wishes;
