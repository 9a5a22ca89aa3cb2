//! Reads the sources of a crate: its modules, their names and the paths in their code.
//!
//! Code that only tests use is left out. Paths are found wherever Rust allows them: in `use` lines,
//! expressions, types, patterns, bounds and attributes. In the tokens of macros, everything that
//! looks like a path counts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItem, Item, Meta, UseTree};

use super::{Module, Modules, Read, Reference};

/// Reads the crate with this root file.
pub(super) fn root(modules: &mut Modules, file: &Path, read: Read<'_>) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    modules.modules.push(Module { name: "crate".to_owned(), ..Module::default() });
    let mut collector = Collector { modules, read, module: 0, folder, failed: None };
    collector.file(file);
    collector.failed.map_or(Ok(()), Err)
}

struct Collector<'a> {
    modules: &'a mut Modules,
    read: Read<'a>,
    /// The module that is being read.
    module: usize,
    /// The folder with the files of its children.
    folder: PathBuf,
    /// The first error; a visitor cannot return it.
    failed: Option<anyhow::Error>,
}

impl Collector<'_> {
    fn file(&mut self, file: &Path) {
        let parsed = (self.read)(file).context("it does not exist").and_then(|source| {
            syn::parse_file(&source)
                .map_err(|error| anyhow!("line {}: {error}", error.span().start().line))
        });
        match parsed.with_context(|| format!("reading {}", file.display())) {
            Ok(parsed) => {
                file.clone_into(&mut self.here().file);
                self.visit_file(&parsed);
            }
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
    }

    fn here(&mut self) -> &mut Module {
        &mut self.modules.modules[self.module]
    }

    fn module(&mut self, item: &syn::ItemMod) {
        let name = item.ident.unraw().to_string();
        let child = self.modules.modules.len();
        let file = self.here().file.clone();
        let parent = Some(self.module);
        self.here().children.insert(name.clone(), child);
        let module = Module { name: name.clone(), file, parent, ..Module::default() };
        self.modules.modules.push(module);
        let (above, folder) = (self.module, self.folder.clone());
        self.module = child;
        self.folder.push(&name);
        match &item.content {
            Some((_, items)) => items.iter().for_each(|item| self.visit_item(item)),
            None => {
                let next_to = folder.join(&name).with_extension("rs");
                let inside = self.folder.join("mod.rs");
                let file = if (self.read)(&inside).is_some() { inside } else { next_to };
                self.file(&file);
            }
        }
        (self.module, self.folder) = (above, folder);
    }

    fn refer(&mut self, segments: Vec<String>, line: usize, is_use: bool) {
        self.here().references.push(Reference { segments, line, is_use });
    }

    fn import(&mut self, tree: &UseTree, above: &[String]) {
        let with = |name: &Ident| [above, &[name.unraw().to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, above));
            }
            UseTree::Glob(glob) => {
                self.refer(above.to_vec(), glob.star_token.span.start().line, true);
                self.here().globs.push(above.to_vec());
            }
            UseTree::Name(name) if name.ident == "self" => {
                self.bind(above.last().cloned(), above.to_vec(), &name.ident);
            }
            UseTree::Name(name) => {
                self.bind(Some(name.ident.unraw().to_string()), with(&name.ident), &name.ident);
            }
            UseTree::Rename(rename) => {
                let path =
                    if rename.ident == "self" { above.to_vec() } else { with(&rename.ident) };
                self.bind(Some(rename.rename.unraw().to_string()), path, &rename.ident);
            }
        }
    }

    fn bind(&mut self, name: Option<String>, path: Vec<String>, at: &Ident) {
        self.refer(path.clone(), at.span().start().line, true);
        if let Some(name) = name {
            self.here().imports.entry(name).or_default().push(path);
        }
    }

    /// Records everything that looks like a path. `above` is the path in front of a `{…}` group.
    fn tokens(&mut self, tokens: TokenStream, above: &[String]) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let punct = |index: usize, wanted: char| {
            let token = tokens.get(index);
            matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == wanted)
        };
        let double_colon = |index: usize| punct(index, ':') && punct(index + 1, ':');
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            let before = |back: usize, wanted| index >= back && punct(index - back, wanted);
            // Fields, methods, lifetimes, `$variables`, and names after a leading `::` or `<T>::`.
            let is_other = (before(1, '.') && !before(2, '.'))
                || before(1, '\'')
                || (before(1, ':') && before(2, ':'))
                || (before(1, '$') && !matches!(token, TokenTree::Ident(name) if name == "crate"));
            let TokenTree::Ident(first) = token else {
                if let TokenTree::Group(group) = token {
                    self.tokens(group.stream(), &[]);
                }
                index += 1;
                continue;
            };
            let line = first.span().start().line;
            let mut path = [above, &[first.unraw().to_string()]].concat();
            index += 1;
            while double_colon(index) {
                match tokens.get(index + 2) {
                    Some(TokenTree::Ident(name)) => path.push(name.unraw().to_string()),
                    Some(TokenTree::Group(group)) if !is_other => {
                        self.tokens(group.stream(), &path);
                    }
                    _ => break,
                }
                index += 3;
            }
            if !is_other {
                self.refer(path, line, false);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = parts(item);
        if attributes.iter().any(is_test) {
            return;
        }
        if let Some(name) = name {
            let name = name.unraw().to_string();
            if let Item::Macro(_) = item {
                let module = self.module;
                self.modules.macros.insert(name.clone(), module);
            }
            self.here().items.insert(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !matches!(item, ImplItem::Fn(function) if function.attrs.iter().any(is_test)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module(item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let (None, Some(first)) = (&path.leading_colon, path.segments.first()) {
            let line = first.ident.span().start().line;
            let segments = path.segments.iter().map(|s| s.ident.unraw().to_string()).collect();
            self.refer(segments, line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone(), &[]);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        self.visit_path(attribute.path());
        let Meta::List(list) = &attribute.meta else { return };
        self.tokens(list.tokens.clone(), &[]);
        if list.path.is_ident("serde") {
            // `#[serde(with = "some::module")]`: a path in a string.
            for token in list.tokens.clone() {
                if let TokenTree::Literal(literal) = token
                    && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                    && let Ok(path) = text.parse::<syn::Path>()
                {
                    let segments = path.segments.iter().map(|s| s.ident.to_string()).collect();
                    self.refer(segments, literal.span().start().line, false);
                }
            }
        }
    }
}

/// The attributes of an item, and the name that it defines. The names of modules and imports are
/// recorded elsewhere.
fn parts(item: &Item) -> (&[Attribute], Option<&Ident>) {
    match item {
        Item::Const(item) => (&item.attrs, Some(&item.ident)),
        Item::Enum(item) => (&item.attrs, Some(&item.ident)),
        Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
        Item::ForeignMod(item) => (&item.attrs, None),
        Item::Impl(item) => (&item.attrs, None),
        Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
        Item::Mod(item) => (&item.attrs, None),
        Item::Static(item) => (&item.attrs, Some(&item.ident)),
        Item::Struct(item) => (&item.attrs, Some(&item.ident)),
        Item::Trait(item) => (&item.attrs, Some(&item.ident)),
        Item::Type(item) => (&item.attrs, Some(&item.ident)),
        Item::Union(item) => (&item.attrs, Some(&item.ident)),
        Item::Use(item) => (&item.attrs, None),
        _ => (&[], None),
    }
}

/// Whether the attribute is `#[test]`, `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_test(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    let Meta::List(list) = &attribute.meta else { return false };
    let mut condition = list.tokens.clone().into_iter();
    let is = |token: &TokenTree, word| matches!(token, TokenTree::Ident(name) if name == word);
    list.path.is_ident("cfg")
        && match (condition.next(), condition.next()) {
            (Some(test), None) => is(&test, "test"),
            (Some(all), Some(TokenTree::Group(conditions))) => {
                is(&all, "all") && conditions.stream().into_iter().any(|token| is(&token, "test"))
            }
            _ => false,
        }
}
