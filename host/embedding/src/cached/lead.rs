//! The texts that one call leads: for itself, and for the calls that follow.
//!
//! One task looks all of them up in the shared tier, at once, has the rest computed, and gives each
//! answer to the call and to the followers of that text as it comes. The task does not end with its
//! call: texts that others follow are computed for as long as they do. Out of scope: which texts a call
//! leads.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::select;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use weir_cache::CacheKey;
use weir_cache::single_flight::Leader;

use super::shared::Shared;
use super::tiers::Tier;
use crate::{Answer, EmbedError, Embedded, Origin, Pending, Submit};

pub(super) type FlightKey = (Origin, CacheKey);

/// Where the vectors of a call are kept.
pub(super) struct Kept {
    pub(super) memory: Tier,
    pub(super) shared: Option<Shared>,
}

impl Kept {
    /// Keeps what was computed, if it is a vector.
    fn keep(&self, key: CacheKey, answer: &Answer) {
        let Ok(embedded) = answer else { return };
        self.memory.insert(key, embedded.clone());
        if let Some(shared) = &self.shared {
            shared.put(&key, embedded.clone());
        }
    }
}

/// A text that a call leads.
pub(super) struct Led {
    /// Its index among the distinct texts of the call.
    pub(super) place: usize,
    pub(super) key: CacheKey,
    /// Leads those that follow. `None` once it has ended, and if too many texts are being computed.
    pub(super) leader: Option<Leader<FlightKey, Answer>>,
}

impl Led {
    /// Gives the answer to those that follow, and to the call if it is still there.
    fn answer(&mut self, answer: Answer, call: &UnboundedSender<Told>) {
        if let Some(leader) = self.leader.take() {
            leader.finish(answer.clone());
        }
        let place = self.place;
        let told = answer.map(|embedded| (place, embedded));
        let _ = call.send(told.map_err(|error| error.reindexed(|_| place)));
    }

    fn is_followed(&mut self) -> bool {
        self.leader = self.leader.take().and_then(Leader::if_followed);
        self.leader.is_some()
    }
}

/// What the call is told: the vector of a text, by its place, or what ends the call.
pub(super) type Told = Result<(usize, Embedded), EmbedError>;

/// Answers some of the distinct texts of a call: from the shared tier, and otherwise by computing them.
pub(super) async fn lead<E: Submit>(
    model: Arc<E>,
    origin: Origin,
    distinct: Vec<Arc<str>>,
    mut led: Vec<Led>,
    kept: Kept,
    call: UnboundedSender<Told>,
) {
    if let Some(shared) = &kept.shared {
        led = promote(led, shared, &kept.memory, &call).await;
    }
    let texts: Vec<_> = led.iter().map(|led| Arc::clone(&distinct[led.place])).collect();
    if texts.is_empty() {
        return;
    }
    let mut pending = match model.submit(&texts, &origin) {
        Ok(pending) => pending,
        // With the leaders dropped, their followers try for themselves.
        Err(error) => {
            let place = |index| led.get(index).map_or(index, |led: &Led| led.place);
            let _ = call.send(Err(error.reindexed(place)));
            return;
        }
    };
    // The queue has the texts that it needs, and the model ends when its owner drops it.
    drop((distinct, texts, model));
    loop {
        let answered = select! {
            biased;
            answered = pending.next() => answered,
            () = call.closed() => return follow_up(pending, led, kept).await,
        };
        let Some((index, answer)) = answered else { return };
        kept.keep(led[index].key, &answer);
        led[index].answer(answer, &call);
    }
}

/// Answers the texts that the shared tier has. Returns the others, as far as somebody waits for them.
async fn promote(
    led: Vec<Led>,
    shared: &Shared,
    memory: &Tier,
    call: &UnboundedSender<Told>,
) -> Vec<Led> {
    let keys: Vec<_> = led.iter().map(|led| led.key).collect();
    let found = shared.look_up(&keys).await;
    let mut rest = Vec::with_capacity(led.len());
    for (mut led, found) in led.into_iter().zip(found) {
        match found {
            Some(embedded) => {
                memory.insert(led.key, embedded.clone());
                led.answer(Ok(embedded), call);
            }
            None => rest.push(led),
        }
    }
    if call.is_closed() {
        rest.retain_mut(Led::is_followed);
    }
    rest
}

/// After the call has left: cancels the texts that nobody follows, and computes the others for as long
/// as anybody does.
async fn follow_up(mut pending: Box<dyn Pending>, led: Vec<Led>, kept: Kept) {
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
                    kept.keep(key, &answer);
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
