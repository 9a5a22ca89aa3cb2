//! Every readable state against a model that remembers all of them, before and after trims.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// A tenant at a position: its collections, with the texts and versions of their documents, and
/// whether they are set aside.
type State = BTreeMap<&'static str, Documents>;
type Documents = BTreeMap<&'static str, (&'static str, u64, bool)>;

const COLLECTIONS: [&str; 2] = ["first", "second"];
const IDS: [&str; 4] = ["a", "b", "c", "d"];
const TEXTS: [&str; 3] = ["one", "two", "three"];

#[derive(Clone, Debug)]
enum Step {
    Create(&'static str),
    Drop(&'static str),
    Put(&'static str, BTreeMap<&'static str, &'static str>),
    Delete(&'static str, BTreeSet<&'static str>),
    /// Closes the file and opens it again.
    Restart,
    /// The version that the document has so many positions before the last one.
    SetAside(&'static str, &'static str, u64),
    /// Keeps the statistics of the rolls among the positions whose bit is set, and trims so many
    /// positions before the last one.
    Trim {
        kept: u64,
        behind: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let collection = || prop::sample::select(&COLLECTIONS[..]);
    let id = || prop::sample::select(&IDS[..]);
    let text = || prop::sample::select(&TEXTS[..]);
    prop_oneof![
        3 => collection().prop_map(Step::Create),
        1 => collection().prop_map(Step::Drop),
        8 => (collection(), prop::collection::btree_map(id(), text(), 1..4))
            .prop_map(|(collection, put)| Step::Put(collection, put)),
        3 => (collection(), prop::collection::btree_set(id(), 1..3))
            .prop_map(|(collection, ids)| Step::Delete(collection, ids)),
        3 => (collection(), id(), 0..3_u64)
            .prop_map(|(collection, id, behind)| Step::SetAside(collection, id, behind)),
        1 => Just(Step::Restart),
        2 => (any::<u64>(), any::<u64>(), 0..4_u64)
            .prop_map(|(a, b, behind)| Step::Trim { kept: a | b, behind }),
    ]
}

struct Run {
    truth: SqliteTruth,
    /// By position.
    states: Vec<State>,
    /// The epochs whose statistics are kept, if they are rolls.
    kept: BTreeSet<(&'static str, u64)>,
    trimmed: u64,
    folder: TempDir,
}

impl Run {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let truth = SqliteTruth::open(folder.path(), LIMITS).await.unwrap();
        Self { truth, states: vec![State::new()], kept: BTreeSet::new(), trimmed: 0, folder }
    }

    fn head(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// Does the step, and checks its answer.
    async fn step(&mut self, step: Step) {
        let mut state = self.states.last().unwrap().clone();
        let next = self.head() + 1;
        let answered = match step {
            Step::Create(collection) => {
                state.entry(collection).or_default();
                self.truth.create_collection(&name(collection)).await.unwrap().1
            }
            Step::Drop(collection) => {
                state.remove(collection);
                self.truth.drop_collection(&name(collection)).await.unwrap()
            }
            Step::Put(collection, put) => {
                let documents = put.iter().map(|(id, text)| document(id, text)).collect();
                let answer = self.truth.put(&name(collection), documents, None).await;
                let Some(stored) = state.get_mut(collection) else {
                    assert!(matches!(answer, Err(TruthError::UnknownCollection(_))));
                    return;
                };
                for (id, text) in put {
                    if stored.get(id).is_none_or(|(old, _, aside)| *old != text || *aside) {
                        stored.insert(id, (text, next, false));
                    }
                }
                let commit = answer.unwrap().commit;
                (position(commit) == next).then_some(commit)
            }
            Step::Delete(collection, ids) => {
                let gone = ids.iter().map(|id| doc(id)).collect();
                let answer = self.truth.delete(&name(collection), gone).await;
                let Some(stored) = state.get_mut(collection) else {
                    assert!(matches!(answer, Err(TruthError::UnknownCollection(_))));
                    return;
                };
                stored.retain(|id, _| !ids.contains(id));
                answer.unwrap()
            }
            Step::SetAside(collection, id, behind) => {
                return self.set_aside(collection, id, behind).await;
            }
            Step::Trim { kept, behind } => return self.trim(kept, behind).await,
            Step::Restart => return self.restart().await,
        };
        let changed = state != *self.states.last().unwrap();
        assert_eq!(answered.map(position), changed.then_some(next));
        if changed {
            self.states.push(state);
        }
    }

    async fn restart(&mut self) {
        self.truth.close().await;
        self.truth = SqliteTruth::open(self.folder.path(), LIMITS).await.unwrap();
    }

    async fn set_aside(&mut self, collection: &'static str, id: &'static str, behind: u64) {
        let at = self.head().saturating_sub(behind).max(self.trimmed);
        let known = |state: &State| state.get(collection)?.get(id).copied();
        let version = known(&self.states[usize::try_from(at).unwrap()]);
        let Some((text, version, aside)) = version else { return };
        let (of, document) = (name(collection), doc(id));
        let marked = self.truth.set_aside(&of, &document, Position(version), "why").await;
        let is_current = known(self.states.last().unwrap()) == Some((text, version, false));
        assert_eq!(position(marked.unwrap()), self.head() + u64::from(is_current));
        if aside {
            return;
        }
        // It is part of the version, at all of its positions.
        for state in &mut self.states {
            if known(state) == Some((text, version, false)) {
                state.get_mut(collection).unwrap().insert(id, (text, version, true));
            }
        }
        // The statistics of its collection, which may have been dropped since.
        let lives = |at: &u64| self.states[usize::try_from(*at).unwrap()].contains_key(collection);
        let end = (version..=self.head()).find(|at| !lives(at)).unwrap_or(u64::MAX);
        let trimmed = self.trimmed;
        self.kept.retain(|(of, epoch)| {
            *of != collection || *epoch <= trimmed || !(version..end).contains(epoch)
        });
        if is_current {
            self.states.push(self.states.last().unwrap().clone());
        }
    }

    async fn trim(&mut self, kept: u64, behind: u64) {
        for epoch in (0..=self.head()).filter(|epoch| (kept >> (epoch % 64)) & 1 == 1) {
            for collection in COLLECTIONS {
                let statistics = KeptStatistics { epoch: Position(epoch), encoded: vec![1] };
                self.truth.keep_statistics(&name(collection), statistics).await.unwrap();
                self.kept.insert((collection, epoch));
            }
        }
        let to = self.head().saturating_sub(behind);
        let reachable = (self.trimmed..=to).rev().find(|at| {
            let mut rolls = COLLECTIONS.iter().filter_map(|of| Some((*of, self.roll(of, *at)?)));
            rolls.all(|roll| self.kept.contains(&roll))
        });
        let trimmed = self.truth.trim(Position(to)).await.unwrap().position.0;
        assert_eq!(trimmed, reachable.unwrap_or(self.trimmed), "as far as possible");
        self.trimmed = trimmed;
    }

    /// The last roll of the collection that exists at the position. In collections as small as
    /// these, every change of a document rolls.
    fn roll(&self, collection: &str, at: u64) -> Option<u64> {
        let state = |at: u64| self.states[usize::try_from(at).unwrap()].get(collection);
        (1..=at)
            .rev()
            .take_while(|at| state(*at).is_some() && state(at - 1).is_some())
            .find(|at| state(*at) != state(at - 1))
    }

    async fn check(&self) {
        for at in self.trimmed..=self.head() {
            let state = &self.states[usize::try_from(at).unwrap()];
            let names = self.truth.collections_at(Position(at)).await.unwrap();
            assert!(names.iter().map(Name::as_str).eq(state.keys().copied()), "at {at}");
            for collection in COLLECTIONS {
                let scanned = self.scan(collection, at).await;
                assert_eq!(scanned.as_ref(), state.get(collection), "{collection} at {at}");
                let read = self.read(collection, &IDS, at).await;
                assert_eq!(read, scanned.unwrap_or_default(), "{collection} at {at}");
                let kept = self.truth.statistics_at(&name(collection), Position(at)).await.unwrap();
                let expected = self.roll(collection, at);
                let expected = expected.filter(|roll| self.kept.contains(&(collection, *roll)));
                assert_eq!(kept.map(|kept| kept.epoch.0), expected, "{collection} at {at}");
            }
        }
        for collection in COLLECTIONS {
            self.replay(collection).await;
        }
        self.check_counters().await;
        let now = self.states.last().unwrap();
        let marks = |documents: &Documents| documents.values().filter(|(.., aside)| *aside).count();
        let listed = self.truth.documents_set_aside(100).await.unwrap();
        assert_eq!(listed.documents, now.values().map(marks).sum::<usize>() as u64);
        assert_eq!(listed.first.len() as u64, listed.documents);
    }

    /// What the collections count themselves is what counting gives, and what the model has.
    async fn check_counters(&self) {
        let wrong: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM collections WHERE dropped IS NULL
               AND (documents, bytes, charged, chunks) IS NOT
                 (SELECT count(*), ifnull(sum(bytes), 0), ifnull(sum(charged), 0),
                    ifnull(sum(chunk_count), 0)
                  FROM documents WHERE collection = collections.key AND ended IS NULL)",
        )
        .fetch_all(&self.truth.shared.readers)
        .await
        .unwrap();
        assert_eq!(wrong, [""; 0], "differ from what counting gives");
        let now = self.states.last().unwrap();
        for collection in self.truth.collections().await.unwrap().0 {
            let documents = &now[collection.name.as_str()];
            // Each has the metadata `{}`.
            let bytes: usize = documents.values().map(|(text, ..)| text.len() + 2).sum();
            let expected = (documents.len() as u64, bytes as u64);
            assert_eq!((collection.documents, collection.bytes), expected, "{}", collection.name);
        }
    }

    /// Applies the log to the state that it begins after, and compares at every commit.
    async fn replay(&self, collection: &'static str) {
        let mut documents = self.scan(collection, self.trimmed).await;
        let after = Position(self.trimmed);
        let log = self.truth.log(&name(collection), after, u32::MAX).await.unwrap();
        for commit in log.chunk_by(|a, b| a.commit == b.commit) {
            let at = position(commit[0].commit);
            for change in commit {
                match &change.kind {
                    ChangeKind::CollectionCreated => documents = Some(Documents::new()),
                    ChangeKind::CollectionDeleted => documents = None,
                    ChangeKind::DocumentPut(id) => {
                        let read = self.read(collection, &[id.as_str()], at).await;
                        let is_marked = |of: &(_, u64, bool)| of.1 < at && of.2;
                        assert!(read.values().all(|of| of.1 == at || is_marked(of)));
                        documents.as_mut().unwrap().extend(read);
                    }
                    ChangeKind::DocumentDeleted(id) => {
                        assert!(documents.as_mut().unwrap().remove(id.as_str()).is_some());
                    }
                    ChangeKind::Rolled => assert_eq!(commit.last(), Some(change)),
                    ChangeKind::ModelChanged => panic!("the model was not changed"),
                }
            }
            let expected = self.states[usize::try_from(at).unwrap()].get(collection);
            assert_eq!(documents.as_ref(), expected, "{collection} at {at}");
        }
        let expected = self.states.last().unwrap().get(collection);
        assert_eq!(documents.as_ref(), expected, "{collection} has no later line");
    }

    /// In pages of two.
    async fn scan(&self, collection: &str, at: u64) -> Option<Documents> {
        let mut all = Documents::new();
        let mut after = None;
        loop {
            let (name, at) = (name(collection), Position(at));
            let page = self.truth.scan(&name, at, after.as_ref(), 2).await.unwrap()?;
            let Some(last) = page.last() else { return Some(all) };
            after = Some(last.id.clone());
            all.extend(page.iter().map(known));
        }
    }

    async fn read(&self, collection: &str, ids: &[&str], at: u64) -> Documents {
        let ids: Vec<_> = ids.iter().map(|id| doc(id)).collect();
        let read = self.truth.documents_at(&name(collection), &ids, Position(at)).await.unwrap();
        read.iter().map(known).collect()
    }
}

/// A document in the model's words.
fn known(document: &crate::Document) -> (&'static str, (&'static str, u64, bool)) {
    let one_of = |all: &[&'static str], text: &str| *all.iter().find(|one| **one == text).unwrap();
    let text = one_of(&TEXTS, &document.text);
    (one_of(&IDS, document.id.as_str()), (text, document.version.0, document.set_aside.is_some()))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_readable_state_is_what_it_was(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in steps {
                let check = matches!(step, Step::Trim { .. } | Step::Restart);
                run.step(step).await;
                if check {
                    run.check().await;
                }
            }
            run.check().await;
            let backlog = run.truth.backlog_bytes();
            run.restart().await;
            assert_eq!(run.truth.backlog_bytes(), backlog, "measured again");
            run.check().await;
        });
    }
}
