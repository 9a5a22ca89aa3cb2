//! Processes that do not do what they should: shell scripts in the place of `weir compile`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::engine::kind::Kind;

/// Longer than any of these tests may take.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

fn shell(script: &str) -> Program {
    Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] }
}

fn request() -> Request {
    Request {
        kind: Kind::Pipelines,
        digest: String::new(),
        engine: String::new(),
        max_memory_bytes: 1 << 30,
        max_cpu_seconds: 30,
    }
}

/// Asks this script to compile a megabyte, to at most 100 bytes of code.
async fn ask_script(script: &str, time: Duration) -> Result<Vec<u8>, NoCode> {
    run(&shell(script), &request(), &vec![0; 1 << 20], time, 100).await
}

/// Prints a reply with eight bytes, which says that it has `length` of them.
fn reply(kind: u8, length: u8) -> String {
    format!(r"printf '\{kind:03o}\{length:03o}\0\0\0\0\0\0\0compiled'")
}

#[tokio::test]
async fn a_process_is_believed_only_if_it_ends_well() {
    let code = ask_script(&reply(0, 8), LONG).await.unwrap();
    assert_eq!(code, b"compiled");
    for (script, says) in [
        (reply(0, 8) + "; exit 9", "exit status: 9"),
        (reply(0, 9), "ended early (exit status: 0)"),
        (reply(7, 8), "ended early"),
        ("echo broken >&2; exit 4".to_owned(), "exit status: 4): broken"),
        ("kill -SEGV $$".to_owned(), "signal: 11"),
        ("yes | head -c 1000000 >&2; exit 4".to_owned(), "exit status: 4): y\ny"),
    ] {
        let failed = ask_script(&script, LONG).await;
        let Err(NoCode::Failed(reason)) = failed else { panic!("{script}: {failed:?}") };
        assert!(reason.contains(says), "{script}: {reason}");
        assert!(reason.len() < 5_000, "{script}: {reason}");
    }
    let absent = Program { path: "/nowhere/weir".into(), arguments: Vec::new() };
    let failed = run(&absent, &request(), b"", LONG, 100).await;
    assert!(matches!(&failed, Err(NoCode::Failed(why)) if why.contains("started")), "{failed:?}");
}

#[tokio::test]
async fn how_a_process_ended_says_why() {
    let no_memory = "echo 'memory allocation of 8 bytes failed' >&2; kill -ABRT $$";
    assert!(matches!(ask_script(no_memory, LONG).await, Err(NoCode::NoMemory)));
    assert!(matches!(ask_script("kill -XCPU $$", LONG).await, Err(NoCode::TooSlow)));
    assert!(matches!(ask_script(&reply(2, 0), LONG).await, Err(NoCode::NoMemory)));
    let refused = ask_script(&reply(1, 8), LONG).await;
    assert!(matches!(&refused, Err(NoCode::Refused(why)) if why == "compiled"), "{refused:?}");
    // It would go on for ever: it is not read to its end.
    let long = ask_script(&(reply(0, 101) + "; cat /dev/zero"), LONG).await;
    assert!(matches!(long, Err(NoCode::TooLong)), "{long:?}");
}

#[tokio::test]
async fn a_process_sees_nothing_of_the_servers_environment() {
    assert!(env::var_os("PATH").is_some(), "there is something to see");
    let Err(NoCode::Failed(said)) = ask_script("env >&2; pwd >&2; exit 1", LONG).await else {
        panic!("it has said nothing")
    };
    let known = ["PWD=/", "OLDPWD=", "SHLVL=", "_=", "LD_LIBRARY_PATH=", "/"];
    let said = said.split_once("): ").unwrap().1;
    assert!(said.lines().all(|line| known.iter().any(|known| line.starts_with(known))), "{said}");
}

/// A process that starts another, writes the ids of both to a file, and then does nothing for ever.
fn that_stays() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let (unfinished, file) = (folder.path().join("unfinished"), folder.path().join("ids"));
    let (unfinished, file) = (unfinished.display(), file.display());
    let script = format!(
        "sleep 1000 & echo $$ $! >{unfinished}; mv {unfinished} {file}; while :; do sleep 1000; done"
    );
    (folder, script)
}

/// Waits for the ids in the file of [`that_stays`].
async fn ids(folder: &Path) -> Vec<u32> {
    let mut ids = None;
    eventually(|| {
        ids = fs::read_to_string(folder.join("ids")).ok();
        ids.is_some()
    })
    .await;
    ids.unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// Whether the process runs: it is there, and not merely waiting to be waited for.
fn is_running(id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LONG, "it never was");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_that_takes_too_long_is_ended_with_its_group() {
    let (folder, script) = that_stays();
    let late = ask_script(&script, Duration::from_secs(2)).await;
    assert!(matches!(late, Err(NoCode::TooSlow)), "{late:?}");
    for id in ids(folder.path()).await {
        eventually(|| !is_running(id)).await;
    }
    // One that neither reads nor says anything holds up nothing.
    let deaf = ask_script("sleep 1000", SHORT).await;
    assert!(matches!(deaf, Err(NoCode::TooSlow)), "{deaf:?}");
}

#[tokio::test]
async fn one_that_nobody_waits_for_is_ended_with_its_group() {
    let (folder, script) = that_stays();
    let asked = tokio::spawn(async move { ask_script(&script, LONG).await });
    let ids = ids(folder.path()).await;
    assert!(ids.len() == 2 && ids.iter().all(|id| is_running(*id)), "{ids:?}");
    asked.abort();
    assert!(asked.await.is_err());
    for id in ids {
        eventually(|| !is_running(id)).await;
    }
}
