//! The server that a document describes: that of the demo or of the example, with what the
//! document's own `toml` blocks add.

use std::fs;

use weir_documentation::Block;

use super::output::Comparison;
use super::read;
use super::shell::Shell;
use crate::harness::{Config, Server, outside, plugin, weir};

/// The collection that the demo ingests.
const CORPUS: &str = "rust-book";

/// What documents write for an entry that `weir api-key` prints.
const ELIDED_KEY: &str = "0123456789abcdef:…";

/// A document while its blocks are run.
pub(super) struct Documented<'a> {
    document: &'a str,
    /// The text of its `toml` blocks, which are merged in order.
    sections: Vec<String>,
    server: Option<Server>,
    shell: Shell,
    /// Blocks for the current server, each with the block that it should print.
    waiting: Vec<(Block, Option<Block>)>,
    comparison: Comparison,
}

impl<'a> Documented<'a> {
    pub(super) fn new(document: &'a str) -> Self {
        Self {
            document,
            sections: Vec::new(),
            server: None,
            shell: Shell::new(),
            waiting: Vec::new(),
            comparison: Comparison::default(),
        }
    }

    /// Adds a configuration, which must be valid. The blocks after it run against a server with it.
    pub(super) async fn configure(&mut self, place: &str, text: &str) {
        self.finish().await;
        let mut text = text.to_owned();
        if text.contains(ELIDED_KEY) {
            let key = weir(&["api-key"]).await;
            let stored = key.stderr.split('"').nth(1).expect("it prints an entry").to_owned();
            text = text.replace(ELIDED_KEY, &stored);
        }
        self.sections.push(text);
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path());
        self.apply(&mut config);
        let file = folder.path().join("weir.toml");
        fs::write(&file, config.toml()).unwrap();
        let checked = weir(&["check", "--config", file.to_str().unwrap()]).await;
        assert!(checked.success, "{place}: this configuration is invalid\n{}", checked.stderr);
    }

    /// Keeps a block until all blocks for the same server are known.
    pub(super) fn run(&mut self, block: &Block, printed: Option<&Block>) {
        self.waiting.push((block.clone(), printed.cloned()));
    }

    /// Runs the waiting blocks, and compares what they print.
    pub(super) async fn finish(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return;
        }
        let server = match self.server.take() {
            None => {
                let server = Server::with(|config| self.apply(config)).await;
                server.client.create(CORPUS).await;
                server
            }
            Some(before) => before.restart_with(|config| self.apply(config)).await,
        };
        let texts: Vec<_> = waiting.iter().map(|(block, _)| block.text.as_str()).collect();
        let printed = self.shell.run(&texts, &server).await;
        for ((block, expected), stdout) in waiting.iter().zip(&printed.stdout) {
            self.compare(block, expected.as_ref(), stdout, &printed.stderr);
        }
        if !printed.success {
            let failed = printed.stdout.len().saturating_sub(1);
            let (line, stdout) = (waiting[failed].0.line, printed.stdout.last());
            panic!(
                "{}:{line}: this block failed\n{}\nit printed:\n{}\n{}",
                self.document,
                waiting[failed].0.text,
                stdout.map_or("", String::as_str),
                printed.stderr,
            );
        }
        self.server = Some(server);
    }

    fn compare(&mut self, block: &Block, expected: Option<&Block>, stdout: &str, stderr: &str) {
        let Some(expected) = expected else { return };
        if let Some(difference) = self.comparison.difference(&expected.text, stdout) {
            panic!(
                "{document}:{line}: the block at line {of} prints something else \
                 (numbers are shown as output.rs compares them)\n  \
                 documented: {documented}\n  printed:    {printed}\nIts whole output:\n{stdout}{stderr}",
                document = self.document,
                // The fence is also a line.
                line = expected.line + 1 + difference.line,
                of = block.line,
                documented = difference.documented,
                printed = difference.printed,
            );
        }
    }

    /// Applies the configuration so far.
    fn apply(&self, config: &mut Config) {
        if self.document.starts_with("examples/search/") {
            let own = config.clone();
            config.merge(&read("examples/search/weir.toml"));
            // Addresses and files are those of this machine.
            config.merge(&own.toml());
        } else {
            config.search().remove("pipelines.search.settings");
        }
        for section in &self.sections {
            config.merge(section);
        }
        config.complete(|name| {
            let built = [outside(name), plugin(name)].into_iter().find(|file| file.is_file());
            // A component in another language is not built here; `search` has the same imports.
            built.unwrap_or_else(|| plugin("search"))
        });
    }
}
