//! Finds cycles between the modules of one crate, by the paths in their code.
//!
//! `collect` reads the sources. Here, each path is resolved to the module that *defines* what it
//! names, through `use` lines, renames, globs and re-exports. A reference counts at one level of
//! the tree: between the two siblings below the closest common ancestor of both modules. A parent's
//! own code is not a node among its children, because it combines them and can define what they
//! share. So a parent and its children count as one.
//!
//! Out of scope: what only type inference knows, such as the module of a method's type, and what
//! macros of other crates generate.

mod collect;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Reads a file, if it exists.
pub(super) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The modules of a crate; the first is its root.
#[derive(Default)]
pub(super) struct Modules {
    modules: Vec<Module>,
    /// The module of each `macro_rules!`. Macros have a scope of their own.
    macros: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Module {
    name: String,
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names that are defined here.
    items: BTreeSet<String>,
    /// Names that `use` lines bring in. One name can mean both a type and a function.
    imports: BTreeMap<String, Vec<Vec<String>>>,
    globs: Vec<Vec<String>>,
    references: Vec<Reference>,
}

/// A path in the code.
struct Reference {
    segments: Vec<String>,
    line: usize,
    /// Whether the path is in a `use` line, where a single segment can name a module.
    is_use: bool,
}

/// What a path names.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    Module(usize),
    /// An item that this module defines, or a name inside such an item, such as a variant.
    Item(usize),
}

/// Sibling modules that depend on each other.
#[derive(Debug, PartialEq)]
pub(super) struct Cycle {
    /// The path of their parent, such as `crate` or `crate::pipeline`.
    pub(super) parent: String,
    pub(super) members: Vec<String>,
    pub(super) edges: Vec<Edge>,
}

/// One sibling's uses of another.
#[derive(Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    /// File, line and path of each use, in the order of the sources.
    pub(super) uses: Vec<(PathBuf, usize, String)>,
}

impl Modules {
    /// Reads all modules below the root file, except code that only tests use.
    pub(super) fn read(root: &Path, read: Read<'_>) -> Result<Self> {
        let mut modules = Self::default();
        collect::root(&mut modules, root, read)?;
        Ok(modules)
    }

    /// All groups of siblings that depend on each other, at all levels of the tree.
    pub(super) fn cycles(&self) -> Vec<Cycle> {
        let mut levels: BTreeMap<usize, BTreeMap<(usize, usize), Vec<_>>> = BTreeMap::new();
        for (from, module) in self.modules.iter().enumerate() {
            for reference in &module.references {
                let Some((level, edge)) = self.edge(from, reference) else { continue };
                let place = (module.file.clone(), reference.line, reference.segments.join("::"));
                levels.entry(level).or_default().entry(edge).or_default().push(place);
            }
        }
        let mut cycles = Vec::new();
        for (level, edges) in levels {
            let pairs: Vec<_> = edges.keys().copied().collect();
            for members in components(&pairs) {
                let name = |module: &usize| self.modules[*module].name.clone();
                let within =
                    |(from, to): &(usize, usize)| members.contains(from) && members.contains(to);
                let edges = edges.iter().filter(|(edge, _)| within(edge));
                cycles.push(Cycle {
                    parent: self.path(level),
                    members: members.iter().map(name).collect(),
                    edges: edges
                        .map(|((from, to), uses)| Edge {
                            from: name(from),
                            to: name(to),
                            uses: uses.clone(),
                        })
                        .collect(),
                });
            }
        }
        cycles
    }

    /// The closest common ancestor of both modules of a reference, and the two siblings below it.
    fn edge(&self, from: usize, reference: &Reference) -> Option<(usize, (usize, usize))> {
        if let [name] = &reference.segments[..]
            && !reference.is_use
            && self.modules[from].imports.contains_key(name)
        {
            // The `use` line has already been counted.
            return None;
        }
        let target = self.resolve(from, &reference.segments, &mut Vec::new());
        let target = target.or_else(|| match &reference.segments[..] {
            [name] => self.macros.get(name).copied().map(Target::Item),
            _ => None,
        });
        let to = match target? {
            // A variable, for example: outside `use`, a single name is not a module.
            Target::Module(_) if reference.segments.len() == 1 && !reference.is_use => return None,
            Target::Module(to) | Target::Item(to) => to,
        };
        let (from, to) = (self.ancestors(from), self.ancestors(to));
        let shared = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
        Some((from[shared - 1], (*from.get(shared)?, *to.get(shared)?)))
    }

    fn resolve(
        &self,
        from: usize,
        segments: &[String],
        visiting: &mut Vec<(usize, String)>,
    ) -> Option<Target> {
        let (first, rest) = segments.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent?),
            name => self.look_up(from, name, rest.is_empty(), visiting)?,
        };
        for (index, segment) in rest.iter().enumerate() {
            // What follows an item belongs to it: a variant, an associated function.
            let Target::Module(module) = target else { break };
            let is_last = index + 1 == rest.len();
            target = match segment.as_str() {
                "self" => target,
                "super" => Target::Module(self.modules[module].parent?),
                // A name that is not found may come from a macro. It counts as the module's own.
                name => {
                    self.look_up(module, name, is_last, visiting).unwrap_or(Target::Item(module))
                }
            };
        }
        Some(target)
    }

    /// Resolves a name in a module. `None` for names of other crates and local variables.
    fn look_up(
        &self,
        module: usize,
        name: &str,
        is_last: bool,
        visiting: &mut Vec<(usize, String)>,
    ) -> Option<Target> {
        let here = &self.modules[module];
        let child = here.children.get(name).copied().map(Target::Module);
        // A module and a function can have the same name, but only a module contains other names.
        if child.is_some() && !is_last {
            return child;
        }
        if here.items.contains(name) {
            return Some(Target::Item(module));
        }
        // The first `a` of `use a::a` is not the name that this line brings in.
        let mut guarded = |key: String, find: &mut dyn FnMut(&mut Vec<_>) -> Option<Target>| {
            let key = (module, key);
            if visiting.contains(&key) {
                return None;
            }
            visiting.push(key);
            let found = find(visiting);
            visiting.pop();
            found
        };
        for path in here.imports.get(name).into_iter().flatten() {
            let found = guarded(name.to_owned(), &mut |visiting| {
                // A name of another crate counts as a name of the module that imports it.
                Some(self.resolve(module, path, visiting).unwrap_or(Target::Item(module)))
            });
            if found.is_some() {
                return found;
            }
        }
        if child.is_some() {
            return child;
        }
        here.globs.iter().enumerate().find_map(|(index, path)| {
            guarded(format!("*{index}"), &mut |visiting| match self
                .resolve(module, path, visiting)?
            {
                Target::Module(other) => self.look_up(other, name, is_last, visiting),
                Target::Item(_) => None,
            })
        })
    }

    /// The modules from the root to this one.
    fn ancestors(&self, module: usize) -> Vec<usize> {
        let mut path: Vec<_> =
            std::iter::successors(Some(module), |module| self.modules[*module].parent).collect();
        path.reverse();
        path
    }

    fn path(&self, module: usize) -> String {
        let names = self.ancestors(module).into_iter().map(|m| self.modules[m].name.as_str());
        names.collect::<Vec<_>>().join("::")
    }
}

/// The strongly connected components with more than one node, each sorted.
pub(super) fn components<N: Copy + Ord>(edges: &[(N, N)]) -> Vec<BTreeSet<N>> {
    let nodes: BTreeSet<N> = edges.iter().flat_map(|(from, to)| [*from, *to]).collect();
    let reachable: BTreeMap<N, BTreeSet<N>> =
        nodes.iter().map(|node| (*node, reachable(*node, edges))).collect();
    let mut found: Vec<BTreeSet<N>> = Vec::new();
    for node in &nodes {
        let both_ways =
            |other: &&N| reachable[node].contains(*other) && reachable[*other].contains(node);
        let members: BTreeSet<N> = nodes.iter().filter(both_ways).copied().collect();
        if members.len() > 1 && !found.contains(&members) {
            found.push(members);
        }
    }
    found
}

fn reachable<N: Copy + Ord>(start: N, edges: &[(N, N)]) -> BTreeSet<N> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        for (_, to) in edges.iter().filter(|(from, _)| *from == node) {
            if seen.insert(*to) {
                open.push(*to);
            }
        }
    }
    seen
}
