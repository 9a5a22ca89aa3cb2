//! What the experiments share: a server with documents ([`stage`], [`world`]), what clients send
//! ([`texts`], [`bombs`], [`target`]) and when ([`schedule`], [`load`], [`warm`], by [`clients`] that cost
//! little), how requests ended ([`outcome`]), how long they took ([`times`]) and may take ([`bound`]), and what the server's process has ([`watch`]) and keeps ([`afterwards`]).

pub(crate) mod afterwards;
pub(crate) mod bombs;
pub(crate) mod bound;
pub(crate) mod clients;
pub(crate) mod load;
pub(crate) mod outcome;
pub(crate) mod schedule;
pub(crate) mod stage;
pub(crate) mod target;
pub(crate) mod texts;
pub(crate) mod threads;
pub(crate) mod times;
pub(crate) mod warm;
pub(crate) mod watch;
pub(crate) mod world;
