//! What a client can do to others with legal requests, one file an attack: each costs its own
//! request, and others are answered.

mod abandoned;
mod distinct_keys;
mod embed_and_leave;
mod every_slot;
mod filter_bomb;
mod guests;
mod host_check;
mod hostile_calls;
mod long_word;
mod many_connections;
mod modules;
mod policies;
mod rapid_reset;
mod slow_requests;
mod stalled_uploads;
mod uploads;
mod zero_window;

use std::cell::Cell;

use crate::harness::{Client, eventually};

/// The last byte of the attackers' address. The neighbours' is 1.
const ATTACKER: u8 = 2;

/// Runs `attack` to its end, and `honest` meanwhile: again and again, and at least once.
async fn while_attacked<T>(attack: impl Future<Output = T>, mut honest: impl AsyncFnMut()) -> T {
    let ended = Cell::new(false);
    let attack = async {
        let outcome = attack.await;
        ended.set(true);
        outcome
    };
    let neighbour = async {
        while !ended.get() {
            honest().await;
        }
    };
    let (outcome, ()) = futures::join!(attack, neighbour);
    outcome
}

/// Waits until the server has no connection but that of the neighbour who asks.
async fn connections_are_back(client: &Client) {
    eventually("the attackers' connections are closed", async || {
        (client.metric("weir_http_connections", &[]).await <= 1.0).then_some(())
    })
    .await;
}
