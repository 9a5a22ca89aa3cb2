//! The texts that one call computes: for itself, and for the calls that follow.
//!
//! One task computes all of them, and gives each answer to the call and to the followers of that
//! text as it comes. The task does not end with its call: texts that others follow are computed for
//! as long as they do. Out of scope: which texts a call computes.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::select;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use weir_cache::CacheKey;
use weir_cache::single_flight::Leader;

use super::tiers::Tier;
use crate::{Answer, EmbedError, Embedded, Origin, Pending, Submit};

pub(super) type FlightKey = (Origin, CacheKey);

/// A text that a call computes.
pub(super) struct Led {
    /// Its index among the distinct texts of the call.
    pub(super) place: usize,
    pub(super) key: CacheKey,
    /// Leads those that follow. `None` once it has ended, and if too many texts are being computed.
    pub(super) leader: Option<Leader<FlightKey, Answer>>,
}

/// What the call is told: the vector of a text, by its place, or what ends the call.
pub(super) type Told = Result<(usize, Embedded), EmbedError>;

/// Computes the texts of a call, in the same order as `led`.
pub(super) async fn lead<E: Submit>(
    model: Arc<E>,
    origin: Origin,
    texts: Vec<Arc<str>>,
    mut led: Vec<Led>,
    tier: Tier,
    call: UnboundedSender<Told>,
) {
    let mut pending = match model.submit(&texts, &origin) {
        Ok(pending) => pending,
        // With the leaders dropped, their followers try for themselves.
        Err(error) => {
            let place = |index| led.get(index).map_or(index, |led: &Led| led.place);
            let _ = call.send(Err(error.reindexed(place)));
            return;
        }
    };
    // The queue has them, and the model ends when its owner drops it.
    drop((texts, model));
    loop {
        let answered = select! {
            biased;
            answered = pending.next() => answered,
            () = call.closed() => return follow_up(pending, led, tier).await,
        };
        let Some((index, answer)) = answered else { return };
        let Led { place, key, leader } = &mut led[index];
        keep(&tier, *key, &answer);
        if let Some(leader) = leader.take() {
            leader.finish(answer.clone());
        }
        let told = answer.map(|embedded| (*place, embedded));
        // The call may have left.
        let _ = call.send(told.map_err(|error| error.reindexed(|_| *place)));
    }
}

/// After the call has left: cancels the texts that nobody follows, and computes the others for as long
/// as anybody does.
async fn follow_up(mut pending: Box<dyn Pending>, led: Vec<Led>, tier: Tier) {
    let (mut answers, mut followed) = (HashMap::new(), FuturesUnordered::new());
    let mut left = Vec::new();
    for (index, Led { key, leader, .. }) in led.into_iter().enumerate() {
        match leader.and_then(Leader::if_followed) {
            Some(leader) => {
                let (answer, answered) = oneshot::channel();
                answers.insert(index, (key, answer));
                followed.push(async move {
                    finish(leader, answered).await;
                    index
                });
            }
            None => left.push(index),
        }
    }
    pending.cancel(&left);
    loop {
        select! {
            biased;
            Some((index, answer)) = pending.next() => {
                if let Some((key, followers)) = answers.remove(&index) {
                    keep(&tier, key, &answer);
                    let _ = followers.send(answer);
                }
            }
            Some(index) = followed.next() => {
                if answers.remove(&index).is_some() {
                    pending.cancel(&[index]);
                }
            }
            else => return,
        }
    }
}

/// Gives the answer to those that follow, if anybody still does when it comes.
async fn finish(leader: Leader<FlightKey, Answer>, answered: oneshot::Receiver<Answer>) {
    select! {
        biased;
        Ok(answer) = answered => leader.finish(answer),
        () = leader.unfollowed() => {}
    }
}

/// Stores the vector, if there is one.
fn keep(tier: &Tier, key: CacheKey, answer: &Answer) {
    if let Ok(embedded) = answer {
        tier.insert(key, embedded.clone());
    }
}
