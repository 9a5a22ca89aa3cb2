//! The records of uploaded plugins.

use super::*;
use crate::sqlite::system::plugins::insert;
use crate::system::MAX_VERSION_BYTES;

#[tokio::test]
async fn what_was_uploaded_is_listed_newest_first_after_reopening() {
    let mut f = Fixture::new().await;
    let plugins = [
        plugin("a"),
        UploadedPlugin { role: Role::Policy, uploaded_by: "bob".to_owned(), ..plugin("b") },
        // The wall clock decides nothing.
        UploadedPlugin { uploaded_unix_ms: 5, ..plugin("c") },
    ];
    for plugin in &plugins {
        assert!(f.store.add_plugin(plugin.clone()).await.unwrap());
    }
    f.reopen().await;
    let [a, b, c] = plugins;
    assert_eq!(f.store.plugin(b.digest).await.unwrap(), Some(b.clone()));
    assert_eq!(f.store.plugin(PluginDigest::of(b"d")).await.unwrap(), None);
    assert_eq!(f.store.plugins().await.unwrap(), [c, b, a]);
}

#[tokio::test]
async fn the_first_record_of_a_digest_stays() {
    let f = Fixture::new().await;
    assert!(f.store.add_plugin(plugin("a")).await.unwrap());
    let again = UploadedPlugin { uploaded_by: "bob".to_owned(), ..plugin("a") };
    assert!(!f.store.add_plugin(again).await.unwrap());
    assert_eq!(f.store.plugins().await.unwrap(), [plugin("a")]);
}

#[tokio::test]
async fn a_removed_plugin_can_be_uploaded_again() {
    let f = Fixture::new().await;
    f.store.add_plugin(plugin("a")).await.unwrap();
    assert!(f.store.remove_plugin(plugin("a").digest).await.unwrap());
    assert!(!f.store.remove_plugin(plugin("a").digest).await.unwrap());
    assert_eq!(f.store.plugins().await.unwrap(), []);
    assert!(f.store.add_plugin(plugin("a")).await.unwrap());
}

#[tokio::test]
async fn what_is_too_long_or_too_many_is_refused() {
    let f = Fixture::new().await;
    let version = "1".repeat(MAX_VERSION_BYTES + 1);
    let error = f.store.add_plugin(UploadedPlugin { version, ..plugin("a") }).await.unwrap_err();
    assert!(matches!(error, SystemError::TooLong { .. }), "{error}");

    let add = async |plugin| {
        f.store.write(move |connection| Box::pin(insert(connection, plugin, 2))).await
    };
    assert!(add(plugin("a")).await.unwrap() && add(plugin("b")).await.unwrap());
    let error = add(plugin("c")).await.unwrap_err();
    assert!(matches!(error, SystemError::TooManyPlugins { limit: 2 }), "{error}");
    assert!(!add(plugin("a")).await.unwrap(), "what is there needs no room");
    f.store.remove_plugin(plugin("a").digest).await.unwrap();
    assert!(add(plugin("c")).await.unwrap());
}
