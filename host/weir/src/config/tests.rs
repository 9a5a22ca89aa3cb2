//! Tests of the configuration, and that the example documents every key.

#![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

use std::collections::BTreeSet;
use std::path::Path;

use weir_runtime::diagnose::unknown_field;

use super::{Config, ConfigError, Model};

const EXAMPLE: &str = include_str!("../../../../examples/search/weir.toml");

fn mistake(text: &str) -> String {
    Config::parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = Config::parse("").unwrap();
    assert_eq!(config.server, Config::default().server);
    assert!(config.problems().is_empty());
}

#[test]
fn a_mistake_names_its_line_its_key_and_what_was_meant() {
    for (text, expected) in [
        (
            "[server]\nlisten_on = 'x'",
            "2: server.listen_on: unknown key 'listen_on', did you mean 'listen'?",
        ),
        ("\n[sever]\n", "2: sever: unknown key 'sever', did you mean 'server'?"),
        (
            "[pipelines.search]\ncomponent = 'a'\ndeadline = 1",
            "3: pipelines.search.deadline: unknown key 'deadline', did you mean 'deadline_ms'?",
        ),
        ("[server]\nmax_connections = 'many'", "2: server.max_connections: invalid type"),
        ("[log]\nformat = 'xml'", "2: log.format: unknown variant `xml`"),
        ("[pipelines.search]\n", "1: pipelines.search: missing field `component`"),
        ("[policies.p]\ncomponent='x'\n[policies.p.settings]\na=[1]", "4: policies.p.settings.a: "),
        ("[server\n", "1:"),
        ("[pipelines.Search]\ncomponent='x'", "1: pipelines.Search: a name is"),
    ] {
        let said = mistake(text);
        assert!(said.starts_with(expected), "{text:?}: {said}");
    }
    assert!(!mistake("[server]\nqqq = 1").contains("did you mean"));
}

#[test]
fn values_out_of_range_are_named_all_at_once() {
    let text = "[server]\ndrain_timeout_ms = 10001\nmax_connections = 0\nlisten = 'here'\n\
                [cache.shared.redis]\nconnections = 51\nservers = ['here']\n\
                [policies.default]\ncomponent = 'd'\n\
                [pipelines.search]\ncomponent = 's'\npolicy = 'defualt'";
    let problems = Config::parse(text).unwrap().problems().join("\n");
    for part in [
        "server.drain_timeout_ms = 10001: must be 0 to 10000",
        "server.max_connections = 0: must be 1 to 1048576",
        "server.listen: 'here'",
        "pipelines.search.policy: there is no [policies.defualt], did you mean 'default'?",
        "cache.shared.redis.connections = 51: must be 1 to 50",
        "cache.shared.redis.servers: 'here' is not HOST:PORT",
    ] {
        assert!(problems.contains(part), "{part}\n in {problems}");
    }
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.toml");
    let text = "[data]\nfolder = 'd'\n[embedding.models.m]\nmodel = '/m'\n\
                [cache.shared.redis]\npassword_file = 'p'\n[server.tls]\nkey_file = 'k'\n\
                certificate_file = '/c'";
    std::fs::write(&file, text).unwrap();
    let mut config = Config::load(&file).unwrap();
    let redis = &config.cache.shared.redis;
    assert_eq!(redis.password_file, folder.path().join("p"));
    assert_eq!(redis.ca_file, Path::new(""), "none");
    assert_eq!(config.server.tls.key_file, folder.path().join("k"));
    assert_eq!(config.server.tls.certificate_file, Path::new("/c"));
    assert_eq!(config.admin.tls.key_file, Path::new(""), "none");
    assert_eq!(config.data.folder, folder.path().join("d"));
    assert_eq!(config.embedding.models["m"].model, Path::new("/m"));
    config.data.folder = "~/weir".into();
    config.resolve_paths(folder.path());
    assert_eq!(config.data.folder, std::env::home_dir().unwrap().join("weir"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/weir.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
    assert!(error.to_string().starts_with("/nowhere/weir.toml cannot be read"), "{error}");
}

#[test]
fn settings_are_texts() {
    let text = "[policies.p]\ncomponent='p'\nsettings = {a='x', b=1, c=true, d=0.5}";
    let config = Config::parse(text).unwrap();
    let pairs = config.policies.into_values().next().unwrap().settings.pairs();
    let expected = [("a", "x"), ("b", "1"), ("c", "true"), ("d", "0.5")];
    assert_eq!(pairs, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn the_example_has_the_defaults() {
    let example = Config::parse(EXAMPLE).unwrap();
    let default = Config::default();
    assert!(example.problems().is_empty(), "{:?}", example.problems());
    assert_eq!(example.server, default.server);
    assert_eq!(example.admin, default.admin);
    assert_eq!(example.ingest, default.ingest);
    assert_eq!(example.engine, default.engine);
    assert_eq!(example.cache, default.cache);
    assert_eq!(example.log, default.log);
    assert_eq!(example.plugins, default.plugins);
    // Paths are specific to the scenario.
    let mut model = example.embedding.models["all-MiniLM-L6-v2"].clone();
    let paths = Model::default();
    (model.model, model.tokenizer) = (paths.model, paths.tokenizer);
    assert_eq!(model, Model::default());
}

/// The keys of a section, which the parser lists when it refuses an unknown key.
#[test]
fn the_example_has_every_key_with_a_comment() {
    let sections = known_keys("");
    let in_the_example = [
        "embedding.models",
        "pipelines.x.grants",
        "engine.large",
        "engine.compile",
        "cache.shared",
        "cache.shared.disk",
        "cache.shared.redis",
        "server.tls",
        "admin.tls",
    ]
    .map(ToOwned::to_owned);
    for section in sections.iter().chain(&in_the_example).filter(|section| *section != "tenants") {
        let (header, text) = match section.as_str() {
            "embedding.models" => (format!("[{section}."), "[embedding.models.x]\n".to_owned()),
            "pipelines.x.grants" => (
                "[pipelines.search.grants]".to_owned(),
                "[pipelines.x]\ncomponent='x'\n[pipelines.x.grants]\n".to_owned(),
            ),
            "policies" | "pipelines" => {
                (format!("[{section}."), format!("[{section}.x]\ncomponent='x'\n"))
            }
            _ => (format!("[{section}]"), format!("[{section}]\n")),
        };
        let (_, body) =
            EXAMPLE.split_once(&format!("\n{header}")).unwrap_or_else(|| panic!("{header}"));
        let body = body.split("\n[").next().unwrap_or_default();
        for key in known_keys(&text).into_iter().filter(|key| !is_table(key, section)) {
            let line = body.lines().position(|line| line.starts_with(&format!("{key} = ")));
            let line = line.unwrap_or_else(|| panic!("[{section}] lacks {key}"));
            assert!(body.lines().nth(line - 1).unwrap().starts_with('#'), "{section}.{key}");
        }
    }
    assert!(EXAMPLE.contains("\n[policies.default.settings]\n"));
    assert!(EXAMPLE.contains("\n[pipelines.search.settings]\n"));
}

/// Tables that are checked separately.
fn is_table(key: &str, section: &str) -> bool {
    matches!(
        (section, key),
        ("policies" | "pipelines", "settings" | "grants")
            | ("pipelines" | "plugins", "cors")
            | ("server" | "admin", "tls")
            | ("embedding", "models")
            | ("engine", "large" | "compile")
            | ("cache", "shared")
            | ("cache.shared", "disk" | "redis")
    )
}

/// Tenants are commented out there, because configuring one changes the tenant of all requests.
#[test]
fn the_example_documents_tenants() {
    let (_, section) = EXAMPLE.split_once("\n# [tenants.acme]\n").unwrap();
    let text: String = section
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let (own, quota) = text.split_once("\n[tenants.acme.quota]\n").unwrap();
    for (section, text) in [("x", own), ("x.quota", quota)] {
        let keys = known_keys(&format!("[tenants.{section}]\n"));
        for key in keys.iter().filter(|key| *key != "quota") {
            assert!(format!("\n{text}").contains(&format!("\n{key} = ")), "{key}");
        }
    }
    let stored = format!("0123456789abcdef:{}", "0".repeat(64));
    let text = format!("[tenants.acme]\n{}", text.replace("0123456789abcdef:…", &stored));
    let config = Config::parse(&text).unwrap();
    assert!(config.problems().is_empty(), "{:?}", config.problems());
}

/// Pages of other origins are commented out, because the default is that none may call a pipeline.
#[test]
fn the_example_documents_cors() {
    let (_, section) = EXAMPLE.split_once("\n# [pipelines.search.cors]\n").unwrap();
    let lines = section.lines().take_while(|line| line.starts_with('#'));
    let text: String =
        lines.map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n").collect();
    let sections =
        ["[pipelines.search]\ncomponent = 'x'\n[pipelines.search.cors]\n", "[plugins.cors]\n"];
    for header in sections {
        for key in known_keys(header) {
            let line = text.lines().position(|line| line.starts_with(&format!("{key} = ")));
            let line = line.unwrap_or_else(|| panic!("{header} lacks {key}"));
            assert!(text.lines().nth(line - 1).unwrap().starts_with('#'), "{key}");
        }
    }
    let whole = Config::parse(&format!("{}{text}", sections[0])).unwrap();
    assert!(whole.problems().is_empty(), "{:?}", whole.problems());
    let least = format!("{}origins = ['https://app.example']", sections[0]);
    let least = Config::parse(&least).unwrap();
    let cors = |config: &Config| config.pipelines.values().next().unwrap().cors.clone();
    assert_eq!(cors(&whole), cors(&least), "the rest is the default");
}

#[test]
fn an_admin_listener_that_others_reach_needs_tls() {
    let tls = "[admin.tls]\ncertificate_file = 'c'\nkey_file = 'k'\n";
    for (listen, tls, refused) in [
        ("127.0.0.1:8081", "", false),
        ("127.1.2.3:0", "", false),
        ("[::1]:8081", "", false),
        ("[::ffff:127.0.0.1]:8081", "", false),
        ("", "", false),
        ("0.0.0.0:8081", "", true),
        ("[::]:8081", "", true),
        ("192.0.2.1:8081", "", true),
        ("0.0.0.0:8081", tls, false),
    ] {
        let config = Config::parse(&format!("[admin]\nlisten = '{listen}'\n{tls}")).unwrap();
        let problems = config.problems().join("\n");
        assert_eq!(problems.contains("admin.listen: other machines"), refused, "{listen}");
        assert_eq!(problems.is_empty(), !refused, "{problems}");
    }
}

#[test]
fn tenants_that_cannot_be_told_apart_are_named() {
    let key = format!("0123456789abcdef:{}", "0".repeat(64));
    let text = format!(
        "[tenants.none]\n[tenants.a]\nhosts = ['A.example']\npath_prefix = '/t'\n\
         api_keys = ['{key}']\n[tenants.b]\nhosts = ['a.example', 'x:80']\n\
         path_prefix = '/t/b'\napi_keys = ['{key}']\n[tenants.c]\npath_prefix = '/v1'"
    );
    let problems = Config::parse(&text).unwrap().problems().join("\n");
    for part in [
        "tenants.none: nothing identifies its requests",
        "tenants.b.hosts: 'a.example' is also a's",
        "tenants.b: hosts: 'x:80' is not a host name",
        "tenants.b.path_prefix: '/t/b' is also a's",
        "tenants.b.api_keys: '0123456789abcdef' is also a's",
        "tenants.c: path_prefix: '/v1' must",
    ] {
        assert!(problems.contains(part), "{part}\n in {problems}");
    }
    let error = Config::parse("[tenants.a]\napi_keys = ['weir_secret']").unwrap_err().to_string();
    assert!(error.contains("weir api-key") && !error.contains("secret"), "{error}");
}

#[test]
fn tenants_cannot_be_given_more_of_the_cache_than_there_is() {
    for (a, b, problem) in [
        ("60", "40", None),
        ("60", "41", Some("tenants: quota.cache_bytes of all of them is 101, but")),
        ("99", "", None),
        ("100", "", Some("tenants.b: quota.cache_bytes of the other tenants leaves nothing")),
        ("", "", None),
    ] {
        let quota = |bytes: &str| match bytes {
            "" => String::new(),
            bytes => format!("quota.cache_bytes = {bytes}"),
        };
        let text = format!(
            "[cache]\nmemory_bytes = 100\n[tenants.a]\nhosts = ['a']\n{}\n\
             [tenants.b]\nhosts = ['b']\n{}",
            quota(a),
            quota(b)
        );
        let problems = Config::parse(&text).unwrap().problems();
        match problem {
            None => assert!(problems.is_empty(), "{problems:?}"),
            Some(problem) => assert!(problems[0].starts_with(problem), "{problems:?}"),
        }
    }
}

fn known_keys(text: &str) -> BTreeSet<String> {
    let error = toml::from_str::<Config>(&format!("{text}no_such_key = 1")).unwrap_err();
    let (_, known) = unknown_field(error.message()).unwrap();
    known.into_iter().map(str::to_owned).collect()
}
