//! The one place where a server's parts are wired together.
//!
//! [`check_plugins`] loads every component that the configuration names and opens nothing else,
//! which is all that `weir check` needs. [`app`] then opens the stores, loads the models and
//! puts everything together.

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
use weir_runtime::deploy::hosting::{Host, Hosting};
use weir_runtime::deploy::registry::{Beginning, Configured, Loader};
use weir_runtime::engine::Engines;
use weir_runtime::engine::compile::{CodeCache, Compiler, this_program};
use weir_runtime::engine::component::LoadError;
use weir_runtime::engine::config::Compile;
use weir_runtime::engine::guests::Guests;
use weir_runtime::pipeline::Pipeline;
use weir_runtime::policy::{Policy, PolicyError};
use weir_runtime::tenant::Tenant;
use weir_runtime::tenant::documents::DocumentService;
use weir_runtime::tenant::invalidation::Ended;
use weir_runtime::trial::Trials;
use weir_search::catch_up::{CatchUp, Index, Settings};
use weir_search::exact::ExactStore;
use weir_server::http::app::App;
use weir_server::http::body::Room;
use weir_server::http::cors::Cors;
use weir_server::http::parsing::Parsing;
use weir_server::identity::requests::RequestLimits;
use weir_server::identity::tokens::AdminTokens;
use weir_server::identity::{Member, Tenants};
use weir_server::lifecycle::Lifecycle;
use weir_server::telemetry::metrics::Metrics;
use weir_store::plugins::PluginFiles;
use weir_store::{DataFolder, Limits, Truth, open_system, open_truth};

use crate::config::{Config, Model};
use crate::shared::SharedStores;

/// The tenant that every request belongs to if no tenant is configured.
const DEFAULT_TENANT: &str = "default";
/// The folder of compiled code within the data folder.
const COMPILED: &str = "compiled";

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

/// Checks every policy and every pipeline of `config`: compiles it, checks it against its grants and links it.
/// Blocks while it compiles.
///
/// # Errors
/// All problems with any of them.
pub fn check_plugins(engines: &Engines, config: &Config) -> Result<(), PluginErrors> {
    let policies = config.policies.iter().filter_map(|(name, policy)| {
        let loaded = Policy::load(&engines.policies, name.clone(), policy, &config.engine, None);
        loaded.err().map(|error| PluginError::Policy(name.clone(), error))
    });
    let pipelines = config.pipelines.iter().filter_map(|(name, pipeline)| {
        let loaded = Pipeline::load(engines, name.clone(), pipeline, &config.engine, None);
        loaded.err().map(|error| PluginError::Pipeline(name.clone(), error))
    });
    let errors: Vec<_> = policies.chain(pipelines).collect();
    if errors.is_empty() { Ok(()) } else { Err(PluginErrors(errors)) }
}

/// What loads plugins, with the limits of the configuration.
fn loader(config: &Config, folder: &DataFolder) -> anyhow::Result<Loader> {
    let code = open_code(folder, &config.engine.compile).map(Arc::new);
    let program = this_program().context("cannot find this program, which compiles plugins")?;
    Ok(Loader {
        engines: Engines::new(&config.engine, config.sizes())?,
        limits: config.engine.clone(),
        configured: Configured {
            pipelines: config.pipelines.clone(),
            policies: config.policies.clone(),
            others: config.plugins.others(),
        },
        files: PluginFiles::open(folder)?,
        compiler: Compiler::new(program, config.engine.compile.clone(), code.clone()),
        code,
    })
}

/// Opens and loads everything that the configuration names. `apply` puts what it says of plugins in the place
/// of what administrators have deployed.
///
/// # Errors
/// The server cannot serve all of its configuration.
pub async fn app(config: Config, apply: bool) -> anyhow::Result<App> {
    let metrics = Metrics::install().context("cannot install the metrics recorder")?;
    let folder = Arc::new(DataFolder::acquire(&config.data.folder)?);
    let system = open_system(folder.path()).await?;
    let loader = loader(&config, &folder)?;
    let clock = loader.engines.clock();
    let beginning = Beginning::load(loader, Arc::clone(&system), apply).await?;
    let vectors = Arc::new(SharedVectors::default());
    let models = Arc::new(load_models(&config, &vectors).await?);
    let lifecycle = Lifecycle::default();
    let tokens = AdminTokens::load(Arc::clone(&system), lifecycle.detached.clone()).await?;
    let mut stores = SharedStores::open(&config.cache).await?;
    let tenants =
        open_tenants(&config, &folder, &models, &vectors, &lifecycle, &mut stores).await?;
    let guests = Guests::start(&config.engine, tenants.iter().count(), &clock, &Handle::current());
    let guests = guests.context("cannot start the guest threads")?;
    let hosts = hosts(&config, &tenants);
    let hosting = Hosting::new(hosts, guests, Arc::clone(&models), Handle::current());
    let (sizes, of_trials) = (config.sizes(), Some(Arc::clone(&models)));
    let trials = Trials::start(&config.engine, sizes, of_trials, Handle::current())?;
    let registry = beginning.serve(hosting, trials, lifecycle.detached.clone()).await?;
    let deployments = Arc::clone(registry.in_service());
    tracing::info!(deployments = deployments.current().all().count(), "deployed");
    let weights = tenants.iter().map(|tenant| (&tenant.name, weight_of(&config, &tenant.name)));
    let parsing = Parsing::start(weights).context("cannot start the threads that parse bodies")?;
    let pipelines = config.pipelines.iter().map(|(name, of)| (name, of.cors.as_ref()));
    let cors = Cors::of(pipelines, config.plugins.cors.as_ref());
    Ok(App {
        cors,
        deployments,
        registry,
        tenants,
        shared_tier: stores.into_service(&config.cache),
        system,
        tokens: Arc::new(tokens),
        models,
        vectors,
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

/// Loads the models of a configuration.
///
/// # Errors
/// One cannot be loaded, or there is none.
pub(crate) async fn load_models(
    config: &Config,
    vectors: &Arc<SharedVectors>,
) -> anyhow::Result<Models> {
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

/// The tenants, and which pipelines they host.
fn hosts(config: &Config, tenants: &Tenants) -> Vec<Host> {
    let host = |tenant: &Arc<Tenant>| Host {
        tenant: Arc::clone(tenant),
        pipelines: config.tenants.get(&tenant.name).map(|tenant| tenant.pipelines.clone()),
        weight: weight_of(config, &tenant.name),
    };
    tenants.iter().map(host).collect()
}

/// The weight of a tenant, which is 1 if none is configured.
fn weight_of(config: &Config, tenant: &Name) -> u32 {
    config.tenants.get(tenant).map_or(1, |tenant| tenant.weight)
}
