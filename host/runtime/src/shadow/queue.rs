//! A bounded queue that nobody waits for: what finds no room in it is not even made.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

const KIB: usize = 1 << 10;

/// Where something is put into the queue.
pub(super) struct Inlet<T> {
    places: mpsc::Sender<Charged<T>>,
    /// In KiB.
    memory: Arc<Semaphore>,
}

/// What is in the queue, with the memory that it takes.
pub(super) struct Charged<T> {
    pub(super) value: T,
    _memory: OwnedSemaphorePermit,
}

/// A queue for so many values, which take so many KiB together.
pub(super) fn queue<T>(
    max_values: usize,
    max_kib: usize,
) -> (Inlet<T>, mpsc::Receiver<Charged<T>>) {
    let (places, outlet) = mpsc::channel(max_values);
    (Inlet { places, memory: Arc::new(Semaphore::new(max_kib)) }, outlet)
}

impl<T> Inlet<T> {
    /// Puts in what `make` makes and takes so many bytes. Returns whether there was room.
    pub(super) fn offer(&self, bytes: usize, make: impl FnOnce() -> T) -> bool {
        let bytes = bytes + size_of::<Charged<T>>();
        let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(kib);
        let (Ok(place), Ok(memory)) = (self.places.try_reserve(), memory) else { return false };
        place.send(Charged { value: make(), _memory: memory });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(inlet: &Inlet<u32>, bytes: usize) -> bool {
        !inlet.offer(bytes, || unreachable!("nothing is made without room"))
    }

    #[test]
    fn what_finds_no_place_is_not_made() {
        let (inlet, mut outlet) = queue(2, 1_000);
        assert!(inlet.offer(10, || 1) && inlet.offer(10, || 2));
        assert!(refused(&inlet, 10));
        assert_eq!(outlet.try_recv().ok().map(|one| one.value), Some(1));
        assert!(inlet.offer(10, || 3));
        drop(outlet);
        assert!(refused(&inlet, 10), "nobody takes it any more");
    }

    #[test]
    fn memory_is_taken_until_a_value_is_dropped() {
        let (inlet, mut outlet) = queue(100, 10);
        assert!(refused(&inlet, 10 << 10), "the queue's own bytes count");
        assert!(inlet.offer(6 << 10, || 1));
        assert!(refused(&inlet, 6 << 10));
        let one = outlet.try_recv().ok();
        assert!(refused(&inlet, 6 << 10), "it is still looked at");
        drop(one);
        assert!(inlet.offer(6 << 10, || 2));
    }
}
