//! `weir plugin test`: the cases and the samples of a plugin's manifest, on its author's machine.
//!
//! Compiles the component in this process and has it answer, by the same trials that a server makes of uploads. What a
//! case is compared with is what a client would get: a failure of the pipeline is a problem document. Of a policy, it
//! loads the component and compiles its plan, which is what a server does before it deploys one. [`report`] is what is
//! printed. Out of scope: building the component.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tokio::runtime::{Builder, Handle};
use weir_core::digest::PluginDigest;
use weir_embedding::cached::SharedVectors;
use weir_runtime::engine::Engines;
use weir_runtime::engine::compile::compile_here;
use weir_runtime::engine::config::Engine;
use weir_runtime::engine::kind::Kind;
use weir_runtime::engine::size::Size;
use weir_runtime::pipeline::{self, Pipeline};
use weir_runtime::plugin::expected::Seen;
use weir_runtime::plugin::manifest::{Expect, Manifest, Request, Role};
use weir_runtime::plugin::section;
use weir_runtime::plugin::settings::complete;
use weir_runtime::policy::{self, Policy, PolicyError};
use weir_runtime::settings::{Setting, Settings};
use weir_runtime::trial::samples::{Fault, fault};
use weir_runtime::trial::{TrialError, Trials, Tried};
use weir_server::http::problem::Problem;

use self::report::{Checked, Outcome, Report};
use super::{MANIFEST, read};
use crate::build;
use crate::config::Config;

mod report;

/// How long all requests of one plugin may take together: long enough for as many as a manifest may have.
const BUDGET: Duration = Duration::from_secs(3_600);
/// The id of every request, in problem documents.
const REQUEST_ID: &str = "test";

/// The arguments of `weir plugin test`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The component. Without it, target/NAME.wasm next to the plugin.toml of that name.
    component: Option<PathBuf>,
    /// Its plugin.toml, instead of the one next to the component. A component that carries one needs none.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A setting that differs from the manifest's default.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Run only the cases and samples with this text in their names.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// A plugin as it is in its file.
struct Plugin {
    path: PathBuf,
    bytes: Vec<u8>,
    manifest: Manifest,
    settings: Settings,
}

/// Tests the plugin and prints how that went.
///
/// # Errors
/// It cannot be loaded, or an answer is not as expected.
pub(super) fn run(
    arguments: &Arguments,
    config: Option<&Path>,
    as_json: bool,
) -> anyhow::Result<()> {
    let plugin = Plugin::read(arguments)?;
    let report = match plugin.manifest.role {
        Role::Policy => plugin.check_policy()?,
        Role::Pipeline => {
            let runtime = Builder::new_multi_thread().enable_all().build()?;
            let filter = arguments.filter.as_deref().unwrap_or_default();
            let tested = runtime.block_on(plugin.test(config, filter));
            // A search or a text that is being tokenized may not be over.
            runtime.shutdown_background();
            tested?
        }
    };
    match as_json {
        true => println!("{:#}", report.json()),
        false => print!("{report}"),
    }
    let (failed, all) = (report.failed(), report.checked.len());
    ensure!(failed == 0, "{failed} of {all} failed");
    Ok(())
}

impl Plugin {
    fn read(arguments: &Arguments) -> anyhow::Result<Self> {
        let Arguments { component, manifest, settings, .. } = arguments;
        let (path, bytes) = match component {
            Some(path) => (path.clone(), read(path, manifest.as_deref())?),
            None => {
                let manifest = manifest.clone().unwrap_or_else(|| MANIFEST.into());
                let path = built(&manifest)?;
                let bytes = read(&path, Some(&manifest))?;
                (path, bytes)
            }
        };
        let Some(text) = section::extract(&bytes)? else {
            bail!(
                "{}: there is no {MANIFEST} next to it or in it: name it with --manifest",
                path.display()
            );
        };
        let manifest = Manifest::parse(text)?;
        let setting = |text: &String| {
            let (name, value) =
                text.split_once('=').with_context(|| format!("--set {text}: there is no '='"))?;
            anyhow::Ok((name.to_owned(), Setting(value.to_owned())))
        };
        let given = Settings(settings.iter().map(setting).collect::<Result<_, _>>()?);
        let settings = complete(&manifest.settings, &given)
            .context("--set NAME=VALUE sets what has no default")?;
        Ok(Self { path, bytes, manifest, settings })
    }

    fn digest(&self) -> String {
        PluginDigest::of(&self.bytes).to_string()
    }

    fn report(&self, checked: Vec<Checked>) -> Report {
        let Manifest { name, version, role, .. } = &self.manifest;
        let digest = self.digest();
        Report { name: name.clone(), version: version.clone(), role: *role, digest, checked }
    }

    /// Loads a policy, which compiles its plan.
    fn check_policy(&self) -> anyhow::Result<Report> {
        let limits = Engine { max_concurrent_guests: 1, ..Engine::default() };
        let engines = Engines::new(&limits, [])?;
        let (engine, path) = (&engines.policies, &self.path);
        let component = compile_here(None, Kind::Policies, engine, path, &self.bytes)
            .map_err(PolicyError::from)?;
        let config =
            policy::config::Policy { component: path.clone(), settings: self.settings.clone() };
        let (name, digest) = (self.manifest.name.clone(), self.digest());
        let policy = Policy::of_component(engine, name, &config, &limits, &component, digest)?;
        let parts: Vec<_> = policy.plan.part_names().collect();
        let outcome = Outcome::Planned { key: parts, key_epoch: policy.plan.key_epoch };
        Ok(self.report(vec![Checked { name: "plan".to_owned(), line: None, outcome }]))
    }

    /// Has a pipeline answer the requests whose names contain `filter`.
    async fn test(&self, config: Option<&Path>, filter: &str) -> anyhow::Result<Report> {
        let trials = self.trials(config).await?;
        let pipeline = tokio::task::block_in_place(|| self.load(&trials))?;
        let trial = trials.begin(&self.manifest.name).await?;
        let until = Instant::now() + BUDGET;
        let mut checked = Vec::new();
        for (name, request, expect) in self.requests() {
            if !name.contains(filter) {
                continue;
            }
            let outcome = match trial.run(&pipeline, request, until).await {
                Ok(tried) => outcome(&tried, expect),
                Err(TrialError::OutOfTime) => Outcome::Refused(Fault::OutOfTime { budget: BUDGET }),
                Err(error) => return Err(error.into()),
            };
            checked.push(Checked { name, line: Some(request.line), outcome });
        }
        ensure!(
            !checked.is_empty() || filter.is_empty(),
            "--filter {filter}: neither a case nor a sample has this in its name"
        );
        Ok(self.report(checked))
    }

    /// All requests with their names, and what is expected if that is stated.
    fn requests(&self) -> impl Iterator<Item = (String, &Request, Option<&Expect>)> {
        let Manifest { cases, samples, .. } = &self.manifest;
        let cases = cases.iter().map(|case| (case.name.clone(), &case.request, Some(&case.expect)));
        let samples = samples.iter().enumerate();
        cases.chain(samples.map(|(index, sample)| (format!("samples[{index}]"), sample, None)))
    }

    /// Trials with limits that allow what the manifest asks for, and with the models of a configuration.
    async fn trials(&self, config: Option<&Path>) -> anyhow::Result<Trials> {
        let models = match config {
            Some(path) => {
                let config = Config::load(path)?;
                Some(Arc::new(build::load_models(&config, &Arc::<SharedVectors>::default()).await?))
            }
            None => None,
        };
        let asked = &self.manifest.limits;
        let mut limits = Engine::default();
        limits.large.max_concurrent_guests = 1;
        limits.deadline_ms = asked.deadline_ms.unwrap_or(limits.deadline_ms);
        let of_size = match asked.size.unwrap_or_default() {
            Size::Small => &mut limits.max_memory_bytes,
            Size::Large => &mut limits.large.max_memory_bytes,
        };
        *of_size = asked.max_memory_bytes.unwrap_or(*of_size);
        Ok(Trials::start(&limits, asked.size, models, Handle::current())?)
    }

    fn load(&self, trials: &Trials) -> anyhow::Result<Arc<Pipeline>> {
        let config = trials.config(&self.manifest, self.settings.clone());
        let config = pipeline::config::Pipeline { component: self.path.clone(), ..config };
        let kind = Kind::of_pipelines(config.size);
        let engine = trials.engines().of(kind).context("there is no engine of its size")?;
        let component = compile_here(None, kind, engine, &self.path, &self.bytes)
            .map_err(|error| error.with_advice(config.size))?;
        let (name, digest) = (self.manifest.name.clone(), self.digest());
        let (engines, limits) = (trials.engines(), trials.limits());
        Ok(Arc::new(Pipeline::of_component(engines, name, &config, limits, &component, digest)?))
    }
}

/// Where the component of a manifest is, if it is built.
fn built(manifest: &Path) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(manifest).with_context(|| {
        format!(
            "cannot read {}: name the component, or be where its manifest is",
            manifest.display()
        )
    })?;
    let name = Manifest::parse(&text)?.name;
    Ok(manifest.with_file_name("target").join(format!("{name}.wasm")))
}

/// How a request has gone: of a case, what is not as expected; of a sample, whether it is handled.
fn outcome(tried: &Tried, expect: Option<&Expect>) -> Outcome {
    let answer = Answered::of(tried);
    let status = answer.status;
    let lacked_model = tried.lacked_model;
    match expect {
        Some(expect) => {
            let Answered { headers, body, .. } = &answer;
            let differences = expect.differences(Seen { status, headers, body });
            let error = tried.outcome.as_ref().err().map(ToString::to_string);
            match differences.is_empty() {
                true => Outcome::AsExpected { status },
                false => Outcome::Different { differences, error, lacked_model },
            }
        }
        None => match fault(tried) {
            None => Outcome::AsExpected { status },
            // A server has one.
            Some(_) if lacked_model => Outcome::LacksModel,
            Some(fault) => Outcome::Refused(fault),
        },
    }
}

/// What a client would get, without what Weir adds to every answer.
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn of(tried: &Tried) -> Self {
        match &tried.outcome {
            Ok(answer) => {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, answer.content_type.clone());
                for (name, value) in &answer.headers {
                    headers.append(name, value.clone());
                }
                Self { status: answer.status.as_u16(), headers, body: answer.body.to_vec() }
            }
            Err(error) => {
                let problem = Problem::from(error.clone());
                let content_type = HeaderValue::from_static("application/problem+json");
                let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
                let body = problem.body(REQUEST_ID);
                Self { status: problem.status().as_u16(), headers, body }
            }
        }
    }
}
