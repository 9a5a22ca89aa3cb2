//! The texts of one call in the queue, and the way of their answers to it.
//!
//! One channel takes the answers of all texts of a call, in the order in which they come. A text
//! that is cancelled is marked first and then taken out of the queue, so that a session that is
//! reading it does not put it back. Out of scope: whose turn it is, which the queue decides.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use futures::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use weir_limits::waited::Waited;

use super::{Answer, EmbedError, Origin, Pending};

/// Takes texts out of where they wait.
pub(super) trait Abandon: Send + Sync + 'static {
    /// Drops texts that nobody waits for, by their numbers, unless they are being read or embedded.
    fn abandon(&self, origin: &Origin, numbers: &[u64]);
}

/// What the texts of a call have in common.
pub(super) struct Call {
    answers: UnboundedSender<(usize, Answer)>,
    cancelled: Arc<[AtomicBool]>,
    waited: Waited,
}

/// Where the answer for one text goes.
pub(super) struct Reply {
    call: Arc<Call>,
    index: usize,
}

impl Reply {
    pub(super) fn new(call: &Arc<Call>, index: usize) -> Self {
        Self { call: Arc::clone(call), index }
    }

    /// The call may have left; the answer is then dropped.
    pub(super) fn send(self, answer: Answer) {
        let _ = self.call.answers.send((self.index, answer));
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_left(&self) -> bool {
        self.call.answers.is_closed()
            || self.call.cancelled.get(self.index).is_some_and(|cancelled| cancelled.load(Relaxed))
    }

    pub(super) fn waited(&self) -> &Waited {
        &self.call.waited
    }
}

/// Waits for the answers of a call. Dropping it takes its texts out of the queue.
pub(super) struct Waiting {
    queue: Arc<dyn Abandon>,
    origin: Origin,
    answers: UnboundedReceiver<(usize, Answer)>,
    cancelled: Arc<[AtomicBool]>,
    /// The number in the queue of each text that waits for its answer.
    numbers: Vec<Option<u64>>,
    unanswered: usize,
}

impl Waiting {
    /// Waits for none yet of the so many texts of a call.
    pub(super) fn new(queue: Arc<dyn Abandon>, origin: &Origin, texts: usize) -> (Arc<Call>, Self) {
        let (sender, answers) = unbounded_channel();
        let cancelled: Arc<[AtomicBool]> = (0..texts).map(|_| AtomicBool::new(false)).collect();
        let call = Call {
            answers: sender,
            cancelled: Arc::clone(&cancelled),
            waited: origin.waited.clone(),
        };
        let (numbers, unanswered) = (Vec::with_capacity(texts), 0);
        let waiting =
            Self { queue, origin: origin.clone(), answers, cancelled, numbers, unanswered };
        (Arc::new(call), waiting)
    }

    /// Also waits for the next text, which has this number in the queue.
    pub(super) fn add(&mut self, number: u64) {
        self.numbers.push(Some(number));
        self.unanswered += 1;
    }

    /// How many texts have been added.
    pub(super) fn added(&self) -> usize {
        self.numbers.len()
    }
}

impl Stream for Waiting {
    type Item = (usize, Answer);

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.unanswered > 0 {
            let answer = ready!(this.answers.poll_recv(context));
            // Nothing answers any more after the queue was closed.
            let next = answer
                .or_else(|| Some((this.numbers.iter().position(Option::is_some)?, Err(stopped()))));
            let Some((index, answer)) = next else { break };
            // One that is cancelled may have been answered just before.
            if this.numbers[index].take().is_some() {
                this.unanswered -= 1;
                return Poll::Ready(Some((index, answer)));
            }
        }
        Poll::Ready(None)
    }
}

impl Pending for Waiting {
    fn cancel(&mut self, indexes: &[usize]) {
        let mut numbers = Vec::with_capacity(indexes.len());
        for &index in indexes {
            if let Some(number) = self.numbers.get_mut(index).and_then(Option::take) {
                self.cancelled[index].store(true, Relaxed);
                self.unanswered -= 1;
                numbers.push(number);
            }
        }
        self.queue.abandon(&self.origin, &numbers);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.unanswered > 0 {
            self.answers.close();
            let numbers: Vec<_> = self.numbers.iter().filter_map(|number| *number).collect();
            self.queue.abandon(&self.origin, &numbers);
        }
    }
}

pub(super) fn stopped() -> EmbedError {
    EmbedError::Failed("it was stopped".into())
}
