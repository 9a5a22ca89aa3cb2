//! What the experiments share: a server with documents ([`stage`], [`world`]), what clients send
//! ([`texts`], [`bombs`]) and when ([`schedule`]), how requests ended ([`outcome`]), and what the server's process
//! has open ([`watch`]) and keeps ([`afterwards`]).

pub(crate) mod afterwards;
pub(crate) mod bombs;
pub(crate) mod outcome;
pub(crate) mod schedule;
pub(crate) mod stage;
pub(crate) mod target;
pub(crate) mod texts;
pub(crate) mod threads;
pub(crate) mod times;
pub(crate) mod watch;
pub(crate) mod world;
