//! What prevents a server from starting: each mistake gets a message that says how to fix it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::asking::ask;
use crate::harness::{
    Config, Server, guest, in_model, model as model_file, plugin, tokenizer as tokenizer_file, weir,
};

/// A folder with one file.
fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// A path as a value of the configuration.
fn value(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn components_that_cannot_be_pipelines() {
    let (_folder, text) = file("text.wasm", b"(component)");
    let (_folder, damaged) = file("damaged.wasm", &fs::read(plugin("echo")).unwrap()[..1_000]);
    let absent = PathBuf::from("/nowhere/absent.wasm");
    let named = "[pipelines.broken]";
    for (component, says) in [
        (&guest("not-a-component"), ["not-a-component.wasm is not a WebAssembly component", named]),
        (&text, ["text.wasm is not a WebAssembly component", named]),
        (&damaged, ["damaged.wasm is not a WebAssembly component", named]),
        (&absent, ["/nowhere/absent.wasm cannot be read", named]),
        (&guest("wrong-world"), ["it exports greet", "not weir:pipeline/handler"]),
        (&plugin("policy-default"), ["weir:policy/planning", "not weir:pipeline/handler"]),
        (
            &guest("ungranted"),
            [
                "weir:documents/writer@",
                "not granted: add `grants.collections = { write = [\"*\"] }`",
            ],
        ),
        (
            &guest("old-version"),
            ["is built for weir:pipeline@0.1.0; this host speaks 0.2.0", "weir-sdk 0.2.0"],
        ),
        (&guest("unknown-import"), ["weir:teleport/beam@0.1.0", "this host does not offer"]),
    ] {
        let ended = Server::refused(|config| {
            config.pipeline("broken", component, &[]);
        });
        ended.await.assert_refused(&says);
    }
}

#[tokio::test]
async fn components_that_cannot_be_policies() {
    for (component, says) in [
        (guest("not-a-component"), "is not a WebAssembly component"),
        (guest("wrong-world"), "not weir:policy/planning"),
        (guest("old-version"), "@0.1.0; this host speaks 0.2.0"),
        (guest("policy-impure"), "a policy imports nothing"),
    ] {
        let ended = Server::refused(|config| {
            config.policy("broken", &component);
        });
        ended.await.assert_refused(&[says, "[policies.broken]"]);
    }
}

#[tokio::test]
async fn limits_and_grants_of_components() {
    let ended = Server::refused(|config| {
        config.pipeline("echo", &plugin("echo"), &[]).set("engine.max_component_bytes", 1_000);
    });
    ended.await.assert_refused(&["engine.max_component_bytes is 1000", "echo.wasm has"]);
    let ended = Server::refused(|config| {
        config.pipeline("echo", &plugin("echo"), &[]).set("pipelines.echo.grants.teleport", true);
    });
    ended.await.assert_refused(&["pipelines.echo.grants.teleport", "known here: embedding"]);
    let ended = Server::refused(|config| {
        let old = vec!["weir:vector/collections", "weir:observe/settings"];
        config.pipeline("search", &plugin("search"), &[]).set("pipelines.search.grants", old);
    });
    ended.await.assert_refused(&[
        "pipelines.search.grants: a list of interfaces is the old form",
        "  grants.collections = { read = [\"*\"] }\n  grants.settings = true",
    ]);
    for (scope, says) in [("a*b", "'a*b' is not a pattern"), ("", "'' is not a pattern")] {
        let ended = Server::refused(|config| {
            config
                .pipeline("echo", &plugin("echo"), &[])
                .set("pipelines.echo.grants.collections.read", vec![scope]);
        });
        ended.await.assert_refused(&["pipelines.echo.grants.collections", says, "'notes-*'"]);
    }
}

#[tokio::test]
async fn configurations() {
    for (key, bad, says) in [
        ("server.lisen", "127.0.0.1:0", ["server.lisen", "did you mean 'listen'?"]),
        ("cache.max_entry", "1", ["cache.max_entry", "did you mean 'max_entry_bytes'?"]),
        ("pipelines.a.grant", "b", ["pipelines.a.grant", "did you mean 'grants'?"]),
        ("serve.listen", "127.0.0.1:0", ["unknown key 'serve'", "did you mean 'server'?"]),
        ("engine.deadline_ms", "fast", ["engine.deadline_ms", "invalid type"]),
        ("pipelines.Search.component", "a", ["pipelines.Search", "a-z"]),
        ("server.listen", "here", ["server.listen: 'here'", "127.0.0.1:8080"]),
        ("pipelines.a.policy", "b", ["pipelines.a.policy", "no [policies.b]"]),
    ] {
        let configure = |config: &mut Config| {
            if key.starts_with("pipelines.a.") {
                config.pipeline("a", &plugin("echo"), &[]);
            }
            config.set(key, bad);
        };
        Server::refused(configure).await.assert_refused(&["weir.toml:", says[0], says[1]]);
    }
    let ended = Server::refused(|config| {
        config.set("server.max_connections", 0).set("cache.max_tags", 0);
    });
    // All of them at once.
    ended.await.assert_refused(&["server.max_connections = 0", "cache.max_tags = 0"]);
    let absent = weir(&["serve", "--config", "/nowhere/weir.toml"]).await;
    absent.assert_refused(&["/nowhere/weir.toml cannot be read"]);
    let (_folder, broken) = file("weir.toml", b"[server\n");
    weir(&["serve", "--config", &value(&broken)]).await.assert_refused(&["weir.toml:1:"]);
    weir(&["serve"]).await.assert_refused(&["--config"]);
}

#[tokio::test]
async fn a_machine_that_does_not_allow_pools() {
    // The address space that it needs is larger than any machine's.
    let impossible = |config: &mut Config| {
        config.set("engine.max_concurrent_guests", 65_536);
    };
    let ended = Server::refused(|config| {
        impossible(config);
        config.set("engine.pool", "required");
    });
    ended
        .await
        .assert_refused(&["lower engine.max_concurrent_guests", "engine.pool = \"preferred\""]);
    let server = Server::with(|config| {
        impossible(config);
        config.pipeline("echo", &plugin("echo"), &[]);
    })
    .await;
    ask(&server.client, "echo", &json!("on demand")).await.assert_status(200);
    server.logged("instances are not pooled but allocated on demand").await;
    for (engine, pooled) in [("pipelines", 0.0), ("policies", 1.0)] {
        let shown = server.client.metric("weir_engine_pooled", &[("engine", engine)]).await;
        assert_eq!(shown, pooled, "{engine}");
    }
}

#[tokio::test]
async fn a_port_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ended = Server::refused(|config| {
        config.set("server.listen", address.clone());
    });
    ended.await.assert_refused(&[&address, "in use by another program", "--listen"]);
    let ended = Server::refused(|config| {
        config.set("server.listen", "192.0.2.1:80");
    });
    ended.await.assert_refused(&["cannot listen on 192.0.2.1:80"]);
}

#[tokio::test]
async fn files_of_the_model() {
    let (_folder, wrong) = file("wrong", b"something else");
    let wrong = value(&wrong);
    let (model, tokenizer) = (in_model("model"), in_model("tokenizer"));
    for (key, path, says) in [
        ("embedding.library", "/nowhere/lib.so", ["/nowhere/lib.so is missing", "xtask setup"]),
        ("embedding.library", &wrong, ["not a usable ONNX Runtime library", "xtask setup"]),
        (&model, "/nowhere/model.onnx", ["/nowhere/model.onnx is missing", "xtask setup"]),
        (&model, &wrong, ["has sha-256", "embedding.models.NAME.model"]),
        (&tokenizer, "/nowhere/t.json", ["/nowhere/t.json is missing", "xtask setup"]),
        (&tokenizer, &wrong, ["has sha-256", "embedding.models.NAME.tokenizer"]),
    ] {
        let ended = Server::refused(|config| {
            config.set(key, path);
        });
        ended.await.assert_refused(&says);
    }
    // For a model without known digests, the errors come from loading the files.
    for wrong_key in ["model", "tokenizer"] {
        let ended = Server::refused(|config| {
            config.remove("embedding.models");
            for (key, right) in [("model", model_file()), ("tokenizer", tokenizer_file())] {
                let file = if key == wrong_key { wrong.clone() } else { value(&right) };
                config.set(&format!("embedding.models.my-own.{key}"), file);
            }
        });
        ended.await.assert_refused(&[&wrong, "is not a usable"]);
    }
}

#[tokio::test]
async fn a_data_folder_in_use_by_another_server() {
    let server = Server::with(|_| {}).await;
    let folder = value(&server.folder().join("data"));
    let ended = Server::refused(|config| {
        config.set("data.folder", folder.clone());
    });
    ended.await.assert_refused(&[&folder, "is in use by"]);
    server.client.get("/health/readiness").await.assert_status(200);
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written() {
    let (_folder, plain_file) = file("data", b"");
    let database = tempfile::tempdir().unwrap();
    fs::create_dir_all(database.path().join("tenants/default/truth.sqlite")).unwrap();
    // In containers tests run as root, which ignores permissions; these paths stop root too.
    for (folder, says) in [
        (plain_file.as_path(), "cannot be written"),
        (std::path::Path::new("/proc/weir"), "cannot be written"),
        (database.path(), "truth.sqlite cannot be written"),
    ] {
        let ended = Server::refused(|config| {
            config.set("data.folder", value(folder));
        });
        ended.await.assert_refused(&[&value(folder), says]);
    }
}

#[tokio::test]
async fn a_damaged_database() {
    let folder = tempfile::tempdir().unwrap();
    let truth = folder.path().join("tenants/default/truth.sqlite");
    fs::create_dir_all(truth.parent().unwrap()).unwrap();
    fs::write(&truth, "this is not a database. ".repeat(1_000)).unwrap();
    let ended = Server::refused(|config| {
        config.set("data.folder", value(folder.path()));
    });
    ended.await.assert_refused(&["not a database"]);
    assert!(fs::read(&truth).unwrap().starts_with(b"this is not a database"));
}

#[tokio::test]
async fn check_reports_what_serve_would_report() {
    let server = Server::start().await;
    let valid = value(&server.folder().join("weir.toml"));
    let ended = weir(&["check", "--config", &valid]).await;
    assert!(ended.success, "{ended:?}");
    assert!(ended.stdout.contains("weir.toml: valid"), "{ended:?}");

    let (_folder, unknown) = file("weir.toml", b"[server]\nlisten_on = 'x'\n");
    let ended = weir(&["check", "--config", &value(&unknown)]).await;
    ended.assert_refused(&["weir.toml:2:", "did you mean 'listen'?"]);

    let text = "[embedding.models.m]\nmodel = '/nowhere/m'\n[pipelines.a]\ncomponent = '/nowhere/a.wasm'\n";
    let (_folder, missing) = file("weir.toml", text.as_bytes());
    let ended = weir(&["check", "--config", &value(&missing)]).await;
    ended.assert_refused(&[
        "embedding.models.m.model: there is no file /nowhere/m",
        "pipelines.a.component: there is no file /nowhere/a.wasm",
    ]);
}

#[tokio::test]
async fn check_loads_every_component() {
    let server = Server::with(|_| {}).await;
    let text = fs::read_to_string(server.folder().join("weir.toml")).unwrap();
    let plugin = |name: &str, component: &Path| {
        format!("\n[pipelines.{name}]\ncomponent = '{}'\n", component.display())
    };
    let broken = text + &plugin("a", &guest("ungranted")) + &plugin("b", &guest("wrong-world"));
    let (_folder, broken) = file("weir.toml", broken.as_bytes());
    // All of them at once.
    weir(&["check", "--config", &value(&broken)]).await.assert_refused(&[
        "[pipelines.a]: ",
        "weir:documents/writer@",
        "[pipelines.b]: ",
        "it exports greet",
    ]);
}
