//! What the tests use: [`Server`] is the real binary with its own configuration and folder,
//! [`Client`] and [`Raw`] talk to it, and [`weir`] runs the other commands.
//!
//! Nothing sleeps for a fixed time: [`eventually`] waits for a condition, and fails the test
//! at its deadline.

mod client;
mod config;
mod environment;
mod raw;
mod server;
mod tls;
mod wait;

pub(crate) use client::{Answer, Client, document};
pub(crate) use config::{Config, guest, in_model, outside, plugin};
pub(crate) use environment::{binary, components, model, tokenizer};
pub(crate) use raw::{Raw, connect_from};
pub(crate) use server::{Ended, Program, Server, weir};
pub(crate) use tls::{Version, secure};
pub(crate) use wait::eventually;
