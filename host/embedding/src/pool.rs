//! Models at work: one OS thread each, fed by one queue.
//!
//! The pool knows nothing about ONNX or text: a [`Model`] turns a batch of tokens into vectors.
//! Tests substitute their own models.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::batch::Batch;
use super::queue::{Bounds, Counters, Job, Queue, count, stopped};
use super::tokenizer::Tokens;
use super::{EmbedError, Embedding, Lane};

/// One model on one thread.
pub(super) trait Model: Send {
    /// Returns one unit-length vector per row, or the model's error message.
    fn run(&mut self, batch: &Batch) -> Result<Vec<Embedding>, String>;
}

/// Dropping the pool ends the threads. It waits for running batches, since a process must not
/// unload the runtime while a thread runs in it.
pub(super) struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts one thread per model in `models`.
    pub(super) fn start<M: Model + 'static>(
        models: Vec<M>,
        pad_id: u32,
        bounds: Bounds,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(bounds));
        let mut pool = Self { queue, threads: Vec::with_capacity(models.len()) };
        for (index, model) in models.into_iter().enumerate() {
            let queue = Arc::clone(&pool.queue);
            let thread = thread::Builder::new()
                .name(format!("weir-embed-{index}"))
                .spawn(move || work(&queue, model, pad_id))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.queue.counters
    }

    /// Returns one vector per text, in order. Dropping the future cancels the texts that have
    /// not started.
    pub(super) async fn embed(
        &self,
        texts: Vec<Tokens>,
        lane: Lane,
    ) -> Result<Vec<Embedding>, EmbedError> {
        let (jobs, answers): (Vec<_>, Vec<_>) = texts.into_iter().map(Job::new).unzip();
        match lane {
            Lane::Interactive => self.queue.push_interactive(jobs)?,
            Lane::Bulk => {
                for job in jobs {
                    self.queue.push_bulk(job).await?;
                }
            }
        }
        let mut vectors = Vec::with_capacity(answers.len());
        for answer in answers {
            vectors.push(answer.await.map_err(|_| stopped())??);
        }
        Ok(vectors)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // The thread returns no value, and its panics are caught where they happen.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Queue, mut model: impl Model, pad_id: u32) {
    while let Some(jobs) = queue.next_batch() {
        let batch = Batch::pad(jobs.iter().map(|job| &job.tokens), pad_id);
        // A panic must fail these texts without ending the thread.
        let vectors = catch_unwind(AssertUnwindSafe(|| model.run(&batch)))
            .unwrap_or_else(|_| Err("it panicked".into()));
        count(&queue.counters.batches, 1);
        match vectors {
            Ok(vectors) if vectors.len() == jobs.len() => {
                count(&queue.counters.embedded_texts, jobs.len());
                for (job, vector) in jobs.into_iter().zip(vectors) {
                    job.answer(Ok(vector));
                }
            }
            Ok(vectors) => {
                let message =
                    format!("it returned {} vectors for {} texts", vectors.len(), jobs.len());
                fail(jobs, &message);
            }
            Err(message) => fail(jobs, &message),
        }
    }
}

fn fail(jobs: Vec<Job>, message: &str) {
    tracing::error!(texts = jobs.len(), message, "the embedding model failed");
    for job in jobs {
        job.answer(Err(EmbedError::Failed(message.to_owned())));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test's failure is its message")]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::onnx::WorkCounts;

    /// A model that reports its runs and lets them finish one by one.
    struct Stepped {
        runs: UnboundedSender<Vec<Vec<i64>>>,
        steps: mpsc::Receiver<Result<(), String>>,
    }

    impl Model for Stepped {
        fn run(&mut self, batch: &Batch) -> Result<Vec<Embedding>, String> {
            let rows: Vec<_> = batch.ids.chunks(batch.columns).map(<[i64]>::to_vec).collect();
            let vectors = rows.iter().map(|row| Embedding([row[0] as f32].into())).collect();
            let _ = self.runs.send(rows);
            match self.steps.recv() {
                Ok(Err(message)) if message == "panic" => panic!("as the test asked"),
                Ok(step) => step.map(|()| vectors),
                Err(_) => Ok(vectors),
            }
        }
    }

    struct Harness {
        pool: Arc<Pool>,
        runs: UnboundedReceiver<Vec<Vec<i64>>>,
        steps: mpsc::Sender<Result<(), String>>,
    }

    fn harness(max_queued_texts: usize) -> Harness {
        let (runs_sender, runs) = unbounded_channel();
        let (steps, steps_receiver) = mpsc::channel();
        let model = Stepped { runs: runs_sender, steps: steps_receiver };
        let bounds = Bounds { max_queued_texts, max_batch_tokens: 8, sessions: 1 };
        let pool = Arc::new(Pool::start(vec![model], 0, bounds).unwrap());
        Harness { pool, runs, steps }
    }

    type Asked = tokio::task::JoinHandle<Result<Vec<Embedding>, EmbedError>>;

    impl Harness {
        /// Asks for texts given by their first tokens, each two tokens long. The test's runtime
        /// has one thread, so after a yield the texts are in the queue.
        async fn ask(&self, texts: &[u32], lane: Lane) -> Asked {
            let texts = texts.iter().map(|&id| Tokens([id, 9].into())).collect();
            let pool = Arc::clone(&self.pool);
            let asked = tokio::spawn(async move { pool.embed(texts, lane).await });
            tokio::task::yield_now().await;
            asked
        }

        async fn run_of(&mut self) -> Vec<i64> {
            self.runs.recv().await.unwrap().into_iter().map(|row| row[0]).collect()
        }

        fn step(&self) {
            self.steps.send(Ok(())).unwrap();
        }
    }

    fn vectors(ids: &[u32]) -> Result<Vec<Embedding>, EmbedError> {
        Ok(ids.iter().map(|&id| Embedding([id as f32].into())).collect())
    }

    fn counts(pool: &Pool) -> WorkCounts {
        WorkCounts::of(pool.counters())
    }

    #[tokio::test]
    async fn interactive_texts_go_before_bulk_and_batches_are_bounded_by_tokens() {
        let mut harness = harness(16);
        let first = harness.ask(&[1], Lane::Bulk).await;
        assert_eq!(harness.run_of().await, [1]);
        let bulk = harness.ask(&[2, 3], Lane::Bulk).await;
        let interactive = harness.ask(&[4, 5, 6, 7, 8], Lane::Interactive).await;
        for run in [&[4, 5, 6, 7][..], &[8], &[2, 3]] {
            harness.step();
            assert_eq!(harness.run_of().await, run);
        }
        harness.step();
        assert_eq!(first.await.unwrap(), vectors(&[1]));
        assert_eq!(interactive.await.unwrap(), vectors(&[4, 5, 6, 7, 8]));
        assert_eq!(bulk.await.unwrap(), vectors(&[2, 3]));
    }

    #[tokio::test]
    async fn a_full_interactive_lane_refuses_all_of_a_call_and_bulk_waits() {
        let mut harness = harness(2);
        let running = harness.ask(&[1], Lane::Interactive).await;
        harness.run_of().await;
        let queued = harness.ask(&[2], Lane::Interactive).await;
        let refused = harness.ask(&[3, 4], Lane::Interactive).await;
        assert_eq!(refused.await.unwrap(), Err(EmbedError::Overloaded));
        // More than the lane holds: the rest waits outside the queue.
        let bulk = harness.ask(&[5, 6, 7, 8, 9], Lane::Bulk).await;
        for _ in 0..8 {
            let _ = harness.steps.send(Ok(()));
        }
        assert_eq!(running.await.unwrap(), vectors(&[1]));
        assert_eq!(queued.await.unwrap(), vectors(&[2]));
        assert_eq!(bulk.await.unwrap(), vectors(&[5, 6, 7, 8, 9]));
        assert_eq!(counts(&harness.pool).refused_texts, 2);
    }

    #[tokio::test]
    async fn texts_that_nobody_waits_for_are_skipped_and_take_no_room() {
        let mut harness = harness(2);
        let running = harness.ask(&[1], Lane::Interactive).await;
        harness.run_of().await;
        for lane in [Lane::Interactive, Lane::Bulk] {
            let left = harness.ask(&[2, 3], lane).await;
            left.abort();
            assert!(left.await.unwrap_err().is_cancelled());
        }
        let asked = harness.ask(&[4, 5], Lane::Interactive).await;
        harness.step();
        assert_eq!(harness.run_of().await, [4, 5]);
        let bulk = harness.ask(&[6], Lane::Bulk).await;
        harness.step();
        assert_eq!(harness.run_of().await, [6]);
        harness.step();
        assert_eq!(running.await.unwrap(), vectors(&[1]));
        assert_eq!(asked.await.unwrap(), vectors(&[4, 5]));
        assert_eq!(bulk.await.unwrap(), vectors(&[6]));
        let expected =
            WorkCounts { batches: 3, embedded_texts: 4, abandoned_texts: 4, refused_texts: 0 };
        assert_eq!(counts(&harness.pool), expected);
    }

    #[tokio::test]
    async fn a_model_that_fails_or_panics_fails_its_batch_and_nothing_else() {
        let mut harness = harness(16);
        for (said, expected) in [("out of memory", "out of memory"), ("panic", "it panicked")] {
            let asked = harness.ask(&[1], Lane::Interactive).await;
            harness.run_of().await;
            harness.steps.send(Err(said.into())).unwrap();
            assert_eq!(asked.await.unwrap(), Err(EmbedError::Failed(expected.into())));
        }
        let asked = harness.ask(&[2], Lane::Interactive).await;
        harness.step();
        assert_eq!(asked.await.unwrap(), vectors(&[2]));
    }

    #[tokio::test]
    async fn dropping_the_pool_ends_its_threads() {
        let Harness { pool, mut runs, steps } = harness(16);
        drop(steps);
        drop(pool);
        // The model is dropped with its thread, and its end of the channel with the model.
        assert_eq!(runs.recv().await, None);
    }
}
