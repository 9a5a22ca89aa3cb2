//! Following, rebuilding, failing and recovering.

use super::*;

#[tokio::test]
async fn an_empty_store_gets_everything_and_then_follows() {
    let f = Fixture::new().await;
    f.put("docs", vec![document("a", "one two three"), document("blank", "")]).await;
    let many = (0..200).map(|i| document(&format!("m{i}"), &format!("w{i} x{i}"))).collect();
    f.put("docs", many).await;
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;

    f.put_one("a", "four").await;
    f.caught_up(&catch_up).await;
    f.delete_one("m7").await;
    f.put_one("late", "five six").await;
    f.caught_up(&catch_up).await;
    f.drop_collection("docs").await;
    f.create("other").await;
    f.caught_up(&catch_up).await;
    f.create("docs").await;
    f.put_one("a", "new").await;
    f.caught_up(&catch_up).await;
    // The same for an empty store, which gets all of it in other pages.
    let f = f.with_empty_store();
    f.caught_up(&*f.start().await).await;
}

#[tokio::test]
async fn it_continues_from_the_stores_position() {
    let f = Fixture::new().await;
    f.put_one("a", "before").await;
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    catch_up.stop().await;
    f.put_one("b", "after").await;
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    assert_eq!((f.embedded("before"), f.embedded("after")), (1, 1));
}

#[tokio::test]
async fn what_is_superseded_within_a_page_is_not_embedded() {
    let f = Fixture::new().await;
    f.put("docs", vec![document("a", "old"), document("b", "gone"), document("c", "stays")]).await;
    f.put_one("a", "new").await;
    f.delete_one("b").await;
    f.create("dropped").await;
    f.put("dropped", vec![document("a", "dropped")]).await;
    f.drop_collection("dropped").await;
    // One roll a commit, so they are one page only because the last roll ends it.
    f.caught_up(&*f.start().await).await;
    let texts = ["old", "gone", "dropped", "new", "stays"].map(|text| f.embedded(text));
    assert_eq!(texts, [0, 0, 0, 1, 1]);
}

#[tokio::test]
async fn page_sizes_rebuilding_and_trimming_change_no_answer() {
    let f = Fixture::new().await;
    f.random_history(7).await;
    let mut f = f;
    let mut answers = Vec::new();
    for page_lines in [1, 7, 64, 10_000] {
        f = f.with_empty_store();
        let catch_up = f.start_with(Settings { page_lines, ..NEVER }).await;
        f.caught_up(&catch_up).await;
        answers.push(hits(&catch_up).await);
        catch_up.stop().await;
    }
    // Trims, then goes on, so that there is something to trim and something behind it.
    let trimming = Settings { trim_every: Duration::from_millis(1), ..NEVER };
    let catch_up = f.start_with(trimming).await;
    let head = f.truth.head().await.unwrap();
    while f.truth.trimmed().await.unwrap() < head {
        tokio::task::yield_now().await;
    }
    catch_up.stop().await;
    let first = answers.first().cloned().unwrap();
    assert!(answers.iter().all(|other| *other == first), "page sizes matter");
    f = f.with_empty_store();
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    assert_eq!(hits(&catch_up).await, first, "rebuilt from where the log begins");
    catch_up.stop().await;
    f.random_history(9).await;
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    let followed = hits(&catch_up).await;
    catch_up.stop().await;
    f = f.with_empty_store();
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    assert_eq!(hits(&catch_up).await, followed, "rebuilt, and then followed the log");
}

#[tokio::test]
async fn it_recovers_from_an_embedder_that_fails_or_panics() {
    for (mood, message) in [
        (Mood::Fails, "'docs': the model failed: told to"),
        (Mood::Panics, "'docs': the embedder panicked"),
    ] {
        let f = Fixture::new().await;
        f.set_mood(mood);
        let catch_up = f.start().await;
        let failing = f.put_one("a", "text!").await;
        // The document, the probe, and the document again: the first failure has been recorded.
        f.model.asked.subscribe().wait_for(|asked| *asked >= 3).await.unwrap();
        assert_eq!(catch_up.status().last_error.as_deref(), Some(message));
        // Other collections go on.
        f.create("other").await;
        let other = f.put("other", vec![document("b", "text")]).await;
        let view = catch_up.progress().wait_for(|view| view.applied(&name("other")) >= other).await;
        assert!(view.applied(&name("docs")) < failing);
        f.set_mood(Mood::Works);
        f.caught_up(&catch_up).await;
    }
}

#[tokio::test]
async fn it_recovers_from_a_store_that_fails() {
    let f = Fixture::new().await;
    f.store.broken.store(true, Ordering::Relaxed);
    f.put_one("a", "text!").await;
    let catch_up = f.start().await;
    f.model.asked.subscribe().wait_for(|asked| *asked >= 2).await.unwrap();
    let error = catch_up.status().last_error;
    assert_eq!(error.as_deref(), Some("'docs': the vector store failed: disk full"));
    f.store.broken.store(false, Ordering::Relaxed);
    f.caught_up(&catch_up).await;
}

#[tokio::test]
async fn it_stops_while_the_embedder_hangs() {
    let f = Fixture::new().await;
    f.set_mood(Mood::Hangs);
    f.put_one("a", "text!").await;
    let catch_up = f.start().await;
    f.model.asked.subscribe().wait_for(|asked| *asked >= 1).await.unwrap();
    catch_up.stop().await;
    catch_up.stop().await;
    f.set_mood(Mood::Works);
    f.caught_up(&*f.start().await).await;
}

#[tokio::test]
async fn a_store_of_another_history_is_rebuilt() {
    // Another truth, whose positions the store has: one that is as far, and one that is not.
    for commits in [1, 9] {
        let f = Fixture::new().await;
        for i in 0..4 {
            f.put_one("a", &format!("text{i}")).await;
        }
        f.caught_up(&*f.start().await).await;
        let other = Fixture { store: Arc::clone(&f.store), ..Fixture::new().await };
        for i in 0..commits {
            other.put_one("b", &format!("other{i}")).await;
        }
        let catch_up = other.start().await;
        // Answers may have been given that stated the head.
        let head = other.truth.head().await.unwrap();
        assert_eq!(catch_up.progress().view().required(), head.position);
        other.caught_up(&catch_up).await;
    }
}

#[tokio::test]
async fn after_a_restart_no_position_is_before_one_that_was_stated() {
    let f = Fixture::new().await;
    f.create("other").await;
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    // `docs` is idle while `other` changes, and is stated at the head.
    let stated = f.put("other", vec![document("a", "text")]).await;
    f.caught_up(&catch_up).await;
    assert_eq!(catch_up.progress().view().applied(&name("docs")), stated);
    catch_up.stop().await;
    // It lags when the next process starts, and its next line is after that.
    f.set_mood(Mood::Hangs);
    f.put_one("b", "text!").await;
    let catch_up = f.start().await;
    assert_eq!(catch_up.progress().view().applied(&name("docs")), stated);
    f.set_mood(Mood::Works);
    catch_up.stop().await;
}
