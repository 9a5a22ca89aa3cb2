//! What cargo resolves: the packages of a workspace and what each depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// A workspace's packages and all that they depend on, by `cargo metadata`.
#[derive(Deserialize)]
pub(crate) struct Packages {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    /// Cargo's own name of it, which no other package has.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression, if it states one.
    pub(crate) license: Option<String>,
    /// Where it comes from; nothing for a path in the repository.
    source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
}

impl Package {
    /// Whether it is a third party's.
    pub(crate) fn is_from_registry(&self) -> bool {
        self.source.is_some()
    }
}

/// Something that is compiled on its own: a library, a binary, a test.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `dev`, `build`, or nothing for the others.
    kind: Option<String>,
}

/// Dependencies by id.
pub(crate) struct Graph<'a> {
    packages: BTreeMap<&'a str, &'a Package>,
    edges: BTreeMap<&'a str, Vec<Edge<'a>>>,
}

/// One dependency.
#[derive(Clone, Copy)]
pub(crate) struct Edge<'a> {
    pub(crate) package: &'a Package,
    /// Only tests, examples and benchmarks have it.
    pub(crate) is_for_tests: bool,
}

impl Packages {
    /// Asks cargo about the workspace of this manifest, on one target.
    pub(crate) fn read(manifest: &Path, target: &str) -> Result<Self> {
        let mut command = process::cargo();
        command.args(["metadata", "--format-version=1", "--locked", "--filter-platform", target]);
        let json = process::output(command.arg("--manifest-path").arg(manifest))?;
        serde_json::from_str(&json).context("reading the answer of `cargo metadata`")
    }

    /// The packages of the workspace itself.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// These, and all that they depend on.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter()
    }

    /// Who depends on whom.
    pub(crate) fn graph(&self) -> Graph<'_> {
        let packages: BTreeMap<_, _> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let edges = |node: &Node| {
            let edge = |dependency: &Dependency| {
                let is_dev = |kind: &Kind| kind.kind.as_deref() == Some("dev");
                let is_for_tests = dependency.dep_kinds.iter().all(is_dev);
                let package = packages.get(dependency.pkg.as_str())?;
                Some(Edge { package, is_for_tests })
            };
            node.deps.iter().filter_map(edge).collect()
        };
        let edges = self.resolve.nodes.iter().map(|node| (node.id.as_str(), edges(node))).collect();
        Graph { packages, edges }
    }
}

impl<'a> Graph<'a> {
    /// What a package itself depends on.
    pub(crate) fn direct(&self, id: &str) -> &[Edge<'a>] {
        self.edges.get(id).map_or(&[], Vec::as_slice)
    }

    /// The package and all that it is built from, in the order of their names.
    pub(crate) fn built_from(&self, id: &str) -> Vec<&'a Package> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&'a Package> = self.packages.get(id).copied().into_iter().collect();
        while let Some(package) = open.pop() {
            if found.insert((&package.name, &package.version, &package.id)) {
                let built = self.direct(&package.id).iter().filter(|edge| !edge.is_for_tests);
                open.extend(built.map(|edge| edge.package));
            }
        }
        found.into_iter().filter_map(|(.., id)| self.packages.get(id.as_str()).copied()).collect()
    }
}
