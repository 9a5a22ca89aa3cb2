//! Documents that cannot be embedded: set aside alone, the same in every index, and tried again.

use super::*;

impl Fixture {
    fn mend(&self, mended: bool) {
        self.model.mended.store(mended, Ordering::Relaxed);
    }

    /// What is set aside, and why.
    async fn aside(&self) -> Vec<String> {
        let all = self.truth.documents_set_aside(100).await.unwrap();
        all.first
            .iter()
            .map(|one| format!("{}/{}: {}", one.collection, one.id, one.reason))
            .collect()
    }

    /// Waits until everything is searchable, the marks that are made meanwhile included.
    async fn settled(&self, catch_up: &CatchUp) {
        self.caught_up(catch_up).await;
        self.caught_up(catch_up).await;
    }

    /// Lets the truth forget its history.
    async fn trim(&self) {
        let trimming = Settings { trim_every: Duration::from_millis(1), ..NEVER };
        let catch_up = self.start_with(trimming).await;
        let head = self.truth.head().await.unwrap();
        while self.truth.trimmed().await.unwrap() < head {
            tokio::task::yield_now().await;
        }
        catch_up.stop().await;
    }
}

/// The documents of `docs` that a keyword search finds.
async fn found(catch_up: &CatchUp, keyword: &str) -> Vec<String> {
    let view = catch_up.progress().view();
    let query = Query {
        nearest: None,
        text: Some(keyword.into()),
        filter: None,
        minimum_score: None,
        unit: Unit::Document,
        limit: 60,
        offset: 0,
    };
    let snapshot = view.snapshot(&name("docs")).unwrap();
    let hits = snapshot.search(query, later(), &account()).await.unwrap();
    hits.iter().map(|hit| hit.document.to_string()).collect()
}

#[tokio::test]
async fn a_document_that_cannot_be_embedded_is_set_aside_alone() {
    let f = Fixture::new().await;
    f.create("other").await;
    let catch_up = f.start().await;
    let mut documents: Vec<_> =
        (0..50).map(|i| document(&format!("good{i:02}"), "wing flow")).collect();
    let invalid = "the embedder returned a vector that is not one of 2 finite numbers";
    let kinds = [
        ("fails", "wing bad?", "the model failed: a bad text"),
        ("infinite", "bad% wing", invalid),
        ("long", "bad^ wing", invalid),
        ("missing", "bad& wing", "the embedder returned 1 vectors for 2 texts"),
        ("panics", "wing bad#", "the embedder panicked"),
    ];
    documents.splice(20..20, kinds.map(|(id, text, _)| document(id, text)));
    f.put("docs", documents).await;
    f.put("docs", vec![document("behind", "wing")]).await;
    f.put("other", vec![document("a", "wing?"), document("b", "wing")]).await;
    f.settled(&catch_up).await;

    let mut expected = kinds.map(|(id, _, reason)| format!("docs/{id}: {reason}")).to_vec();
    expected.push("other/a: the model failed: a bad text".into());
    assert_eq!(f.aside().await, expected);
    let found = found(&catch_up, "wing").await;
    assert_eq!(found.len(), 51);
    assert!(found.iter().all(|id| id.starts_with("good") || id == "behind"), "{found:?}");
    // The others exist, with their texts: `settled` has compared them.
    let view = catch_up.progress().view();
    assert_eq!(view.snapshot(&name("docs")).unwrap().documents(), 56);
}

#[tokio::test]
async fn nothing_is_set_aside_while_the_embedder_is_broken_or_busy() {
    for (mood, error) in [
        (Mood::Fails, "'docs': the model failed: told to"),
        (Mood::Panics, "'docs': the embedder panicked"),
        (Mood::Refuses, "'docs': the embedding queue is full"),
    ] {
        let f = Fixture::new().await;
        f.set_mood(mood);
        f.put("docs", vec![document("a", "text!"), document("b", "text")]).await;
        let catch_up = f.start().await;
        // More calls than a document would be tried, with as many of the probe.
        f.model.asked.subscribe().wait_for(|asked| *asked >= 8).await.unwrap();
        assert_eq!(catch_up.status().last_error.as_deref(), Some(error));
        f.set_mood(Mood::Works);
        f.settled(&catch_up).await;
        assert_eq!(f.aside().await, [""; 0], "{mood:?}");
        assert_eq!(found(&catch_up, "text").await, ["a", "b"]);
    }
}

#[tokio::test]
async fn it_is_tried_again_when_it_is_written_again() {
    let f = Fixture::new().await;
    let catch_up = f.start().await;
    f.put_one("a", "wing?").await;
    f.settled(&catch_up).await;
    assert_eq!(f.aside().await.len(), 1);
    f.put_one("a", "wing?").await;
    f.settled(&catch_up).await;
    assert_eq!(f.aside().await.len(), 1, "it still cannot be embedded");
    f.mend(true);
    f.put_one("a", "wing?").await;
    f.settled(&catch_up).await;
    assert_eq!(f.aside().await, [""; 0]);
    assert_eq!(found(&catch_up, "wing").await, ["a"]);

    f.mend(false);
    f.put_one("b", "wing?").await;
    f.settled(&catch_up).await;
    assert_eq!(f.aside().await.len(), 1);
    f.delete_one("b").await;
    f.settled(&catch_up).await;
    assert_eq!(f.aside().await, [""; 0]);
}

#[tokio::test]
async fn every_index_gives_the_same_answers_whether_or_not_it_could_embed_them() {
    let mut f = Fixture::new().await;
    let catch_up = f.start_with(Settings { page_lines: 3, ..NEVER }).await;
    f.random_history(7).await;
    f.put_one("bad1", "oakazaba? obkbzbbb").await;
    f.put_one("bad2", "ockczcbc% obkazaba").await;
    f.settled(&catch_up).await;
    f.random_history(9).await;
    f.settled(&catch_up).await;
    assert_eq!(f.aside().await.len(), 2);
    let first = hits(&catch_up).await;
    catch_up.stop().await;
    f.mend(true);
    for page_lines in [1, 64, 10_000] {
        f = f.with_empty_store();
        let catch_up = f.start_with(Settings { page_lines, ..NEVER }).await;
        f.caught_up(&catch_up).await;
        assert_eq!(hits(&catch_up).await, first, "pages of {page_lines}");
        catch_up.stop().await;
    }
    f.trim().await;
    f = f.with_empty_store();
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    assert_eq!(hits(&catch_up).await, first, "scanned, because the history is trimmed");
}

#[tokio::test]
async fn an_index_that_could_embed_it_is_not_contradicted() {
    for trims in [false, true] {
        let f = Fixture::new().await;
        f.mend(true);
        f.put_one("a", "wing?").await;
        let answered = f.put_one("b", "wing").await;
        let catch_up = f.start().await;
        f.caught_up(&catch_up).await;
        assert_eq!(found(&catch_up, "wing").await, ["a", "b"]);
        catch_up.stop().await;
        if trims {
            f.trim().await;
        }

        f.mend(false);
        let f = f.with_empty_store();
        let catch_up = f.start().await;
        f.settled(&catch_up).await;
        assert_eq!(found(&catch_up, "wing").await, ["b"]);
        let required = catch_up.progress().view().required();
        assert!(required > answered.position, "no answer is stated where there was another");
        assert_eq!(required, f.truth.head().await.unwrap().position, "but from the mark on");
    }
}
