//! Who is served next: lanes by their weights and, within a lane, callers in turn.
//!
//! This is start-time fair queueing. A lane, and a caller within its lane, has a *time*, which
//! advances with what its texts cost: the slower, the larger its weight. Whoever has the earliest
//! time is served. One that comes back after it had nothing to do starts at the time of the one
//! that is being served, so nobody saves up credit by being idle; and one that was just served
//! stays behind the others, so nobody gets more by coming back often.
//!
//! Out of scope: how many texts may wait (`room`), and what is done with them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Lane, Origin};

/// What a unit of cost advances the time of a lane of weight 1 by. A multiple of every weight.
const SCALE: u64 = 4;

/// A text in the queue: whose it is, and its number among all texts.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) number: u64,
}

/// The answer to an offer.
pub(super) enum Offer {
    /// The text is taken, at this cost. `last` ends the offers.
    Taken { cost: u64, last: bool },
    /// The text keeps its place.
    Left,
}

/// Items in an order that is fair to lanes and callers.
pub(super) struct Fair<T> {
    lanes: [FairLane<T>; Lane::ALL.len()],
    /// The time of the lane that was served last.
    now: u64,
}

struct FairLane<T> {
    time: u64,
    /// The time of the caller that was served last.
    now: u64,
    items: usize,
    callers: HashMap<Arc<str>, FairCaller<T>>,
}

struct FairCaller<T> {
    time: u64,
    /// By number, so that the oldest is first.
    items: BTreeMap<u64, T>,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self { lanes: Default::default(), now: 0 }
    }
}

impl<T> Default for FairLane<T> {
    fn default() -> Self {
        Self { time: 0, now: 0, items: 0, callers: HashMap::new() }
    }
}

impl<T> Default for FairCaller<T> {
    fn default() -> Self {
        Self { time: 0, items: BTreeMap::new() }
    }
}

impl<T> Fair<T> {
    /// Adds items of one caller, each with its number among all.
    pub(super) fn push(&mut self, origin: &Origin, items: impl IntoIterator<Item = (u64, T)>) {
        let lane = &mut self.lanes[origin.lane.index()];
        if lane.items == 0 {
            lane.time = lane.time.max(self.now);
        }
        let now = lane.now;
        let caller = lane.callers.entry(Arc::clone(&origin.caller)).or_default();
        if caller.items.is_empty() {
            caller.time = caller.time.max(now);
        }
        let before = caller.items.len();
        caller.items.extend(items);
        lane.items += caller.items.len() - before;
    }

    /// Takes the caller's items with these numbers out of their turn, those that are still there.
    pub(super) fn remove(&mut self, origin: &Origin, numbers: &[u64]) -> Vec<T> {
        let lane = &mut self.lanes[origin.lane.index()];
        let Some(caller) = lane.callers.get_mut(&origin.caller) else { return Vec::new() };
        let removed: Vec<_> =
            numbers.iter().filter_map(|number| caller.items.remove(number)).collect();
        lane.items -= removed.len();
        removed
    }

    /// The items of a lane.
    pub(super) fn len(&self, lane: Lane) -> usize {
        self.lanes[lane.index()].items
    }

    /// The lane whose turn it is, if anything waits.
    pub(super) fn next_lane(&self) -> Option<Lane> {
        let waiting = Lane::ALL.into_iter().filter(|&lane| self.len(lane) > 0);
        waiting.min_by_key(|lane| self.lanes[lane.index()].time)
    }

    /// Offers the items of `lane`, those of its callers in turn and a caller's oldest first. Does
    /// not charge for them: the true cost may be known only when all are taken.
    pub(super) fn take(&mut self, lane: Lane, offer: impl FnMut(&T) -> Offer) -> Vec<(Place, T)> {
        let fair = &mut self.lanes[lane.index()];
        self.now = self.now.max(fair.time);
        let taken = fair.take(offer).into_iter();
        taken
            .map(|(caller, number, item)| {
                (Place { origin: Origin::of(lane, caller), number }, item)
            })
            .collect()
    }

    /// Advances the times of a lane and a caller by what an item has cost.
    pub(super) fn charge(&mut self, origin: &Origin, cost: u64) {
        let lane = &mut self.lanes[origin.lane.index()];
        lane.time += cost * (SCALE / origin.lane.weight());
        if let Some(caller) = lane.callers.get_mut(&origin.caller) {
            caller.time += cost;
        }
    }

    /// Replaces what was charged by what the item has really cost.
    pub(super) fn settle(&mut self, origin: &Origin, charged: u64, cost: u64) {
        let lane = &mut self.lanes[origin.lane.index()];
        let of_lane = SCALE / origin.lane.weight();
        lane.time = (lane.time + cost * of_lane).saturating_sub(charged * of_lane);
        if let Some(caller) = lane.callers.get_mut(&origin.caller) {
            caller.time = (caller.time + cost).saturating_sub(charged);
        }
    }

    pub(super) fn clear(&mut self) {
        self.lanes = Default::default();
    }
}

/// How far the items of a caller have been offered.
struct Cursor {
    time: u64,
    /// The number of the next item to offer, or an earlier one.
    from: u64,
    caller: Arc<str>,
}

impl<T> FairLane<T> {
    fn take(&mut self, mut offer: impl FnMut(&T) -> Offer) -> Vec<(Arc<str>, u64, T)> {
        let now = self.now;
        // A caller that has nothing is forgotten when its time no longer says anything.
        self.callers.retain(|_, caller| !caller.items.is_empty() || caller.time > now);
        let waiting = self.callers.iter().filter_map(|(name, caller)| {
            let (&from, _) = caller.items.first_key_value()?;
            Some(Cursor { time: caller.time, from, caller: Arc::clone(name) })
        });
        let mut cursors: Vec<_> = waiting.collect();
        let mut taken = Vec::new();
        while let Some(next) = earliest(&cursors) {
            let cursor = &mut cursors[next];
            if taken.is_empty() {
                self.now = self.now.max(cursor.time);
            }
            let found = self.callers.get_mut(&cursor.caller).and_then(|caller| {
                let mut offered = caller.items.range(cursor.from..);
                let (number, cost, last) =
                    offered.find_map(|(&number, item)| match offer(item) {
                        Offer::Taken { cost, last } => Some((number, cost, last)),
                        Offer::Left => None,
                    })?;
                Some((number, cost, last, caller.items.remove(&number)?))
            });
            let Some((number, cost, last, item)) = found else {
                cursors.swap_remove(next);
                continue;
            };
            self.items -= 1;
            cursor.time += cost;
            cursor.from = number + 1;
            taken.push((Arc::clone(&cursor.caller), number, item));
            if last {
                break;
            }
        }
        taken
    }
}

/// The cursor with the earliest time; of several, that with the oldest item.
fn earliest(cursors: &[Cursor]) -> Option<usize> {
    let cursors = cursors.iter().enumerate();
    cursors.min_by_key(|(_, cursor)| (cursor.time, cursor.from)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Texts {
        fair: Fair<u64>,
        number: u64,
    }

    impl Texts {
        fn new() -> Self {
            Self { fair: Fair::default(), number: 0 }
        }

        /// Adds texts of this cost.
        fn push(&mut self, origin: &Origin, cost: u64, texts: usize) {
            let first = self.number + 1;
            self.number += texts as u64;
            self.fair.push(origin, (first..=self.number).map(|number| (number, cost)));
        }

        /// Serves one text, and returns whose it was and what it cost.
        fn serve(&mut self) -> Option<(Origin, u64)> {
            let lane = self.fair.next_lane()?;
            let taken = self.fair.take(lane, |&cost| Offer::Taken { cost, last: true });
            let (place, cost) = taken.into_iter().next()?;
            self.fair.charge(&place.origin, cost);
            Some((place.origin, cost))
        }

        fn callers(&mut self, texts: usize) -> String {
            (0..texts)
                .map_while(|_| self.serve())
                .map(|(origin, _)| origin.caller.to_string())
                .collect()
        }
    }

    #[test]
    fn full_lanes_get_the_shares_of_their_weights_whatever_their_texts_cost() {
        for costs in [[1, 1, 1], [100, 3, 17], [3, 200, 50], [5, 1, 256]] {
            let mut texts = Texts::new();
            let origins = Lane::ALL.map(|lane| Origin::of(lane, "a".into()));
            let mut served = [0; Lane::ALL.len()];
            for (origin, cost) in origins.iter().zip(costs) {
                texts.push(origin, cost, 2);
            }
            while served.iter().sum::<u64>() < 70_000 {
                let Some((origin, cost)) = texts.serve() else { break };
                served[origin.lane.index()] += cost;
                // It is always full.
                texts.push(&origin, cost, 1);
            }
            let weights: u64 = Lane::ALL.iter().map(|lane| lane.weight()).sum();
            let total: u64 = served.iter().sum();
            for lane in Lane::ALL {
                let share = total * lane.weight() / weights;
                let found = served[lane.index()];
                // Within two of the most expensive texts.
                assert!(found.abs_diff(share) <= 512, "{costs:?} {lane:?}: {found} of {share}");
            }
        }
    }

    #[test]
    fn callers_of_a_lane_are_served_in_turn() {
        let [a, b, c] = ["a", "b", "c"].map(Origin::api);
        let mut texts = Texts::new();
        texts.push(&a, 5, 1_000);
        texts.push(&b, 5, 3);
        assert_eq!(texts.callers(4), "abab");
        // One that comes now is served within a round.
        texts.push(&c, 5, 1);
        assert_eq!(texts.callers(5), "cabaa");
        // Cheap texts are served more often.
        texts.push(&b, 1, 12);
        assert_eq!(texts.callers(14), "bbbbbabbbbbabb");
    }

    #[test]
    fn nobody_saves_up_credit_and_nobody_gains_by_coming_back_often() {
        let [a, b] = ["a", "b"].map(Origin::api);
        let mut texts = Texts::new();
        texts.push(&b, 1, 1);
        texts.push(&a, 1, 1_000);
        texts.callers(500);
        // "b" had nothing for a long time, and does not get all of the next turns.
        texts.push(&b, 1, 10);
        let next = texts.callers(10);
        assert_eq!(next.matches('b').count(), 5, "{next}");
        // It comes back each time that it was served, and gets no more than its turns.
        let mut served = String::new();
        let mut texts = Texts::new();
        texts.push(&a, 1, 1_000);
        texts.push(&b, 1, 1);
        for _ in 0..100 {
            let caller = texts.callers(1);
            if caller == "b" {
                texts.push(&b, 1, 1);
            }
            served += &caller;
        }
        assert_eq!(served.matches('a').count(), 50, "{served}");
        // The same between lanes: pipelines had nothing, and get 4 of 6 from then on.
        let pipeline = Origin::pipeline("t", "p");
        texts.push(&pipeline, 1, 1_000);
        let next = texts.callers(60);
        assert!(next.matches("t/p").count().abs_diff(40) <= 1, "{next}");
        // One whose texts cost more is served less often.
        let mut texts = Texts::new();
        texts.push(&a, 1, 1_000);
        texts.push(&b, 10, 1);
        let (mut costs, mut is_there) = (0, true);
        for _ in 0..110 {
            let Some((origin, cost)) = texts.serve() else { break };
            if origin == b {
                (costs, is_there) = (costs + cost, false);
            } else if !is_there {
                // Not at once: what has nothing is not forgotten too early.
                texts.push(&b, 10, 1);
                is_there = true;
            }
        }
        assert!((90..=120).contains(&costs), "{costs} of 200");
    }

    #[test]
    fn a_removed_item_is_gone_and_others_keep_their_turn() {
        let mut texts = Texts::new();
        let [a, b] = ["a", "b"].map(Origin::catch_up);
        texts.push(&a, 1, 2);
        texts.push(&b, 1, 1);
        assert_eq!(texts.fair.remove(&a, &[1, 3]), [1]);
        assert_eq!(texts.fair.remove(&a, &[1]).len(), 0);
        assert_eq!(texts.fair.len(Lane::CatchUp), 2);
        assert_eq!(texts.callers(9), "ab");
        assert_eq!(texts.fair.next_lane(), None);
    }
}
