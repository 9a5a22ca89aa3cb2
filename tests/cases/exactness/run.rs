//! A run: lives of the server under load, each ended by a drain or a kill, and the check of what
//! was answered in it. A search for wrong answers has one life, and is checked again and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::{OptionFuture, join};

use super::check::{Checker, Seen};
use super::disturber::Disturber;
use super::oracle::State;
use super::plan::Plan;
use super::question::{CALM, Question};
use super::readers::{Way, ask, ask_by, read};
use super::resolve::resolve;
use super::tally::{Findings, Kind, add, get};
use super::words::Rng;
use super::world::World;
use super::writers::{Ended, Writer};
use crate::cases::asking::under_default;
use crate::harness::{Client, Program, Server, guest, plugin};

const WRITERS: usize = 6;
const READERS: usize = 5;
/// Documents of a writer, divided by the number of collections.
const DOCUMENTS: usize = 45;
/// Lives of the short form.
const LIVES: usize = 3;
/// How long a life of the long form lasts.
const LIFE: Duration = Duration::from_secs(12);
/// How long a life may take to give its answers.
const SLOWEST_LIFE: Duration = Duration::from_secs(120);
/// How much longer than planned a run may take to give its answers.
const SLOWEST_RUN: u32 = 10;
/// Questions that are asked when the load has ended.
const LAST_QUESTIONS: usize = 20;
/// Questions that are asked right after a restart.
const EARLY_QUESTIONS: usize = 40;
const VECTORS_COMPARED: usize = 32;
/// When answers expire in a run with a policy that allows old ones.
const SHORT_TTL_MS: i64 = 30;
/// The same in a shared tier that is disturbed, so that there are fresh answers in it.
const LONGER_TTL_MS: i64 = 60_000;
/// How long a search goes on before its first check. Each further part is twice as long, so that
/// the search for something rare is not interrupted all the time.
const FIRST_PART: Duration = Duration::from_secs(1);
/// How long a search for wrong answers goes on, under load.
const LONGEST_SEARCH: Duration = Duration::from_secs(60);

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The tasks stop, and the server goes on.
    Stop,
    Drain,
    Kill,
}

struct Run {
    plan: Plan,
    world: Arc<World>,
    writers: Vec<Writer>,
    rng: Rng,
    seen: Seen,
    load: Duration,
    /// `None` if the shared tier is not disturbed.
    disturber: Option<Disturber>,
}

/// Runs the load over these collections, checks every answer and returns what was wrong.
///
/// # Panics
/// The load was not what the run is for.
pub(super) async fn run(program: Program, collections: &[&str], plan: Plan) -> Findings {
    let (mut run, mut server) = Run::begin(program, collections, plan).await;
    for life in 0.. {
        let end = run.end_of(life);
        let (least, answers) = run.least(end);
        run.live(&mut server, end, least, answers).await;
        if end == End::Stop {
            break;
        }
        server = server.restart().await;
        run.world.ending.store(false, Ordering::SeqCst);
        add(&run.world.tally.restarts);
        let client = &server.client;
        // Questions from the first moment on, when the index may be behind.
        let (marker, early) = (format!("life-{life}"), early(&run.world, client, run.rng.fork()));
        join(resolve(&run.world, client, &mut run.writers, &marker), early).await;
        run.world.vectors.assert_unchanged(client, VECTORS_COMPARED).await;
        run.check(client).await;
    }
    run.finish(&server.client).await;
    let findings = run.world.tally.findings();
    if findings.is_none() {
        run.assert_covered();
    }
    findings
}

async fn early(world: &World, client: &Client, mut rng: Rng) {
    for number in 0..EARLY_QUESTIONS {
        ask(world, client, &world.hot[number % world.hot.len()], &mut rng).await;
    }
}

/// Runs the load over these collections until there are wrong answers. Returns how long that took,
/// or `None` if there are none for a long time.
///
/// # Panics
/// Something other than an answer is wrong.
pub(super) async fn search(program: Program, collections: &[&str]) -> Option<Duration> {
    let (mut run, mut server) = Run::begin(program, collections, Plan::short()).await;
    let mut part = FIRST_PART;
    while run.load < LONGEST_SEARCH {
        run.live(&mut server, End::Stop, part, 0).await;
        run.check(&server.client).await;
        if run.world.tally.findings().wrong_answers() {
            return Some(run.load);
        }
        part *= 2;
    }
    None
}

async fn start(program: Program, plan: &Plan, disturber: Option<&Disturber>) -> Server {
    // Pages have several changes of one document only if writers do not wait for the index.
    let unchecked = matches!(program, Program::Faulty(Some("promotion-unchecked")));
    let hasty = matches!(program, Program::Faulty(Some("page-reads-newest")));
    Server::running(program, |config| {
        config.search().set("ingest.searchable_timeout_ms", if hasty { 0 } else { 10_000 });
        if unchecked || !plan.in_memory {
            config.set("cache.memory_bytes", 0);
        }
        if !plan.old_allowed.is_zero() {
            for (name, ms) in [
                ("ttl_ms", SHORT_TTL_MS),
                ("shared_ttl_ms", if plan.is_disturbed() { LONGER_TTL_MS } else { SHORT_TTL_MS }),
                ("stale_while_revalidate_ms", 60_000),
                ("stale_if_error_ms", 60_000),
                ("stale_after_change_ms", plan.old_allowed.as_millis() as i64),
                ("early_refresh_percent", 100),
                ("failure_ttl_ms", 60_000),
            ] {
                config.set(&format!("policies.default.settings.{name}"), ms);
            }
        }
        // Questions about two collections wait so long before they get a split answer.
        config.set("server.position_timeout_ms", 200);
        if let Some(disturber) = disturber {
            disturber.configure(config);
            // Nothing may be refused, also not because this machine is slow.
            config.set("server.position_timeout_ms", 8_000).set("engine.queue_timeout_ms", 8_000);
        }
        under_default(config, "two", "two-collections", &["embedding", "read"]);
        config.pipeline("fresh", &plugin("search"), &["embedding", "read", "settings"]);
        config.pipeline("fresh-two", &guest("two-collections"), &["embedding", "read"]);
        // The log of a long run would be huge.
        config.set("log.level", "info");
    })
    .await
}

impl Run {
    async fn begin(program: Program, collections: &[&str], plan: Plan) -> (Self, Server) {
        println!("seed {} over {collections:?}", plan.seed);
        let mut rng = Rng::new(plan.seed);
        let world = Arc::new(World::new(collections, &plan, &mut rng));
        let writer = |number: usize| {
            let collection = collections[number % collections.len()].to_owned();
            Writer::new(number, collection, DOCUMENTS * collections.len(), rng.fork())
        };
        let mut writers: Vec<_> = (0..WRITERS).map(writer).collect();
        let disturber = Disturber::start(&plan, LIVES, &mut rng).await;
        let server = start(program, &plan, disturber.as_ref()).await;
        resolve(&world, &server.client, &mut writers, CALM).await;
        if disturber.is_some() {
            let mut calm = Writer::new(WRITERS, CALM.to_owned(), DOCUMENTS, rng.fork());
            assert_eq!(calm.write(&world, &server.client).await, Ended::Done);
        }
        let (seen, load) = (Seen::default(), Duration::ZERO);
        (Self { plan, world, writers, rng, seen, load, disturber }, server)
    }

    fn end_of(&self, life: usize) -> End {
        let answers = get(&self.world.tally.answers);
        let enough = match self.plan.is_long() {
            true if self.load > self.plan.load * SLOWEST_RUN => true,
            true => self.load + LIFE >= self.plan.load && answers >= self.plan.answers * 9 / 10,
            false => life + 1 >= LIVES,
        };
        match life % 2 {
            // A run has both kinds of restart.
            _ if enough && life + 1 >= LIVES => End::Stop,
            0 => End::Drain,
            _ => End::Kill,
        }
    }

    /// How long the next life lasts at least, and how many answers it gives.
    fn least(&self, end: End) -> (Duration, u64) {
        let is_long = self.plan.is_long();
        let answers = match (is_long, end == End::Stop) {
            (_, true) => self.plan.answers.saturating_sub(get(&self.world.tally.answers)),
            (false, false) => self.plan.answers / LIVES as u64,
            (true, false) => 0,
        };
        (if is_long { LIFE } else { Duration::ZERO }, answers)
    }

    /// Puts the server under load for one life, for at least this time and this many answers.
    async fn live(&mut self, server: &mut Server, end: End, least: Duration, answers: u64) {
        let world = &self.world;
        world.stop.store(false, Ordering::SeqCst);
        world.ending.store(false, Ordering::SeqCst);
        let client = || server.client.clone();
        let writers: Vec<_> = self
            .writers
            .drain(..)
            .map(|writer| tokio::spawn(writer.run(Arc::clone(world), client())))
            .collect();
        let mut others: Vec<_> = (0..READERS)
            .map(|_| tokio::spawn(read(Arc::clone(world), client(), self.rng.fork())))
            .collect();
        others.push(tokio::spawn(Arc::clone(world).poll(client())));
        others.push(tokio::spawn(Arc::clone(world).embed(client())));
        let (began, before) = (Instant::now(), get(&world.tally.answers));
        let enough = async {
            while began.elapsed() < SLOWEST_LIFE
                && (began.elapsed() < least || get(&world.tally.answers) - before < answers)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let goes_on = end != End::Stop;
        let disturb = OptionFuture::from(
            self.disturber.as_mut().map(|disturber| disturber.live(world, &server.client, goes_on)),
        );
        join(enough, disturb).await;
        self.load += began.elapsed();
        match end {
            End::Stop => {}
            End::Drain => {
                world.ending.store(true, Ordering::SeqCst);
                server.sigterm();
                assert!(server.wait().await.success(), "{}", server.log());
            }
            End::Kill => {
                world.ending.store(true, Ordering::SeqCst);
                server.kill9().await;
            }
        }
        // Also for tasks that have nothing to ask the server, and so do not see that it is gone.
        world.stop.store(true, Ordering::SeqCst);
        for writer in writers {
            self.writers.push(writer.await.unwrap());
        }
        for other in others {
            other.await.unwrap();
        }
    }

    async fn check(&mut self, client: &Client) -> State {
        let World { ledger, tally, vectors, .. } = &*self.world;
        let began = Instant::now();
        let state = Checker { ledger, tally, vectors }.all(client, &mut self.seen).await;
        println!("checked in {:.1?}\n{tally}\n", began.elapsed());
        state
    }

    /// Asks for the last position, and checks the rest.
    async fn finish(&mut self, client: &Client) {
        let world = Arc::clone(&self.world);
        for _ in 0..LAST_QUESTIONS {
            for subject in &world.subjects {
                let question = Arc::new(Question::random(&mut self.rng, subject.clone()));
                let demanded = world.ledger.known();
                let way = Way { demanded, with_chain: true, by_query: false, cached: true };
                ask_by(&world, client, &question, way).await;
            }
        }
        let state = self.check(client).await;
        for collection in &world.collections {
            let documents = state.collections.get(collection).map_or(0, |c| c.documents.len());
            let count = client.count(collection).await;
            if count != documents as u64 {
                let text = format!("'{collection}' has {count} documents instead of {documents}");
                world.tally.violation(Kind::Wrong, text);
            }
        }
    }

    /// Asserts that the load was what the run is for.
    fn assert_covered(&self) {
        let tally = &self.world.tally;
        let answers = get(&tally.answers);
        assert!(answers >= self.plan.answers, "{answers} answers instead of {}", self.plan.answers);
        assert!(tally.share(&tally.refused) <= 2.0, "too many were refused\n{tally}");
        assert!(tally.share(&tally.unchecked) <= 1.0, "too many could not be checked\n{tally}");
        if let Some(disturber) = &self.disturber {
            disturber.assert_covered(tally);
        } else if !self.plan.in_memory {
            assert!(tally.share(&tally.shared_hits) >= 5.0, "too few shared hits\n{tally}");
        }
        if self.plan.is_disturbed() {
            // What is asked until Redis is back outweighs the rest, so this is no matter of shares.
            let is_allowed = !self.plan.old_allowed.is_zero();
            let old = get(&tally.old_hits) + get(&tally.expired_hits);
            assert!(old > 0 || !is_allowed, "nothing old was served\n{tally}");
        } else if !self.plan.old_allowed.is_zero() {
            assert!(tally.share(&tally.old_hits) >= 1.0, "too few old hits\n{tally}");
            assert!(tally.share(&tally.expired_hits) >= 1.0, "too few expired hits\n{tally}");
        }
        if !self.plan.is_long() {
            return;
        }
        // Half of the time, a tier that is disturbed has none.
        let least_hits = if self.plan.is_disturbed() { 10.0 } else { 30.0 };
        assert!(tally.share(&tally.hits) >= least_hits, "too few hits\n{tally}");
        assert!(tally.share(&tally.followers) >= 5.0, "too few followers\n{tally}");
        assert!(get(&tally.lagging) >= 1_000, "the index lagged too seldom\n{tally}");
        assert!(get(&tally.rolls) >= 2, "too few rolls\n{tally}");
        assert!(get(&tally.drops) >= 1, "nothing was dropped\n{tally}");
        assert!(tally.searchable_share() >= 95.0, "too many writes were answered 202\n{tally}");
    }
}
