//! The range of each number in the configuration.

use super::Config;

const MIB_U64: u64 = 1 << 20;

/// Adds a line for each number that is out of its range.
pub(super) fn check(config: &Config, problems: &mut Vec<String>) {
    let Config { server, admin, ingest, embedding, engine, cache, .. } = config;
    let mut within = |key: &str, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            problems.push(if most == u64::MAX {
                format!("{key} = {value}: must be at least {least}")
            } else {
                format!("{key} = {value}: must be {least} to {most}")
            });
        }
    };
    const HOUR_MS: u64 = 3_600_000;
    const ANY: u64 = u64::MAX;
    within("server.max_connections", server.max_connections as u64, 1, 1 << 20);
    within(
        "server.max_client_connections_per_second",
        server.max_client_connections_per_second.into(),
        1,
        1_000_000,
    );
    within("server.header_timeout_ms", server.header_timeout_ms, 1, HOUR_MS);
    within("server.body_timeout_ms", server.body_timeout_ms, 1, HOUR_MS);
    within("server.idle_timeout_ms", server.idle_timeout_ms, 1, HOUR_MS);
    within("server.write_timeout_ms", server.write_timeout_ms, 1, HOUR_MS);
    within("server.max_connection_age_ms", server.max_connection_age_ms, 1, 24 * HOUR_MS);
    within("server.max_header_bytes", server.max_header_bytes as u64, 8_192, MIB_U64);
    within("server.max_body_bytes", server.max_body_bytes as u64, 1, 1 << 30);
    // A tenant gets no more than is still free.
    let two_bodies = |one: usize| 2 * (one as u64).next_multiple_of(1_024);
    let least = two_bodies(server.max_body_bytes);
    within("server.max_bodies_bytes", server.max_bodies_bytes as u64, least, 1 << 40);
    let rate = server.min_body_bytes_per_second;
    within("server.min_body_bytes_per_second", rate, 0, 1 << 30);
    // A client gets no more than is still free, but its first answer may take everything.
    let least = (engine.max_answer_bytes as u64).next_multiple_of(1_024);
    within("server.max_answers_bytes", server.max_answers_bytes as u64, least, 1 << 40);
    within("server.max_requests", server.max_requests as u64, 1, 1 << 20);
    within("server.max_concurrent_streams", server.max_concurrent_streams.into(), 1, 65_536);
    within("server.drain_timeout_ms", server.drain_timeout_ms, 0, 10_000);
    within("server.position_timeout_ms", server.position_timeout_ms, 0, HOUR_MS);
    for (section, tls) in [("server", &server.tls), ("admin", &admin.tls)] {
        let key = format!("{section}.tls.handshake_timeout_ms");
        within(&key, tls.handshake_timeout_ms, 100, HOUR_MS);
    }
    within("ingest.max_body_bytes", ingest.max_body_bytes as u64, 1, 1 << 30);
    let least = two_bodies(ingest.max_body_bytes);
    within("ingest.max_bodies_bytes", ingest.max_bodies_bytes as u64, least, 1 << 40);
    within("ingest.body_timeout_ms", ingest.body_timeout_ms, 1, HOUR_MS);
    within("ingest.max_documents", ingest.max_documents as u64, 1, 100_000);
    // Offsets of chunks are 32 bits.
    within("ingest.max_text_bytes", ingest.max_text_bytes as u64, 1, 1 << 30);
    within("ingest.max_metadata_bytes", ingest.max_metadata_bytes as u64, 2, MIB_U64);
    within("ingest.max_concurrent", ingest.max_concurrent as u64, 1, 1_024);
    within("ingest.queue_timeout_ms", ingest.queue_timeout_ms, 1, HOUR_MS);
    within("ingest.searchable_timeout_ms", ingest.searchable_timeout_ms, 0, HOUR_MS);
    within("ingest.max_backlog_bytes", ingest.max_backlog_bytes, MIB_U64, ANY);
    within("ingest.max_ready_lag", ingest.max_ready_lag, 0, ANY);
    for (name, model) in &embedding.models {
        let key = |key: &str| format!("embedding.models.{name}.{key}");
        within(&key("sessions"), model.sessions as u64, 0, 1_024);
        within(&key("max_batch_tokens"), model.max_batch_tokens as u64, 64, 1 << 20);
        within(&key("max_queued_texts"), model.max_queued_texts as u64, 1, 1 << 20);
    }
    within("engine.guest_threads", engine.guest_threads as u64, 0, 1_024);
    within("engine.max_memory_bytes", engine.max_memory_bytes as u64, 65_536, 4 << 30);
    let large = &engine.large;
    within("engine.large.max_memory_bytes", large.max_memory_bytes as u64, 65_536, 4 << 30);
    within("engine.large.max_concurrent_guests", large.max_concurrent_guests as u64, 0, 4_096);
    // A third is kept for the next guests, and a pipeline gets no more than is free.
    let largest = match large.max_concurrent_guests {
        0 => engine.max_memory_bytes,
        _ => engine.max_memory_bytes.max(large.max_memory_bytes),
    };
    let least = (largest as u64).saturating_mul(3);
    within("engine.max_guests_memory_bytes", engine.max_guests_memory_bytes as u64, least, 1 << 40);
    within("engine.max_concurrent_decisions", engine.max_concurrent_decisions as u64, 1, 4_096);
    within("engine.max_concurrent_guests", engine.max_concurrent_guests as u64, 1, 65_536);
    within("engine.queue_timeout_ms", engine.queue_timeout_ms, 1, HOUR_MS);
    within("engine.deadline_ms", engine.deadline_ms, 1, HOUR_MS);
    within("engine.max_answer_bytes", engine.max_answer_bytes as u64, 1, 1 << 30);
    within("engine.max_component_bytes", engine.max_component_bytes, 1, 1 << 30);
    within("engine.max_concurrent_host_calls", engine.max_concurrent_host_calls as u64, 1, 4_096);
    within("engine.policy_fuel", engine.policy_fuel, 1, ANY);
    within("engine.samples_timeout_ms", engine.samples_timeout_ms, 1, HOUR_MS);
    let compile = &engine.compile;
    let of_compile = [
        ("max_concurrent", compile.max_concurrent as u64, 1, 64),
        ("timeout_ms", compile.timeout_ms, 100, HOUR_MS),
        // The program itself takes some of it.
        ("max_memory_bytes", compile.max_memory_bytes, 256 * MIB_U64, 1 << 40),
        ("large_timeout_ms", compile.large_timeout_ms, 100, HOUR_MS),
        ("large_max_memory_bytes", compile.large_max_memory_bytes, 256 * MIB_U64, 1 << 40),
        ("max_kept_bytes", compile.max_kept_bytes, 0, 1 << 50),
    ];
    for (key, value, least, most) in of_compile {
        within(&format!("engine.compile.{key}"), value, least, most);
    }
    within("cache.max_tags", cache.max_tags as u64, 1, ANY);
    within("cache.max_flights", cache.max_flights as u64, 1, ANY);
    within("cache.max_followers", cache.max_followers as u64, 1, ANY);
    let shared = &cache.shared;
    within("cache.shared.lookup_budget_ms", shared.lookup_budget_ms, 1, 60_000);
    within("cache.shared.max_concurrent", shared.max_concurrent as u64, 3, 65_536);
    within("cache.shared.max_queued_bytes", shared.max_queued_bytes as u64, MIB_U64, 1 << 40);
    within("cache.shared.disk.max_bytes", shared.disk.max_bytes, MIB_U64, 1 << 50);
    within("cache.shared.disk.page_cache_bytes", shared.disk.page_cache_bytes, MIB_U64, 1 << 40);
    let redis = &shared.redis;
    let of_redis = [
        ("connections", redis.connections as u64, 1, 50),
        ("connect_timeout_ms", redis.connect_timeout_ms, 10, 60_000),
        ("command_timeout_ms", redis.command_timeout_ms, 10, 60_000),
        ("min_reconnect_delay_ms", redis.min_reconnect_delay_ms, 1, 60_000),
        ("max_reconnect_delay_ms", redis.max_reconnect_delay_ms, 1, 60_000),
        // A write sends 64 envelopes.
        ("max_queued_commands", redis.max_queued_commands as u64, 128, 65_536),
    ];
    for (key, value, least, most) in of_redis {
        within(&format!("cache.shared.redis.{key}"), value, least, most);
    }
    for (name, tenant) in &config.tenants {
        within(&format!("tenants.{name}.weight"), tenant.weight.into(), 1, 1_000);
        let quota = &tenant.quota;
        let limits = [
            ("max_collections", quota.max_collections, 0, 1_024),
            ("max_requests_per_second", quota.max_requests_per_second.map(u64::from), 1, 1_000_000),
            (
                "max_concurrent_requests",
                quota.max_concurrent_requests.map(|n| n as u64),
                1,
                1 << 20,
            ),
        ];
        for (key, value, least, most) in limits {
            if let Some(value) = value {
                within(&format!("tenants.{name}.quota.{key}"), value, least, most);
            }
        }
    }
    for (name, pipeline) in &config.pipelines {
        within(&format!("pipelines.{name}.weight"), pipeline.weight.into(), 1, 1_000);
        if let Some(deadline_ms) = pipeline.deadline_ms {
            within(&format!("pipelines.{name}.deadline_ms"), deadline_ms, 1, HOUR_MS);
        }
        if let Some(bytes) = pipeline.max_memory_bytes {
            let key = format!("pipelines.{name}.max_memory_bytes");
            let most = engine.max_memory_bytes_of(pipeline.size) as u64;
            within(&key, bytes as u64, 65_536, most);
        }
    }
}
