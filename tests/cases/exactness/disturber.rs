//! Disturbs the Redis of a run while it is under load, one disturbance after the other, and sees that it is
//! used before, between and after them.
//!
//! What it asks is about the collection [`CALM`], which nobody changes, under a policy that keeps nothing in
//! memory: so each answer that the tier has is one of the tier. These answers are checked like all others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::task::block_in_place;

use super::plan::Plan;
use super::question::{CALM, Mode, Question};
use super::readers::{Way, answer_to};
use super::redis::{Disturbance, Redis};
use super::tally::{Tally, add, get};
use super::words::Rng;
use super::world::World;
use crate::harness::{Client, Config, eventually, plugin};

/// Within this time after Redis is back, it is used again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// So many that some are in each part of a Cluster.
const QUESTIONS: usize = 12;
/// Answers that are given under load while a disturbance lasts.
const ANSWERS: u64 = 60;
/// How long a disturbance of a long run lasts.
const LONG: Duration = Duration::from_secs(2);

/// Disturbs a Redis.
pub(super) struct Disturber {
    redis: Redis,
    questions: Vec<Arc<Question>>,
    /// How many disturbances have begun.
    begun: usize,
    /// One that has begun before the server was restarted.
    lasting: Option<Disturbance>,
    /// How many begin and end in a life of the server.
    of_a_life: usize,
    /// How long each lasts at least.
    lasts: Duration,
    /// Whether readers get answers of the tier, or as a rule those of the memory before it.
    is_read: bool,
}

impl Disturber {
    /// A disturber that goes through all disturbances once in so many lives, or `None` if there is nothing
    /// to disturb.
    pub(super) async fn start(plan: &Plan, lives: usize, rng: &mut Rng) -> Option<Self> {
        let redis = Redis::start(plan.backend).await?;
        let question = |_| {
            let question = Question::random(rng, vec![CALM.to_owned()]);
            Arc::new(Question { mode: Mode::Keyword, ..question })
        };
        Some(Self {
            questions: (0..QUESTIONS).map(question).collect(),
            of_a_life: redis.disturbances().len().div_ceil(lives),
            redis,
            begun: 0,
            lasting: None,
            lasts: if plan.is_long() { LONG } else { Duration::ZERO },
            is_read: !plan.in_memory,
        })
    }

    /// Configures a server to use the Redis, and the pipeline that is asked about [`CALM`].
    pub(super) fn configure(&self, config: &mut Config) {
        self.redis.configure(config);
        config
            .policy("calm", &plugin("policy-default"))
            .pipeline(CALM, &plugin("search"), &["embedding", "read", "settings"])
            .set("policies.calm.settings.ttl_ms", 1)
            .set("policies.calm.settings.shared_ttl_ms", 86_400_000)
            .set(&format!("pipelines.{CALM}.policy"), "calm");
    }

    /// Disturbs during a life of the server, which may have begun within a disturbance and may end in one.
    pub(super) async fn live(&mut self, world: &World, client: &Client, goes_on: bool) {
        match self.lasting.take() {
            Some(disturbance) => self.end(disturbance, world, client).await,
            None => drop(self.hits_again(world, client).await),
        }
        for _ in 0..self.of_a_life {
            let disturbance = self.begin(world, client).await;
            self.wait(world).await;
            self.end(disturbance, world, client).await;
        }
        if goes_on {
            self.lasting = Some(self.begin(world, client).await);
        }
    }

    async fn begin(&mut self, world: &World, client: &Client) -> Disturbance {
        let all = self.redis.disturbances();
        let disturbance = all[self.begun % all.len()];
        self.begun += 1;
        block_in_place(|| self.redis.disturb(disturbance));
        if disturbance.hides_all() {
            let asked =
                self.questions.iter().map(|question| is_shared_hit(world, client, question));
            let hits = join_all(asked).await.into_iter().filter(|hit| *hit).count();
            // A write from before may have arrived late.
            assert!(hits <= QUESTIONS / 4, "{disturbance:?}: {hits} of {QUESTIONS} were found");
        }
        disturbance
    }

    /// Waits while the load goes on under the disturbance.
    async fn wait(&self, world: &World) {
        let (began, before) = (Instant::now(), get(&world.tally.answers));
        eventually("answers are given meanwhile", async || {
            let given = get(&world.tally.answers) - before;
            (given >= ANSWERS && began.elapsed() >= self.lasts).then_some(())
        })
        .await;
    }

    async fn end(&mut self, disturbance: Disturbance, world: &World, client: &Client) {
        eventually("Redis is back", async || {
            let is_back = block_in_place(|| self.redis.come_back(disturbance));
            // Behind the memory, it may be that nothing has changed that could be put back.
            (is_back || !self.is_read).then_some(())
        })
        .await;
        let took = self.hits_again(world, client).await;
        println!("{disturbance:?}: shared hits {took:.1?} after its end");
        assert!(took < BACK_WITHIN, "{disturbance:?}: shared hits only {took:?} after its end");
        block_in_place(|| self.redis.repair(disturbance));
        add(&world.tally.disturbances);
        if self.is_read {
            let before = get(&world.tally.shared_hits);
            eventually("readers get answers of the shared tier", async || {
                (get(&world.tally.shared_hits) > before).then_some(())
            })
            .await;
        }
    }

    /// Asserts that everything has happened, under a load that asked the tier.
    pub(super) fn assert_covered(&self, tally: &Tally) {
        let all = self.redis.disturbances().len() as u64;
        assert!(get(&tally.disturbances) >= all, "not everything has happened\n{tally}");
        assert!(get(&tally.shared_hits) > 0, "there were no shared hits\n{tally}");
    }

    /// Asks each question until its answer comes from the shared tier. Returns how long that took.
    async fn hits_again(&self, world: &World, client: &Client) -> Duration {
        let began = Instant::now();
        let asked = self.questions.iter().map(|question| {
            eventually("a shared hit", async || {
                is_shared_hit(world, client, question).await.then_some(())
            })
        });
        join_all(asked).await;
        began.elapsed()
    }
}

/// Asks a question, and returns whether the answer comes from the shared tier.
async fn is_shared_hit(world: &World, client: &Client, question: &Arc<Question>) -> bool {
    let way = Way { demanded: None, with_chain: false, by_query: false, cached: true };
    let answer = answer_to(world, client, question, way).await.expect("the server runs");
    answer.header("cache-status").ends_with("; detail=shared")
}
