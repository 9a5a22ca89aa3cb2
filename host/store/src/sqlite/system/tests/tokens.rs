//! Tokens: what is kept of them, how many, and that the audit log says what happened to them.

use super::*;
use crate::sqlite::system::tokens::make_room;
use crate::system::{AuditPage, MAX_TOKEN_TENANTS, Token, TokenError, TokenScope};

impl Fixture {
    async fn make(&self, id: u64) -> Result<(), TokenError> {
        self.store.add_token(token(id), audited("create token")).await
    }

    async fn revoke(&self, id: u64) -> bool {
        self.store.revoke_token(TokenId(id), audited("revoke token")).await.unwrap()
    }

    /// All tokens, each as its number, and whether it is valid.
    async fn tokens(&self) -> Vec<(u64, bool)> {
        let tokens = self.store.tokens().await.unwrap();
        tokens.iter().map(|token| (token.id.0, token.revoked_unix_ms.is_none())).collect()
    }

    /// What the audit log says, the newest first.
    async fn said(&self) -> Vec<String> {
        let page = AuditPage { limit: 100, ..AuditPage::default() };
        let page = self.store.audit(page).await.unwrap();
        page.into_iter().map(|entry| entry.record.action).collect()
    }

    /// Makes room for one more where fewer are allowed.
    async fn make_room(&self, limit: u32) -> Result<(), TokenError> {
        self.store.write(move |connection| Box::pin(make_room(connection, limit))).await
    }
}

fn token(id: u64) -> Token {
    Token {
        id: TokenId(id),
        hash: [7; 32],
        name: name("ci"),
        scopes: [TokenScope::Read, TokenScope::Cache].into(),
        tenants: Some([name("acme"), name("globex")].into()),
        made_unix_ms: 1_700_000_000_000,
        made_by: "admin".to_owned(),
        used_unix_ms: None,
        revoked_unix_ms: None,
    }
}

#[tokio::test]
async fn a_token_is_kept_as_it_was_made() {
    let mut f = Fixture::new().await;
    let of_all = Token { tenants: None, scopes: TokenScope::ALL.into(), ..token(u64::MAX) };
    f.make(1).await.unwrap();
    f.store.add_token(of_all.clone(), audited("create token")).await.unwrap();
    f.reopen().await;
    assert_eq!(f.store.tokens().await.unwrap(), [of_all, token(1)]);
    f.store.note_use(TokenId(1), 1_700_000_000_123).await.unwrap();
    f.store.note_use(TokenId(9), 1).await.unwrap();
    let used = Token { used_unix_ms: Some(1_700_000_000_123), ..token(1) };
    assert_eq!(f.store.tokens().await.unwrap()[1], used);
}

#[tokio::test]
async fn it_is_revoked_once_and_each_change_has_its_line() {
    let f = Fixture::new().await;
    f.make(1).await.unwrap();
    f.make(2).await.unwrap();
    assert!(f.revoke(1).await);
    assert!(!f.revoke(1).await, "it was revoked before");
    assert!(!f.revoke(3).await, "there is none");
    assert_eq!(f.tokens().await, [(2, true), (1, false)]);
    assert_eq!(f.said().await, ["revoke token", "create token", "create token"]);
}

#[tokio::test]
async fn a_token_that_cannot_be_kept_leaves_no_line() {
    let f = Fixture::new().await;
    f.make(1).await.unwrap();
    let same_id = f.make(1).await.unwrap_err();
    assert!(matches!(same_id, TokenError::Store(TruthError::Failed(_))), "{same_id}");
    let tenants = (0..=MAX_TOKEN_TENANTS).map(|number| name(&format!("t{number}")));
    let large = Token { tenants: Some(tenants.collect()), ..token(2) };
    let too_many = f.store.add_token(large, audited("create token")).await.unwrap_err();
    assert!(matches!(too_many, TokenError::TooManyTenants { .. }), "{too_many}");
    assert_eq!((f.tokens().await, f.said().await.len()), (vec![(1, true)], 1));
}

#[tokio::test]
async fn there_is_room_while_one_was_revoked_and_the_first_of_those_is_forgotten() {
    let f = Fixture::new().await;
    for id in 1..=4 {
        f.make(id).await.unwrap();
    }
    let full = f.make_room(4).await.unwrap_err();
    assert!(matches!(full, TokenError::TooMany { limit: 4 }), "{full}");
    f.make_room(5).await.unwrap();
    // The wall clock may not have moved in between, so this is also by the order in which they were made.
    assert!(f.revoke(2).await && f.revoke(3).await);
    f.make_room(4).await.unwrap();
    assert_eq!(f.tokens().await, [(4, true), (3, false), (1, true)]);
}
