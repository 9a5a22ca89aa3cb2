//! Models at work: one OS thread each, all fed by one queue.
//!
//! The pool knows nothing about ONNX or tokenizers: a [`Model`] turns a batch of tokens into
//! vectors, and a function turns a text into tokens. Tests substitute their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use futures::StreamExt as _;
use weir_limits::priority::{self, Work};

use super::batch::Batch;
use super::call::{Waiting, stopped};
use super::queue::{Bounds, Counters, Job, Queue, Tokenize, count};
use super::{EmbedError, Embedded, Embedding, Lane, Origin};

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
        tokenize: &Arc<Tokenize>,
        pad_id: u32,
        bounds: Bounds,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(bounds));
        let mut pool = Self { queue, threads: Vec::with_capacity(models.len()) };
        for (index, model) in models.into_iter().enumerate() {
            let (queue, tokenize) = (Arc::clone(&pool.queue), Arc::clone(tokenize));
            let work = move || {
                priority::lower(Work::Shared);
                work(&queue, model, tokenize, pad_id);
            };
            let thread = thread::Builder::new().name(format!("weir-embed-{index}"));
            pool.threads.push(thread.spawn(work)?);
        }
        Ok(pool)
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.queue.counters
    }

    /// Queues all of the texts or none.
    pub(super) fn submit(
        &self,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Waiting, EmbedError> {
        self.queue.admit(texts, origin)
    }

    /// Returns one vector per text, in order. Dropping the future cancels the texts that have
    /// not started.
    pub(super) async fn embed(
        &self,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Vec<Embedded>, EmbedError> {
        let mut waiting = match origin.lane {
            Lane::Pipeline | Lane::Api => self.queue.admit(texts, origin)?,
            Lane::CatchUp => self.queue.admit_in_time(texts, origin).await?,
        };
        let mut embedded = vec![None; texts.len()];
        // Ends with the first error, and drops the other texts.
        while let Some((index, answer)) = waiting.next().await {
            embedded[index] = Some(answer.map_err(|error| error.reindexed(|_| index))?);
        }
        embedded.into_iter().collect::<Option<_>>().ok_or_else(stopped)
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

fn work(queue: &Queue, mut model: impl Model, tokenize: Arc<Tokenize>, pad_id: u32) {
    // A panic must fail its text without ending the thread.
    let tokenize = move |text: &str| {
        catch_unwind(AssertUnwindSafe(|| tokenize(text)))
            .unwrap_or_else(|_| Err(EmbedError::Failed("the tokenizer panicked".into())))
    };
    while let Some(jobs) = queue.next_batch(&tokenize) {
        let batch = Batch::pad(jobs.iter().map(|job| &job.tokens), pad_id);
        // A panic must fail these texts without ending the thread.
        let vectors = catch_unwind(AssertUnwindSafe(|| model.run(&batch)))
            .unwrap_or_else(|_| Err("it panicked".into()));
        count(&queue.counters.batches, 1);
        match vectors {
            Ok(vectors) if vectors.len() == jobs.len() => {
                count(&queue.counters.embedded_texts, jobs.len());
                for (job, vector) in jobs.into_iter().zip(vectors) {
                    let tokens = job.tokens.count();
                    job.answer(Ok(Embedded { vector, tokens }));
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
mod tests;
