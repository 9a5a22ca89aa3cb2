//! Small trees of sources, and the cycles in them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

/// Describes each cycle as `PARENT: MEMBER ⇄ MEMBER | FROM → TO FILE:LINE PATH | …`.
fn cycles(sources: &[(&str, &str)]) -> Vec<String> {
    let read = |path: &Path| {
        let source = sources.iter().find(|(name, _)| Path::new(name) == path);
        source.map(|(_, text)| (*text).to_owned())
    };
    let modules = Modules::read(Path::new(sources[0].0), &read).unwrap();
    let show = |cycle: Cycle| {
        let edges = cycle.edges.iter().map(|edge| {
            let (file, line, path) = &edge.uses[0];
            format!(" | {} → {} {}:{line} {path}", edge.from, edge.to, file.display())
        });
        let edges: String = edges.collect();
        format!("{}: {}{edges}", cycle.parent, cycle.members.join(" ⇄ "))
    };
    modules.cycles().into_iter().map(show).collect()
}

/// The cycles of a root with modules `a`, `b` and `c`. `b` refers to `a` in its first line.
fn planted(a: &str, c: &str) -> Vec<String> {
    cycles(&[
        ("lib.rs", "mod a; mod b; mod c; pub struct Root;"),
        ("a.rs", a),
        ("b.rs", "use crate::a::A; pub struct B; pub enum E { One } pub fn make() -> A { A }"),
        ("c.rs", c),
    ])
}

#[test]
fn a_cycle_is_found_however_it_is_written() {
    let a_to_b = [
        ("use crate::b::B; pub struct A;", "crate::b::B"),
        ("pub struct A; fn f() { let _ = crate::b::make(); }", "crate::b::make"),
        ("pub struct A(super::b::B);", "super::b::B"),
        ("pub struct A; fn f(e: E) { match e { super::b::E::One => {} } }", "super::b::E::One"),
        ("pub struct A; fn f<T: Into<super::b::B>>() {}", "super::b::B"),
        ("pub struct A; impl From<crate::b::B> for A {}", "crate::b::B"),
        ("pub struct A; fn f() { vec![1, g(&crate::b::make())]; }", "crate::b::make"),
        (
            "pub struct A; macro_rules! m { ($x:ty) => { $crate::b::B::new::<$x>() } }",
            "crate::b::B::new",
        ),
        ("pub struct A; fn f() { m! { use crate::{b::B, Root}; } }", "crate::b::B"),
        ("pub struct A; fn f() { use super::b as other; other::make(); }", "super::b"),
        ("use super::*; pub struct A; fn f() { b::make(); }", "b::make"),
        ("use crate::b::*; pub struct A;", "crate::b"),
        ("use crate::{self as root}; pub struct A(root::b::B);", "root::b::B"),
        (
            "pub struct A; mod inner { fn f() { super::super::b::make(); } }",
            "super::super::b::make",
        ),
        ("pub struct A; #[serde(with = \"crate::b::make\")] struct S;", "crate::b::make"),
        ("pub struct A; #[arg(value_parser = crate::b::make)] struct S;", "crate::b::make"),
        // Through another module's re-exports: by name, renamed, or as a glob.
        ("pub struct A(crate::c::B);", "crate::c::B"),
        ("pub struct A(crate::c::Renamed);", "crate::c::Renamed"),
        ("pub struct A; fn f() { crate::c::make(); }", "crate::c::make"),
        ("pub struct A; fn f() { crate::c::again::make(); }", "crate::c::again::make"),
    ];
    let c = "pub use crate::b::{B, B as Renamed}; pub use super::b::*; pub use crate::b as again;";
    for (a, path) in a_to_b {
        let expected = format!("crate: a ⇄ b | a → b a.rs:1 {path} | b → a b.rs:1 crate::a::A");
        assert_eq!(planted(a, c), [expected], "{a}");
    }
}

#[test]
fn what_is_not_a_dependency_is_not_reported() {
    let c = "pub use crate::a::A;";
    for a in [
        "pub struct A;",
        "use std::b::B; use ::b::B as C; pub struct A;",
        "use super::Root; use crate::*; pub struct A;",
        "#[cfg(test)] mod tests { use crate::b::B; } pub struct A;",
        "#[cfg(all(unix, test))] use crate::b::B; pub struct A;",
        "pub struct A; impl A { #[cfg(test)] fn f() { crate::b::make(); } #[test] fn g() {} }",
        "/// [`crate::b::B`]\npub struct A;",
        "pub struct A { b: u8 } fn f(a: A) { let b = a.b; m!(b, a.b, $b::make, 'b, <T>::b::c); }",
        "use super::*; pub struct A; fn f() { let b = 1; m!(b = b); b; }",
        "pub struct A; pub(in crate::b) struct B;",
        // Its own `B`, although another module's item has the same name.
        "use crate::b_of_another_crate::*; pub struct A; pub struct B; type C = B;",
        // Defined in `a`, although the path goes through `c`.
        "pub struct A; type Same = crate::c::A;",
    ] {
        assert_eq!(planted(a, c), Vec::<String>::new(), "{a}");
    }
}

#[test]
fn a_cycle_counts_below_the_closest_common_ancestor() {
    let tree = |deep: &'static str| {
        cycles(&[
            ("src/lib.rs", "mod p; mod q;"),
            ("src/p/mod.rs", "mod x; mod y; pub use x::X; pub struct P; fn f() { y::f(); }"),
            ("src/p/x.rs", "use super::P; pub struct X; fn f() { super::y::f(); }"),
            ("src/p/y.rs", deep),
            ("src/q.rs", "use crate::p::X;"),
        ])
    };
    // A parent and its children count as one: x uses what the parent defines, which uses y.
    assert_eq!(tree("pub fn f() {}"), Vec::<String>::new());
    // The parent re-exports what x defines.
    assert_eq!(
        tree("\nuse super::X; pub fn f() {}"),
        ["crate::p: x ⇄ y | x → y src/p/x.rs:1 super::y::f | y → x src/p/y.rs:2 super::X"]
    );
    assert_eq!(
        tree("pub fn f() { super::super::q::g() }"),
        ["crate: p ⇄ q | p → q src/p/y.rs:1 super::super::q::g | q → p src/q.rs:1 crate::p::X"]
    );
}

#[test]
fn a_name_can_mean_a_module_and_a_function() {
    // `plan` is a module and a function. Globs and imports that refer to themselves do not loop.
    let sources = [
        ("lib.rs", "mod policy; use a::a; pub use self::*;"),
        ("policy/mod.rs", "mod plan; mod other; pub use plan::plan; use nothing::nothing;"),
        ("policy/plan.rs", "pub fn plan() {} pub struct P; fn f() { super::other::g(); }"),
        ("policy/other.rs", "pub fn g() {} fn f(p: super::plan::P) { super::plan(); }"),
    ];
    assert_eq!(
        cycles(&sources),
        ["crate::policy: plan ⇄ other \
          | plan → other policy/plan.rs:1 super::other::g \
          | other → plan policy/other.rs:1 super::plan::P"
            .to_owned()]
    );
}

#[test]
fn a_macro_is_used_by_its_name_alone() {
    let sources = [
        ("lib.rs", "#[macro_use] mod a; mod b;"),
        ("a.rs", "macro_rules! codes { () => {} } fn f() { crate::b::g(); }"),
        ("b.rs", "pub fn g() {} codes!();"),
    ];
    assert_eq!(
        cycles(&sources),
        ["crate: a ⇄ b | a → b a.rs:1 crate::b::g | b → a b.rs:1 codes".to_owned()]
    );
}

#[test]
fn a_file_that_is_missing_or_not_rust_is_an_error_that_names_it() {
    let read = |path: &Path| (path == Path::new("lib.rs")).then(|| "mod a;".to_owned());
    let error = Modules::read(Path::new("lib.rs"), &read).err().unwrap();
    assert_eq!(format!("{error:#}"), "reading a.rs: it does not exist");
    let read = |_: &Path| Some("\nmod a {".to_owned());
    let error = Modules::read(Path::new("lib.rs"), &read).err().unwrap();
    assert!(format!("{error:#}").starts_with("reading lib.rs: line "), "{error:#}");
}

#[test]
fn the_nodes_of_a_component_reach_each_other() {
    for (edges, expected) in [
        (&[(1, 2), (2, 3)][..], &[][..]),
        (&[(1, 1)], &[]),
        (&[(1, 2), (2, 3), (3, 1), (3, 4)], &[&[1, 2, 3][..]]),
        (&[(1, 2), (2, 1), (2, 3), (3, 4), (4, 3)], &[&[1, 2], &[3, 4]]),
    ] {
        let found: Vec<Vec<i32>> =
            components(edges).into_iter().map(|c| c.into_iter().collect()).collect();
        assert_eq!(found, expected, "{edges:?}");
    }
}
