//! The whole configuration: precedence, every message, and that the reference file and the fields' docs are complete.

use std::{fs, path::Path};

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Sources {
    Sources { variables: pairs.iter().map(|(name, value)| (name.into(), value.into())).collect(), ..Sources::default() }
}

#[test]
fn defaults_are_as_documented() {
    let config = load(&Sources::default()).expect("the defaults are valid");
    assert_eq!(config.environment, Environment::Development);
    assert_eq!((config.server.host.to_string().as_str(), config.server.port), ("127.0.0.1", 8080));
    assert_eq!((config.server.tls, config.server.allow_anonymous), (None, false));
    assert!(config.server.hosts.is_empty() && config.server.cors_origins.is_empty());
    assert_eq!((config.server.max_body_bytes, config.server.max_response_bytes), (64 << 20, 64 << 20));
    assert_eq!((config.server.header_timeout.as_secs(), config.server.keep_alive_timeout.as_secs()), (30, 75));
    assert_eq!((config.server.body_idle_timeout.as_secs(), config.server.min_body_bytes_per_second), (30, 8192));
    assert_eq!(config.models.dir, Path::new("data/models"));
    assert_eq!((config.models.default.as_str(), config.models.preload), ("vgg16", None));
    assert_eq!(config.weights.base_url, None);
    assert_eq!((config.models.max_loaded_bytes, config.models.allow_untrained), (4 << 30, true));
    assert_eq!((config.images.max_bytes, config.images.max_pixels), (32 << 20, 50_000_000));
    assert_eq!(config.runtime.provider, ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required });
    assert!(config.runtime.threads >= 1 && config.runtime.decode_threads == config.runtime.threads);
    assert_eq!((config.runtime.queue_images, config.runtime.max_batch, config.runtime.cut_cache_bytes), (256, 8, 96 << 20));
    assert_eq!(config.runtime.max_run_bytes, 8 << 30);
    assert_eq!(
        (config.training.threads, config.training.cache_bytes, config.training.memory_bytes),
        (config.runtime.threads, 20 << 30, 16 << 30)
    );
    assert_eq!(config.data.dir, Path::new("data"));
    assert_eq!((config.datasets.root, config.datasets.max_upload_bytes, config.datasets.max_ratio), (None, 8 << 30, 100));
    assert_eq!(config.datasets.max_pixels, 100_000_000_000);
    assert_eq!((config.datasets.max_uploads, config.datasets.idle_timeout.as_secs()), (4, 60));
    assert_eq!((config.jobs.workers, config.jobs.max_queued, config.jobs.max_finished), (1, 100, 1000));
    assert_eq!(
        (config.jobs.lease.as_secs(), config.jobs.max_attempts, config.jobs.nice, config.jobs.max_streams),
        (30, 3, 19, 64)
    );
    assert_eq!((config.telemetry.log_format, config.telemetry.log_level.as_str()), (LogFormat::Text, "info"));
}

#[test]
fn a_variable_with_one_underscore_is_named() {
    let check = |name: &str, expected: &str| {
        let found = variables(&[(name, "1")]).notes();
        let meant = format!("`{name}` is not read: the variables of settings have two underscores, as {expected}");
        assert_eq!(found, if expected.is_empty() { Vec::new() } else { vec![meant] }, "{name}");
    };
    check("GRAFT_SERVER_PORT", "`GRAFT__SERVER__PORT`");
    check("GRAFT_SERVER_MAX_IMAGES", "`GRAFT__SERVER__MAX_IMAGES`");
    check("GRAFT_PORT", "`GRAFT__SERVER__PORT`");
    check("GRAFT_DIR", "`GRAFT__MODELS__DIR`, `GRAFT__DATA__DIR`");
    for other in ["GRAFT__SERVER__PORT", "GRAFT_ENVIRONMENT", "GRAFT_CONFIG_DIR", "GRAFT_TEST_DATA", "GRAFT_URL", "PATH"] {
        check(other, "");
    }
}

#[test]
fn later_sources_win() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let file = "[server]\nport = 1\nmax_images = 2\nbody_idle_timeout_ms = 1000\n[models]\nallow_untrained = true\n";
    fs::write(dir.path().join("default.toml"), file).expect("it can be written to");
    fs::write(dir.path().join("development.toml"), "server.port = 2\nserver.max_images = 3\n").expect("it can be written to");
    let mut sources = variables(&[("GRAFT__SERVER__PORT", "3"), ("PATH", "x"), ("GRAFT_OTHER", "x")]);
    sources.config_dir = Some(dir.path().to_owned());
    let ports = |sources: &Sources| {
        let server = load(sources).expect("it is valid").server;
        (server.port, server.max_images, server.body_idle_timeout.as_millis())
    };
    assert_eq!(ports(&sources), (3, 3, 1000));
    sources.overrides.push(("server.port".into(), "4".into()));
    assert_eq!(ports(&sources), (4, 3, 1000));
    sources.variables = vec![("GRAFT_ENVIRONMENT".into(), "production".into())];
    sources.overrides.clear();
    assert_eq!(ports(&sources), (1, 2, 1000));
    let production = load(&sources).expect("it is valid");
    assert!(!production.models.allow_untrained, "a default.toml does not loosen production");
    assert_eq!((production.environment, production.telemetry.log_format), (Environment::Production, LogFormat::Json));
    fs::write(dir.path().join("production.toml"), "models.allow_untrained = true").expect("it can be written to");
    assert!(load(&sources).expect("it is valid").models.allow_untrained, "a production.toml decides");
}

#[test]
fn reads_every_kind_of_value_from_variables() {
    let config = load(&variables(&[
        ("GRAFT__MODELS__PRELOAD", "vgg16, inception_v3"),
        ("GRAFT__MODELS__ALLOW_UNTRAINED", "false"),
        ("GRAFT__RUNTIME__LIBRARY", "/opt/lib.so"),
        ("GRAFT__RUNTIME__THREADS", "3"),
        ("GRAFT__RUNTIME__PROVIDER_POLICY", "preferred"),
        ("GRAFT__RUNTIME__MODELS__VGG16__PROVIDER", "cuda"),
        ("GRAFT__SERVER__HOST", "::1"),
        ("GRAFT__WEIGHTS__BASE_URL", "http://mirror:8000/keras/"),
    ]))
    .expect("it is valid");
    assert_eq!(config.models.preload.as_deref().expect("given"), ["vgg16", "inception_v3"]);
    assert!(!config.models.allow_untrained);
    assert_eq!(config.runtime.library.as_deref(), Some(Path::new("/opt/lib.so")));
    assert_eq!((config.runtime.threads, config.runtime.decode_threads), (3, 3));
    let vgg16 = ProviderChoice { provider: Provider::Cuda, policy: ProviderPolicy::Preferred };
    assert_eq!(config.runtime.model_providers.into_iter().collect::<Vec<_>>(), [("vgg16".to_owned(), vgg16)]);
    assert!(config.server.host.is_ipv6());
    assert_eq!(config.weights.base_url.as_deref(), Some("http://mirror:8000/keras"));
    assert!(load(&variables(&[("GRAFT__MODELS__PRELOAD", "")])).expect("it is valid").models.preload == Some(Vec::new()));
}

#[test]
fn names_of_models_in_files_may_hold_dots() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    fs::write(dir.path().join("default.toml"), "[runtime.models.\"My.Model\"]\nprovider = \"cuda\"\n")
        .expect("it can be written to");
    let config = load(&Sources { config_dir: Some(dir.path().to_owned()), ..Sources::default() }).expect("it is valid");
    assert_eq!(config.runtime.model_providers["My.Model"].provider, Provider::Cuda);
}

#[test]
fn wrong_values_are_named_with_their_origin() {
    let check = |name: &str, value: &str, expected: &str| {
        assert_eq!(load(&variables(&[(name, value)])).unwrap_err().to_string(), expected);
    };
    check(
        "GRAFT__SERVER__PORT",
        "99999",
        "`server.port` is `99999` (from the variable `GRAFT__SERVER__PORT`); it must be an integer from 0 to 65535",
    );
    check(
        "GRAFT__SERVER__PORT",
        "-1",
        "`server.port` is `-1` (from the variable `GRAFT__SERVER__PORT`); it must be an integer from 0 to 65535",
    );
    check(
        "GRAFT__SERVER__HOST",
        "localhost",
        "`server.host` is `localhost` (from the variable `GRAFT__SERVER__HOST`); \
         it must be an IP address such as 127.0.0.1, 0.0.0.0 or ::1",
    );
    for names in ["a.example:80", "https://a.example", "a b", "a.example/"] {
        let error = load(&variables(&[("GRAFT__SERVER__HOSTS", names)])).unwrap_err().to_string();
        assert!(error.ends_with("it must be a list of names or addresses without ports, such as graft.example"), "{error}");
    }
    for origins in ["app.example", "https://app.example/", "*,https://app.example", "https://", "https://a:x", "null"] {
        let error = load(&variables(&[("GRAFT__SERVER__CORS_ORIGINS", origins)])).unwrap_err().to_string();
        assert!(error.contains("it must be a list of origins without paths, such as https://app.example"), "{error}");
    }
    for origins in ["*", "https://app.example,http://localhost:3000", "http://[::1]:3000", "chrome-extension://abc"] {
        load(&variables(&[("GRAFT__SERVER__CORS_ORIGINS", origins)])).expect("they are origins");
    }
    check(
        "GRAFT__RUNTIME__PROVIDER",
        "rocm",
        "`runtime.provider` is `rocm` (from the variable `GRAFT__RUNTIME__PROVIDER`); it must be one of cpu, cuda",
    );
    check(
        "GRAFT__MODELS__ALLOW_UNTRAINED",
        "no",
        "`models.allow_untrained` is `no` (from the variable `GRAFT__MODELS__ALLOW_UNTRAINED`); it must be true or false",
    );
    check(
        "GRAFT__MODELS__DIR",
        "",
        "`models.dir` is `` (from the variable `GRAFT__MODELS__DIR`); it must be text that is not empty",
    );
    check(
        "GRAFT__MODELS__PRELOAD",
        "a,,b",
        "`models.preload` is `[\"a\", \"\", \"b\"]` (from the variable `GRAFT__MODELS__PRELOAD`); \
         it must be a list of names, none empty",
    );
    check(
        "GRAFT__MODELS__DEFAULT",
        "vgg16@2",
        "`models.default` is `vgg16@2` (from the variable `GRAFT__MODELS__DEFAULT`); it must be the name of a model, without a \
         version: `PUT /models/NAME/stable` chooses that",
    );
    check(
        "GRAFT__WEIGHTS__BASE_URL",
        "ftp://x",
        "`weights.base_url` is `ftp://x` (from the variable `GRAFT__WEIGHTS__BASE_URL`); \
         it must be an address that starts with `https://` or `http://`",
    );
    check(
        "GRAFT__RUNTIME__QUEUE_IMAGES",
        "32",
        "`server.max_images` is `64` (the default), but `runtime.queue_images` is `32` \
         (from the variable `GRAFT__RUNTIME__QUEUE_IMAGES`); a request of that size could never be queued",
    );
    check(
        "GRAFT_ENVIRONMENT",
        "staging",
        "unknown environment `staging` in GRAFT_ENVIRONMENT; it is `development` or `production`",
    );
}

#[test]
fn unknown_settings_are_named_with_the_nearest() {
    let check = |name: &str, expected: &str| {
        assert_eq!(load(&variables(&[(name, "1")])).unwrap_err().to_string(), expected);
    };
    check(
        "GRAFT__SERVER__PROT",
        "unknown setting `GRAFT__SERVER__PROT` (from the variable `GRAFT__SERVER__PROT`); did you mean `GRAFT__SERVER__PORT`?",
    );
    check(
        "GRAFT__SERVER__BODY_TIMEOUT_MS",
        "the setting `GRAFT__SERVER__BODY_TIMEOUT_MS` (from the variable `GRAFT__SERVER__BODY_TIMEOUT_MS`) is \
         `GRAFT__SERVER__BODY_IDLE_TIMEOUT_MS` now: it bounds silence within a body, not the whole \
         (`server.min_body_bytes_per_second` bounds the rate)",
    );
    check("GRAFT__PORT", "unknown setting `GRAFT__PORT` (from the variable `GRAFT__PORT`); did you mean `GRAFT__SERVER__PORT`?");
    check("GRAFT__QQQ__ZZZ", "unknown setting `GRAFT__QQQ__ZZZ` (from the variable `GRAFT__QQQ__ZZZ`)");
    let flag = Sources { overrides: vec![("models.dri".into(), "x".into())], ..Sources::default() };
    let message = load(&flag).unwrap_err().to_string();
    assert_eq!(message, "unknown setting `models.dri` (from the command line); did you mean `models.dir`?");
}

#[test]
fn bad_files_are_named() {
    let check = |text: Option<&str>, expected: &str| {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        if let Some(text) = text {
            fs::write(dir.path().join("default.toml"), text).expect("it can be written to");
        }
        let message = load(&Sources { config_dir: Some(dir.path().to_owned()), ..Sources::default() }).unwrap_err().to_string();
        let message = message.replace(dir.path().to_str().expect("the path is UTF-8"), "DIR");
        assert_eq!(message, expected);
    };
    check(None, "the configuration folder `DIR` has neither `default.toml` nor `development.toml`");
    check(Some("[server\n"), "the configuration `DIR/default.toml` is not TOML");
    check(Some("[server]\nprot = 1\n"), "unknown setting `server.prot` (from `DIR/default.toml`); did you mean `server.port`?");
    check(
        Some("[server]\nbody_timeout_ms = 1000\n"),
        "the setting `server.body_timeout_ms` (from `DIR/default.toml`) is `server.body_idle_timeout_ms` now: it bounds silence \
         within a body, not the whole (`server.min_body_bytes_per_second` bounds the rate)",
    );
    check(Some("server = 1\n"), "unknown setting `server` (from `DIR/default.toml`); did you mean `server.auth`?");
    check(
        Some("[server]\nport = \"8080\"\n"),
        "`server.port` is `8080` (from `DIR/default.toml`); it must be an integer from 0 to 65535",
    );
    check(
        Some("[server.port]\nx = 1\n"),
        "`server.port` is `{ x = 1 }` (from `DIR/default.toml`); it must be an integer from 0 to 65535",
    );
}

/// Keys of the reference file, those in comments included.
fn documented() -> Vec<String> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in include_str!("../../config/default.toml").lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.replace("models.vgg16", "models.*");
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            keys.push(format!("{section}.{key}"));
        }
    }
    keys.sort();
    keys
}

#[test]
fn the_reference_file_documents_every_key_and_no_other() {
    let mut keys: Vec<&str> = KEY_LISTS.iter().copied().flatten().map(|key| key.path).collect();
    keys.sort_unstable();
    assert_eq!(documented(), keys);
}

#[test]
fn every_field_names_its_variable() {
    let sections = [
        (include_str!("server.rs"), server::KEYS),
        (include_str!("models.rs"), models::KEYS),
        (include_str!("images.rs"), images::KEYS),
        (include_str!("runtime.rs"), runtime::KEYS),
        (include_str!("training.rs"), training::KEYS),
        (include_str!("weights.rs"), weights::KEYS),
        (include_str!("data.rs"), data::KEYS),
        (include_str!("datasets.rs"), datasets::KEYS),
        (include_str!("jobs.rs"), jobs::KEYS),
        (include_str!("telemetry.rs"), telemetry::KEYS),
    ];
    for (text, keys) in sections {
        for key in keys {
            assert!(text.contains(&format!("`{}`", key.variable())), "{} is not in its field's doc", key.variable());
        }
    }
}
