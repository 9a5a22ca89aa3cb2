//! Connections to Redis that come back: by themselves when they end, and by [`Connections::replace`] when
//! they are stuck.
//!
//! fred connects again when a connection ends, but notices neither a server that has stopped answering
//! nor a socket that takes no more bytes, on which it would wait forever; and some errors end it for
//! good. So when connections are stuck or have ended, all of them are given up with everything that waits
//! on them, and others take their place.
//!
//! Out of scope: deciding that all of them are stuck, which the guard does, or that one is, which
//! [`Unanswered`] does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::clients::{Client, Pool};
use fred::error::Error;
use fred::interfaces::{ClientLike as _, EventInterface as _};
use fred::types::ConnectHandle;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, Server,
    ServerConfig, TcpConfig,
};
use parking_lot::Mutex;
use tokio::select;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::settings::{RedisConfig, SetUpError, Topology, password};
use super::tls;
use super::trouble::{Trouble, TroubleLog};
use super::unanswered::Unanswered;

/// Connections are given up at most so often: those that come next need time to be made.
const REPLACED_EVERY: Duration = Duration::from_secs(1);
/// And so often because they lead to a replica, which is worth reading.
const REPLICA_LEFT_EVERY: Duration = Duration::from_secs(10);
/// How long the end of connections may take.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How connections are made.
pub(super) struct Settings {
    config: Config,
    connection: ConnectionConfig,
    performance: PerformanceConfig,
    connections: usize,
    unanswered: fn() -> Unanswered,
    min_reconnect_delay_ms: u32,
    max_reconnect_delay_ms: u32,
}

impl Settings {
    /// Reads the files that `config` names.
    pub(super) fn load(config: &RedisConfig) -> Result<Self, SetUpError> {
        let password = password(config.password_file.as_deref())?;
        let tls = config.tls.as_ref().map(tls::config).transpose()?;
        Ok(Self {
            config: Config {
                // What happens at the start is no different from later.
                fail_fast: false,
                username: config.user.clone(),
                password: password.map(|password| password.reveal().to_owned()),
                server: servers(config)?,
                database: (config.database > 0).then_some(config.database),
                tls,
                ..Config::default()
            },
            connection: ConnectionConfig {
                connection_timeout: config.connect_timeout,
                internal_command_timeout: config.connect_timeout,
                // A command that was cut may have had its effect, and the guard repeats what may be.
                max_command_attempts: 1,
                max_command_buffer_len: config.max_queued_commands,
                reconnect_on_auth_error: true,
                tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
                ..ConnectionConfig::default()
            },
            performance: PerformanceConfig {
                default_command_timeout: config.command_timeout,
                ..PerformanceConfig::default()
            },
            connections: config.connections.max(1),
            unanswered: match config.topology {
                Topology::Single | Topology::Sentinel { .. } => Unanswered::of_server,
                Topology::Cluster => Unanswered::of_cluster,
            },
            min_reconnect_delay_ms: millis(config.min_reconnect_delay),
            max_reconnect_delay_ms: millis(config.max_reconnect_delay),
        })
    }

    fn client(&self) -> Client {
        // fred's own jitter ends at the longest delay, where it is needed most.
        let longest = self.max_reconnect_delay_ms;
        let policy = ReconnectPolicy::Exponential {
            attempts: 0,
            max_attempts: 0,
            min_delay: self.min_reconnect_delay_ms,
            max_delay: rand::random_range(longest / 2..=longest),
            base: 2,
            jitter: self.min_reconnect_delay_ms,
        };
        let (performance, connection) = (self.performance.clone(), self.connection.clone());
        Client::new(self.config.clone(), Some(performance), Some(connection), Some(policy))
    }
}

/// Connections to one Redis.
pub(super) struct Connections {
    settings: Settings,
    log: Arc<TroubleLog>,
    current: Mutex<Current>,
}

struct Current {
    pool: Pool,
    /// What nobody answered on each of the pool's connections.
    unanswered: Vec<Arc<Unanswered>>,
    tasks: Vec<ConnectHandle>,
    since: Instant,
    is_closed: bool,
}

impl Connections {
    /// Begins to connect.
    pub(super) fn start(settings: Settings, log: Arc<TroubleLog>) -> Result<Self, SetUpError> {
        let current = Current::start(&settings, &log)?;
        Ok(Self { settings, log, current: Mutex::new(current) })
    }

    /// One of the connections, one that works if any does, and what nobody answered on it.
    pub(super) fn next(&self) -> (Client, Arc<Unanswered>) {
        let mut current = self.current.lock();
        if current.unanswered.iter().any(|unanswered| unanswered.is_stuck()) {
            self.replace_after(&mut current, REPLACED_EVERY);
        }
        current.next()
    }

    /// Gives up all connections and makes others, unless that was done a moment ago.
    pub(super) fn replace(&self) {
        self.replace_after(&mut self.current.lock(), REPLACED_EVERY);
    }

    fn replace_after(&self, current: &mut Current, age: Duration) {
        if current.is_closed || current.since.elapsed() < age {
            return;
        }
        // It worked with the same settings at the start.
        if let Ok(next) = Current::start(&self.settings, &self.log) {
            *current = next;
        }
    }

    /// Notes the error of a call. Returns what is wrong.
    pub(super) fn failed(&self, error: &Error) -> Trouble {
        let trouble = Trouble::of(error);
        if trouble != Trouble::Unreachable {
            // Why there is no connection, `log_events` has logged.
            self.log.note(error);
        }
        let mut current = self.current.lock();
        if current.tasks.iter().any(ConnectHandle::is_finished) {
            self.replace_after(&mut current, REPLACED_EVERY);
        }
        if trouble == Trouble::ReadOnly {
            // Its name may lead to the primary by now.
            self.replace_after(&mut current, REPLICA_LEFT_EVERY);
        }
        trouble
    }

    /// Waits until the first attempt to connect has worked or failed, but no longer than `within`.
    pub(super) async fn tried(&self, within: Duration) {
        let _ = timeout(within, self.log.tried()).await;
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        let pool = {
            let mut current = self.current.lock();
            current.is_closed = true;
            current.pool.clone()
        };
        let _ = timeout(QUIT_TIMEOUT, pool.quit()).await;
        self.current.lock().abort();
    }
}

impl Current {
    /// Begins to connect. Call this within a tokio runtime.
    fn start(settings: &Settings, log: &Arc<TroubleLog>) -> Result<Self, SetUpError> {
        let clients: Vec<_> = (0..settings.connections).map(|_| settings.client()).collect();
        for client in &clients {
            tokio::spawn(log_events(client, Arc::clone(log)));
        }
        let unanswered = clients.iter().map(|_| Arc::new((settings.unanswered)())).collect();
        let pool = Pool::from_clients(clients);
        let pool = pool.map_err(|error| SetUpError::Client(error.to_string()))?;
        let tasks = pool.connect_pool();
        Ok(Self { pool, unanswered, tasks, since: Instant::now(), is_closed: false })
    }

    fn next(&self) -> (Client, Arc<Unanswered>) {
        let next = self.pool.next_connected();
        let number = self.pool.clients().iter().position(|client| client.id() == next.id());
        (next.clone(), Arc::clone(&self.unanswered[number.unwrap_or_default()]))
    }

    fn abort(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Logs what happens to a connection, until nobody has it any more.
fn log_events(client: &Client, log: Arc<TroubleLog>) -> impl Future<Output = ()> + use<> {
    let (mut errors, mut connected) = (client.error_rx(), client.reconnect_rx());
    async move {
        loop {
            select! {
                error = errors.recv() => match error {
                    Ok((error, _)) => log.note_unconnected(&error),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                server = connected.recv() => match server {
                    Ok(server) => log.note_connected(&server.to_string()),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}

fn servers(config: &RedisConfig) -> Result<ServerConfig, SetUpError> {
    let mut hosts: Vec<_> =
        config.servers.iter().map(|(host, port)| Server::new(host.as_str(), *port)).collect();
    Ok(match &config.topology {
        Topology::Single => {
            let server = hosts.pop().filter(|_| hosts.is_empty());
            let server = server.ok_or_else(|| SetUpError::Client("one server, not more".into()))?;
            ServerConfig::Centralized { server }
        }
        Topology::Sentinel { primary, user, password_file } => ServerConfig::Sentinel {
            hosts,
            service_name: primary.clone(),
            username: user.clone(),
            password: password(password_file.as_deref())?
                .map(|password| password.reveal().to_owned()),
        },
        Topology::Cluster => {
            // The configured nodes may be the ones that have failed.
            ServerConfig::Clustered { hosts, policy: ClusterDiscoveryPolicy::UseCache }
        }
    })
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
