//! The metrics of the HTTP layer, and the text of `/metrics`.
//!
//! Handles are created once, so that requests only add and never look names up. The histogram of
//! durations is coarse and by route: it is for adding servers up, and for routes that are not
//! pipelines. Out of scope: the latencies of pipelines ([`latencies`](super::latencies)), and the
//! metrics of other parts, which are defined where they are counted.

use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge};
use ::metrics::{describe_histogram, gauge, histogram};
use http::StatusCode;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Bucket bounds of the duration histogram in seconds, from a memory hit to a slow pipeline.
const DURATION_BOUNDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// How often samples are folded into the histograms' buckets, even if nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The kind of route that answered.
#[derive(Clone, Copy, Debug)]
pub enum Route {
    /// A pipeline, which ran or whose cached answer was sent.
    Pipeline = 0,
    /// Any other route.
    Other = 1,
}

/// The HTTP layer's metrics.
pub struct Metrics {
    /// `None` if the process uses another recorder (in tests).
    rendering: Option<PrometheusHandle>,
    /// By route, then by the status's first digit.
    requests: [[Counter; 6]; 2],
    durations: [Histogram; 2],
    /// The number of open connections.
    pub connections: Gauge,
    /// How many connections waited for another to end before they were accepted.
    pub connections_waited: Counter,
    /// How many connections were refused because their client had its share of them.
    pub connections_refused: Counter,
    /// Connections that waited because their client had opened very many.
    pub connections_delayed: Counter,
}

impl Metrics {
    /// Installs the process's recorder and creates the handles.
    ///
    /// # Errors
    /// Another recorder is already installed.
    pub fn install() -> Result<Self, BuildError> {
        let rendering =
            PrometheusBuilder::new().set_buckets(DURATION_BOUNDS)?.install_recorder()?;
        describe();
        Ok(Self { rendering: Some(rendering), ..Self::default() })
    }

    /// Counts one answer.
    pub fn answered(&self, route: Route, status: StatusCode, elapsed: Duration) {
        let class = usize::from(status.as_u16() / 100).min(5);
        self.requests[route as usize][class].increment(1);
        self.durations[route as usize].record(elapsed.as_secs_f64());
    }

    /// The metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.rendering.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Keeps the recorder's memory bounded when nobody scrapes; ends with the runtime.
    pub fn spawn_upkeep(&self) {
        let Some(rendering) = self.rendering.clone() else { return };
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
            loop {
                interval.tick().await;
                rendering.run_upkeep();
            }
        });
    }
}

/// Counts with the process's current recorder and renders nothing.
impl Default for Metrics {
    fn default() -> Self {
        let requests = |route: &'static str| {
            ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"].map(
                |class| counter!("weir_http_requests_total", "route" => route, "status" => class),
            )
        };
        let duration = |route: &'static str| histogram!("weir_http_request_duration_seconds", "route" => route);
        Self {
            rendering: None,
            requests: [requests("pipeline"), requests("other")],
            durations: [duration("pipeline"), duration("other")],
            connections: gauge!("weir_http_connections"),
            connections_waited: counter!("weir_http_connections_waited_total"),
            connections_refused: counter!("weir_connections_refused_total"),
            connections_delayed: counter!("weir_connections_delayed_total"),
        }
    }
}

fn describe() {
    describe_counter!("weir_http_requests_total", "Responses by route and status class.");
    describe_histogram!(
        "weir_http_request_duration_seconds",
        Unit::Seconds,
        "Time from a request's head to its response's head."
    );
    describe_counter!(
        "weir_log_lines_dropped_total",
        "Log lines that were dropped because standard error was not read fast enough."
    );
    describe_counter!(
        "weir_candidates_rolled_back_total",
        "Candidates that were rolled back by themselves because they were worse."
    );
    describe_counter!(
        "weir_shadow_requests_total",
        "Requests that a policy in shadow was told about, or that were dropped because too many waited."
    );
    describe_gauge!("weir_http_connections", "Open connections.");
    describe_counter!(
        "weir_http_connections_waited_total",
        "Connections that waited because server.max_connections others were open."
    );
    describe_counter!(
        "weir_connections_delayed_total",
        "Connections that waited because their client had opened very many, or had broken the protocol."
    );
    describe_counter!(
        "weir_connections_refused_total",
        "Connections that were closed because their client had as many as were still free."
    );
    describe_counter!(
        "weir_tenant_requests_refused_total",
        "Requests that were refused because of their tenant's quota: its rate or its concurrency."
    );
}
