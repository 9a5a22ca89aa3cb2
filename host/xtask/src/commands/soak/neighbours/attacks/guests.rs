//! Guests that misbehave, from `tests/guests/`. Each ends its own request; what is measured is what
//! others notice until it does.

use anyhow::Result;
use serde_json::json;

use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::texts;

/// Texts of one request; the guest embeds all of them at the same time.
const TEXTS: u64 = 1_000;
const HUGE: u64 = 32 << 20;

pub(super) async fn loop_forever(target: Target) -> Result<()> {
    target.crowd(64, async |target| ask(&target, "loop-forever").await).await
}

pub(super) async fn every_slot(target: Target) -> Result<()> {
    target.crowd(300, async |target| ask(&target, "loop-forever").await).await
}

pub(super) async fn allocate_forever(target: Target) -> Result<()> {
    target.crowd(64, async |target| ask(&target, "allocate-forever").await).await
}

pub(super) async fn recurse(target: Target) -> Result<()> {
    target.crowd(16, async |target| ask(&target, "recurse").await).await
}

pub(super) async fn trap(target: Target) -> Result<()> {
    target.crowd(32, async |target| ask(&target, "trap").await).await
}

pub(super) async fn many_calls(target: Target) -> Result<()> {
    target
        .crowd(16, async |target| {
            let texts: Vec<String> = (0..TEXTS).map(|_| texts::new_text(8)).collect();
            target.post("pipelines/many-calls", &json!({ "texts": texts })).await;
        })
        .await
}

pub(super) async fn huge_answer(target: Target) -> Result<()> {
    target
        .crowd(16, async |target| {
            target.post("pipelines/huge-answer", &json!({ "bytes": HUGE })).await;
        })
        .await
}

pub(super) async fn log_flood(target: Target) -> Result<()> {
    target
        .crowd(16, async |target| {
            let body = json!({ "attack": "logs", "number": texts::number() });
            target.post("pipelines/attacks", &body).await;
        })
        .await
}

async fn ask(target: &Target, pipeline: &str) {
    target.post(&format!("pipelines/{pipeline}"), &json!({ "number": texts::number() })).await;
}
