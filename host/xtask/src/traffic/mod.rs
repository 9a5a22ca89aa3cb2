//! What load on a server is made of: connections that cost little ([`connection`], [`clients`]), when requests
//! are due ([`schedule`]), how they ended ([`outcome`], [`cache_status`]), how long they took ([`times`]), and
//! threads for it ([`threads`]). What is asked is said by the commands that use it.

pub(crate) mod cache_status;
pub(crate) mod clients;
pub(crate) mod connection;
pub(crate) mod outcome;
pub(crate) mod schedule;
pub(crate) mod threads;
pub(crate) mod times;
