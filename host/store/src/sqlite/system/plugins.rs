//! The records of uploaded plugins.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;

use super::{SqliteSystem, damaged, stored};
use crate::TruthError;
use crate::system::{
    MAX_PLUGINS, MAX_VERSION_BYTES, SystemError, UploadedPlugin, check_length, cut,
};

impl SqliteSystem {
    pub(super) async fn insert_plugin(&self, plugin: UploadedPlugin) -> Result<bool, SystemError> {
        check_length("the version", &plugin.version, MAX_VERSION_BYTES)?;
        self.write(move |connection| Box::pin(insert(connection, plugin, MAX_PLUGINS))).await
    }

    pub(super) async fn read_plugin(
        &self,
        digest: PluginDigest,
    ) -> Result<Option<UploadedPlugin>, TruthError> {
        let row = sqlx::query("SELECT * FROM plugins WHERE digest = ?")
            .bind(digest.0.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(plugin).transpose()
    }

    pub(super) async fn read_plugins(&self) -> Result<Vec<UploadedPlugin>, TruthError> {
        let newest_first = "SELECT * FROM plugins ORDER BY sequence DESC";
        let rows = sqlx::query(newest_first).fetch_all(&self.pool).await?;
        rows.iter().map(plugin).collect()
    }

    pub(super) async fn delete_plugin(&self, digest: PluginDigest) -> Result<bool, TruthError> {
        self.write(move |connection| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM plugins WHERE digest = ?")
                    .bind(digest.0.as_slice())
                    .execute(connection)
                    .await?;
                Ok(deleted.rows_affected() > 0)
            })
        })
        .await
    }
}

/// Inserts a plugin that is not there, if there are fewer than `limit`.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    plugin: UploadedPlugin,
    limit: u32,
) -> Result<bool, SystemError> {
    let (plugins, is_there): (u32, bool) =
        sqlx::query_as("SELECT count(*), ifnull(max(digest = ?), FALSE) FROM plugins")
            .bind(plugin.digest.0.as_slice())
            .fetch_one(&mut *connection)
            .await?;
    if is_there {
        return Ok(false);
    }
    if plugins >= limit {
        return Err(SystemError::TooManyPlugins { limit });
    }
    sqlx::query(
        "INSERT INTO plugins (digest, name, version, role, bytes, uploaded_ms, uploaded_by)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(plugin.digest.0.as_slice())
    .bind(plugin.name.as_str())
    .bind(&plugin.version)
    .bind(plugin.role.as_str())
    .bind(stored(plugin.bytes))
    .bind(stored(plugin.uploaded_unix_ms))
    .bind(cut(&plugin.uploaded_by))
    .execute(connection)
    .await?;
    Ok(true)
}

fn plugin(row: &SqliteRow) -> Result<UploadedPlugin, TruthError> {
    let (digest, name): (&[u8], &str) = (row.try_get("digest")?, row.try_get("name")?);
    let role: &str = row.try_get("role")?;
    Ok(UploadedPlugin {
        digest: PluginDigest(digest.try_into().map_err(damaged)?),
        name: Name::new(name).map_err(damaged)?,
        version: row.try_get("version")?,
        role: role.parse().map_err(damaged)?,
        bytes: row.try_get("bytes")?,
        uploaded_unix_ms: row.try_get("uploaded_ms")?,
        uploaded_by: row.try_get("uploaded_by")?,
    })
}
