//! The audit log.

use super::*;
use crate::sqlite::system::audit::{FORGOTTEN_AT_ONCE, append};
use crate::system::{AuditPage, MAX_AUDIT_PAGE, MAX_AUDIT_TEXT_BYTES};

impl Fixture {
    async fn log(&self, action: &str) -> u64 {
        self.store.append_audit(audited(action)).await.unwrap()
    }

    /// A page, each line as `id action`.
    async fn page(&self, before: Option<u64>, limit: u32) -> Vec<String> {
        self.lines(AuditPage { before, limit, ..AuditPage::default() }).await
    }

    async fn lines(&self, page: AuditPage) -> Vec<String> {
        let page = self.store.audit(page).await.unwrap();
        page.iter().map(|entry| format!("{} {}", entry.id, entry.record.action)).collect()
    }

    /// Appends a line where fewer are kept.
    async fn log_keeping(&self, kept: u32) {
        let appended = self
            .store
            .write(move |connection| Box::pin(append(connection, audited("next"), kept)))
            .await;
        appended.unwrap();
    }
}

#[tokio::test]
async fn lines_are_read_in_pages_newest_first() {
    let mut f = Fixture::new().await;
    for action in ["upload", "deploy", "rollback"] {
        f.log(action).await;
    }
    f.reopen().await;
    assert_eq!(f.page(None, 2).await, ["3 rollback", "2 deploy"]);
    // A line that comes between two pages is in neither of them.
    f.log("revoke").await;
    assert_eq!(f.page(Some(2), 2).await, ["1 upload"]);
    assert_eq!(f.page(Some(1), 2).await, [""; 0]);
    assert_eq!(f.page(Some(u64::MAX), 1).await, ["4 revoke"]);
    let newest = f.store.audit(AuditPage { limit: 1, ..AuditPage::default() }).await.unwrap();
    assert_eq!(newest[0].record, audited("revoke"));
}

#[tokio::test]
async fn a_page_and_a_text_are_bounded() {
    let f = Fixture::new().await;
    let long = "ä".repeat(MAX_AUDIT_TEXT_BYTES);
    let record = AuditRecord { outcome: long.clone(), ..audited("deploy") };
    f.store.append_audit(record).await.unwrap();
    let newest = AuditPage { limit: 1, ..AuditPage::default() };
    let read = f.store.audit(newest).await.unwrap().remove(0).record;
    assert_eq!(read.outcome, long[..MAX_AUDIT_TEXT_BYTES]);
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100)
         INSERT INTO audit (at_ms, who, action, target, outcome) SELECT i, '', '', '', '' FROM n",
    )
    .execute(&f.store.pool)
    .await
    .unwrap();
    assert_eq!(f.page(None, u32::MAX).await.len(), MAX_AUDIT_PAGE as usize);
}

#[tokio::test]
async fn the_oldest_lines_are_forgotten_and_ids_are_not_used_again() {
    let f = Fixture::new().await;
    for _ in 0..3 {
        f.log("first").await;
    }
    for _ in 0..4 {
        f.log_keeping(2).await;
    }
    assert_eq!(f.page(None, 10).await, ["7 next", "6 next"]);
    f.log_keeping(0).await;
    assert_eq!(f.page(None, 10).await, [""; 0]);
    assert_eq!(f.log("last").await, 9);
}

#[tokio::test]
async fn many_are_forgotten_in_small_steps() {
    let f = Fixture::new().await;
    let lines = FORGOTTEN_AT_ONCE * 2 + 10;
    for _ in 0..lines {
        f.log("first").await;
    }
    let mut left = Vec::new();
    for _ in 0..4 {
        f.log_keeping(5).await;
        left.push(f.page(None, MAX_AUDIT_PAGE).await.len());
    }
    assert_eq!(left, [111, 12, 5, 5]);
}

#[tokio::test]
async fn lines_are_asked_for_by_what_they_are_about() {
    let f = Fixture::new().await;
    for (target, tenant) in [
        ("pipeline search", None),
        ("pipeline searching", None),
        ("cache", Some("acme")),
        ("cache", Some("globex")),
        ("pipeline search", None),
        ("cache", Some("acme")),
    ] {
        let (target, tenant) = (target.to_owned(), tenant.map(name));
        f.store.append_audit(AuditRecord { target, tenant, ..audited("do") }).await.unwrap();
    }
    for (target, tenant, before, ids) in [
        (Some("pipeline search"), None, None, &["5 do", "1 do"][..]),
        (Some("pipeline search"), None, Some(5), &["1 do"]),
        (Some("cache"), None, None, &["6 do", "4 do", "3 do"]),
        (None, Some("acme"), None, &["6 do", "3 do"]),
        (Some("cache"), Some("globex"), None, &["4 do"]),
        (Some("pipeline search"), Some("acme"), None, &[]),
        (Some("' OR 1 --"), None, None, &[]),
    ] {
        let (target, tenant) = (target.map(ToOwned::to_owned), tenant.map(name));
        let page = AuditPage { before, limit: 10, target, tenant };
        assert_eq!(f.lines(page.clone()).await, ids, "{page:?}");
    }
}
