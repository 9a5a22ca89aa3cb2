//! What a process leaves behind that is killed while it stores plugins and deploys them, or while it makes
//! tokens and revokes them, or that has no room: the old or the new, never half of it, and nothing
//! acknowledged is lost.
//!
//! The process is this program: [`work`], [`work_with_tokens`] and [`work_without_room`] are what it does. With the feature
//! `faults`, it also dies at each point of the way (`weir_core::crash`):
//! `cargo test -p weir-store --features faults --test crashes`. Out of scope: a loss of power.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_store::plugins::{PluginFileError, PluginFiles, Verified};
use weir_store::system::{
    AuditPage, AuditRecord, Expected, Role, SystemError, Token, TokenId, TokenScope, UploadedPlugin,
};
use weir_store::{DataFolder, SystemStore, TruthError, open_system};

/// Where the process works.
const FOLDER: &str = "WEIR_STORE_TEST_FOLDER";
/// A plugin is removed when so many later ones were deployed.
const KEPT_PLUGINS: u64 = 3;
/// No process lives so long.
const MOST_PLUGINS: u64 = 10_000;

/// What a process has in its data folder.
struct Stores {
    files: PluginFiles,
    system: Arc<dyn SystemStore>,
    _data: DataFolder,
}

impl Stores {
    async fn open(folder: &Path) -> Self {
        let data = DataFolder::acquire(folder).unwrap();
        let files = PluginFiles::open(&data).unwrap();
        let system = open_system(data.path()).await.unwrap();
        Self { files, system, _data: data }
    }

    async fn deploy(&self, number: u64, expected: Expected) -> Result<u64, SystemError> {
        let spec = format!("\"{}\"", digest(number));
        self.system.deploy(Role::Pipeline, &search(), &spec, expected, "alice").await
    }

    async fn remove(&self, number: u64) {
        let digest = digest(number);
        // In this order, so that no record is without its file.
        assert!(self.system.remove_plugin(digest).await.unwrap());
        assert!(self.files.remove(digest).unwrap());
    }
}

fn search() -> Name {
    Name::new("search").unwrap()
}

/// The content of the plugin with this number: small ones and large ones.
fn content(number: u64) -> Vec<u8> {
    let mut content = format!("plugin {number}").into_bytes();
    content.resize(content.len() + usize::try_from(number % 4).unwrap() * 100_000, b'.');
    content
}

fn digest(number: u64) -> PluginDigest {
    PluginDigest::of(&content(number))
}

fn record(number: u64) -> UploadedPlugin {
    UploadedPlugin {
        digest: digest(number),
        name: search(),
        version: number.to_string(),
        role: Role::Pipeline,
        bytes: content(number).len() as u64,
        uploaded_unix_ms: 0,
        uploaded_by: "alice".to_owned(),
    }
}

fn audited(action: &str, number: u64, outcome: &str) -> AuditRecord {
    AuditRecord {
        at_unix_ms: 0,
        who: "alice".to_owned(),
        token: None,
        action: action.to_owned(),
        target: number.to_string(),
        tenant: None,
        detail: String::new(),
        outcome: outcome.to_owned(),
    }
}

fn newest(limit: u32) -> AuditPage {
    AuditPage { limit, ..AuditPage::default() }
}

fn token(number: u64) -> Token {
    Token {
        id: TokenId(number),
        hash: [1; 32],
        name: search(),
        scopes: [TokenScope::Read].into(),
        tenants: None,
        made_unix_ms: 0,
        made_by: "alice".to_owned(),
        used_unix_ms: None,
        revoked_unix_ms: None,
    }
}

/// Stores plugins and deploys them, one after the other, and says so, until it is killed. The first
/// plugin gets the revision 1, and so on.
#[tokio::test]
#[ignore = "what the other tests have a process do"]
async fn work() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let stores = Stores::open(Path::new(&folder)).await;
    let mut expected = Expected::Absent;
    for number in 0..MOST_PLUGINS {
        assert_eq!(stores.files.put(&content(number)).unwrap(), digest(number));
        eprintln!("stored {number}");
        assert!(stores.system.add_plugin(record(number)).await.unwrap());
        let revision = stores.deploy(number, expected).await.unwrap();
        eprintln!("deployed {number}");
        expected = Expected::Revision(revision);
        if let Some(old) = number.checked_sub(KEPT_PLUGINS) {
            stores.remove(old).await;
        }
        let line = audited("deploy", number, &format!("revision {revision}"));
        stores.system.append_audit(line).await.unwrap();
        eprintln!("logged {number}");
    }
}

/// Makes tokens and revokes the one before, one after the other, and says so, until it is killed.
#[tokio::test]
#[ignore = "what the other tests have a process do"]
async fn work_with_tokens() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let Stores { system, .. } = Stores::open(Path::new(&folder)).await;
    for number in 0..MOST_PLUGINS {
        system.add_token(token(number), audited("made", number, "done")).await.unwrap();
        eprintln!("made {number}");
        if let Some(old) = number.checked_sub(1) {
            let line = audited("revoked", old, "done");
            assert!(system.revoke_token(TokenId(old), line).await.unwrap());
            eprintln!("revoked {old}");
        }
    }
}

/// A process that does one of the tests of this program in a folder.
fn process(test: &str, folder: &Path) -> Command {
    let mut process = Command::new(env::current_exe().unwrap());
    process.args([test, "--exact", "--ignored", "--nocapture"]).env(FOLDER, folder);
    process.stdout(Stdio::null()).stderr(Stdio::piped());
    process
}

/// What a process has acknowledged: the numbers of the last plugins that were.
#[derive(Debug, Default)]
struct Acknowledged {
    stored: Option<u64>,
    deployed: Option<u64>,
    logged: Option<u64>,
    made: Option<u64>,
    revoked: Option<u64>,
}

/// Has a process work until it has acknowledged so much, kills it then, and returns everything that
/// it has acknowledged, and how it ended.
fn work_and_kill(mut process: Command, lines: usize) -> (Acknowledged, ExitStatus) {
    let mut child = process.spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let mut acknowledged = Acknowledged::default();
    for (read, line) in said.lines().enumerate() {
        let line = line.unwrap();
        let (what, number) = line.split_once(' ').unwrap_or((&line, ""));
        let number = number.parse().ok();
        match what {
            "stored" => acknowledged.stored = number,
            "deployed" => acknowledged.deployed = number,
            "logged" => acknowledged.logged = number,
            "made" => acknowledged.made = number,
            "revoked" => acknowledged.revoked = number,
            _ => panic!("the process said: {line}"),
        }
        if read + 1 == lines {
            // SIGKILL. What it has said until then is read, too.
            child.kill().unwrap();
        }
    }
    (acknowledged, child.wait().unwrap())
}

/// Asserts that everything acknowledged is there, and at most one step more, and that it goes on.
/// Returns what was found in the folder of plugins.
async fn check(folder: &Path, acknowledged: &Acknowledged) -> Verified {
    let said = format!("{acknowledged:?}");
    let stores = Stores::open(folder).await;
    let found = stores.files.verify().unwrap();
    assert!(found.unfinished.len() <= 1, "{found:?}");
    assert!(found.damaged.is_empty() && found.unreadable.is_empty(), "{found:?}");
    let tidy = Verified { whole: found.whole.clone(), ..Verified::default() };
    assert_eq!(stores.files.verify().unwrap(), tidy, "what was unfinished is removed");

    let (deployed, last) = stores.system.deployed().await.unwrap();
    let acked = acknowledged.deployed.map_or(0, |number| number + 1);
    assert!(last == acked || last == acked + 1, "{last}, {said}");
    assert_eq!(deployed.len() as u64, last.min(1));
    let kept = acknowledged.deployed.map_or(0, |number| number.saturating_sub(KEPT_PLUGINS - 1));
    for number in kept..acknowledged.stored.map_or(0, |number| number + 1) {
        assert_eq!(stores.files.read(digest(number)).unwrap(), content(number), "{number}, {said}");
    }
    if let [current] = &deployed[..] {
        assert_eq!(current.revision, last);
        assert_eq!(current.spec, format!("\"{}\"", digest(last - 1)));
    }
    let names: BTreeSet<_> = found.whole.iter().map(|file| file.digest).collect();
    for record in stores.system.plugins().await.unwrap() {
        assert!(names.contains(&record.digest), "{record:?} has no file");
    }
    let logged = stores.system.audit(newest(1)).await.unwrap().first().map(|entry| entry.id);
    let acked = acknowledged.logged.map_or(0, |number| number + 1);
    assert!((acked..=acked + 1).contains(&logged.unwrap_or(0)), "{logged:?}, {said}");

    let expected = deployed.first().map_or(Expected::Absent, |d| Expected::Revision(d.revision));
    stores.files.put(&content(MOST_PLUGINS)).unwrap();
    assert_eq!(stores.deploy(MOST_PLUGINS, expected).await.unwrap(), last + 1);
    found
}

/// Asserts that every token that was acknowledged is there, and at most one step more, that those that were
/// revoked are not valid, and that the audit log says exactly what was done.
async fn check_tokens(folder: &Path, acknowledged: &Acknowledged) {
    let said = format!("{acknowledged:?}");
    let stores = Stores::open(folder).await;
    let tokens = stores.system.tokens().await.unwrap();
    let mut done: Vec<_> = tokens.iter().map(|token| ("made", token.id.0)).collect();
    let revoked = tokens.iter().filter(|token| token.revoked_unix_ms.is_some());
    done.extend(revoked.map(|token| ("revoked", token.id.0)));
    let count = |what: &str| done.iter().filter(|(of, _)| *of == what).count() as u64;
    let acked = |number: Option<u64>| number.map_or(0, |number| number + 1);
    let (made, ended) = (acked(acknowledged.made), acked(acknowledged.revoked));
    assert!((made..=made + 1).contains(&count("made")), "{done:?}, {said}");
    assert!((ended..=ended + 1).contains(&count("revoked")), "{done:?}, {said}");
    let lines = stores.system.audit(newest(1_000)).await.unwrap();
    let mut logged: Vec<_> = lines
        .iter()
        .map(|entry| (entry.record.action.as_str(), entry.record.target.parse().unwrap()))
        .collect();
    done.sort_unstable();
    logged.sort_unstable();
    assert_eq!(logged, done, "{said}");
    let next = token(MOST_PLUGINS);
    stores.system.add_token(next, audited("made", MOST_PLUGINS, "done")).await.unwrap();
}

#[tokio::test]
async fn a_kill_while_tokens_are_made_and_revoked_leaves_the_old_or_the_new() {
    for lines in [1, 2, 3, 4, 7, 10] {
        let folder = tempfile::tempdir().unwrap();
        let process = process("work_with_tokens", folder.path());
        let (acknowledged, status) = work_and_kill(process, lines);
        assert_eq!(status.signal(), Some(9), "{status}");
        check_tokens(folder.path(), &acknowledged).await;
    }
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn a_crash_while_tokens_are_made_and_revoked_leaves_the_old_or_the_new() {
    for point in ["before-system-commit", "after-system-commit"] {
        for passed in 0..6 {
            let folder = tempfile::tempdir().unwrap();
            let mut process = process("work_with_tokens", folder.path());
            process.env("WEIR_CRASH_AT", format!("{point}:{passed}"));
            let (acknowledged, status) = work_and_kill(process, usize::MAX);
            assert_eq!(status.signal(), Some(6), "{point}:{passed}: {status}");
            check_tokens(folder.path(), &acknowledged).await;
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_time_loses_nothing_acknowledged() {
    for round in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let (acknowledged, status) = work_and_kill(process("work", folder.path()), 1 + round * 3);
        assert_eq!(status.signal(), Some(9), "{status}");
        check(folder.path(), &acknowledged).await;
    }
}

/// The folder's state at each point, where it differs: whether the file of the plugin is there that
/// is being stored, and how many unfinished ones.
#[cfg(feature = "faults")]
#[tokio::test]
async fn a_crash_at_each_point_leaves_the_whole_or_nothing() {
    const PLUGIN_POINTS: [(&str, bool, usize); 4] = [
        ("plugin-created", false, 1),
        ("plugin-written", false, 1),
        ("plugin-renamed", true, 0),
        ("plugin-stored", true, 0),
    ];
    const OTHER_POINTS: [&str; 3] =
        ["plugin-removed", "before-system-commit", "after-system-commit"];
    let crash = async |point: &str, passed: u64| {
        let folder = tempfile::tempdir().unwrap();
        let mut process = process("work", folder.path());
        process.env("WEIR_CRASH_AT", format!("{point}:{passed}"));
        let (acknowledged, status) = work_and_kill(process, usize::MAX);
        assert_eq!(status.signal(), Some(6), "{point}:{passed}: {status}");
        check(folder.path(), &acknowledged).await
    };
    for (point, is_stored, unfinished) in PLUGIN_POINTS {
        for passed in 0..6 {
            let found = crash(point, passed).await;
            let was_stored = found.whole.iter().any(|file| file.digest == digest(passed));
            assert_eq!((was_stored, found.unfinished.len()), (is_stored, unfinished), "{point}");
        }
    }
    for point in OTHER_POINTS {
        for passed in 0..12 {
            crash(point, passed).await;
        }
    }
}

/// Its files are limited in their length, which makes writes fail where a full disk would.
#[tokio::test]
#[ignore = "what the other tests have a process do"]
async fn work_without_room() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let stores = Stores::open(Path::new(&folder)).await;
    let small = stores.files.put(b"small").unwrap();
    for _ in 0..2 {
        let error = stores.files.put(&vec![b'.'; 2 << 20]).unwrap_err();
        let PluginFileError::Unwritable(TruthError::ReadOnly { reason, .. }) = &error else {
            panic!("{error}")
        };
        assert!(reason.contains("too large"), "{error}");
    }
    let names = fs::read_dir(Path::new(&folder).join("plugins")).unwrap().count();
    assert_eq!(names, 1, "what was begun is removed");
    assert_eq!(stores.files.read(small).unwrap(), b"small");

    let spec = "1".repeat(60 << 10);
    let (policy, name) = (Role::Policy, search());
    let mut before = stores.system.deployed().await.unwrap();
    let error = loop {
        match stores.system.deploy(policy, &name, &spec, Expected::Any, "alice").await {
            Ok(revision) => {
                before = stores.system.deployed().await.unwrap();
                assert_eq!(before.1, revision);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SystemError::Store(TruthError::Failed(_))), "{error}");
    assert_eq!(stores.system.deployed().await.unwrap(), before);
    eprintln!("deployed {}", before.1);
}

#[tokio::test]
async fn without_room_the_old_state_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let process = process("work_without_room", folder.path());
    let mut limited = Command::new("sh");
    // So that a write fails instead of ending the process.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""]);
    limited.arg(process.get_program()).args(process.get_args()).env(FOLDER, folder.path());
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let revision: u64 = said.trim().strip_prefix("deployed ").unwrap().parse().unwrap();
    assert!(revision > 1, "{revision} deployments had room");

    let stores = Stores::open(folder.path()).await;
    let found = stores.files.verify().unwrap();
    assert_eq!((found.whole.len(), found.unfinished.len()), (1, 0));
    let (deployed, last) = stores.system.deployed().await.unwrap();
    assert_eq!((deployed[0].revision, last), (revision, revision));
    assert_eq!(stores.deploy(0, Expected::Absent).await.unwrap(), revision + 1);
}
