//! API keys over HTTP: scopes × routes, limits, refusals, and keys that another process makes and revokes.

use std::{collections::BTreeSet, path::Path};

use graft::http::openapi;
use reqwest::Method;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{Answer, Graft, Ran, Setup, TestApp, encoded_fixture, eventually, plain};

/// Every operation, and what a key must have that asks for it.
const ROUTES: [(&str, &str); 34] = [
    ("post /predict", "predict"),
    ("post /models/{model}/predict", "predict"),
    ("post /models/{model}/versions/{version}/predict", "predict"),
    ("post /features", "predict"),
    ("post /models/{model}/features", "predict"),
    ("post /models/{model}/versions/{version}/features", "predict"),
    ("get /models", "predict"),
    ("get /models/{model}", "predict"),
    ("get /models/{model}/labels", "predict"),
    ("get /models/{model}/layers", "predict"),
    ("put /models/{model}/stable", "admin"),
    ("delete /models/{model}/stable", "admin"),
    ("delete /models/{model}/versions/{version}", "admin"),
    ("get /models/{model}/versions/{version}/onnx", "admin"),
    ("post /jobs/finetune", "train"),
    ("post /jobs/evaluate", "train"),
    ("post /jobs/import", "admin"),
    ("get /jobs", "train"),
    ("get /jobs/{id}", "train"),
    ("get /jobs/{id}/events", "train"),
    ("post /jobs/{id}/cancel", "train"),
    ("post /datasets", "train"),
    ("get /datasets", "train"),
    ("get /datasets/{id}", "train"),
    ("get /datasets/{id}/classes", "train"),
    ("get /datasets/{id}/skipped", "train"),
    ("delete /datasets/{id}", "admin"),
    ("get /metrics", "any"),
    ("get /healthz", "nothing"),
    ("get /readyz", "nothing"),
    ("get /docs", "undocumented"),
    ("get /docs/swagger-ui-bundle.js", "undocumented"),
    ("get /openapi.yaml", "undocumented"),
    ("get /nothing", "undocumented"),
];

const SCOPES: [&str; 3] = ["predict", "train", "admin"];

/// What `graft keys` does in a process of its own, on the data folder beside the repository `models`.
fn keys(models: &Path, arguments: &[&str]) -> Ran {
    Ran::graft(models, &[&["keys"], arguments].concat())
}

fn create(models: &Path, arguments: &[&str]) -> String {
    keys(models, &[&["create"], arguments].concat()).ok().trim().to_owned()
}

#[test]
fn processes_that_make_one_store_at_once_all_start() {
    let setup = Setup::new();
    let models = setup.config().models.dir.clone();
    std::thread::scope(|scope| {
        let make = |name: &'static str| scope.spawn(|| create(&models, &[name]));
        let made = ["a", "b", "c", "d", "e", "f"].map(make);
        made.into_iter().for_each(|key| assert!(key.join().expect("it starts").starts_with("graft_")));
    });
}

/// A server over a data folder where keys were made before it started, and the keys.
async fn with_keys<const N: usize>(made: [&[&str]; N]) -> (TestApp, [String; N]) {
    let setup = Setup::new();
    let keys = made.map(|arguments| create(&setup.config().models.dir, arguments));
    (setup.spawn().await, keys)
}

async fn ask(app: &TestApp, method: &str, path: &str, key: Option<&str>) -> Answer {
    let request = app.ask(method.to_uppercase().parse::<Method>().expect("a method"), path);
    app.send(key.into_iter().fold(request, |request, key| request.bearer_auth(key))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_reach_as_far_as_the_table_says() {
    let (app, held) = with_keys(SCOPES.map(|scope| [scope, "--scope", scope]).each_ref().map(|made| made.as_slice())).await;
    for (operation, needs) in ROUTES {
        let (method, path) = operation.split_once(' ').expect("method and path");
        let path = path.replace("{model}", "nobody").replace("{version}", "9").replace("{id}", "x");
        let open = matches!(needs, "nothing" | "undocumented");
        let nobody = ask(&app, method, &path, None).await;
        if open {
            assert!(!matches!(nobody.status, 401 | 403), "{operation}: {}", nobody.text());
        } else {
            nobody.problem(401, "unauthorized", "this needs a key");
            assert_eq!(nobody.header("www-authenticate"), r#"Bearer realm="graft""#, "{operation}");
        }
        for (position, key) in held.iter().enumerate() {
            let answer = ask(&app, method, &path, Some(key)).await;
            let reaches = SCOPES.iter().position(|scope| *scope == needs).is_none_or(|needed| position >= needed);
            if reaches {
                let code = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()["code"].clone();
                assert!(answer.status != 401 && code != "forbidden", "{operation}, {}: {}", SCOPES[position], answer.text());
            } else {
                answer.problem(403, "forbidden", &format!("has the scope `{}`, and this needs `{needs}`", SCOPES[position]));
                let challenge = format!(r#"Bearer realm="graft", error="insufficient_scope", scope="{needs}""#);
                assert_eq!(answer.header("www-authenticate"), challenge, "{operation}");
            }
        }
    }
}

#[test]
fn every_documented_operation_is_in_the_table_and_says_what_it_needs() {
    let document = serde_json::to_value(openapi()).expect("a document is JSON");
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("it has paths") {
        for (method, operation) in methods.as_object().expect("it has methods") {
            let name = format!("{method} {path}");
            let row = ROUTES.iter().find(|(row, _)| *row == name);
            let (_, needs) = row.unwrap_or_else(|| panic!("{name} is not in the table"));
            let [bearer, own] =
                [("/security/0/bearer", "bearer"), ("/security/1/api_key", "own")].map(|(at, _)| operation.pointer(at));
            match *needs {
                "nothing" => assert!(bearer.is_none() && operation["responses"].get("401").is_none(), "{name}"),
                "any" => assert!(bearer == Some(&Value::Array(Vec::new())) && bearer == own, "{name}"),
                scope => {
                    assert!(bearer == Some(&serde_json::json!([scope])) && bearer == own, "{name}: {}", operation["security"]);
                    for (status, code) in [("401", "unauthorized"), ("403", "forbidden"), ("429", "rate_limited")] {
                        let described = operation["responses"][status]["description"].as_str().unwrap_or_default();
                        assert!(described.contains(&format!("`{code}`")), "{name}: {status} has {described:?}");
                    }
                }
            }
            documented.insert(name);
        }
    }
    let rows = ROUTES.iter().filter(|(_, needs)| *needs != "undocumented").map(|(row, _)| (*row).to_owned());
    assert_eq!(rows.collect::<BTreeSet<_>>(), documented, "a row without an operation");
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert_eq!(document["components"]["securitySchemes"]["api_key"]["name"], "X-API-Key");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_count_while_the_server_runs() {
    let app = Setup::new().spawn().await;
    let models = app.repository.root().to_owned();
    app.get("/models").await.ok();
    let key = create(&models, &["ci"]);
    eventually("a key is needed", async || app.get("/models").await.status == 401).await;
    ask(&app, "get", "/models", Some(&key)).await.ok();
    ask(&app, "get", "/jobs", Some(&key)).await.problem(403, "forbidden", "`ci`");
    keys(&models, &["set", "ci", "--scope", "train"]).ok();
    eventually("the scope has changed", async || ask(&app, "get", "/jobs", Some(&key)).await.status == 200).await;
    keys(&models, &["revoke", "ci"]).ok();
    eventually("the key is revoked", async || ask(&app, "get", "/models", Some(&key)).await.status == 401).await;
    let refused = ask(&app, "get", "/models", Some(&key)).await;
    refused.problem(401, "unauthorized", "not known here, or was revoked");
    assert_eq!(refused.header("www-authenticate"), r#"Bearer realm="graft", error="invalid_token""#);
    app.get("/models").await.problem(401, "unauthorized", "this needs a key");
    app.get("/healthz").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_read_from_one_header_alone() {
    let (app, [key]) = with_keys([&["ci", "--scope", "admin"]]).await;
    let get = |path: &str, headers: &[(&str, String)]| {
        let request = app.ask(Method::GET, path);
        app.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, value)))
    };
    for scheme in ["Bearer", "bearer", "BEARER"] {
        get("/models", &[("Authorization", format!("{scheme} {key}"))]).await.ok();
    }
    get("/models", &[("X-API-Key", key.clone())]).await.ok();
    get("/models", &[("Authorization", "Basic dTpw".to_owned()), ("X-API-Key", key.clone())]).await.ok();
    let bearer = || ("Authorization", format!("Bearer {key}"));
    get("/models", &[bearer(), ("X-API-Key", key.clone())]).await.ok();
    let secretless = key.rsplit_once('_').expect("it has parts").0.to_owned();
    let wrong: [&[(&str, String)]; 9] = [
        &[bearer(), bearer()],
        &[bearer(), ("X-API-Key", secretless.clone())],
        &[("X-API-Key", key.clone()), ("X-API-Key", key.clone())],
        &[("Authorization", key.clone())],
        &[("Authorization", format!("Token {key}"))],
        &[("Cookie", format!("key={key}"))],
        &[("X-API-Key", secretless)],
        &[("X-API-Key", key.to_uppercase())],
        &[("X-API-Key", "x".repeat(20_000))],
    ];
    for headers in wrong {
        let refused = get("/models", headers).await;
        let body = refused.problem(401, "unauthorized", "");
        assert!(refused.header("www-authenticate").starts_with("Bearer realm=\"graft\""), "{headers:?}");
        assert!(!body.to_string().contains(&key), "{body}");
    }
    for name in ["key", "api_key", "access_token", "X-API-Key"] {
        app.get(&format!("/models?{name}={key}")).await.problem(401, "unauthorized", "a key in the address is not read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_count_and_not_requests() {
    let limited: &[&str] = &["phone", "--images-per-second", "1", "--burst", "60"];
    let (app, [key, other]) = with_keys([limited, &["other"]]).await;
    let send = |count: usize, key: &str| {
        let images: Vec<_> = (0..count).map(|_| ("a.png", plain([240, 0, 0]))).collect();
        app.send(app.post_form("/predict", &images).bearer_auth(key))
    };
    let many = send(61, &key).await;
    many.problem(413, "too_many_images", "holds 61 images, and the key `phone` may ask 60 at once");
    assert_eq!(many.header("ratelimit"), r#""images";r=60;t=0"#, "a refusal costs nothing");
    let all = send(60, &key).await.ok();
    assert_eq!(all.header("ratelimit-policy"), r#""images";q=60;w=60;qu="images""#);
    assert!(all.header("ratelimit").starts_with(r#""images";r="#), "{:?}", all.headers);
    let refused = send(60, &key).await;
    refused.problem(429, "rate_limited", "the key `phone` may ask 1 images a second");
    assert!(refused.header("retry-after").parse().is_ok_and(|seconds: u64| (1..=60).contains(&seconds)));
    assert!(refused.header("ratelimit-policy").contains("q=60") && refused.header("ratelimit").contains(";t="));
    let free = send(60, &other).await.ok();
    assert_eq!((free.header("ratelimit-policy"), free.header("ratelimit")), ("", ""), "a key without limits");
    keys(app.repository.root(), &["set", "phone", "--images-per-second", "none", "--burst", "none"]).ok();
    eventually("the limit is lifted", async || send(60, &key).await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_counted_until_they_end() {
    let (app, [key, other]) = with_keys([&["phone", "--in-flight", "1"], &["other"]]).await;
    let mut stream = TcpStream::connect(app.address).await.expect("it listens");
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: {}\r\nX-API-Key: {key}\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n",
        app.address
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let asked = async || ask(&app, "get", "/models", Some(&key)).await;
    // Looked at with another key: a request with this one might be what is in flight.
    let metrics = async || ask(&app, "get", "/metrics", Some(&other)).await.ok().text();
    eventually("the first is in flight", async || metrics().await.contains("graft_requests_in_flight 2\n")).await;
    let refused = asked().await;
    refused.problem(429, "rate_limited", "the key `phone` may have 1 request in flight");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("ratelimit-policy"), r#""in-flight";q=1;qu="concurrent-requests""#);
    assert_eq!(refused.header("ratelimit"), r#""in-flight";r=0"#);
    drop(stream);
    eventually("the first has ended", async || asked().await.status == 200).await;
    // Whoever has an answer may ask the next at once.
    for _ in 0..50 {
        let answer = app.send(app.post_image("/predict", encoded_fixture("rgb_8.png")).bearer_auth(&key)).await.ok();
        assert_eq!(answer.header("ratelimit-policy"), r#""in-flight";q=1;qu="concurrent-requests""#);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_where_the_configuration_says_so() {
    let setup = Setup::new().configured(|config| config.server.metrics_need_key = false);
    create(&setup.config().models.dir, &["ci"]);
    let app = setup.spawn().await;
    app.get("/metrics").await.ok();
    app.get("/models").await.problem(401, "unauthorized", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tries_many_keys_is_told_to_wait() {
    let (app, [key]) = with_keys([&["ci"]]).await;
    let last = if key.ends_with('0') { "1" } else { "0" };
    let wrong = format!("{}{last}", &key[..key.len() - 1]);
    let mut refused = ask(&app, "get", "/models", Some(&wrong)).await;
    for _ in 0..1000 {
        if refused.status != 401 {
            break;
        }
        refused = ask(&app, "get", "/models", Some(&wrong)).await;
    }
    refused.problem(429, "rate_limited", "many requests from this address");
    assert_eq!(refused.header("retry-after"), "1");
    ask(&app, "get", "/models", Some(&key)).await.ok();
    ask(&app, "get", "/models", None).await.problem(401, "unauthorized", "needs a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_is_named_in_the_log() {
    let setup = Setup::new();
    let models = &setup.config().models.dir;
    let key = create(models, &["narrow"]);
    let mut graft = Graft::serve(models, "colours", &[]);
    let request = reqwest::Client::new().get(format!("http://{}/jobs", graft.address)).bearer_auth(&key);
    Answer::to(request).await.problem(403, "forbidden", "the scope `predict`");
    let line = std::iter::repeat_with(|| graft.log_line()).find(|line| line["message"] == "answered").expect("there is one");
    assert_eq!((&line["status"], &line["key"]), (&Value::from(403), &Value::from("narrow")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_of_the_log_holds_a_key() {
    let setup = Setup::new();
    let models = &setup.config().models.dir;
    let key = create(models, &["ci", "--scope", "admin"]);
    let levels = "warn,graft=trace,hyper=trace,hyper_util=trace,tower_http=trace,axum=trace,sqlx=info";
    let graft = Graft::serve(models, "colours", &[("GRAFT__TELEMETRY__LOG_LEVEL", levels)]);
    let wrong = format!("{}0", &key[..key.len() - 1]);
    for sent in [&key, &wrong] {
        let url = format!("http://{}/models?key={sent}", graft.address);
        for name in ["Authorization", "X-API-Key", "X-Request-Id-Of-Mine"] {
            let value = if name == "Authorization" { format!("Bearer {sent}") } else { sent.clone() };
            Answer::to(reqwest::Client::new().get(&url).header(name, value)).await;
        }
    }
    let log = graft.ended_log();
    assert!(log.contains("answered"), "{log}");
    let secret = key.rsplit('_').next().expect("it has a secret");
    assert!(!log.contains(&secret[..secret.len() - 1]), "{log}");
}

#[test]
fn the_command_shows_a_key_once() {
    let setup = Setup::empty();
    let models = &setup.config().models.dir;
    let missing = keys(models, &["list"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("so there are no keys"), "{missing:?}");
    let arguments =
        ["phone", "--scope", "predict,train", "--images-per-second", "20", "--in-flight", "4", "--expires", "90d", "--json"];
    let made: Value = serde_json::from_str(&create(models, &arguments)).expect("JSON");
    let key = made["key"].as_str().expect("the key").to_owned();
    assert!(key.starts_with(&format!("graft_{}_", made["id"].as_str().expect("an id"))), "{made}");
    assert_eq!((&made["scope"], &made["images_per_second"], &made["burst"]), (&"train".into(), &20.into(), &20.into()));
    let listed = keys(models, &["list", "--json"]);
    let shown: Value = serde_json::from_str(listed.ok()).expect("one JSON object");
    assert!(shown.get("key").is_none() && shown["name"] == "phone" && shown["in_flight"] == 4, "{shown}");
    let table = keys(models, &["list", "--all"]).ok().to_owned();
    assert!(table.contains("phone") && table.contains("train") && !table.contains(&key), "{table}");
    for (arguments, why) in [
        (["create", "phone"].as_slice(), "there is a key `phone` already"),
        (&["create", "a b"], "is no name of a key"),
        (&["create", "a", "--scope", "root"], "`root` is no scope"),
        (&["create", "a", "--images-per-second", "0"], "give a whole number from 1 to 1000000; one a second is the least"),
        (&["create", "a", "--images-per-second", "0.5"], "for fewer, let the key end (`--expires 1h`)"),
        (&["create", "a", "--burst", "5"], "a burst needs images a second"),
        (&["create", "a", "--expires", "2001-01-01"], "would have expired already"),
        (&["create", "a", "--expires", "soon"], "give a time such as 90d"),
        (&["set", "phone"], "nothing to set"),
        (&["set", "nobody", "--in-flight", "1"], "no key in force is called `nobody`"),
        (&["revoke", "nobody"], "no key in force is called `nobody`"),
    ] {
        let refused = keys(models, arguments);
        assert!(refused.code != Some(0) && refused.stderr.contains(why), "{arguments:?}: {refused:?}");
    }
    let pasted = keys(models, &["revoke", &key]);
    assert!(pasted.code != Some(0) && pasted.stderr.contains("give its name"), "{pasted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_gone_with_their_store_let_nobody_in() {
    let setup = Setup::new();
    let (models, data) = (setup.config().models.dir.clone(), setup.config().data.dir.clone());
    let key = create(&models, &["ci"]);
    for file in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        drop(std::fs::remove_file(data.join(file)));
    }
    let listed = keys(&models, &["list"]);
    assert!(listed.code == Some(1) && listed.stderr.contains("keys were made there"), "{listed:?}");
    let doctor = Ran::graft(&models, &["doctor"]);
    let ways = ["FAIL  access: API keys were made", "`graft keys create`", "`keys-were-made`", "`server.auth`"];
    assert!(ways.iter().all(|way| doctor.stdout.contains(way)), "{doctor:?}");
    let app = setup.spawn().await;
    for sent in [None, Some(key.as_str())] {
        ask(&app, "get", "/models", sent).await.problem(401, "unauthorized", "its `jobs.db` holds none");
    }
    let listed = keys(&models, &["list"]);
    assert!(listed.stderr.contains("gone with their `jobs.db`"), "{listed:?}");
    let again = create(&models, &["ci"]);
    eventually("the new key counts", async || ask(&app, "get", "/models", Some(&again)).await.status == 200).await;
}
