//! What a client can do to others with legal requests, one file an attack: each costs its own
//! request, and others are answered.

mod embed_and_leave;
mod filter_bomb;
mod guests;
mod host_check;
mod long_word;
mod many_connections;
mod stalled_uploads;
