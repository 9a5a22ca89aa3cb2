//! How limited resources are divided, so that nobody can take more than a fair part of them:
//! [`shares`] divides permits and room among keys, such as each [`client`], [`turns`] divides time among
//! accounts, [`threads`] that compute serve accounts in turn and have the [`priority`] that is theirs, a
//! [`gate`] lets in as much as can be done without much having [`waited`], a [`rate`] limits what is taken a
//! second, [`rates`] what each of many takes, [`parts`] divides an amount once and for all, a [`guard`]
//! stands before a backend that can fail, and a [`charge`] keeps what somebody has been given for as long as it is needed.
//!
//! Out of scope: what is limited, and the error that its user gets. This crate knows neither
//! tenants nor pipelines.

pub mod charge;
pub mod client;
pub mod gate;
pub mod guard;
pub mod parts;
pub mod priority;
pub mod rate;
pub mod rates;
pub mod shares;
pub mod threads;
pub mod turns;
pub mod waited;
