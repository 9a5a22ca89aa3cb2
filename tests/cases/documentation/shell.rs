//! Runs `sh` blocks with bash, in a folder that stands in for a checkout next to a running demo.
//!
//! The programs that a reader has are there under the same names: `target/release/weir`, `weir`,
//! and `rustc`, whose documentation the demo ingests. The blocks run unchanged, except for the
//! server's address. A request that is answered with an error fails its block.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::{Server, binary};

/// The time for all blocks that run against one server.
const DEADLINE: Duration = Duration::from_secs(120);

/// The server's address in the documents.
const DOCUMENTED: &str = "127.0.0.1:8080";

/// The number of a block is printed before its output, between two of these.
const SEPARATOR: char = '\u{1e}';

/// A folder to run blocks in.
pub(super) struct Shell {
    folder: TempDir,
}

/// What the blocks printed.
pub(super) struct Printed {
    /// The output of each block that was started.
    pub(super) stdout: Vec<String>,
    pub(super) stderr: String,
    pub(super) success: bool,
}

impl Shell {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let book = folder.path().join("sysroot/share/doc/rust/html/book");
        fs::create_dir_all(&book).unwrap();
        for (name, text) in [
            ("ch04-01", "Each value in Rust has an owner."),
            ("ch16-02", "Threads send messages to each other over channels."),
        ] {
            let page =
                format!("<html><body><main><h1>{name}</h1><p>{text}</p></main></body></html>");
            fs::write(book.join(name).with_extension("html"), page).unwrap();
        }
        fs::write(folder.path().join(".curlrc"), "fail-with-body\nnoproxy = \"*\"\n").unwrap();
        Self { folder }
    }

    /// Runs the blocks in order in one bash, which stops at the first block that fails.
    pub(super) async fn run(&self, blocks: &[&str], server: &Server) -> Printed {
        self.install(server.address);
        let mut script = String::new();
        for (number, block) in blocks.iter().enumerate() {
            let block = block.replace(DOCUMENTED, &server.address.to_string());
            script.push_str(&format!("printf '\\036%s\\036' {number}\n{block}\n"));
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let folder = self.folder.path();
        let bash = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", folder.join("bin").display()))
            .env("CURL_HOME", folder)
            .env("WEIR_ADMIN_URL", server.admin_url())
            .env("WEIR_ADMIN_TOKEN_FILE", server.admin_token_file())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(DEADLINE, bash).await;
        let output = output
            .unwrap_or_else(|_| panic!("the blocks did not end within {DEADLINE:?}:\n{script}"));
        let output = output.expect("bash starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Printed {
            // The text before the first separator, then pairs of a number and an output.
            stdout: text(&output.stdout)
                .split(SEPARATOR)
                .skip(2)
                .step_by(2)
                .map(str::to_owned)
                .collect(),
            stderr: text(&output.stderr),
            success: output.status.success(),
        }
    }

    /// Puts the programs where the documents expect them.
    fn install(&self, server: SocketAddr) {
        let folder = self.folder.path();
        let ingest = format!("[ \"$1\" != ingest ] || set -- \"$@\" --url http://{server}");
        let weir = format!("{ingest}\nexec '{}' \"$@\"", binary().display());
        let rustc = format!("echo '{}'", folder.join("sysroot").display());
        write_program(&folder.join("bin/rustc"), &rustc);
        write_program(&folder.join("bin/weir"), &weir);
        write_program(&folder.join("target/release/weir"), &weir);
    }
}

fn write_program(file: &Path, lines: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("#!/bin/bash\n{lines}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}
