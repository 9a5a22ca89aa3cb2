//! The one place where a server's parts are wired together.
//!
//! [`load_plugins`] loads every component that the configuration names and opens nothing else,
//! which is all that `weir check` needs. [`app`] then opens the stores, loads the models and
//! puts everything together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use weir_core::name::Name;
use weir_embedding::cached::{Caches, SharedVectors};
use weir_embedding::expected::Expected;
use weir_embedding::models::Models;
use weir_embedding::onnx::{OnnxConfig, OnnxEmbedder};
use weir_embedding::{Embedder, Origin};
use weir_limits::parts::{Claim, divide};
use weir_runtime::answers::Answers;
use weir_runtime::answers::config::Cache;
use weir_runtime::deploy::{Deployment, Deployments, Snapshot, ask_about_changes};
use weir_runtime::engine::Engines;
use weir_runtime::engine::compile::CodeCache;
use weir_runtime::engine::component::LoadError;
use weir_runtime::engine::config::Compile;
use weir_runtime::engine::guests::Guests;
use weir_runtime::pipeline::Pipeline;
use weir_runtime::policy::{Policy, PolicyError};
use weir_runtime::tenant::Tenant;
use weir_runtime::tenant::documents::DocumentService;
use weir_runtime::tenant::invalidation::Ended;
use weir_search::catch_up::{CatchUp, Index, Settings};
use weir_search::exact::ExactStore;
use weir_server::http::app::App;
use weir_server::http::body::Room;
use weir_server::http::parsing::Parsing;
use weir_server::identity::requests::RequestLimits;
use weir_server::identity::{Member, Tenants};
use weir_server::lifecycle::Lifecycle;
use weir_server::telemetry::metrics::Metrics;
use weir_store::{DataFolder, Limits, Truth, open_system, open_truth};

use crate::config::{Config, Model};
use crate::shared::SharedStores;

/// The tenant that every request belongs to if no tenant is configured.
const DEFAULT_TENANT: &str = "default";
/// The folder of compiled code within the data folder.
const COMPILED: &str = "compiled";

/// The components, loaded and checked.
pub struct Plugins {
    pipelines: Vec<(Arc<Pipeline>, Option<Arc<Policy>>)>,
}

/// All problems with the components of a configuration.
#[derive(Debug)]
pub struct PluginErrors(Vec<PluginError>);

#[derive(Debug)]
enum PluginError {
    Policy(Name, PolicyError),
    Pipeline(Name, LoadError),
}

impl fmt::Display for PluginErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match error {
                PluginError::Policy(name, error) => write!(f, "[policies.{name}]: {error}")?,
                PluginError::Pipeline(name, error) => write!(f, "[pipelines.{name}]: {error}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for PluginErrors {}

/// Loads every policy and every pipeline of `config`: compiles it, unless `code` has kept its code, checks it
/// against its grants and links it. Blocks while it compiles.
///
/// # Errors
/// All problems with any of them.
pub fn load_plugins(
    engines: &Engines,
    config: &Config,
    code: Option<&CodeCache>,
) -> Result<Plugins, PluginErrors> {
    let mut errors = Vec::new();
    let mut policies = BTreeMap::new();
    for (name, policy) in &config.policies {
        match Policy::load(&engines.policies, name.clone(), policy, &config.engine, code) {
            Ok(policy) => drop(policies.insert(name, Arc::new(policy))),
            Err(error) => errors.push(PluginError::Policy(name.clone(), error)),
        }
    }
    let mut pipelines = Vec::new();
    for (name, pipeline) in &config.pipelines {
        match Pipeline::load(engines, name.clone(), pipeline, &config.engine, code) {
            Ok(loaded) => {
                let policy = pipeline.policy.as_ref().and_then(|name| policies.get(name));
                pipelines.push((Arc::new(loaded), policy.map(Arc::clone)));
            }
            Err(error) => errors.push(PluginError::Pipeline(name.clone(), error)),
        }
    }
    if errors.is_empty() { Ok(Plugins { pipelines }) } else { Err(PluginErrors(errors)) }
}

/// Opens and loads everything that the configuration names.
///
/// # Errors
/// The server cannot serve all of its configuration.
pub async fn app(config: Config) -> anyhow::Result<App> {
    let metrics = Metrics::install().context("cannot install the metrics recorder")?;
    // First, because what was compiled before is there.
    let folder = Arc::new(DataFolder::acquire(&config.data.folder)?);
    let code = open_code(&folder, &config.engine.compile);
    let (engines, plugins, config) = tokio::task::spawn_blocking(move || {
        let engines = Engines::new(&config.engine, config.sizes())?;
        let plugins = load_plugins(&engines, &config, code.as_ref())?;
        anyhow::Ok((engines, plugins, config))
    })
    .await??;
    let system = open_system(folder.path()).await?;
    let vectors = Arc::new(SharedVectors::default());
    let models = Arc::new(load_models(&config, &vectors).await?);
    let lifecycle = Lifecycle::default();
    let mut stores = SharedStores::open(&config.cache).await?;
    let tenants =
        open_tenants(&config, &folder, &models, &vectors, &lifecycle, &mut stores).await?;
    let guests =
        Guests::start(&config.engine, tenants.iter().count(), &engines.clock(), &Handle::current());
    let guests = guests.context("cannot start the guest threads")?;
    let deployments = deploy(&config, &plugins, &tenants, &models, &guests);
    ask_about_changes(&deployments).await?;
    let revision = system.revision_of(fingerprint(&deployments)).await?;
    tracing::info!(revision, deployments = deployments.len(), "deployed");
    let in_service = Deployments::default();
    in_service.publish(Snapshot::new(revision, deployments));
    let weights = tenants.iter().map(|tenant| (&tenant.name, weight_of(&config, &tenant.name)));
    let parsing = Parsing::start(weights).context("cannot start the threads that parse bodies")?;
    Ok(App {
        deployments: in_service,
        tenants,
        shared_tier: stores.into_service(&config.cache),
        system,
        models,
        vectors,
        engines,
        guests,
        metrics,
        lifecycle,
        parsing,
        bodies: Room::new(config.server.max_bodies_bytes),
        document_bodies: Room::new(config.ingest.max_bodies_bytes),
        deadline_ms: config.engine.deadline_ms,
        server: config.server,
        open_analytics: config.admin.open_analytics,
        started: Instant::now(),
        ingest: config.ingest,
        data_folder: folder,
    })
}

/// Opens what was compiled before. Without it, everything is compiled again.
fn open_code(folder: &DataFolder, limits: &Compile) -> Option<CodeCache> {
    if limits.max_kept_bytes == 0 {
        return None;
    }
    let folder = folder.path().join(COMPILED);
    let opened = CodeCache::open(&folder, limits.max_kept_bytes);
    let warn = |error: &std::io::Error| {
        let folder = folder.display();
        tracing::warn!(%folder, "compiled code can neither be used nor kept: {error}");
    };
    opened.inspect_err(warn).ok()
}

async fn load_models(config: &Config, vectors: &Arc<SharedVectors>) -> anyhow::Result<Models> {
    let mut models: Vec<Arc<dyn Embedder>> = Vec::new();
    for (name, model) in &config.embedding.models {
        let (onnx, vectors) = (onnx_config(config, name, model), Arc::clone(vectors));
        models.push(tokio::task::spawn_blocking(|| OnnxEmbedder::load(onnx, vectors)).await??);
    }
    let default = config.embedding.default_model();
    let default = default.context("configure a model: [embedding.models.NAME]")?;
    Ok(Models::new(default, models)?)
}

fn onnx_config(config: &Config, name: &str, model: &Model) -> OnnxConfig {
    let library = config.embedding.library.clone();
    OnnxConfig {
        model_name: name.to_owned(),
        expected: Expected::of_model(name),
        sessions: model.sessions,
        max_batch_tokens: model.max_batch_tokens,
        max_queued_texts: model.max_queued_texts,
        caches: vector_caches(config, model.cache_bytes),
        ..OnnxConfig::new(library, model.model.clone(), model.tokenizer.clone())
    }
}

/// Who has the cached vectors of a model in common: each tenant has its part, by weight, unless they share
/// them, or there is only one.
fn vector_caches(config: &Config, bytes: u64) -> Caches {
    if config.embedding.share_cache || config.tenants.is_empty() {
        return Caches::Shared(bytes);
    }
    let weights = config.tenants.values().map(|of| Claim { weight: of.weight, fixed: None });
    let parts = divide(bytes, &weights.collect::<Vec<_>>());
    let names = config.tenants.keys().map(ToString::to_string);
    Caches::OfTenants(names.zip(parts).collect())
}

async fn open_tenants(
    config: &Config,
    folder: &DataFolder,
    models: &Models,
    vectors: &SharedVectors,
    lifecycle: &Lifecycle,
    stores: &mut SharedStores,
) -> anyhow::Result<Tenants> {
    let mut answers = async |tenant: &Tenant, folder: &Path, cache: &Cache| {
        let shared = stores.tiers(tenant, folder, cache).await?.map(|tiers| {
            vectors.attach(&tenant.name, tiers.vectors);
            tiers.answers
        });
        anyhow::Ok(Arc::new(Answers::new(cache, shared, lifecycle.detached.clone())))
    };
    let turns = Arc::new(Semaphore::new(config.ingest.max_concurrent));
    if config.tenants.is_empty() {
        let name = Name::new(DEFAULT_TENANT)?;
        let folder = folder.tenant(&name)?;
        let tenant = open_tenant(config, name, &folder, models, &turns).await?;
        let answers = answers(&tenant, &folder, &config.cache).await?;
        return Ok(Tenants::single(Member { tenant, answers, limits: None }));
    }
    let mut tenants = Vec::new();
    let caches = config.cache.divided(&claims(config));
    for ((name, identity), cache) in config.tenants.iter().zip(caches) {
        let open = async {
            let folder = folder.tenant(name)?;
            let tenant = open_tenant(config, name.clone(), &folder, models, &turns).await?;
            let answers = answers(&tenant, &folder, &cache).await?;
            anyhow::Ok((tenant, answers))
        };
        let (tenant, answers) = open.await.with_context(|| format!("[tenants.{name}]"))?;
        let limits = RequestLimits::of(name, &identity.quota);
        tenants.push((Member { tenant, answers, limits }, identity.clone()));
    }
    Ok(Tenants::configured(tenants))
}

/// The claims of the tenants to the memory tier.
fn claims(config: &Config) -> Vec<Claim> {
    let tenants = config.tenants.values();
    tenants.map(|of| Claim { weight: of.weight, fixed: of.quota.cache_bytes }).collect()
}

/// Opens a tenant's stores in its folder. `turns` is shared by all tenants.
async fn open_tenant(
    config: &Config,
    name: Name,
    folder: &Path,
    models: &Models,
    turns: &Arc<Semaphore>,
) -> anyhow::Result<Arc<Tenant>> {
    let quota = config.tenants.get(&name).map(|tenant| tenant.quota.stored()).unwrap_or_default();
    let limits = Limits { max_backlog_bytes: config.ingest.max_backlog_bytes, quota };
    let truth = open_truth(folder, limits).await?;
    let (index, next) = open_indexes(&name, folder, &*truth, models).await?;
    // Answers of earlier processes are older than what this one will see change.
    let ended = Arc::new(Ended::at_start(config.cache.max_tags, &truth.last_changes().await?));
    let catch_up =
        CatchUp::start(truth.clone(), index, next, ended.clone(), Settings::default()).await?;
    let documents = Arc::new(DocumentService::new(
        truth.clone(),
        catch_up.clone(),
        config.ingest.clone(),
        turns.clone(),
    ));
    Ok(Arc::new(Tenant::new(name, truth, &catch_up, ended, documents)))
}

/// Opens the index of the model that the truth has. If that is not the default model, a second one
/// is opened for that, which takes over when it is ready. A model that is not loaded cannot answer,
/// so then the default model is the truth's from now on.
async fn open_indexes(
    tenant: &Name,
    folder: &Path,
    truth: &dyn Truth,
    models: &Models,
) -> anyhow::Result<(Index, Option<Index>)> {
    let wanted = models.default_model();
    let before = truth.model().await?.map(|model| model.digest);
    let current = before.as_deref().and_then(|digest| models.of_digest(digest));
    if current.is_none() {
        if before.is_some() {
            tracing::warn!(
                tenant = tenant.as_str(),
                model = wanted.model(),
                "the model that the collections were indexed with is not configured any more, so \
                 nothing can be searched until they are indexed with this one. Next time, keep the old \
                 model configured until the new one has taken over"
            );
        }
        truth.change_model(wanted.model_digest()).await?;
    }
    let current = current.unwrap_or(wanted);
    let truth = truth.id().to_string();
    let (digest, dimensions) = (current.model_digest(), current.dimensions());
    let store = Arc::new(ExactStore::open(folder, &truth, digest, dimensions).await?);
    let origin = Arc::new(Origin::catch_up(tenant.as_str()));
    let index = Index { embedder: Arc::clone(current), origin: Arc::clone(&origin), store };
    let digest = wanted.model_digest();
    if digest == current.model_digest() {
        ExactStore::discard_next(folder)?;
        return Ok((index, None));
    }
    let store = ExactStore::open_next(folder, &truth, digest, wanted.dimensions()).await?;
    Ok((index, Some(Index { embedder: Arc::clone(wanted), origin, store: Arc::new(store) })))
}

/// Deploys every pipeline for every tenant that it is hosted for.
fn deploy(
    config: &Config,
    plugins: &Plugins,
    tenants: &Tenants,
    models: &Arc<Models>,
    guests: &Guests,
) -> Vec<Deployment> {
    let mut deployments = Vec::new();
    for tenant in tenants.iter() {
        let configured = config.tenants.get(&tenant.name);
        let hosts = configured.map(|tenant| &tenant.pipelines);
        let of_tenant = guests.of_tenant(weight_of(config, &tenant.name));
        for (pipeline, policy) in &plugins.pipelines {
            if hosts.is_none_or(|hosts| hosts.covers(&pipeline.name)) {
                deployments.push(Deployment::new(
                    Arc::clone(pipeline),
                    policy.clone(),
                    Arc::clone(tenant),
                    guests.of_pipeline(&of_tenant, pipeline.weight, pipeline.size),
                    Arc::clone(models),
                    Handle::current(),
                ));
            }
        }
    }
    deployments
}

/// The weight of a tenant, which is 1 if none is configured.
fn weight_of(config: &Config, tenant: &Name) -> u32 {
    config.tenants.get(tenant).map_or(1, |tenant| tenant.weight)
}

/// A digest that identifies a set of deployments.
fn fingerprint(deployments: &[Deployment]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("weir 2026-11-25 deployments");
    for deployment in deployments {
        hasher.update(deployment.key_prefix.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
