//! The readers. They ask hot questions again and again, cold ones from several connections at
//! once, and random ones, each as often as the shares of hits and followers need.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;

use super::log::Record;
use super::position::{Position, Stated};
use super::question::Question;
use super::tally::{Kind, Tally, add};
use super::words::Rng;
use super::world::World;
use super::writers::gone;
use crate::harness::{Answer, Client};

/// How often a hot question is asked in succession.
const REPEATS: usize = 12;
/// Connections that ask the same cold question at once.
const BURST: usize = 6;
/// The shares to aim at, in percent of all answers.
const HITS: f64 = 45.0;
const FOLLOWERS: f64 = 9.0;

/// Asks until the world stops or the server is gone.
pub(super) async fn read(world: Arc<World>, client: Client, mut rng: Rng) {
    let mut up = true;
    while up && !world.stop.load(Ordering::Relaxed) {
        let tally = &world.tally;
        // Some of each are asked at any time.
        let choice = match rng.below(10) {
            0 => 0,
            1 => 1,
            2 => 2,
            _ if tally.share(&tally.followers) < FOLLOWERS => 0,
            _ if tally.share(&tally.hits) < HITS => 1,
            _ => 2,
        };
        up = match choice {
            0 => burst(&world, &client, &mut rng).await,
            1 => hot(&world, &client, &mut rng).await,
            _ => ask(&world, &client, &cold(&world, &mut rng), &mut rng).await,
        };
    }
}

fn cold(world: &World, rng: &mut Rng) -> Arc<Question> {
    let subject = rng.pick(&world.subjects).clone();
    Arc::new(Question::random(rng, subject))
}

async fn burst(world: &World, client: &Client, rng: &mut Rng) -> bool {
    let question = cold(world, rng);
    let asked = (0..BURST).map(|_| {
        let mut rng = rng.fork();
        let question = &question;
        async move { ask(world, client, question, &mut rng).await }
    });
    join_all(asked).await.into_iter().all(|up| up)
}

async fn hot(world: &World, client: &Client, rng: &mut Rng) -> bool {
    let question = rng.pick(&world.hot).clone();
    for _ in 0..REPEATS {
        if !ask(world, client, &question, rng).await {
            return false;
        }
    }
    true
}

/// Asks a question, sometimes with a demanded position, and takes note of the answer. Returns
/// whether the server is up.
pub(super) async fn ask(
    world: &World,
    client: &Client,
    question: &Arc<Question>,
    rng: &mut Rng,
) -> bool {
    let demanded = rng.chance(15).then(|| world.ledger.known()).flatten();
    let way = Way {
        demanded,
        with_chain: rng.chance(50),
        by_query: rng.chance(10),
        cached: !rng.chance(8),
    };
    ask_by(world, client, question, way).await
}

/// How a question is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// `Weir-Min-Position`.
    pub(super) demanded: Option<Position>,
    /// With the chain value of the demanded position.
    pub(super) with_chain: bool,
    /// By QUERY instead of POST.
    pub(super) by_query: bool,
    /// Of a pipeline with a policy.
    pub(super) cached: bool,
}

/// The same in one way.
pub(super) async fn ask_by(
    world: &World,
    client: &Client,
    question: &Arc<Question>,
    way: Way,
) -> bool {
    answer_to(world, client, question, way).await.is_some()
}

/// The same. Returns the answer, or `None` if the server is gone.
pub(super) async fn answer_to(
    world: &World,
    client: &Client,
    question: &Arc<Question>,
    Way { demanded, with_chain, by_query, cached }: Way,
) -> Option<Answer> {
    let path = format!("/v1/pipelines/{}", question.pipeline(cached));
    let method = if by_query { "QUERY" } else { "POST" };
    let mut request = client.request(method, &path).header("content-type", "application/json");
    if let Some(position) = demanded {
        let value = if with_chain { position.demand() } else { position.at.to_string() };
        request = request.header("weir-min-position", value);
    }
    let began = world.ledger.begin(&question.collections);
    let Ok(answer) = Answer::try_to(request.body(question.body().to_string())).await else {
        gone(world, "a question");
        return None;
    };
    let code = if answer.status == 200 { String::new() } else { code(&answer) };
    add(&world.tally.answers);
    match (answer.status, code.as_str()) {
        (200, _) => {
            world.tally.obtained(&answer);
            world.will_ask(question);
            if demanded.is_some() {
                add(&world.tally.demanding);
            }
        }
        (404, "unknown-collection") => add(&world.tally.absent),
        (503, code) if !code.is_empty() => {
            // A demand that comes before the index is as far may be refused.
            let late = demanded.is_some() && code == "position-not-reached";
            world.refused(if late { &world.tally.late } else { &world.tally.refused }, &answer);
            if code == "position-not-reached" && answer.header("retry-after").is_empty() {
                let text = format!("no Retry-After: {answer:?}");
                world.tally.violation(Kind::Form, text);
            }
            return Some(answer);
        }
        _ => {
            let text = format!("{} demanded {demanded:?}: {answer:?}", question.key());
            world.tally.violation(Kind::Failed, text);
            return Some(answer);
        }
    }
    match Stated::by(&answer) {
        Ok(stated) => {
            let (question, demanded) = (Arc::clone(question), demanded.map(|position| position.at));
            let answer = answer.clone();
            let record = Record { question, began, ended: 0, demanded, stated, answer };
            count_stated(&world.tally, &record);
            world.ledger.answered(record, &world.tally);
        }
        Err(text) => world.tally.violation(Kind::Form, format!("{text}: {answer:?}")),
    }
    Some(answer)
}

/// The code of a problem.
fn code(answer: &Answer) -> String {
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

/// What an answer stated, compared with what was known when its request began.
fn count_stated(tally: &Tally, record: &Record) {
    let names = record.question.collections.iter();
    let lowest = names.filter_map(|name| record.stated.of(name)).map(|p| p.at).min();
    if lowest.is_some_and(|lowest| lowest < record.began.known) {
        add(&tally.lagging);
    }
    if record.stated.is_split() {
        add(&tally.split);
    }
}
