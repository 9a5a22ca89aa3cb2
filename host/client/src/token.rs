//! `weir token` and `weir audit`: who may administer a running server, and what they have done, over its admin
//! listener.
//!
//! Out of scope: what a token allows, which the server decides.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use weir_core::name::Name;

use crate::admin::{Admin, Server};
use crate::table::table;
use crate::time::at;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a token that allows some of what the administrator's allows.
    ///
    /// Prints it, or writes it to a file that only you can read. It is shown once and cannot be recovered.
    Create(Create),
    /// Show all tokens, what they allow and when they were used.
    List,
    /// Revoke a token. Nothing is allowed with it any more.
    Revoke {
        /// Its id, as `weir token list` shows it.
        id: String,
    },
}

/// The arguments of `weir token create`.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// What the audit log is to call whoever uses it.
    #[arg(value_parser = |name: &str| Name::new(name))]
    name: Name,
    /// What it allows: read, deploy, policy or cache. Can be given several times.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// Only for this tenant, not for all and the whole server. Can be given several times.
    #[arg(long = "tenant", value_name = "NAME", value_parser = |name: &str| Name::new(name))]
    tenants: Vec<Name>,
    /// Write the token to this file, which must not exist, instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The arguments of `weir audit`.
#[derive(Debug, clap::Args)]
pub struct Audit {
    /// How many lines, the newest.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Only lines before the one with this id.
    #[arg(long, value_name = "ID")]
    before: Option<u64>,
    /// Only what was done to this, such as "pipeline search", "policy default", "token ID" or "cache".
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only what concerns this tenant.
    #[arg(long, value_parser = |name: &str| Name::new(name))]
    tenant: Option<Name>,
}

/// Does it, and prints the result, for people or as JSON.
///
/// # Errors
/// The server cannot be reached or refuses, or the file of a token cannot be written.
pub fn run(server: &Server, command: &Command, as_json: bool) -> anyhow::Result<()> {
    block_on(async {
        let admin = Admin::new(server)?;
        match command {
            Command::Create(create) => create.run(&admin, as_json).await,
            Command::List => {
                print(as_json, &admin.get("/admin/v1/tokens").await?, listed);
                Ok(())
            }
            Command::Revoke { id } => {
                // Encoded, so that nothing else of the path can be meant.
                let id: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
                let request = admin.request(Method::DELETE, &format!("/admin/v1/tokens/{id}"));
                let answer = admin.send(request).await?.json().await;
                let answer = answer.context("the answer is not JSON")?;
                print(as_json, &answer, |answer| format!("revoked {}\n", text(&answer["id"])));
                Ok(())
            }
        }
    })
}

/// Prints the newest lines of the audit log.
///
/// # Errors
/// The server cannot be reached or refuses.
pub fn audit(server: &Server, arguments: &Audit, as_json: bool) -> anyhow::Result<()> {
    block_on(async {
        let admin = Admin::new(server)?;
        let path = format!("/admin/v1/audit?{}", arguments.query()?);
        let answer = admin.get(&path).await?;
        print(as_json, &answer, audited);
        Ok(())
    })
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn print(as_json: bool, answer: &Value, shown: impl Fn(&Value) -> String) {
    match as_json {
        true => println!("{answer:#}"),
        false => print!("{}", shown(answer)),
    }
}

impl Audit {
    /// Encoded as in a URL.
    fn query(&self) -> anyhow::Result<String> {
        let Self { limit, before, target, tenant } = self;
        let pairs = [
            ("limit", Some(limit.to_string())),
            ("before", before.map(|id| id.to_string())),
            ("target", target.clone()),
            ("tenant", tenant.as_ref().map(ToString::to_string)),
        ];
        let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let url = Url::parse_with_params("http://weir/", given).context("the arguments")?;
        Ok(url.query().unwrap_or_default().to_owned())
    }
}

impl Create {
    async fn run(&self, admin: &Admin, as_json: bool) -> anyhow::Result<()> {
        // First, so that no token is made that cannot be kept.
        let out = self.out.as_deref().map(|path| Ok::<_, anyhow::Error>((path, create(path)?)));
        let mut out = out.transpose()?;
        let made = self.make(admin, out.as_mut()).await;
        if let (Err(_), Some((path, _))) = (&made, &out) {
            let _ = fs::remove_file(path);
        }
        print(as_json, &made?, created);
        Ok(())
    }

    /// Makes the token. If there is a file for its secret, that is not in what is returned.
    async fn make(&self, admin: &Admin, out: Option<&mut (&Path, File)>) -> anyhow::Result<Value> {
        let mut body = json!({ "name": self.name.as_str(), "scopes": self.scopes });
        if !self.tenants.is_empty() {
            body["tenants"] = self.tenants.iter().map(Name::as_str).collect();
        }
        let answer = admin.post("/admin/v1/tokens", body.to_string()).await?;
        let mut made: Value = answer.json().await.context("the answer is not JSON")?;
        if let Some((path, file)) = out {
            let secret = made["token"].take();
            let written = writeln!(file, "{}", text(&secret)).and_then(|()| file.sync_all());
            written.with_context(|| {
                let id = text(&made["id"]);
                format!("cannot write {}; revoke the token {id}", path.display())
            })?;
            made["file"] = path.display().to_string().into();
            made.as_object_mut().map(|made| made.remove("token"));
        }
        Ok(made)
    }
}

/// A file that did not exist, which nobody else can read.
fn create(path: &Path) -> anyhow::Result<File> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.with_context(|| format!("cannot create {}", path.display()))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn created(made: &Value) -> String {
    match made["token"].as_str() {
        Some(token) => format!("{token}\n"),
        None => format!("{} is in {}\n", text(&made["id"]), text(&made["file"])),
    }
}

/// Texts of a list, or what to say if there is none.
fn joined(list: &Value, none: &str) -> String {
    let texts = list.as_array().map(|texts| texts.iter().map(text).collect::<Vec<_>>().join(" "));
    texts.unwrap_or_else(|| none.to_owned())
}

fn listed(answer: &Value) -> String {
    let heads = ["id", "name", "scopes", "tenants", "last used", "state"];
    let mut rows = vec![heads.map(ToOwned::to_owned).to_vec()];
    for token in answer["tokens"].as_array().into_iter().flatten() {
        rows.push(vec![
            text(&token["id"]),
            text(&token["name"]),
            joined(&token["scopes"], ""),
            joined(&token["tenants"], "all"),
            at(&token["used_unix_ms"]),
            if token["revoked_unix_ms"].is_null() { "valid" } else { "revoked" }.to_owned(),
        ]);
    }
    let mut shown = String::new();
    table(&mut shown, &rows);
    shown
}

fn audited(answer: &Value) -> String {
    let heads =
        ["id", "when (UTC)", "who", "token", "what", "target", "tenant", "outcome", "detail"];
    let mut rows = vec![heads.map(ToOwned::to_owned).to_vec()];
    for entry in answer["entries"].as_array().into_iter().flatten() {
        let or_none = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
        rows.push(vec![
            text(&entry["id"]),
            at(&entry["unix_ms"]),
            or_none("who"),
            or_none("token"),
            or_none("action"),
            or_none("target"),
            or_none("tenant"),
            or_none("outcome"),
            or_none("detail"),
        ]);
    }
    let mut shown = String::new();
    table(&mut shown, &rows);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_lines_can_be_read() {
        let answer = json!({ "tokens": [{
            "id": "00000000000000ff", "name": "ci", "scopes": ["read", "cache"], "tenants": ["acme"],
            "made_unix_ms": 0, "made_by": "admin", "used_unix_ms": 0, "revoked_unix_ms": null,
        }] });
        let expected = "id                name  scopes      tenants  last used            state\n\
            00000000000000ff  ci    read cache  acme     1970-01-01 00:00:00  valid\n";
        assert_eq!(listed(&answer), expected);
        let answer = json!({ "entries": [{
            "id": 7, "unix_ms": 0, "who": "admin", "token": null, "action": "deploy",
            "target": "pipeline search", "tenant": null, "outcome": "revision 3", "detail": "9f2c",
        }] });
        let shown = audited(&answer);
        let line = shown.lines().nth(1).unwrap_or_default();
        let words: Vec<_> =
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let expected = [
            "7",
            "1970-01-01 00:00:00",
            "admin",
            "-",
            "deploy",
            "pipeline search",
            "-",
            "revision 3",
            "9f2c",
        ];
        assert_eq!(words, expected);
    }
}
