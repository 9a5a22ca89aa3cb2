//! Checks the order of the crates, and what they must not depend on.
//!
//! Cargo refuses cycles of crates, except through dev-dependencies. It does not know the intended
//! direction, so that is defined here.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use crate::packages::{Edge, Graph, Package, Packages};

/// Our crates, from top to bottom: each may depend only on those after it.
const ORDER: &[&str] = &[
    "xtask",
    "weir-tests",
    "weir-documentation",
    "weir",
    "weir-server",
    "weir-runtime",
    "weir-client",
    "weir-authoring",
    "weir-bindings",
    "weir-search",
    "weir-embedding",
    "weir-store",
    "weir-cache",
    "weir-limits",
    "weir-core",
    "weir-test-components",
    "weir-test-redis",
    "echo",
    "policy-default",
    "search",
    "weir-sdk",
];

/// Dev-dependencies that may go against that order, each with its reason.
const AGAINST_ORDER: &[(&str, &str, &str)] = &[];

/// What crates must not depend on, directly or indirectly, not even in their own tests. A `*` at
/// the end of a name matches any ending.
const KEPT_OUT: &[(&[&str], &[&str])] = &[
    // Core, cache, store, search and embedding build and test without WebAssembly and HTTP …
    (
        &["weir-core", "weir-limits", "weir-cache", "weir-store", "weir-search", "weir-embedding"],
        &["wasmtime*", "weir-bindings", "axum*", "hyper*"],
    ),
    // … and, if possible, without each other.
    (&["weir-core", "weir-limits", "weir-cache"], &["sqlx*", "ort", "tokenizers"]),
    (&["weir-store"], &["ort", "tokenizers", "moka"]),
    (&["weir-embedding"], &["sqlx*"]),
    // The server does not contain what only the other commands need.
    (
        &["weir-server", "weir-runtime"],
        &["weir-client", "weir-authoring", "reqwest", "scraper", "pulldown-cmark", "indicatif"],
    ),
    // The client talks to the server only over HTTP, and authors' tools need none.
    (&["weir-client", "weir-authoring"], &["wasmtime*", "axum*", "sqlx*", "ort"]),
];

/// The name and the root file of each target.
pub(super) fn roots(packages: &Packages) -> Vec<(String, PathBuf)> {
    let targets = packages.members().flat_map(|package| {
        package.targets.iter().map(|target| {
            let kind = target.kind.first().map_or("lib", String::as_str);
            (format!("{} ({kind})", target.name), target.src_path.clone())
        })
    });
    targets.collect()
}

/// Finds violations in the dependencies of these workspaces, one line each.
pub(super) fn findings(workspaces: &[Packages]) -> Vec<String> {
    let rules = Rules { order: ORDER, against_order: AGAINST_ORDER, kept_out: KEPT_OUT };
    let mut findings: Vec<_> =
        workspaces.iter().flat_map(|workspace| rules.findings(workspace)).collect();
    findings.extend(rules.stale(workspaces));
    findings
}

struct Rules {
    order: &'static [&'static str],
    against_order: &'static [(&'static str, &'static str, &'static str)],
    kept_out: &'static [(&'static [&'static str], &'static [&'static str])],
}

impl Rules {
    fn findings(&self, workspace: &Packages) -> Vec<String> {
        let graph = workspace.graph();
        let mut findings = Vec::new();
        for member in workspace.members() {
            let name = member.name.as_str();
            match self.rank(name) {
                Some(rank) => findings.extend(self.against(member, rank, &graph)),
                None => findings.push(format!("{name} has no place in the order of crates")),
            }
            for (crates, kept_out) in self.kept_out {
                if crates.contains(&name) {
                    findings.extend(reached(&graph, member, kept_out));
                }
            }
        }
        findings
    }

    /// Finds names in the rules that no crate has any more. Such a rule can never fail.
    fn stale(&self, workspaces: &[Packages]) -> Vec<String> {
        let is_member = |name: &str| {
            workspaces.iter().flat_map(Packages::members).any(|package| package.name == name)
        };
        let is_known = |pattern: &str| {
            workspaces.iter().flat_map(Packages::all).any(|package| matches(pattern, &package.name))
        };
        let kept_apart = self.kept_out.iter().flat_map(|(crates, _)| *crates);
        let ours = self.order.iter().chain(kept_apart).filter(|name| !is_member(name));
        let kept_out = self.kept_out.iter().flat_map(|(_, patterns)| *patterns);
        let others = kept_out.filter(|pattern| !is_known(pattern));
        ours.chain(others)
            .map(|name| format!("a rule names the crate {name}, which does not exist"))
            .collect()
    }

    fn rank(&self, name: &str) -> Option<usize> {
        self.order.iter().position(|other| *other == name)
    }

    fn against(&self, member: &Package, rank: usize, graph: &Graph<'_>) -> Vec<String> {
        let mut findings = Vec::new();
        let name = member.name.as_str();
        for Edge { package, is_for_tests } in graph.direct(&member.id) {
            let other = package.name.as_str();
            let is_above = self.rank(other).is_some_and(|other| other <= rank);
            let is_listed =
                self.against_order.iter().any(|(from, to, _)| *from == name && *to == other);
            if is_above && !(*is_for_tests && is_listed) {
                let tests = if *is_for_tests { ", for its tests" } else { "" };
                findings.push(format!("{name} depends on {other}, which is above it{tests}"));
            }
        }
        findings
    }
}

/// Finds packages in `kept_out` that a package depends on, each with the shortest chain to it.
fn reached(graph: &Graph<'_>, start: &Package, kept_out: &[&str]) -> Vec<String> {
    let mut chains = BTreeMap::from([(start.id.as_str(), vec![start.name.as_str()])]);
    let mut open = VecDeque::from([start.id.as_str()]);
    let mut findings = Vec::new();
    while let Some(id) = open.pop_front() {
        for Edge { package, is_for_tests } in graph.direct(id) {
            // The tests of other packages are not built.
            if chains.contains_key(package.id.as_str()) || (*is_for_tests && id != start.id) {
                continue;
            }
            let chain = [&chains[id][..], &[package.name.as_str()]].concat();
            if kept_out.iter().any(|pattern| matches(pattern, &package.name)) {
                findings.push(format!(
                    "{} must not depend on {}: {}",
                    start.name,
                    package.name,
                    chain.join(" → ")
                ));
            } else {
                open.push_back(&package.id);
            }
            chains.insert(&package.id, chain);
        }
    }
    findings
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::{Value, json};

    use super::*;

    /// A workspace of `high` and `low`, with dependencies given as `from`, `to` and kind.
    fn workspace(dependencies: &[(&str, &str, Option<&str>)]) -> Packages {
        let names = ["high", "low", "new", "web", "web-types", "between"];
        let package = |name: &str| {
            json!({
                "id": name, "name": name, "version": "1.0.0", "manifest_path": "", "targets": [],
            })
        };
        let node = |from: &&str| {
            let of = dependencies.iter().filter(|(other, ..)| other == from);
            let deps: Vec<Value> = of
                .map(|(_, to, kind)| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] }))
                .collect();
            json!({ "id": from, "deps": deps })
        };
        let json = json!({
            "packages": names.map(package),
            "workspace_members": ["high", "low"],
            "resolve": { "nodes": names.iter().map(node).collect::<Vec<_>>() },
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_order_and_forbidden_dependencies_are_checked() {
        let rules = Rules {
            order: &["high", "low"],
            against_order: &[],
            kept_out: &[(&["low"], &["web*"])],
        };
        let (tests, build) = (Some("dev"), Some("build"));
        for (dependencies, expected) in [
            (&[("high", "low", None)][..], &[][..]),
            (&[("low", "high", None)], &["low depends on high, which is above it"]),
            (&[("low", "high", tests)], &["low depends on high, which is above it, for its tests"]),
            (&[("high", "web", None)], &[]),
            (&[("low", "web", None)], &["low must not depend on web: low → web"]),
            (
                &[("low", "web-types", tests)],
                &["low must not depend on web-types: low → web-types"],
            ),
            (
                &[("low", "between", build), ("between", "web", None)],
                &["low must not depend on web: low → between → web"],
            ),
            (&[("low", "between", None), ("between", "web", tests)], &[]),
        ] {
            assert_eq!(rules.findings(&workspace(dependencies)), expected, "{dependencies:?}");
        }
    }

    #[test]
    fn only_a_listed_dev_dependency_may_go_against_the_order() {
        let rules = Rules {
            order: &["high", "low"],
            against_order: &[("low", "high", "it is tested with it")],
            kept_out: &[],
        };
        assert_eq!(rules.findings(&workspace(&[("low", "high", Some("dev"))])).len(), 0);
        assert_eq!(rules.findings(&workspace(&[("low", "high", None)])).len(), 1);
    }

    #[test]
    fn a_rule_about_a_missing_crate_is_reported() {
        let workspaces = [workspace(&[])];
        let rules = |order, kept_out| Rules { order, against_order: &[], kept_out };
        for (rules, expected) in [
            (rules(&["high", "low"], &[(&["low"], &["web*", "new"])]), None),
            (rules(&["high", "gone"], &[]), Some("gone")),
            (rules(&["high"], &[(&["web"], &[])]), Some("web")),
            (rules(&["high"], &[(&["low"], &["web-*", "webb*"])]), Some("webb*")),
        ] {
            let expected: Vec<_> = expected
                .map(|name| format!("a rule names the crate {name}, which does not exist"))
                .into_iter()
                .collect();
            assert_eq!(rules.stale(&workspaces), expected);
        }
    }

    #[test]
    fn a_crate_missing_from_the_order_is_reported() {
        let rules = Rules { order: &["high"], against_order: &[], kept_out: &[] };
        let found = rules.findings(&workspace(&[]));
        assert_eq!(found, ["low has no place in the order of crates"]);
    }
}
