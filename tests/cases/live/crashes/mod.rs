//! A server that ends while plugins are pushed, deployed, rolled back and removed has the old or the new when it is
//! started again, and everything that it has acknowledged.
//!
//! It is killed during each kind of change, or as often as `WEIR_CRASHES` says. Then (`cargo xtask soak crashes`) it
//! also dies at each point of the way of a change (`weir_core::crash`). What it has afterwards is looked at from
//! outside: over HTTP, and in its folder ([`found`]), and compared with what it has answered ([`known`]). What the
//! stores alone leave behind is tested in `host/store/tests/crashes.rs`. Out of scope: a loss of power.

mod found;
mod known;

use std::collections::BTreeMap;
use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use self::known::{Change, Kind, Known};
use super::*;
use crate::harness::{Config, Program};

/// The points of the way of a change, and how many passes of each are tried: of the commits, those of each kind of
/// change and of its line of the audit log.
const POINTS: [(&str, u64); 7] = [
    ("plugin-created", 4),
    ("plugin-written", 4),
    ("plugin-renamed", 4),
    ("plugin-stored", 4),
    ("plugin-removed", 4),
    ("before-system-commit", 30),
    ("after-system-commit", 30),
];
/// How long a change takes of which none has been made yet.
const AT_FIRST: Duration = Duration::from_millis(100);
/// A server is killed at up to so many times as long as the change took last.
const LATEST: f64 = 1.2;
/// Multiples of the golden ratio are spread evenly, and repeat nothing.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// How changes have ended that a server did not answer.
#[derive(Default)]
struct Ends(BTreeMap<String, u64>);

impl Ends {
    fn add(&mut self, begun: Option<&Change>, is_new: bool) {
        let end = match begun {
            None => "between two changes".to_owned(),
            Some(change) if is_new => format!("{:?}: the new", change.kind()),
            Some(change) => format!("{:?}: the old", change.kind()),
        };
        *self.0.entry(end).or_default() += 1;
    }
}

fn configure(config: &mut Config) {
    config.set("plugins.grants.settings", true).policy("default", &plugin("policy-default"));
}

/// A server with two deployments of a pipeline, so that it can be rolled back.
async fn prepared(program: Program) -> (Server, Known) {
    let server = Server::running(program, configure).await;
    let policy = default_policy(&server).await;
    let mut known = Known::new(found::state(&server).await, policy);
    for change in [Kind::Swap, Kind::Upload, Kind::Deploy, Kind::Upload, Kind::Deploy] {
        let change = known.change(change);
        let answer = Answer::to(change.request(&server.admin, &server.admin_token())).await;
        known.answered(change, &answer);
    }
    (server, known)
}

/// Has a server make changes until it is gone. It is killed during the next change of a kind, at this part of its
/// time, or dies by itself.
async fn work(server: &mut Server, known: &mut Known, kill: Option<(Kind, f64)>) {
    let (client, token) = (server.admin.clone(), server.admin_token());
    loop {
        let change = known.next();
        let kind = change.kind();
        let request = Answer::try_to(change.request(&client, &token));
        known.begun = Some(change.clone());
        let began = Instant::now();
        let (answer, killed) = match kill.filter(|(of, _)| *of == kind) {
            Some((_, part)) => {
                let at = known.took.get(&kind).unwrap_or(&AT_FIRST).mul_f64(part * LATEST);
                let killed = async {
                    tokio::time::sleep(at).await;
                    server.kill9().await;
                };
                (tokio::join!(request, killed).0, true)
            }
            None => (request.await, false),
        };
        let Ok(answer) = answer else { return };
        known.took.insert(kind, began.elapsed());
        known.answered(change, &answer);
        if killed {
            return;
        }
    }
}

/// Starts a server again and compares what it has with what the one before has answered.
async fn again(server: Server, program: Program, known: &mut Known, ends: &mut Ends) -> Server {
    let server = server.replaced_by(program).await;
    let begun = known.begun.take();
    let found = found::state(&server).await;
    let mut is_new = false;
    if found != known.state {
        let change = begun.clone().unwrap_or_else(|| panic!("{found:?}\n{:?}", known.state));
        let revision = found.last_revision();
        let new = known.state.after(&change, revision);
        assert!(found == new, "{change:?}\n{found:?}\nold: {:?}\nnew: {new:?}", known.state);
        let is_deployed = !matches!(change.kind(), Kind::Upload | Kind::Remove);
        assert_eq!(revision > known.state.last_revision(), is_deployed, "{change:?} {found:?}");
        (known.state, is_new) = (new, true);
    }
    ends.add(begun.as_ref(), is_new);
    found::assert_served(&server, &known.state).await;
    found::assert_logged(&server, known.logged.as_ref()).await;
    found::assert_nothing_is_left(&server, known).await;
    server
}

fn rounds() -> Option<u64> {
    env::var("WEIR_CRASHES").ok().map(|crashes| crashes.parse::<u64>().unwrap().div_ceil(2))
}

/// A part of a round's time, which is another one in each round.
fn part(round: u64) -> f64 {
    (round as f64 * GOLDEN).fract()
}

fn report(what: &str, ends: &Ends, longest_start: Duration) {
    println!("{what}: {:?}; the longest start took {longest_start:?}", ends.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_during_a_change_has_the_old_or_the_new() {
    let (mut server, mut known) = prepared(Program::Shipped).await;
    let (mut ends, mut longest) = (Ends::default(), Duration::ZERO);
    for round in 0..rounds().unwrap_or(Kind::ALL.len() as u64) {
        let kind = Kind::ALL[round as usize % Kind::ALL.len()];
        work(&mut server, &mut known, Some((kind, part(round)))).await;
        let began = Instant::now();
        server = again(server, Program::Shipped, &mut known, &mut ends).await;
        longest = longest.max(began.elapsed());
    }
    report("killed", &ends, longest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak crashes"]
async fn a_server_that_dies_at_a_point_of_a_change_has_the_old_or_the_new() {
    let (mut server, mut known) = prepared(Program::Faulty(None)).await;
    let (mut ends, mut longest) = (Ends::default(), Duration::ZERO);
    for round in 0..rounds().unwrap_or(POINTS.len() as u64) {
        let (point, passes) = POINTS[round as usize % POINTS.len()];
        let passed = (part(round) * passes as f64) as u64;
        server.kill9().await;
        server = server.replaced_by(Program::Dying(format!("{point}:{passed}").leak())).await;
        work(&mut server, &mut known, None).await;
        let status = server.wait().await;
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{point}:{passed}: {}", server.log());
        let began = Instant::now();
        server = again(server, Program::Faulty(None), &mut known, &mut ends).await;
        longest = longest.max(began.elapsed());
    }
    report("died", &ends, longest);
}
