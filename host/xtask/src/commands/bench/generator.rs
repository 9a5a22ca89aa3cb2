//! `xtask bench-load`: the load generator of `bench`, in a process of its own so that its CPU time
//! can be told from the server's.
//!
//! It runs a closed loop: each connection sends a request when the previous answer has arrived.
//! All requests are prepared beforehand; answers are read to the end and only counted.
//! [`BenchLoad::in_own_process`] starts it and reads its counts, and `questions` has the requests'
//! bodies.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::rngs::StdRng;
use rand_distr::Zipf;
use tokio::process::Command;

use super::questions::body;
use crate::traffic::connection::{Connection, Counted, request};

/// How many keys are drawn beforehand. Each connection cycles through its own share of them.
const DRAWS: usize = 1 << 20;
const SEED: u64 = 2;

/// Load a server and count its answers, used by `bench`
#[derive(Args)]
pub(crate) struct BenchLoad {
    /// The server's address
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The path to send POST requests to
    #[arg(long)]
    pub(crate) path: String,
    /// The mode of searches
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// The number of the first question
    #[arg(long, default_value_t = 0)]
    pub(crate) first_key: usize,
    /// How many different questions to ask
    #[arg(long)]
    pub(crate) keys: usize,
    /// Number of connections, each with one request in flight
    #[arg(long)]
    pub(crate) connections: usize,
    /// For how many seconds to ask questions drawn by Zipf; by default, each is asked once
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
}

impl BenchLoad {
    /// Runs the load generator in a process of its own and reads its counts.
    pub(crate) async fn in_own_process(&self) -> Result<Counted> {
        // This program itself: a build may have replaced the file that it was started from.
        let mut generator = Command::new("/proc/self/exe");
        generator
            .arg("bench-load")
            .args(["--address", &self.address.to_string(), "--path", &self.path])
            .args(["--first-key", &self.first_key.to_string(), "--keys", &self.keys.to_string()])
            .args(["--connections", &self.connections.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        if let Some(mode) = &self.mode {
            generator.args(["--mode", mode]);
        }
        if let Some(seconds) = self.seconds {
            generator.args(["--seconds", &seconds.to_string()]);
        }
        let output = generator.output().await.context("starting the load generator")?;
        ensure!(
            output.status.success(),
            "the load generator failed for {} at {}",
            self.path,
            self.address
        );
        serde_json::from_slice(&output.stdout).context("reading the counts of the load generator")
    }

    pub(crate) async fn run(self) -> Result<()> {
        let requests: Arc<Vec<String>> = Arc::new(
            (self.first_key..self.first_key + self.keys)
                .map(|key| request(&self.path, &body(key, self.mode.as_deref())))
                .collect(),
        );
        let order: Arc<Vec<u32>> = Arc::new(self.order()?);
        let started = Instant::now();
        let until = self.seconds.map(|seconds| started + Duration::from_secs_f64(seconds));
        let mut connections = tokio::task::JoinSet::new();
        for connection in 0..self.connections {
            let (requests, order) = (Arc::clone(&requests), Arc::clone(&order));
            let share = share(order.len(), self.connections, connection);
            connections.spawn(async move {
                let mut connection = Connection::open(self.address).await?;
                let asked = order[share].iter().map(|key| requests[*key as usize].as_bytes());
                match until {
                    Some(until) => {
                        // Endless, and free: it only clones an iterator over the drawn keys.
                        for request in asked.cycle() {
                            connection.ask(request).await?;
                            if Instant::now() >= until {
                                break;
                            }
                        }
                    }
                    None => {
                        for request in asked {
                            connection.ask(request).await?;
                        }
                    }
                }
                anyhow::Ok(connection.counted)
            });
        }
        let mut sum = Counted::default();
        while let Some(counted) = connections.join_next().await {
            let counted = counted??;
            sum.answers += counted.answers;
            sum.hits += counted.hits;
        }
        sum.seconds = started.elapsed().as_secs_f64();
        println!("{}", serde_json::to_string(&sum)?);
        Ok(())
    }

    /// The keys, in the order in which they are asked.
    fn order(&self) -> Result<Vec<u32>> {
        let keys = u32::try_from(self.keys)?;
        if self.seconds.is_none() {
            return Ok((0..keys).collect());
        }
        let zipf = Zipf::new(f64::from(keys), 1.0)?;
        let mut random = StdRng::seed_from_u64(SEED);
        // Ranks start at 1, and are whole numbers as floats.
        Ok((0..DRAWS).map(|_| zipf.sample(&mut random) as u32 - 1).collect())
    }
}

/// The range of `length` that belongs to connection `index` of `count`.
fn share(length: usize, count: usize, index: usize) -> std::ops::Range<usize> {
    length * index / count..length * (index + 1) / count
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn shares_cover_every_key_once() {
        let shares: Vec<_> = (0..3).map(|index| share(10, 3, index)).collect();
        assert_eq!(shares, [0..3, 3..6, 6..10]);
    }

    fn load(keys: usize, seconds: Option<f64>) -> BenchLoad {
        BenchLoad {
            address: "127.0.0.1:1".parse().unwrap(),
            path: "/".into(),
            mode: None,
            first_key: 0,
            keys,
            connections: 1,
            seconds,
        }
    }

    #[test]
    fn draws_follow_zipf() {
        let order = load(1000, Some(1.0)).order().unwrap();
        assert!(order.iter().all(|key| *key < 1000));
        let share = |key| order.iter().filter(|k| **k == key).count() as f64 / DRAWS as f64;
        // With exponent 1, key 0 comes with probability 1 / H(1000) = 1 / 7.4855, key 1 half that.
        assert!((share(0) - 0.13359).abs() < 0.002, "{}", share(0));
        assert!((share(1) - 0.06680).abs() < 0.002, "{}", share(1));
    }

    #[test]
    fn without_a_duration_each_key_is_asked_once() {
        assert_eq!(load(3, None).order().unwrap(), [0, 1, 2]);
    }
}
