//! Tokens that administrators make for others, with scopes: `weirtoken_ID_SECRET`, a public id of 16 hexadecimal
//! digits, used for the lookup, and 256 random bits.
//!
//! The system store keeps a hash, from which a token cannot be recovered; a slow one would add nothing to 256
//! random bits. The valid ones are in memory, too, so that no request waits for the database. Out of scope: what
//! the scopes allow (`http::admin::access`).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use tokio_util::task::TaskTracker;
use tracing::warn;
use weir_store::system::{AuditRecord, Token, TokenError, TokenId};
use weir_store::{SystemStore, TruthError};

/// BLAKE3's context string for key derivation, which separates this hash from Weir's others.
const HASH_CONTEXT: &str = "weir 2026-11-28 admin token with scopes";
const PREFIX: &str = "weirtoken_";
const SECRET_BYTES: usize = 32;
/// How often the store is told that a token is in use.
const NOTE_EVERY_MS: u64 = 60_000;

/// A token as its holder has it. It is shown once and never stored.
pub struct TokenText {
    /// Its id, which is in the text.
    pub id: TokenId,
    text: String,
}

impl TokenText {
    /// Makes one of random bytes.
    ///
    /// # Errors
    /// The operating system provides no random numbers.
    pub fn random() -> io::Result<Self> {
        let (mut id, mut secret) = ([0; 8], [0; SECRET_BYTES]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        let id = TokenId(u64::from_le_bytes(id));
        Ok(Self { id, text: format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret)) })
    }

    /// What its holder sends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *hash(&self.text).as_bytes()
    }
}

/// A token that is valid.
pub struct ValidToken {
    /// What is stored of it.
    pub token: Token,
    /// When it was last used, in milliseconds since 1970; 0 if it never was.
    used_unix_ms: AtomicU64,
    /// When the store was told.
    noted_unix_ms: AtomicU64,
}

/// The tokens of a server.
pub struct AdminTokens {
    system: Arc<dyn SystemStore>,
    detached: TaskTracker,
    valid: RwLock<HashMap<TokenId, Arc<ValidToken>>>,
}

impl AdminTokens {
    /// Those that are in the store. `detached` is what a drain waits for.
    ///
    /// # Errors
    /// The store failed.
    pub async fn load(
        system: Arc<dyn SystemStore>,
        detached: TaskTracker,
    ) -> Result<Self, TruthError> {
        let all = system.tokens().await?;
        let valid = all.into_iter().filter(|token| token.revoked_unix_ms.is_none());
        let valid = valid.map(|token| (token.id, Arc::new(ValidToken::new(token)))).collect();
        Ok(Self { system, detached, valid: RwLock::new(valid) })
    }

    /// The token with this text, if it is valid, which is used now.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Arc<ValidToken>> {
        let hash = hash(text);
        let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let found = self.valid.read().get(&id.parse().ok()?).cloned()?;
        // Compared in constant time.
        if hash != blake3::Hash::from_bytes(found.token.hash) {
            return None;
        }
        if found.is_to_be_noted(unix_ms()) {
            self.note(&found);
        }
        Some(found)
    }

    /// Tells the store that it is used. Nobody waits for that.
    fn note(&self, used: &Arc<ValidToken>) {
        let (system, used) = (Arc::clone(&self.system), Arc::clone(used));
        self.detached.spawn(async move {
            let (id, at) = (used.token.id, used.used_unix_ms.load(Ordering::Relaxed));
            if let Err(error) = system.note_use(id, at).await {
                warn!(token = %id, %error, "the store does not know that this token was used");
            }
        });
    }

    /// Adds a token, with the line about it in the audit log. It is valid when this returns.
    ///
    /// # Errors
    /// There are too many, it is too large, or the store failed.
    pub async fn add(self: &Arc<Self>, token: Token, audit: AuditRecord) -> Result<(), TokenError> {
        let tokens = Arc::clone(self);
        // What is stored becomes valid, also if nobody waits for it any more.
        let added = self.detached.spawn(async move {
            tokens.system.add_token(token.clone(), audit).await?;
            tokens.valid.write().insert(token.id, Arc::new(ValidToken::new(token)));
            Ok(())
        });
        added.await.unwrap_or_else(|cut| Err(TruthError::Cut(cut.to_string()).into()))
    }

    /// Revokes a token, with the line about it in the audit log. No request is let in with it that arrives
    /// after this has returned. Returns whether it was valid.
    ///
    /// # Errors
    /// The store failed. Then it may still be valid.
    pub async fn revoke(
        self: &Arc<Self>,
        id: TokenId,
        audit: AuditRecord,
    ) -> Result<bool, TruthError> {
        let tokens = Arc::clone(self);
        let revoked = self.detached.spawn(async move {
            let was_valid = tokens.system.revoke_token(id, audit).await?;
            tokens.valid.write().remove(&id);
            Ok(was_valid)
        });
        revoked.await.unwrap_or_else(|cut| Err(TruthError::Cut(cut.to_string())))
    }

    /// All tokens, also revoked ones, the newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self) -> Result<Vec<Token>, TruthError> {
        let mut all = self.system.tokens().await?;
        let valid = self.valid.read();
        for token in &mut all {
            let used = valid.get(&token.id).map(|of| of.used_unix_ms.load(Ordering::Relaxed));
            token.used_unix_ms = used.filter(|at| *at > 0).or(token.used_unix_ms);
        }
        Ok(all)
    }
}

impl ValidToken {
    fn new(token: Token) -> Self {
        let used = token.used_unix_ms.unwrap_or(0);
        Self { token, used_unix_ms: used.into(), noted_unix_ms: used.into() }
    }

    /// Uses it `now`. Returns whether the store is to be told, which is said once in a minute.
    fn is_to_be_noted(&self, now: u64) -> bool {
        self.used_unix_ms.store(now, Ordering::Relaxed);
        let noted = self.noted_unix_ms.load(Ordering::Relaxed);
        // The clock may jump back.
        now.abs_diff(noted) >= NOTE_EVERY_MS
            && self
                .noted_unix_ms
                .compare_exchange(noted, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

fn hash(text: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(HASH_CONTEXT, text.as_bytes()))
}

/// What the clock says, in milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use tempfile::TempDir;
    use weir_core::name::Name;
    use weir_store::open_system;
    use weir_store::system::TokenScope;

    use super::*;

    /// Tokens in a store of their own.
    pub(crate) struct Fixture {
        pub(crate) tokens: Arc<AdminTokens>,
        folder: TempDir,
    }

    impl Fixture {
        pub(crate) async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { tokens: load(&folder).await, folder }
        }

        /// Makes a token.
        pub(crate) async fn make(
            &self,
            scopes: &[TokenScope],
            tenants: Option<&[&str]>,
        ) -> TokenText {
            let made = TokenText::random().unwrap();
            let name = |text: &&str| Name::new(text).unwrap();
            let token = Token {
                id: made.id,
                hash: made.hash(),
                name: Name::new("ci").unwrap(),
                scopes: scopes.iter().copied().collect(),
                tenants: tenants.map(|names| names.iter().map(name).collect::<BTreeSet<_>>()),
                made_unix_ms: 1,
                made_by: "admin".to_owned(),
                used_unix_ms: None,
                revoked_unix_ms: None,
            };
            self.tokens.add(token, audited()).await.unwrap();
            made
        }

        async fn used(&self) -> Option<u64> {
            self.tokens.system.tokens().await.unwrap()[0].used_unix_ms
        }
    }

    async fn load(folder: &TempDir) -> Arc<AdminTokens> {
        let system = open_system(folder.path()).await.unwrap();
        Arc::new(AdminTokens::load(system, TaskTracker::new()).await.unwrap())
    }

    fn audited() -> AuditRecord {
        AuditRecord {
            at_unix_ms: 1,
            who: "admin".to_owned(),
            token: None,
            action: "create".to_owned(),
            target: String::new(),
            tenant: None,
            detail: String::new(),
            outcome: String::new(),
        }
    }

    #[tokio::test]
    async fn a_token_is_found_until_it_is_revoked_also_after_a_restart() {
        let f = Fixture::new().await;
        let (one, other) = (f.make(&[TokenScope::Read], None).await, f.make(&[], None).await);
        let found = f.tokens.find(one.as_str()).unwrap();
        assert_eq!((found.token.id, found.token.hash), (one.id, one.hash()));
        for wrong in [
            format!("{}x", one.as_str()),
            one.as_str().to_uppercase(),
            // The id of one, and the secret of the other.
            other.as_str().replace(&other.id.to_string(), &one.id.to_string()),
            format!("{PREFIX}{}_", one.id),
            format!("{PREFIX}{}", one.id),
            PREFIX.to_owned(),
            String::new(),
        ] {
            assert!(f.tokens.find(&wrong).is_none(), "{wrong}");
        }
        assert!(f.tokens.revoke(one.id, audited()).await.unwrap());
        assert!(!f.tokens.revoke(one.id, audited()).await.unwrap());
        let again = load(&f.folder).await;
        for tokens in [&f.tokens, &again] {
            assert!(tokens.find(one.as_str()).is_none());
            assert!(tokens.find(other.as_str()).is_some());
        }
    }

    #[tokio::test]
    async fn the_store_hears_of_its_use_once_a_minute() {
        let f = Fixture::new().await;
        let made = f.make(&[TokenScope::Read], None).await;
        assert_eq!(f.used().await, None);
        f.tokens.find(made.as_str()).unwrap();
        f.tokens.detached.close();
        f.tokens.detached.wait().await;
        let first = f.used().await.unwrap();
        let valid = f.tokens.find(made.as_str()).unwrap();
        for (after_ms, is_noted) in
            [(1, false), (59_000, false), (61_000, true), (62_000, false), (0, true), (1, false)]
        {
            assert_eq!(valid.is_to_be_noted(first + after_ms), is_noted, "{after_ms}");
        }
        assert_eq!(f.tokens.list().await.unwrap()[0].used_unix_ms, Some(first + 1));
    }
}
