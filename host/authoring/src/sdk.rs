//! The sources of the SDK and of the WIT that it is for, as they were when this program was built. So an author
//! needs no checkout of Weir, and has the SDK of the very version that will load the plugin.

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// What is at the beginning of the SDK's `Cargo.toml` where it is written for an author.
#[must_use]
pub fn stamp() -> String {
    format!(
        "# Weir's SDK {}, written by `weir plugin new`. To take that of another version of Weir, replace this\n\
         # folder with the one in a crate that its `weir plugin new` writes.\n",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_whole() {
        let text = |path: &str| FILES.iter().find(|(name, _)| *name == path).map(|(_, text)| *text);
        for path in
            ["src/lib.rs", "src/policy/mod.rs", "wit/world.wit", "wit/deps/policy/policy.wit"]
        {
            assert!(text(path).is_some_and(|text| !text.is_empty()), "{path}");
        }
        let manifest = text("Cargo.toml").unwrap_or_default();
        assert!(manifest.contains("name = \"weir-sdk\""), "{manifest}");
        // What an author is told to write as `wit` in plugin.toml.
        assert!(manifest.contains(&format!("version = \"{WIT_VERSION}\"")), "{manifest}");
        assert!(LOCK.contains("name = \"wit-bindgen\""));
    }
}
