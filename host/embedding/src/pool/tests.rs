//! The pool with a model that runs when the test says so, and texts that say what they become.

#![expect(clippy::unwrap_used, reason = "a test's failure is its message")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use weir_limits::waited::Waited;

use super::*;
use crate::Pending as _;
use crate::onnx::WorkCounts;
use crate::tokenizer::Tokens;

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
    /// Lets the text "gate" pass.
    gate: mpsc::Sender<()>,
    /// How many texts have been read.
    read: Arc<AtomicUsize>,
}

/// A number becomes a text of two tokens, of which it is the first.
fn harness(max_queued_texts: usize) -> Harness {
    let (runs_sender, runs) = unbounded_channel();
    let (steps, steps_receiver) = mpsc::channel();
    let model = Stepped { runs: runs_sender, steps: steps_receiver };
    let (gate, passes) = mpsc::channel();
    let passes = Mutex::new(passes);
    let read = Arc::new(AtomicUsize::new(0));
    let reads = Arc::clone(&read);
    let tokens_of = move |text: &str| match text {
        "w" => Ok(Tokens([100; 6].into())),
        "long" => Err(EmbedError::TooLong { index: 0, tokens: 9, max_tokens: 3 }),
        "panic" => panic!("as the test asked"),
        "gate" => Ok(Tokens([passes.lock().recv().map_or(0, |()| 1), 9].into())),
        number => Ok(Tokens([number.parse().unwrap(), 9].into())),
    };
    let tokenize: Arc<Tokenize> = Arc::new(move |text| {
        reads.fetch_add(1, Ordering::Relaxed);
        tokens_of(text)
    });
    let bounds = Bounds { max_queued_texts, max_batch_tokens: 8, sessions: 1 };
    let pool = Arc::new(Pool::start(vec![model], &tokenize, 0, bounds).unwrap());
    Harness { pool, runs, steps, gate, read }
}

type Asked = tokio::task::JoinHandle<Result<Vec<Embedded>, EmbedError>>;

impl Harness {
    /// The test's runtime has one thread, so after a yield the texts are in the queue.
    async fn ask_texts(&self, texts: &[&str], origin: &Origin) -> Asked {
        let texts: Vec<Arc<str>> = texts.iter().map(|&text| text.into()).collect();
        let (pool, origin) = (Arc::clone(&self.pool), origin.clone());
        let asked = tokio::spawn(async move { pool.embed(&texts, &origin).await });
        tokio::task::yield_now().await;
        asked
    }

    async fn ask(&self, texts: &[u32], origin: &Origin) -> Asked {
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        self.ask_texts(&texts, origin).await
    }

    async fn run_of(&mut self) -> Vec<i64> {
        self.runs.recv().await.unwrap().into_iter().map(|row| row[0]).collect()
    }

    fn step(&self) {
        self.steps.send(Ok(())).unwrap();
    }

    async fn next_run(&mut self) -> Vec<i64> {
        self.step();
        self.run_of().await
    }

    /// Keeps the session busy until the first step.
    async fn busy(&mut self) {
        let _detached = self.ask(&[0], &Origin::api("busy")).await;
        assert_eq!(self.run_of().await, [0]);
    }

    fn counts(&self) -> WorkCounts {
        WorkCounts::of(self.pool.counters())
    }
}

fn embedded(ids: &[u32]) -> Result<Vec<Embedded>, EmbedError> {
    let one = |&id: &u32| Embedded { vector: Embedding([id as f32].into()), tokens: 2 };
    Ok(ids.iter().map(one).collect())
}

async fn leave(asked: Asked) {
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn what_texts_wait_for_their_turn_is_added_up() {
    const AT_LEAST: Duration = Duration::from_millis(2);
    let mut harness = harness(64);
    harness.busy().await;
    let waited = Waited::default();
    let origin = Origin::pipeline("t", "p").counting(waited.clone());
    let asked = harness.ask(&[1, 2], &origin).await;
    assert_eq!(waited.total(), Duration::ZERO);
    std::thread::sleep(AT_LEAST);
    assert_eq!(harness.next_run().await, [1, 2]);
    assert!(waited.total() >= 2 * AT_LEAST, "{:?}", waited.total());
    harness.step();
    assert_eq!(asked.await.unwrap(), embedded(&[1, 2]));
}

#[tokio::test]
async fn each_full_lane_gets_its_weights_share_and_batches_are_bounded_by_tokens() {
    let mut harness = harness(1_024);
    harness.busy().await;
    let origins = [Origin::pipeline("t", "p"), Origin::api("t"), Origin::catch_up("t")];
    let mut asked = Vec::new();
    for (id, origin) in (1..).zip(&origins) {
        asked.push(harness.ask(&[id; 500], origin).await);
    }
    let mut rows: HashMap<i64, usize> = HashMap::new();
    for _ in 0..70 {
        let run = harness.next_run().await;
        // Eight tokens, and lanes are not mixed.
        assert_eq!(run, [run[0]; 4]);
        *rows.entry(run[0]).or_default() += run.len();
    }
    for (id, share) in [(1, 160), (2, 80), (3, 40)] {
        assert!(rows[&id].abs_diff(share) <= 4, "lane {id}: {} instead of {share}", rows[&id]);
    }
    drop(harness.steps);
    for (id, asked) in (1..).zip(asked) {
        assert_eq!(asked.await.unwrap(), embedded(&[id; 500]));
    }
}

#[tokio::test]
async fn a_caller_with_many_texts_delays_anothers_by_at_most_a_round() {
    let lanes: [fn(&str) -> Origin; 3] =
        [Origin::api, Origin::catch_up, |caller| Origin::pipeline("t", caller)];
    for origin in lanes {
        let mut harness = harness(4_096);
        harness.busy().await;
        let _many = harness.ask(&[1; 1_000], &origin("a")).await;
        assert_eq!(harness.next_run().await, [1; 4]);
        let one = harness.ask(&[2], &origin("b")).await;
        assert!(harness.next_run().await.contains(&2));
        // What two callers fill has as much of each.
        let _also = harness.ask(&[3; 100], &origin("c")).await;
        let mut of_c = 0;
        for _ in 0..20 {
            let run = harness.next_run().await;
            of_c += run.iter().filter(|id| **id == 3).count();
        }
        assert!((36..=44).contains(&of_c), "{of_c} of 80");
        assert_eq!(one.await.unwrap(), embedded(&[2]));
        drop(harness.steps);
    }
}

#[tokio::test]
async fn a_caller_leaves_room_for_others_and_all_of_a_call_is_refused() {
    let mut harness = harness(8);
    harness.busy().await;
    let [a, b, c] = ["a", "b", "c"].map(Origin::api);
    let mut asked = vec![harness.ask(&[1, 2, 3], &a).await];
    for (origin, texts, fits) in [
        (&a, &[4, 5, 6][..], false),
        (&a, &[4], true),
        (&a, &[5], false),
        (&b, &[5, 6, 7], true),
        (&b, &[8], false),
        (&c, &[8, 9], false),
        (&c, &[8], true),
        // Another lane has room of its own.
        (&Origin::pipeline("a", "p"), &[9; 8], true),
    ] {
        let one = harness.ask(texts, origin).await;
        if fits {
            asked.push(one);
        } else {
            assert_eq!(one.await.unwrap(), Err(EmbedError::Overloaded), "{origin:?} {texts:?}");
        }
    }
    assert_eq!(harness.counts().refused_texts, 3 + 1 + 1 + 2);
    drop(harness.steps);
    for asked in asked {
        assert!(asked.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn the_catch_up_waits_for_room_and_loses_nothing() {
    let mut harness = harness(3);
    harness.busy().await;
    // More than the lane holds: the rest waits outside the queue.
    let mut asked = Vec::new();
    for tenant in ["a", "b", "c"] {
        asked.push(harness.ask(&[5, 6, 7, 8, 9], &Origin::catch_up(tenant)).await);
    }
    drop(harness.steps);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), embedded(&[5, 6, 7, 8, 9]));
    }
    assert_eq!(WorkCounts::of(harness.pool.counters()).refused_texts, 0);
}

#[tokio::test]
async fn texts_that_nobody_waits_for_leave_the_queue_and_take_no_room() {
    let mut harness = harness(2);
    harness.busy().await;
    let (api, catch_up) = (Origin::api("a"), Origin::catch_up("a"));
    for origin in [&api, &catch_up] {
        let left = harness.ask(&[2, 3], origin).await;
        leave(left).await;
    }
    // At once: the session has taken nothing since.
    assert_eq!(harness.counts().abandoned_texts, 4);
    let asked = harness.ask(&[4, 5], &api).await;
    let waits = harness.ask(&[6], &catch_up).await;
    let runs = [harness.next_run().await, harness.next_run().await];
    assert!(runs.contains(&vec![4, 5]) && runs.contains(&vec![6]), "{runs:?}");
    harness.step();
    assert_eq!(asked.await.unwrap(), embedded(&[4, 5]));
    assert_eq!(waits.await.unwrap(), embedded(&[6]));
    let expected =
        WorkCounts { batches: 3, embedded_texts: 4, abandoned_texts: 4, refused_texts: 0 };
    assert_eq!(harness.counts(), expected);
}

#[tokio::test]
async fn a_cancelled_text_leaves_the_queue_and_the_others_of_its_call_keep_their_place() {
    let mut harness = harness(6);
    harness.busy().await;
    let origin = Origin::api("a");
    let texts = ["1", "2", "3", "4"].map(Arc::from);
    let mut waiting = harness.pool.submit(&texts, &origin).unwrap();
    waiting.cancel(&[1, 3]);
    // Again, and one that there is not.
    waiting.cancel(&[1, 9]);
    assert_eq!(harness.counts().abandoned_texts, 2);
    let also = harness.ask(&[5, 6], &origin).await;
    assert_eq!(harness.next_run().await, [1, 3, 5, 6]);
    drop(harness.steps);
    let answered: Vec<_> = waiting.by_ref().collect().await;
    let answered: Vec<_> = answered.into_iter().map(|(index, one)| (index, one.unwrap())).collect();
    let expected = embedded(&[1, 3]).unwrap();
    assert_eq!(answered, [0, 2].into_iter().zip(expected).collect::<Vec<_>>());
    assert_eq!(also.await.unwrap(), embedded(&[5, 6]));
}

#[tokio::test]
async fn a_text_that_is_cancelled_while_it_is_read_is_not_embedded() {
    let mut harness = harness(4);
    let texts = ["gate", "2"].map(Arc::from);
    let mut waiting = harness.pool.submit(&texts, &Origin::api("a")).unwrap();
    // The session reads the first one, and has not taken the second.
    while harness.pool.queue.waiting_texts() == 2 {
        tokio::task::yield_now().await;
    }
    waiting.cancel(&[0]);
    harness.gate.send(()).unwrap();
    assert_eq!(harness.run_of().await, [2]);
    assert_eq!(harness.counts().abandoned_texts, 1);
    harness.step();
    let answered: Vec<_> =
        waiting.by_ref().map(|(index, one)| (index, one.unwrap())).collect().await;
    assert_eq!(answered, [(1, embedded(&[2]).unwrap().remove(0))]);
}

#[tokio::test]
async fn what_waits_when_the_queue_is_closed_is_told_so() {
    let mut harness = harness(4);
    harness.busy().await;
    let texts = ["1", "2"].map(Arc::from);
    let mut waiting = harness.pool.submit(&texts, &Origin::api("a")).unwrap();
    harness.pool.queue.close();
    let told: Vec<_> = waiting.by_ref().collect().await;
    assert_eq!(told, [0, 1].map(|index| (index, Err(stopped()))));
}

#[tokio::test]
async fn texts_that_are_not_read_yet_are_dropped_too() {
    let mut harness = harness(4);
    let [a, b] = ["a", "b"].map(Origin::api);
    let reading = harness.ask_texts(&["gate"], &a).await;
    let left = harness.ask_texts(&["panic"], &a).await;
    // The rest of the room.
    let also_left = harness.ask_texts(&["panic", "panic"], &b).await;
    leave(left).await;
    leave(also_left).await;
    assert_eq!(harness.counts().abandoned_texts, 3);
    let asked = harness.ask_texts(&["4", "5", "6"], &b).await;
    harness.gate.send(()).unwrap();
    drop(harness.steps);
    assert_eq!(reading.await.unwrap(), embedded(&[1]));
    assert_eq!(asked.await.unwrap(), embedded(&[4, 5, 6]));
    harness.runs.close();
}

#[tokio::test]
async fn a_text_that_is_left_while_it_is_read_is_not_embedded() {
    let mut harness = harness(1);
    let origin = Origin::api("a");
    let reading = harness.ask_texts(&["gate"], &origin).await;
    while harness.pool.queue.waiting_texts() > 0 {
        tokio::task::yield_now().await;
    }
    leave(reading).await;
    harness.gate.send(()).unwrap();
    while harness.counts().abandoned_texts == 0 {
        tokio::task::yield_now().await;
    }
    let asked = harness.ask(&[2], &origin).await;
    assert_eq!(harness.run_of().await, [2]);
    harness.step();
    assert_eq!(asked.await.unwrap(), embedded(&[2]));
}

#[tokio::test]
async fn texts_are_read_when_their_turn_has_come_and_once() {
    let mut harness = harness(1_024);
    harness.busy().await;
    let origin = Origin::api("a");
    leave(harness.ask(&[1; 500], &origin).await).await;
    // "w" is no longer than the others, but its six tokens do not fit into their batch.
    let texts = ["1", "w", "2", "3", "4", "5", "6"];
    let asked = harness.ask_texts(&texts, &origin).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(harness.next_run().await);
    }
    assert_eq!(runs, [vec![1, 2, 3], vec![100], vec![4, 5, 6]]);
    drop(harness.steps);
    assert_eq!(asked.await.unwrap().unwrap().len(), texts.len());
    assert_eq!(harness.read.load(Ordering::Relaxed), 1 + texts.len());
}

#[tokio::test]
async fn a_text_that_cannot_be_read_fails_its_call_and_nothing_else() {
    let harness = harness(4);
    drop(harness.steps);
    let ask = async |texts: &[&str]| {
        let texts: Vec<Arc<str>> = texts.iter().map(|&text| text.into()).collect();
        harness.pool.embed(&texts, &Origin::api("a")).await
    };
    let long = EmbedError::TooLong { index: 2, tokens: 9, max_tokens: 3 };
    assert_eq!(ask(&["1", "2", "long"]).await, Err(long));
    let panicked = EmbedError::Failed("the tokenizer panicked".into());
    assert_eq!(ask(&["panic"]).await, Err(panicked));
    // All of their room is free.
    assert_eq!(ask(&["1", "2", "3", "4"]).await, embedded(&[1, 2, 3, 4]));
}

#[tokio::test]
async fn a_model_that_fails_or_panics_fails_its_batch_and_nothing_else() {
    let mut harness = harness(16);
    let origin = Origin::api("a");
    for (said, expected) in [("out of memory", "out of memory"), ("panic", "it panicked")] {
        let asked = harness.ask(&[1], &origin).await;
        harness.run_of().await;
        harness.steps.send(Err(said.into())).unwrap();
        assert_eq!(asked.await.unwrap(), Err(EmbedError::Failed(expected.into())));
    }
    let asked = harness.ask(&[2], &origin).await;
    harness.step();
    assert_eq!(asked.await.unwrap(), embedded(&[2]));
}

#[tokio::test]
async fn dropping_the_pool_ends_its_threads() {
    let Harness { pool, mut runs, steps, gate, .. } = harness(16);
    drop((steps, gate));
    drop(pool);
    // The model is dropped with its thread, and its end of the channel with the model.
    assert_eq!(runs.recv().await, None);
}
