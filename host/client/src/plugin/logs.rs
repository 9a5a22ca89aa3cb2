//! `weir plugin logs`: what a pipeline has logged, and what it logs from now on.
//!
//! With `--follow`, a connection that is cut is made again, and what was logged meanwhile is shown, as far as the
//! server still has it. Out of scope: which lines there are.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use weir_core::name::Name;

use crate::admin::Admin;
use crate::client::{refusal, unreachable};
use crate::ndjson::Lines;
use crate::time::at;

/// The server sends something at least every 10 s. After so long without anything, it is gone.
const SILENCE: Duration = Duration::from_secs(35);
/// How long before a cut connection is made again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The most lines that a server shows at once.
const MAX_LINES: u32 = 1_000;

/// The arguments of `weir plugin logs`.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// The name of the pipeline.
    #[arg(value_parser = |name: &str| Name::new(name))]
    name: Name,
    /// Go on with what it logs from now on, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// How many of the lines that are there already, the latest.
    #[arg(long, value_name = "N", default_value_t = 100)]
    lines: u32,
    /// Only lines that are at least so important.
    #[arg(long, value_parser = ["trace", "debug", "info", "warn", "error"])]
    level: Option<String>,
    /// Only lines about requests of this tenant.
    #[arg(long, value_parser = |name: &str| Name::new(name))]
    tenant: Option<Name>,
}

/// Why lines end.
enum Ended {
    /// There are no more.
    Done,
    /// The connection was cut, or the server is restarting.
    Cut(String),
    /// The pipeline is not served any more.
    Undeployed,
    /// Nobody reads what is printed.
    Unread,
}

/// Lines that are printed.
struct Shown<'a> {
    admin: &'a Admin,
    logs: &'a Logs,
    as_json: bool,
    /// The id of the last line.
    last: Option<u64>,
}

impl Logs {
    /// Prints the lines, for people or as JSON.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub(super) async fn show(&self, admin: &Admin, as_json: bool) -> anyhow::Result<()> {
        let mut shown = Shown { admin, logs: self, as_json, last: None };
        if !self.follow {
            let answer = admin.send(admin.request(Method::GET, &self.path(None)?)).await?;
            shown.print_all(&mut Lines::of(answer)).await?;
            return Ok(());
        }
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            biased;
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            ended = shown.follow() => ended,
        }
    }

    /// What is asked for. After a cut, everything that came after the last line.
    fn path(&self, last: Option<u64>) -> anyhow::Result<String> {
        let lines = if last.is_some() { MAX_LINES } else { self.lines };
        let pairs = [
            ("lines", Some(lines.to_string())),
            ("after", last.map(|id| id.to_string())),
            ("level", self.level.clone()),
            ("tenant", self.tenant.as_ref().map(ToString::to_string)),
            ("follow", self.follow.then(|| "true".to_owned())),
        ];
        let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let url = Url::parse_with_params("http://weir/", given).context("the arguments")?;
        let query = url.query().unwrap_or_default();
        Ok(format!("/admin/v1/pipelines/{}/logs?{query}", self.name))
    }
}

impl Shown<'_> {
    /// Prints what comes, and connects again when the connection is cut.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let request = self.admin.request(Method::GET, &self.logs.path(None)?);
        let mut answer = self.admin.send(request).await?;
        loop {
            match self.print_all(&mut Lines::of(answer)).await? {
                Ended::Done | Ended::Unread => return Ok(()),
                Ended::Undeployed => {
                    eprintln!("weir: {} is not served any more", self.logs.name);
                    return Ok(());
                }
                Ended::Cut(why) => eprintln!("weir: {why}; connecting again"),
            }
            answer = self.again().await?;
            eprintln!("weir: connected again");
        }
    }

    /// Asks for what came after the last line until the server answers.
    async fn again(&self) -> anyhow::Result<Response> {
        let mut pause = FIRST_PAUSE;
        let mut said = false;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
            let why =
                match self.admin.request(Method::GET, &self.logs.path(self.last)?).send().await {
                    Ok(answer) if answer.status().is_success() => return Ok(answer),
                    Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                        refusal(answer).await
                    }
                    Ok(answer) => anyhow::bail!(refusal(answer).await),
                    Err(error) => unreachable(error, self.admin.url()).to_string(),
                };
            if !std::mem::replace(&mut said, true) {
                eprintln!("weir: {why}; trying again until Ctrl-C");
            }
        }
    }

    /// Prints all lines of an answer.
    async fn print_all(&mut self, lines: &mut Lines) -> anyhow::Result<Ended> {
        loop {
            let line = match timeout(SILENCE, lines.next()).await {
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None)) if !self.logs.follow => return Ok(Ended::Done),
                Ok(Err(error)) if !self.logs.follow => return Err(error),
                Ok(Ok(None) | Err(_)) => return Ok(Ended::Cut("the connection was cut".into())),
                Err(_) => return Ok(Ended::Cut("the server does not answer any more".into())),
            };
            if let Some(id) = line["id"].as_u64() {
                self.last = Some(id);
            }
            let printed = match self.as_json {
                _ if line.is_null() => continue,
                true => format!("{line}\n"),
                false => readable(&line),
            };
            let mut out = io::stdout().lock();
            match out.write_all(printed.as_bytes()).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Ended::Unread);
                }
                written => written.context("cannot print")?,
            }
            match line["ended"].as_str() {
                Some("undeployed") => return Ok(Ended::Undeployed),
                Some(_) => return Ok(Ended::Cut("the server is shutting down".into())),
                None => {}
            }
        }
    }
}

/// A line for people. What a guest has said has no characters that move a cursor: the server has escaped it.
fn readable(line: &Value) -> String {
    if let Some(lost) = line["lost"].as_u64() {
        return format!("… {lost} lines are missing here: they came too fast to be read\n");
    }
    if !line["ended"].is_null() {
        return String::new();
    }
    let text = |key: &str| line[key].as_str().unwrap_or_default();
    let ms = line["unix_ms"].as_u64().unwrap_or_default() % 1_000;
    let level = text("level").to_uppercase();
    let mut shown = format!("{}.{ms:03} {level:5}", at(&line["unix_ms"]));
    let host = if text("by") == "host" { "weir:" } else { "" };
    for part in [text("tenant"), host, text("message"), text("fields")] {
        if !part.is_empty() {
            shown.push(' ');
            shown.push_str(part);
        }
    }
    shown.push_str(&format!(" (revision {}, request {})\n", line["revision"], text("request_id")));
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_can_be_read() {
        let line = json!({
            "id": 7, "unix_ms": 1_709_251_199_042_u64, "level": "info", "revision": 3, "by": "guest",
            "request_id": "abc", "message": "asked", "fields": "[(\"a\", \"1\")]",
        });
        let expected =
            "2024-02-29 23:59:59.042 INFO  asked [(\"a\", \"1\")] (revision 3, request abc)\n";
        assert_eq!(readable(&line), expected);
        let line = json!({
            "id": 8, "unix_ms": 0, "level": "error", "revision": 3, "tenant": "acme", "by": "host",
            "request_id": "abc", "message": "the pipeline trapped",
        });
        let expected = "1970-01-01 00:00:00.000 ERROR acme weir: the pipeline trapped (revision 3, request abc)\n";
        assert_eq!(readable(&line), expected);
        assert!(readable(&json!({ "lost": 12 })).contains("12 lines are missing"));
        assert_eq!(readable(&json!({ "ended": "undeployed" })), "");
    }

    #[test]
    fn after_a_cut_everything_is_asked_for_that_came_meanwhile() -> anyhow::Result<()> {
        let logs = Logs {
            name: Name::new("search")?,
            follow: true,
            lines: 5,
            level: Some("warn".to_owned()),
            tenant: None,
        };
        let first = "/admin/v1/pipelines/search/logs?lines=5&level=warn&follow=true";
        assert_eq!(logs.path(None)?, first);
        let again = "/admin/v1/pipelines/search/logs?lines=1000&after=42&level=warn&follow=true";
        assert_eq!(logs.path(Some(42))?, again);
        Ok(())
    }
}
