//! What the experiments share: a server with documents ([`stage`], [`world`]), what clients send
//! ([`texts`], [`bombs`], [`target`]) and when ([`load`], [`warm`]), who deploys plugins meanwhile
//! ([`administrator`]), how long requests may take ([`bound`]), and what the server's process keeps ([`afterwards`]).
//! Load itself is in [`crate::traffic`].

pub(crate) mod administrator;
pub(crate) mod afterwards;
pub(crate) mod bombs;
pub(crate) mod bound;
pub(crate) mod load;
pub(crate) mod stage;
pub(crate) mod target;
pub(crate) mod texts;
pub(crate) mod warm;
pub(crate) mod world;
