//! `weir plugin`: which plugins a running server has and what it serves with them, over its admin listener.
//!
//! [`logs`] shows what pipelines log. Out of scope: what is in a plugin, and what may be deployed, which the server decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::{Method, header};
use serde_json::{Value, json};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;

use crate::admin::{Admin, Server};
use crate::table::table;
use crate::waiting::Waiting;

mod logs;
mod shadow;

pub use self::logs::Logs;
pub use self::shadow::Shadow;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Upload a plugin.
    ///
    /// Prints its digest, which `deploy` takes. Nothing is served with it before that.
    Push(Push),
    /// Serve a pipeline, or use a policy, with a plugin that was uploaded.
    ///
    /// Requests that have begun end with what they began with. The server remembers it.
    Deploy(Deploy),
    /// Deploy again what was deployed before, or end the trial of a candidate.
    Rollback(Rollback),
    /// Serve nothing under a name any more.
    Undeploy(Rollback),
    /// Remove a plugin that nothing needs.
    Remove(Remove),
    /// Remove all plugins that nothing needs.
    ///
    /// A name needs the plugin that is deployed under it, its candidate, and what a rollback would deploy there again.
    Gc(Gc),
    /// Try a plugin as a policy in shadow: it decides on live traffic, without effect. Or show what it would have
    /// done.
    ///
    /// Nothing of it is kept when the server stops.
    Shadow(Shadow),
    /// Show which plugins are stored, and what is deployed.
    List,
    /// Show what a pipeline has logged, and why its runs have failed.
    ///
    /// The server keeps the latest lines of each pipeline and tenant, until it ends.
    Logs(Logs),
}

/// Has a server deploy what its weir.toml says, and prints what that was.
///
/// # Errors
/// The server cannot be reached or refuses.
pub fn apply(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let answer = Admin::new(server)?.post("/admin/v1/apply", String::new()).await?;
        let answer = json_of(answer).await?;
        if as_json {
            println!("{answer:#}");
            return Ok(());
        }
        for one in answer["applied"].as_array().into_iter().flatten() {
            print!("{}", deployed(one));
        }
        Ok(())
    })
}

/// The arguments of `weir plugin push`.
#[derive(Debug, clap::Args)]
pub struct Push {
    /// The component.
    component: PathBuf,
    /// Its plugin.toml, instead of the one next to the component. A component that carries one needs none.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// The arguments of `weir plugin deploy`.
#[derive(Debug, clap::Args)]
pub struct Deploy {
    /// The name of the pipeline or the policy.
    #[arg(value_parser = |name: &str| Name::new(name))]
    name: Name,
    /// The digest of the plugin.
    digest: String,
    #[command(flatten)]
    with: With,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    what: What,
}

/// Which requests it answers, if not all.
#[derive(Debug, Default, clap::Args)]
struct Part {
    /// Have it answer so many percent of the pipeline's requests, 1 to 99; what is deployed answers the others.
    #[arg(long, value_name = "PERCENT")]
    weight: Option<u8>,
    /// What requests are divided by: `key`, `tenant` or `header:NAME`.
    #[arg(long, requires = "weight", value_name = "WHAT")]
    split_by: Option<String>,
    /// Do not roll it back by itself if its runs fail more often or take longer.
    #[arg(long, requires = "weight")]
    keep: bool,
}

/// What a plugin is deployed with.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct With {
    /// The cache policy of the pipeline, instead of the one that it has.
    #[arg(long, value_parser = |name: &str| Name::new(name))]
    policy: Option<Name>,
    /// Have the pipeline's answers not cached.
    #[arg(long, conflicts_with = "policy")]
    no_policy: bool,
    /// A setting that differs from the manifest's default.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

/// The arguments of `weir plugin rollback` and `weir plugin undeploy`.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The name of the pipeline or the policy.
    #[arg(value_parser = |name: &str| Name::new(name))]
    name: Name,
    #[command(flatten)]
    what: What,
}

/// The arguments of `weir plugin remove`.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// The digest of the plugin.
    digest: String,
}

/// The arguments of `weir plugin gc`.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Keep what was uploaded in the last hours.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    older_than: u32,
    /// Say which, and remove none.
    #[arg(long)]
    dry_run: bool,
}

/// What the name means, and what is expected there.
#[derive(Debug, clap::Args)]
struct What {
    /// It is a policy.
    #[arg(long)]
    as_policy: bool,
    /// Only if this revision is what is deployed now; 0 if nothing is.
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
}

/// The plugins of a running server, and what it serves with them.
pub struct Plugins {
    admin: Admin,
}

impl Plugins {
    /// Those of this server.
    ///
    /// # Errors
    /// There is something wrong with the token.
    pub fn new(server: &Server) -> anyhow::Result<Self> {
        Ok(Self { admin: Admin::new(server)? })
    }

    /// Uploads a plugin, and returns what the server says of it. Shows that it is waited for.
    ///
    /// # Errors
    /// The server cannot be reached or refuses the plugin.
    pub async fn push(&self, plugin: Vec<u8>) -> anyhow::Result<Value> {
        let _waiting = Waiting::new("The server checks and compiles the plugin");
        let request = self.admin.request(Method::POST, "/admin/v1/plugins");
        let request = request.header(header::CONTENT_TYPE, "application/wasm").body(plugin);
        json_of(self.admin.send(request).await?).await
    }

    /// Deploys, and returns what is deployed then.
    ///
    /// # Errors
    /// The server cannot be reached or refuses, or something is wrong with a setting.
    pub async fn deploy(&self, deploy: &Deploy) -> anyhow::Result<Value> {
        let request = self.admin.request(Method::PUT, &deploy.what.path(&deploy.name));
        let request = deploy.what.expecting(request);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        json_of(self.admin.send(request.body(deploy.body()?.to_string())).await?).await
    }

    async fn roll_back(&self, Rollback { name, what }: &Rollback) -> anyhow::Result<Value> {
        let path = format!("{}/rollback", what.path(name));
        json_of(self.admin.send(what.expecting(self.admin.request(Method::POST, &path))).await?)
            .await
    }

    async fn undeploy(&self, name: &Name, what: &What) -> anyhow::Result<Value> {
        let request = self.admin.request(Method::DELETE, &what.path(name));
        json_of(self.admin.send(what.expecting(request)).await?).await
    }

    async fn remove(&self, digest: &str) -> anyhow::Result<Value> {
        let path = format!("/admin/v1/plugins/{digest}");
        json_of(self.admin.send(self.admin.request(Method::DELETE, &path)).await?).await
    }

    async fn collect(&self, Gc { older_than, dry_run }: &Gc) -> anyhow::Result<Value> {
        let seconds = u64::from(*older_than) * 60 * 60;
        let body = json!({ "uploaded_before_s": seconds, "only_say": dry_run });
        json_of(self.admin.post("/admin/v1/plugins/collect", body.to_string()).await?).await
    }

    async fn list(&self) -> anyhow::Result<Value> {
        let mut all = self.admin.get("/admin/v1/plugins").await?;
        for (path, key) in
            [("/admin/v1/pipelines", "pipelines"), ("/admin/v1/policies", "policies")]
        {
            all[key] = self.admin.get(path).await?[key].take();
        }
        Ok(all)
    }
}

/// Does it, and prints the result, for people or as JSON. `read` makes the plugin of a component's file and
/// of a manifest's, if that is given.
///
/// # Errors
/// The server cannot be reached or refuses, or something is wrong with the arguments.
pub fn run(
    server: &Server,
    command: &Command,
    as_json: bool,
    read: impl Fn(&Path, Option<&Path>) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let plugins = Plugins::new(server)?;
        let (answer, shown): (Value, fn(&Value) -> String) = match command {
            Command::Push(Push { component, manifest }) => {
                (plugins.push(read(component, manifest.as_deref())?).await?, pushed)
            }
            Command::Deploy(deploy) => (plugins.deploy(deploy).await?, deployed),
            Command::Rollback(rollback) => (plugins.roll_back(rollback).await?, deployed),
            Command::Undeploy(Rollback { name, what }) => {
                (plugins.undeploy(name, what).await?, undeployed)
            }
            Command::Remove(Remove { digest }) => (plugins.remove(digest).await?, removed),
            Command::Gc(gc) => (plugins.collect(gc).await?, removed),
            Command::Shadow(shadow) => shadow.run(&plugins.admin).await?,
            Command::List => (plugins.list().await?, listed),
            Command::Logs(logs) => return logs.show(&plugins.admin, as_json).await,
        };
        match as_json {
            true => println!("{answer:#}"),
            false => print!("{}", shown(&answer)),
        }
        Ok(())
    })
}

/// What `--set NAME=VALUE` says.
fn settings(set: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let setting = |text: &String| {
        let (name, value) =
            text.split_once('=').with_context(|| format!("--set {text}: there is no '='"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    set.iter().map(setting).collect()
}

async fn json_of(answer: reqwest::Response) -> anyhow::Result<Value> {
    answer.json().await.context("the answer is not JSON")
}

impl Deploy {
    /// A deployment of this plugin under a name, whatever is deployed there now.
    #[must_use]
    pub fn of(name: Name, digest: PluginDigest, as_policy: bool, with: With) -> Self {
        let what = What { as_policy, if_revision: None };
        Self { name, digest: digest.to_string(), with, part: Part::default(), what }
    }

    fn body(&self) -> anyhow::Result<Value> {
        let settings = settings(&self.with.settings)?;
        let mut body = json!({ "digest": self.digest, "settings": settings });
        if self.with.no_policy {
            body["policy"] = Value::Null;
        } else if let Some(policy) = &self.with.policy {
            body["policy"] = policy.as_str().into();
        }
        if let Some(weight) = self.part.weight {
            body["weight_percent"] = weight.into();
            body["roll_back"] = (!self.part.keep).into();
        }
        match self.part.split_by.as_deref() {
            None => {}
            Some(by) => match by.strip_prefix("header:") {
                Some(header) => body["split_by"] = json!({ "header": header }),
                None => body["split_by"] = by.into(),
            },
        }
        Ok(body)
    }
}

impl What {
    fn path(&self, name: &Name) -> String {
        let role = if self.as_policy { "policies" } else { "pipelines" };
        format!("/admin/v1/{role}/{name}")
    }

    fn expecting(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.if_revision {
            None => request,
            Some(0) => request.header(header::IF_NONE_MATCH, "*"),
            Some(revision) => request.header(header::IF_MATCH, format!("\"{revision}\"")),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn pushed(answer: &Value) -> String {
    format!("{}\n", text(&answer["digest"]))
}

fn deployed(answer: &Value) -> String {
    format!("{} has revision {}\n", text(&answer["name"]), answer["revision"])
}

/// The digests of those that were removed, or would be.
fn removed(answer: &Value) -> String {
    let all = answer["removed"].as_array().or_else(|| answer["unused"].as_array());
    all.into_iter().flatten().map(|digest| format!("{}\n", text(digest))).collect()
}

fn undeployed(answer: &Value) -> String {
    format!("{} is not served since revision {}\n", text(&answer["name"]), answer["revision"])
}

fn listed(all: &Value) -> String {
    let list = |key: &str| all[key].as_array().cloned().unwrap_or_default();
    let row = |of: &Value, keys: &[&str]| keys.iter().map(|key| text(&of[*key])).collect();
    let headings = ["plugin", "version", "role", "needed by", "digest"];
    let mut rows: Vec<Vec<String>> = vec![headings.map(ToOwned::to_owned).to_vec()];
    for of in list("plugins") {
        let mut shown: Vec<String> = row(&of, &["name", "version", "role", "digest"]);
        let needs = of["needed_by"].as_array().into_iter().flatten();
        let needs: Vec<_> = needs.map(|need| text(&need["name"])).collect();
        shown.insert(3, needs.join(" "));
        rows.push(shown);
    }
    let mut shown = String::new();
    table(&mut shown, &rows);
    shown.push('\n');
    let mut rows: Vec<Vec<String>> = vec![
        ["deployed as", "revision", "policy", "source", "digest"].map(ToOwned::to_owned).to_vec(),
    ];
    for key in ["pipelines", "policies"] {
        let keys = ["name", "revision", "policy", "shown_source", "digest"];
        for mut of in list(key) {
            let drifted = if of["drifted"] == true { ", not weir.toml's" } else { "" };
            of["shown_source"] = format!("{}{drifted}", text(&of["source"])).into();
            rows.push(row(&of, &keys));
            let candidate = &of["candidate"];
            if candidate.is_object() {
                let part = format!("  {} % of it", candidate["weight_percent"]);
                let policy = candidate["policy"].as_str().unwrap_or("null").to_owned();
                let digest = text(&candidate["digest"]);
                rows.push(vec![part, text(&of["revision"]), policy, "admin".to_owned(), digest]);
            }
        }
    }
    table(&mut shown, &rows);
    shown
}
