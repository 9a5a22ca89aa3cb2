//! The packages of a workspace and their dependencies, as cargo resolves them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// The packages of a workspace and all of their dependencies, from `cargo metadata`.
#[derive(Deserialize)]
pub(crate) struct Packages {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    /// Cargo's identifier for the package, which is unique.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression of its licence, if its manifest has one.
    pub(crate) license: Option<String>,
    /// Where it was fetched from; `None` for a package in the repository.
    source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
}

impl Package {
    /// Whether it is a third-party package.
    pub(crate) fn is_from_registry(&self) -> bool {
        self.source.is_some()
    }
}

/// A library, a binary, a test or another target of a package.
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
    /// `dev`, `build`, or `None` for a normal dependency.
    kind: Option<String>,
}

/// The dependencies between packages, by package id.
pub(crate) struct Graph<'a> {
    packages: BTreeMap<&'a str, &'a Package>,
    edges: BTreeMap<&'a str, Vec<Edge<'a>>>,
}

/// One dependency.
#[derive(Clone, Copy)]
pub(crate) struct Edge<'a> {
    pub(crate) package: &'a Package,
    /// Whether only tests, examples and benchmarks use it.
    pub(crate) is_for_tests: bool,
}

impl Packages {
    /// Reads the workspace of this manifest, with its dependencies for one target.
    pub(crate) fn read(manifest: &Path, target: &str) -> Result<Self> {
        let mut command = process::cargo();
        command.args(["metadata", "--format-version=1", "--locked", "--filter-platform", target]);
        let json = process::output(command.arg("--manifest-path").arg(manifest))?;
        serde_json::from_str(&json).context("reading the answer of `cargo metadata`")
    }

    /// The members of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The members and all of their dependencies.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter()
    }

    /// The graph of dependencies.
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
    /// The direct dependencies of a package.
    pub(crate) fn direct(&self, id: &str) -> &[Edge<'a>] {
        self.edges.get(id).map_or(&[], Vec::as_slice)
    }

    /// The package and all dependencies that it is built from, sorted by name. Dependencies that
    /// only tests use are left out.
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
