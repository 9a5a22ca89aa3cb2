//! What a client can do to others with legal requests, one file an attack: each costs its own
//! request, and others are answered.

mod filter_bomb;
mod guests;
