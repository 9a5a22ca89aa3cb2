//! The authors' loop: from an empty folder to a served answer by the commands that the documents show, with the
//! real cargo, and `weir plugin dev`. There is no checkout of Weir and no network: the SDK comes with the
//! program, and the crates that it needs have been fetched to build the tests' guests.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;
use weir_documentation::blocks;

use super::asking::ask;
use crate::harness::{Answer, Ended, Server, binary, components, plugin};

/// Longer than it takes to compile std and everything else for the first time on a busy machine.
const BUILD_DEADLINE: Duration = Duration::from_secs(1_200);

/// The server's address in the documents.
const DOCUMENTED: &str = "127.0.0.1:8080";

/// An author's folder, which has `weir` in `bin/`, and a server to deploy to.
struct Author {
    folder: TempDir,
    server: Server,
}

impl Author {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(binary(), folder.path().join("bin/weir")).unwrap();
        fs::write(folder.path().join(".curlrc"), "fail-with-body\nnoproxy = \"*\"\n").unwrap();
        let server = Server::with(|config| {
            config
                .policy("default", &plugin("policy-default"))
                .pipeline("echo", &plugin("echo"), &[])
                .set("pipelines.echo.policy", "default");
        })
        .await;
        Self { folder, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that an author starts, in the author's folder.
    fn command(&self, program: &str) -> Command {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("CURL_HOME", self.folder.path())
            .env("WEIR_ADMIN_URL", self.server.admin_url())
            .env("WEIR_ADMIN_TOKEN_FILE", self.server.admin_token_file())
            // Where the guests were compiled, so that what they share is not compiled again.
            .env("CARGO_TARGET_DIR", components().with_file_name("weir-guests"))
            .env("CARGO_NET_OFFLINE", "true")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs commands with bash, which stops at the first that fails.
    async fn run(&self, script: &str) -> Ended {
        let script = script.replace(DOCUMENTED, &self.server.address.to_string());
        let output = self.command("bash").args(["-euo", "pipefail", "-c", &script]).output();
        let output = timeout(BUILD_DEADLINE, output).await;
        let output = output.unwrap_or_else(|_| panic!("this did not end: {script}")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            success: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The same, of commands that must succeed; returns what they print.
    async fn done(&self, script: &str) -> String {
        let ended = self.run(script).await;
        assert!(ended.success, "{script}\n{}\n{}", ended.stdout, ended.stderr);
        ended.stdout
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The commands of a document's block that shows how a plugin of this name is made, but for those that say which
/// server it is: `$` is in front of each.
fn documented(document: &str, name: &str) -> String {
    let text = fs::read_to_string(repository().join(document)).unwrap();
    let begins = format!("$ weir plugin new {name} ");
    let block = blocks(&text).unwrap().into_iter().find(|block| block.text.contains(&begins));
    let block = block.unwrap_or_else(|| panic!("{document} has no block with `{begins}`"));
    let commands = block.text.lines().filter_map(|line| line.strip_prefix("$ "));
    let commands: Vec<_> = commands.filter(|line| !line.starts_with("export ")).collect();
    assert_eq!(commands.len(), 5, "the five commands of {document}: {commands:?}");
    commands.join("\n")
}

/// The commands of a new crate's README that build it and put it in service.
fn of_new_crate(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("README.md")).unwrap();
    let block = blocks(&text).unwrap().into_iter().find(|block| block.text.contains("build"));
    format!("cd {}\n{}", folder.display(), block.unwrap().text)
}

/// The revision in a line such as `hello has revision 7`.
fn deployed(printed: &str, name: &str) -> u64 {
    let begins = format!("{name} has revision ");
    let number = printed.lines().find_map(|line| line.strip_prefix(&begins));
    let number = number.unwrap_or_else(|| panic!("no {begins:?} in {printed}"));
    number.split(',').next().unwrap().parse().unwrap()
}

fn revision(answer: &Answer) -> u64 {
    answer.header("weir-revision").parse().unwrap()
}

#[tokio::test]
async fn a_pipeline_goes_from_an_empty_folder_to_a_served_answer_by_the_commands_of_the_readme() {
    let author = Author::new().await;
    let printed = author.done(&documented("README.md", "hello")).await;
    let served = deployed(&printed, "hello");
    assert!(printed.contains("{\"greeting\":\"Hi, Ada!\"}"), "{printed}");
    let answer = ask(&author.server.client, "hello", &json!({ "name": "Ada" })).await;
    assert_eq!(answer.json(), json!({ "greeting": "Hi, Ada!" }));
    assert_eq!(revision(&answer), served);
    ask(&author.server.client, "hello", &json!({ "name": " " }))
        .await
        .assert_problem(400, "no-name");

    // The same source, in another folder.
    let digest = |printed: &str| printed.lines().find(|line| line.len() == 64).unwrap().to_owned();
    let copy = "weir plugin new hello --role pipeline --path elsewhere\nweir plugin build --path elsewhere";
    assert_eq!(digest(&author.done(copy).await), digest(&printed));

    let again = author.done(&of_new_crate(&author.path("hello"))).await;
    let answer = ask(&author.server.client, "hello", &json!({ "name": "Ada" })).await;
    assert_eq!(revision(&answer), deployed(&again, "hello"));
    author.done("cd hello && cargo test --quiet").await;

    // Nothing is overwritten.
    let before = fs::read(author.path("hello/src/lib.rs")).unwrap();
    let refused = author.run("weir plugin new hello --role policy").await;
    refused.assert_refused(&["hello exists", "--path"]);
    assert_eq!(fs::read(author.path("hello/src/lib.rs")).unwrap(), before);
}

#[tokio::test]
async fn a_policy_goes_from_an_empty_folder_to_a_kept_answer_by_the_commands_of_the_document() {
    let author = Author::new().await;
    let printed = author.done(&documented("docs/authoring.md", "by-body")).await;
    assert!(printed.contains("cache-status: weir; fwd=miss; stored"), "{printed}");
    let answer = ask(&author.server.client, "echo", &json!({ "name": "Ada" })).await;
    let status = answer.header("cache-status");
    assert!(
        status.starts_with("weir; hit; ttl=5") && status.len() == "weir; hit; ttl=59".len(),
        "{status}"
    );
    assert_eq!(answer.json(), json!({ "name": "Ada" }));
    assert_eq!(revision(&answer), deployed(&printed, "default"));
    let own = author.done(&of_new_crate(&author.path("by-body"))).await;
    assert!(own.contains("by-body has revision "), "{own}");
    author.done("cd by-body && cargo test --quiet").await;
}

/// `weir plugin dev`, and what it says.
struct Developing {
    child: Child,
    swaps: Lines<BufReader<ChildStdout>>,
    said: Lines<BufReader<ChildStderr>>,
}

impl Developing {
    fn start(author: &Author, folder: &str) -> Self {
        let mut command = author.command("weir");
        command.args(["plugin", "dev", "--json", "--path", folder, "--set", "greeting=Hi"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let swaps = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, swaps, said }
    }

    /// Waits until something else is in service, and returns its revision.
    async fn swapped(&mut self) -> u64 {
        let mut said = Vec::new();
        loop {
            let line = tokio::select! {
                line = timeout(BUILD_DEADLINE, self.swaps.next_line()) => line,
                line = self.said.next_line() => {
                    said.extend(line.unwrap());
                    continue;
                }
            };
            let line = line.unwrap_or_else(|_| panic!("nothing was swapped: {said:#?}"));
            let line = line.unwrap().unwrap_or_else(|| panic!("it ended: {said:#?}"));
            let swap: Value = serde_json::from_str(&line).unwrap();
            assert!(swap["live_ms"].is_u64(), "{swap}");
            return swap["revision"].as_u64().unwrap();
        }
    }

    /// Waits until it says this.
    async fn says(&mut self, text: &str) {
        let mut said = Vec::new();
        loop {
            let line = timeout(BUILD_DEADLINE, self.said.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("it did not say {text:?}: {said:#?}"));
            let line = line.unwrap().unwrap_or_else(|| panic!("it ended: {said:#?}"));
            if line.contains(text) {
                return;
            }
            said.push(line);
        }
    }
}

#[tokio::test]
async fn a_save_is_served_and_a_broken_one_changes_nothing() {
    let author = Author::new().await;
    author.done("weir plugin new greeter --role pipeline").await;
    let (code, manifest) = (author.path("greeter/src/lib.rs"), author.path("greeter/plugin.toml"));
    let original = fs::read_to_string(&code).unwrap();
    let save = |from: &str, to: &str| {
        assert!(original.contains(from), "{from}");
        fs::write(&code, original.replace(from, to)).unwrap();
    };
    let greeted = async |expected: &str| {
        let answer = ask(&author.server.client, "greeter", &json!({ "name": "Ada" })).await;
        assert_eq!(answer.json(), json!({ "greeting": expected }));
        revision(&answer)
    };
    let mut developing = Developing::start(&author, "greeter");
    let first = developing.swapped().await;
    assert_eq!(greeted("Hi, Ada!").await, first);

    save("{greeting}, {name}!", "{greeting} again, {name}!");
    let second = developing.swapped().await;
    assert!(second > first);
    assert_eq!(greeted("Hi again, Ada!").await, second);

    save("{greeting}, {name}!", "{greeting}, {nmae}!");
    developing.says("src/lib.rs:").await;
    developing.says(&format!("greeter still has revision {second}")).await;
    assert_eq!(greeted("Hi again, Ada!").await, second);

    let manifested = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, manifested.replace("role = ", "rule = ")).unwrap();
    developing.says("greeter/plugin.toml:4: rule: unknown key").await;
    developing.says(&format!("greeter still has revision {second}")).await;
    fs::write(&manifest, manifested).unwrap();

    save("{greeting}, {name}!", "Mended, {name}!");
    let third = developing.swapped().await;
    assert_eq!(greeted("Mended, Ada!").await, third);

    let id = developing.child.id().unwrap().cast_signed();
    // SAFETY: the call accesses no memory. The child has not been waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    developing.says(&format!("greeter stays in service with revision {third}")).await;
    let status = timeout(BUILD_DEADLINE, developing.child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(greeted("Mended, Ada!").await, third);
}

/// Puts programs in place of Rust's and builds the plugin.
async fn built_with(author: &Author, programs: &[(&str, &str)]) -> Ended {
    let bin = tempfile::tempdir_in(author.folder.path()).unwrap();
    for (name, script) in programs {
        let path = bin.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let weir = author.path("bin/weir");
    let script =
        format!("PATH={} {} plugin build --path hello", bin.path().display(), weir.display());
    author.run(&script).await
}

#[tokio::test]
async fn a_rust_that_cannot_compile_to_webassembly_gets_the_target_or_the_command() {
    let author = Author::new().await;
    author.done("weir plugin new hello --role pipeline").await;
    let added = author.path("added");
    let rustc = ("rustc", format!("echo '{}'", added.display()));
    let rustc = (rustc.0, rustc.1.as_str());
    let fails = "[ \"$1\" = --version ]";
    let adds =
        format!("[ \"$1\" = --version ] || /bin/mkdir '{}'; echo \"$@\" >&2", added.display());
    for (programs, expected) in [
        (&[][..], "sh.rustup.rs"),
        (&[rustc], "no rustup"),
        (&[rustc, ("rustup", fails)], "\n    rustup target add wasm32-unknown-unknown\n"),
        (&[rustc, ("rustup", &adds), ("cargo", "exit 3")], "target add wasm32-unknown-unknown"),
    ] {
        let ended = built_with(&author, programs).await;
        assert!(!ended.success && ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
        let reached = ended.stderr.contains("hello failed: ");
        assert_eq!(reached, programs.len() == 3, "{}", ended.stderr);
    }
}
