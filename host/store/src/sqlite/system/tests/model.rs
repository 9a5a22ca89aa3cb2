//! Any sequence of changes against a model that remembers all of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::system::KEPT_HISTORY;

const NAMES: [&str; 2] = ["first", "second"];
const SPECS: [&str; 3] = ["1", "2", "3"];

/// What something is deployed as.
type Place = (Role, &'static str);

/// A revision, and what it deployed, unless it was a removal.
type Entry = (u64, Option<&'static str>);

/// What a step expects, relative to what is current then.
#[derive(Clone, Copy, Debug)]
enum Expecting {
    Any,
    Absent,
    Current,
    /// A revision so many before the current one.
    Stale(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Deploy(Role, &'static str, &'static str, Expecting),
    Undeploy(Role, &'static str, Expecting),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let role = || prop::sample::select(&[Role::Pipeline, Role::Policy][..]);
    let name = || prop::sample::select(&NAMES[..]);
    let spec = || prop::sample::select(&SPECS[..]);
    let expecting = || {
        prop_oneof![
            3 => Just(Expecting::Any),
            1 => Just(Expecting::Absent),
            3 => Just(Expecting::Current),
            1 => (1..3_u64).prop_map(Expecting::Stale),
        ]
    };
    prop_oneof![
        8 => (role(), name(), spec(), expecting())
            .prop_map(|(role, name, spec, expecting)| Step::Deploy(role, name, spec, expecting)),
        3 => (role(), name(), expecting())
            .prop_map(|(role, name, expecting)| Step::Undeploy(role, name, expecting)),
        1 => Just(Step::Restart),
    ]
}

/// What the store must know.
#[derive(Default)]
struct Model {
    last: u64,
    /// Oldest first.
    history: BTreeMap<Place, Vec<Entry>>,
}

impl Model {
    fn current(&self, place: Place) -> Option<u64> {
        let (revision, spec) = self.history.get(&place)?.last()?;
        spec.map(|_| *revision)
    }

    fn expected(&self, place: Place, expecting: Expecting) -> Expected {
        let current = self.current(place);
        match expecting {
            Expecting::Any => Expected::Any,
            Expecting::Absent => Expected::Absent,
            Expecting::Current => current.map_or(Expected::Absent, Expected::Revision),
            Expecting::Stale(by) => Expected::Revision(current.unwrap_or(9).saturating_sub(by)),
        }
    }

    /// Whether what is current is what is expected.
    fn allows(&self, place: Place, expected: Expected) -> bool {
        match expected {
            Expected::Any => true,
            Expected::Absent => self.current(place).is_none(),
            Expected::Revision(revision) => self.current(place) == Some(revision),
        }
    }

    fn change(&mut self, place: Place, spec: Option<&'static str>) -> u64 {
        self.last += 1;
        self.history.entry(place).or_default().push((self.last, spec));
        self.last
    }
}

struct Run {
    f: Fixture,
    model: Model,
}

impl Run {
    async fn step(&mut self, step: Step) {
        let Self { f, model } = self;
        match step {
            Step::Deploy(role, text, spec, expecting) => {
                let place = (role, text);
                let expected = model.expected(place, expecting);
                let deployed = f.store.deploy(role, &name(text), spec, expected, "a").await;
                match model.allows(place, expected) {
                    true => assert_eq!(deployed.unwrap(), model.change(place, Some(spec))),
                    false => assert_eq!(conflict(deployed), model.current(place)),
                }
            }
            Step::Undeploy(role, text, expecting) => {
                let place = (role, text);
                let expected = model.expected(place, expecting);
                let removed = f.store.undeploy(role, &name(text), expected, "a").await;
                if model.allows(place, expected) {
                    let revision = model.current(place).map(|_| model.change(place, None));
                    assert_eq!(removed.unwrap(), revision);
                } else {
                    assert_eq!(conflict(removed), model.current(place));
                }
            }
            Step::Restart => f.reopen().await,
        }
    }

    async fn check(&self) {
        let (deployed, last) = self.f.store.deployed().await.unwrap();
        assert_eq!(last, self.model.last);
        let mut expected = Vec::new();
        for ((role, text), history) in &self.model.history {
            let newest_first: Vec<_> =
                history.iter().rev().map(|(at, spec)| (*at, spec.map(str::to_owned))).collect();
            let read = self.f.store.history(*role, &name(text), KEPT_HISTORY).await.unwrap();
            let read: Vec<_> = read.into_iter().map(|entry| (entry.revision, entry.spec)).collect();
            assert_eq!(read, newest_first, "{role} {text}");
            let (revision, spec) = &newest_first[0];
            if let Some(spec) = spec {
                expected.push((*role, name(text), *revision, spec.clone()));
            }
            let previous = newest_first[1..].iter().find(|(_, old)| old.is_some() && old != spec);
            let read = self.f.store.previous(*role, &name(text)).await.unwrap();
            let read = read.map(|deployment| (deployment.revision, Some(deployment.spec)));
            assert_eq!(read, previous.cloned());
        }
        let deployed: Vec<_> =
            deployed.into_iter().map(|d| (d.role, d.name, d.revision, d.spec)).collect();
        assert_eq!(deployed, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_deployed_is_what_was_deployed_last(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run { f: Fixture::new().await, model: Model::default() };
            for step in steps {
                let check = matches!(step, Step::Restart);
                run.step(step).await;
                if check {
                    run.check().await;
                }
            }
            run.check().await;
        });
    }
}
