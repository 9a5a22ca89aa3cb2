//! As many collections as the server allows, or almost: hurts if each has a cost that stays, or if
//! the work of one more grows with those that there are.

use anyhow::Result;
use reqwest::StatusCode;

use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::texts;
use crate::traffic::outcome;

/// The server allows 1,024 of a tenant.
const COLLECTIONS: u64 = 1_000;

fn name(number: u64) -> String {
    format!("crowd-{number}")
}

pub(super) async fn thousand(target: Target) -> Result<()> {
    target
        .crowd(4, async |target| {
            let number = texts::number();
            let name = name(number % COLLECTIONS);
            let collection = target.url(&format!("collections/{name}"));
            target.noted(target.http.put(&collection)).await;
            let write = target
                .http
                .post(format!("{collection}/documents"))
                .header("content-type", "application/x-ndjson")
                .body(texts::ndjson([texts::document(number)]));
            target.noted(write).await;
            target.post("pipelines/search", &texts::new_question(&name)).await;
        })
        .await
}

pub(super) async fn clear(target: Target) -> Result<()> {
    for number in 0..COLLECTIONS {
        let request = target.http.delete(target.url(&format!("collections/{}", name(number))));
        let outcome = outcome::send(request).await;
        let is_gone = outcome.status.is_some_and(|s| s.is_success() || s == StatusCode::NOT_FOUND);
        anyhow::ensure!(is_gone, "a collection could not be deleted: {}", outcome.label);
    }
    Ok(())
}
