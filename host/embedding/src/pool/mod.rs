//! Models at work: one OS thread each, and as many threads that read texts as there are cores, all
//! fed by one queue.
//!
//! The pool knows nothing about ONNX or tokenizers: a [`Model`] turns a batch of tokens into
//! vectors, and a function turns a text into tokens. Tests substitute their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use futures::future::try_join_all;

use super::batch::Batch;
use super::queue::{Bounds, Counters, Job, Queue, Waiting, count};
use super::tokenizer::Tokens;
use super::{EmbedError, Embedded, Embedding, Lane, Origin};

/// One model on one thread.
pub(super) trait Model: Send {
    /// Returns one unit-length vector per row, or the model's error message.
    fn run(&mut self, batch: &Batch) -> Result<Vec<Embedding>, String>;
}

/// Turns a text into tokens.
pub(super) type Tokenize = dyn Fn(&str) -> Result<Tokens, EmbedError> + Send + Sync;

/// Dropping the pool ends the threads. It waits for running batches, since a process must not
/// unload the runtime while a thread runs in it.
pub(super) struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts one thread per model in `models`, and `readers` that tokenize.
    pub(super) fn start<M: Model + 'static>(
        models: Vec<M>,
        tokenize: &Arc<Tokenize>,
        readers: usize,
        pad_id: u32,
        bounds: Bounds,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(bounds));
        let mut pool = Self { queue, threads: Vec::with_capacity(models.len() + readers) };
        for (index, model) in models.into_iter().enumerate() {
            pool.spawn(format!("weir-embed-{index}"), move |queue| work(queue, model, pad_id))?;
        }
        for index in 0..readers {
            let tokenize = Arc::clone(tokenize);
            pool.spawn(format!("weir-tokens-{index}"), move |queue| read(queue, &*tokenize))?;
        }
        Ok(pool)
    }

    fn spawn(
        &mut self,
        name: String,
        work: impl FnOnce(&Queue) + Send + 'static,
    ) -> std::io::Result<()> {
        let queue = Arc::clone(&self.queue);
        self.threads.push(thread::Builder::new().name(name).spawn(move || work(&queue))?);
        Ok(())
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.queue.counters
    }

    /// Queues all of the texts or none.
    pub(super) fn submit(
        &self,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Vec<Waiting>, EmbedError> {
        self.queue.admit(texts, origin)
    }

    /// Returns one vector per text, in order. Dropping the future cancels the texts that have
    /// not started.
    pub(super) async fn embed(
        &self,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Vec<Embedded>, EmbedError> {
        let waiting = match origin.lane {
            Lane::Pipeline | Lane::Api => self.queue.admit(texts, origin)?,
            Lane::CatchUp => self.queue.admit_in_time(texts, origin).await?,
        };
        // Ends with the first error, and drops the other texts.
        try_join_all(waiting.into_iter().enumerate().map(async |(place, waiting)| {
            waiting.await.map_err(|error| error.reindexed(|_| place))
        }))
        .await
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

fn read(queue: &Queue, tokenize: &Tokenize) {
    while let Some(unread) = queue.next_unread() {
        // A panic must fail this text without ending the thread.
        let tokens = catch_unwind(AssertUnwindSafe(|| tokenize(&unread.text)))
            .unwrap_or_else(|_| Err(EmbedError::Failed("the tokenizer panicked".into())));
        queue.read(unread, tokens);
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
