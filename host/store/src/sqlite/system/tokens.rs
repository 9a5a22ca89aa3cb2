//! Tokens. That one is made or revoked, and the line about it in the audit log, are one transaction.

use std::collections::BTreeSet;
use std::str::FromStr;

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use weir_core::name::Name;

use super::{SqliteSystem, audit, damaged, stored};
use crate::TruthError;
use crate::sqlite::commits::now_ms;
use crate::system::{AuditRecord, KEPT_AUDIT, MAX_TOKENS, Token, TokenError, TokenId, cut};

impl SqliteSystem {
    pub(super) async fn insert_token(
        &self,
        token: Token,
        audit: AuditRecord,
    ) -> Result<(), TokenError> {
        token.check()?;
        self.write(move |connection| {
            Box::pin(async move {
                make_room(connection, MAX_TOKENS).await?;
                insert(connection, &token).await?;
                audit::append(connection, audit, KEPT_AUDIT).await?;
                Ok(())
            })
        })
        .await
    }

    pub(super) async fn end_token(
        &self,
        id: TokenId,
        audit: AuditRecord,
    ) -> Result<bool, TruthError> {
        self.write(move |connection| {
            Box::pin(async move {
                let revoked = sqlx::query(
                    "UPDATE tokens SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL",
                )
                .bind(now_ms())
                .bind(id.to_string())
                .execute(&mut *connection)
                .await?;
                let was_valid = revoked.rows_affected() > 0;
                if was_valid {
                    audit::append(connection, audit, KEPT_AUDIT).await?;
                }
                Ok(was_valid)
            })
        })
        .await
    }

    pub(super) async fn update_use(&self, id: TokenId, unix_ms: u64) -> Result<(), TruthError> {
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE tokens SET used_ms = ? WHERE id = ?")
                    .bind(stored(unix_ms))
                    .bind(id.to_string())
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    pub(super) async fn read_tokens(&self) -> Result<Vec<Token>, TruthError> {
        let newest_first = "SELECT * FROM tokens ORDER BY sequence DESC";
        let rows = sqlx::query(newest_first).fetch_all(&self.pool).await?;
        rows.iter().map(token).collect()
    }
}

/// Sees to it that a new token is not one more than `limit`: if need be, by forgetting the one that was
/// revoked first.
pub(super) async fn make_room(
    connection: &mut SqliteConnection,
    limit: u32,
) -> Result<(), TokenError> {
    let tokens: u32 =
        sqlx::query_scalar("SELECT count(*) FROM tokens").fetch_one(&mut *connection).await?;
    if tokens < limit {
        return Ok(());
    }
    let forgotten = sqlx::query(
        "DELETE FROM tokens WHERE sequence =
           (SELECT sequence FROM tokens WHERE revoked_ms IS NOT NULL
            ORDER BY revoked_ms, sequence LIMIT 1)",
    )
    .execute(connection)
    .await?;
    match forgotten.rows_affected() {
        0 => Err(TokenError::TooMany { limit }),
        _ => Ok(()),
    }
}

async fn insert(connection: &mut SqliteConnection, token: &Token) -> Result<(), TruthError> {
    let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let tenants = token.tenants.as_ref();
    let tenants = tenants.map(|names| names.iter().map(Name::as_str).collect::<Vec<_>>().join(" "));
    sqlx::query(
        "INSERT INTO tokens (id, hash, name, scopes, tenants, made_ms, made_by, used_ms, revoked_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(token.id.to_string())
    .bind(token.hash.as_slice())
    .bind(token.name.as_str())
    .bind(scopes.join(" "))
    .bind(tenants)
    .bind(stored(token.made_unix_ms))
    .bind(cut(&token.made_by))
    .bind(token.used_unix_ms.map(stored))
    .bind(token.revoked_unix_ms.map(stored))
    .execute(connection)
    .await?;
    Ok(())
}

fn token(row: &SqliteRow) -> Result<Token, TruthError> {
    let (id, hash): (&str, &[u8]) = (row.try_get("id")?, row.try_get("hash")?);
    let (name, scopes): (&str, &str) = (row.try_get("name")?, row.try_get("scopes")?);
    let tenants: Option<&str> = row.try_get("tenants")?;
    Ok(Token {
        id: id.parse().map_err(damaged)?,
        hash: hash.try_into().map_err(damaged)?,
        name: Name::new(name).map_err(damaged)?,
        scopes: words(scopes, FromStr::from_str)?,
        tenants: tenants.map(|names| words(names, Name::new)).transpose()?,
        made_unix_ms: row.try_get("made_ms")?,
        made_by: row.try_get("made_by")?,
        used_unix_ms: row.try_get("used_ms")?,
        revoked_unix_ms: row.try_get("revoked_ms")?,
    })
}

/// What is separated by spaces.
fn words<T: Ord, E: std::error::Error + Send + Sync + 'static>(
    text: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<BTreeSet<T>, TruthError> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| read(word).map_err(damaged))
        .collect()
}
