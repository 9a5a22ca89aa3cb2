//! Swaps of a pipeline and of its policy while clients ask: no request is lost, and each answer is what its
//! revision makes.
//!
//! There are 100 swaps, or as many as `WEIR_SWAPS` says. Then (`cargo xtask soak swaps`) it is also measured what
//! they cost the clients, and that the server keeps nothing of them.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;

const SWAPS: usize = 100;
const CLIENTS: u32 = 4;
/// One upload in so many is no plugin.
const INVALID_EVERY: usize = 10;
/// One swap in so many is of the policy.
const POLICY_EVERY: usize = 5;
/// So many questions have answers in the cache.
const QUESTIONS: u32 = 50;
/// Of the 99th percentile without swaps.
const MOST_TIMES_P99: f64 = 1.5;
/// Of what the server had after the first swaps.
const MOST_TIMES_MEMORY: f64 = 1.05;

/// What a client was answered.
struct Seen {
    revision: u64,
    is_echo: bool,
    took: Duration,
}

/// Clients that ask until they are stopped.
struct Clients {
    done: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Seen>>>,
}

impl Clients {
    fn start(server: &Arc<Server>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let client = |number| ask_until(Arc::clone(server), Arc::clone(&done), number);
        let tasks = (0..CLIENTS).map(|number| tokio::spawn(client(number))).collect();
        Self { done, tasks }
    }

    async fn stop(self) -> Vec<Seen> {
        self.done.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all
    }
}

async fn ask_until(server: Arc<Server>, done: Arc<AtomicBool>, mut number: u32) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !done.load(Ordering::Relaxed) {
        number += 1;
        let question = json!({ "a": number % QUESTIONS });
        let began = Instant::now();
        let answer = ask(&server.client, "echo", &question).await;
        answer.assert_status(200);
        let (took, is_echo) = (began.elapsed(), answer.json() == question);
        seen.push(Seen { revision: revision(&answer), is_echo, took });
    }
    seen
}

/// The two pipelines and the policy that take turns.
struct Plugins {
    echo: String,
    other: String,
    policy: String,
}

impl Plugins {
    async fn push(server: &Server) -> Self {
        let author = Author::new();
        Self {
            echo: author.push(server, "pipeline", &plugin("echo"), "").await,
            other: author.push(server, "pipeline", &guest("reads-method"), "").await,
            policy: default_policy(server).await,
        }
    }

    /// The `turn`th swap, after which an echo answers or not as it is `now`, or the other way round. Returns its
    /// revision, and which it is.
    async fn swap(&self, server: &Server, turn: usize, now: bool) -> (u64, bool) {
        if turn.is_multiple_of(INVALID_EVERY) {
            upload(server, b"no component".to_vec()).await.assert_problem(422, "not-allowed");
        }
        if turn.is_multiple_of(POLICY_EVERY) {
            // Another plan each time.
            let policy = json!({ "digest": self.policy, "settings": { "key_epoch": turn } });
            return (deploy(server, "policies", "default", &policy).await, now);
        }
        let digest = if now { &self.other } else { &self.echo };
        let body = json!({ "digest": digest, "policy": "default" });
        (deploy(server, "pipelines", "echo", &body).await, !now)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_swaps_under_load_lose_no_request_and_mix_no_answer() {
    let swaps = env::var("WEIR_SWAPS").ok().map(|swaps| swaps.parse().unwrap());
    let server = Arc::new(
        Server::with(|config| {
            config.policy("default", &plugin("policy-default"));
            config.pipeline("echo", &plugin("echo"), &[]).set("pipelines.echo.policy", "default");
        })
        .await,
    );
    let plugins = Plugins::push(&server).await;
    let mut is_echo = BTreeMap::new();
    let first = ask(&server.client, "echo", &json!({})).await;
    let mut now = true;
    is_echo.insert(revision(&first), now);

    let mut measured = None;
    if swaps.is_some() {
        // What each of them needs once is there then.
        for turn in 1..=20 {
            let (revision, echoes) = plugins.swap(&server, turn, now).await;
            now = echoes;
            is_echo.insert(revision, now);
        }
        let clients = Clients::start(&server);
        tokio::time::sleep(Duration::from_secs(30)).await;
        measured = Some((p99(&clients.stop().await), memory(&server)));
    }
    let clients = Clients::start(&server);
    for turn in 21..=20 + swaps.unwrap_or(SWAPS) {
        let (revision, echoes) = plugins.swap(&server, turn, now).await;
        now = echoes;
        is_echo.insert(revision, now);
    }
    let seen = clients.stop().await;
    assert!(seen.len() > 100, "{}", seen.len());
    for Seen { revision, is_echo: echoed, .. } in &seen {
        assert_eq!(is_echo.get(revision), Some(echoed), "revision {revision}");
    }
    if let Some((before, (memory_before, space_before))) = measured {
        // The last ones drain, and the allocator gives back what it does.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (memory_now, space_now) = memory(&server);
        let with = p99(&seen);
        println!(
            "{} answers, p99 {before:?} without swaps and {with:?} with; resident {memory_before} KiB before and \
             {memory_now} KiB after, address space {space_before} KiB and {space_now} KiB",
            seen.len()
        );
        assert!(with.as_secs_f64() <= before.as_secs_f64() * MOST_TIMES_P99);
        assert!(memory_now as f64 <= memory_before as f64 * MOST_TIMES_MEMORY);
        assert!(space_now as f64 <= space_before as f64 * MOST_TIMES_MEMORY);
    }
}

fn p99(seen: &[Seen]) -> Duration {
    let mut times: Vec<_> = seen.iter().map(|seen| seen.took).collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// The server's resident memory and its address space, in KiB.
fn memory(server: &Server) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().unwrap()
    };
    (kib("VmRSS"), kib("VmSize"))
}
