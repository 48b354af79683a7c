//! Requests as clients write them: compressed bodies, parameters in a body, files' names, photos that were damaged on their way.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Setup, TestApp, Tiny, base64, plain};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes every byte");
    encoder.finish().expect("a vector takes every byte")
}

/// A form of parts, each with its headers and content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let part = |(headers, content): &(&str, &[u8])| [b"--b\r\n", headers.as_bytes(), b"\r\n\r\n", content, b"\r\n"].concat();
    [parts.iter().flat_map(part).collect::<Vec<u8>>(), b"--b--\r\n".to_vec()].concat()
}

const FORM: &str = "multipart/form-data; boundary=b";

#[tokio::test]
async fn compressed_bodies_are_those_they_hold_on_every_route() {
    let app = TestApp::spawn().await;
    let photo = plain([9, 200, 30]);
    let part = "Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"";
    let document = format!("{{\"images\":[\"{}\"],\"top_k\":1}}", base64(&photo));
    let expected =
        app.send(app.post_image("/predict?top_k=1", photo.clone())).await.ok().json()["predictions"][0]["top_k"].clone();
    for (kind, body) in [
        ("image/png", photo.clone()),
        (FORM, form(&[(part, &photo), ("Content-Disposition: form-data; name=\"top_k\"", b"1")])),
        ("application/json", document.into_bytes()),
    ] {
        let path = if kind == "image/png" { "/predict?top_k=1" } else { "/predict" };
        let request = app.post_typed(path, kind, gzip(&body)).header("Content-Encoding", "gzip");
        let answer = app.send(request).await.ok().json();
        assert_eq!(answer["predictions"][0]["top_k"], expected, "{kind}");
    }
    let stable = app.ask(Method::PUT, "/models/colours/stable").header("Content-Type", "application/json");
    app.send(stable.header("Content-Encoding", "gzip").body(gzip(b"{\"version\":1}"))).await.ok();
    let brotli = app.post_image("/features", photo).header("Content-Encoding", "br");
    let answer = app.send(brotli).await;
    answer.problem(
        415,
        "unsupported_media_type",
        "`Content-Encoding: br` is not decoded; send the body with `gzip` or `deflate`",
    );
    assert_eq!(answer.header("accept-encoding"), "gzip, deflate");
    let dataset = app.post_typed("/datasets", "application/zip", gzip(b"no archive")).header("Content-Encoding", "gzip");
    app.send(dataset).await.problem(422, "bad_archive", "");
}

#[tokio::test]
async fn a_bomb_stops_at_the_bound_of_its_route() {
    let setup = Setup::new().configured(|config| {
        config.server.max_body_bytes = 100_000;
        config.datasets.max_upload_bytes = 200_000;
    });
    let app = setup.spawn().await;
    let bomb = || gzip(&vec![0; 300_000]);
    let image = app.post_image("/predict", bomb()).header("Content-Encoding", "gzip");
    app.send(image).await.problem(413, "body_too_large", "larger than 100000 bytes (`server.max_body_bytes`)");
    let dataset = app.post_typed("/datasets", "application/x-tar", bomb()).header("Content-Encoding", "gzip");
    app.send(dataset).await.problem(413, "body_too_large", "`datasets.max_upload_bytes`");
    app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
}

#[tokio::test]
async fn parameters_stand_in_the_body_as_well() {
    let app = Setup::new().with(Tiny::Colours, "colours").with(Tiny::Topless, "other").spawn().await;
    let photo = plain([0; 3]);
    let json = |fields: &str| format!("{{{fields},\"images\":[{{\"b64\":\"{}\",\"name\":\"n\"}}]}}", base64(&photo));
    let ask = |path: &str, fields: &str| app.post_typed(path, "application/json", json(fields));
    let answer = app.send(ask("/predict", r#""model":"colours@1","top_k":2"#)).await.ok().json();
    assert_eq!((&answer["model"]["version"], &answer["predictions"][0]["image"]), (&json!(1), &json!("n")), "{answer}");
    assert_eq!(answer["predictions"][0]["top_k"].as_array().map(Vec::len), Some(2), "{answer}");
    let answer = app.send(ask("/features", r#""layer":["relu","conv"],"pool":"avg","flatten":false"#)).await.ok().json();
    let layers: Vec<&String> = answer["features"][0]["layers"].as_object().expect("an object").keys().collect();
    assert_eq!(layers, ["relu", "conv"]);
    let part = "Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"";
    let field = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
    let fields = form(&[(part, &photo), (&field("model"), b"colours@1"), (&field("layer"), b"relu"), (&field("top_k"), b"")]);
    let answer = app.send(app.post_typed("/features", FORM, fields)).await.ok().json();
    assert_eq!((&answer["model"]["version"], answer["features"][0]["layers"]["relu"].is_null()), (&json!(1), false), "{answer}");
    // The same in two places is no contradiction.
    app.send(ask("/models/colours@1/predict?top_k=2", r#""model":"colours","version":1,"top_k":"2""#)).await.ok();
    for (path, fields, status, code, detail) in [
        ("/predict?top_k=1", r#""top_k":2"#, 422, "invalid_parameter", "`top_k` is `1` in the query but `2` in the JSON"),
        (
            "/models/other/predict",
            r#""model":"colours""#,
            422,
            "invalid_parameter",
            "`other` in the path but `colours` in the JSON",
        ),
        ("/predict", r#""topk":2"#, 422, "invalid_parameter", "did you mean `top_k`?"),
        ("/predict", r#""layer":"relu""#, 422, "invalid_parameter", "unknown parameter `layer`"),
        ("/predict", r#""model":"colour""#, 404, "unknown_model", "did you mean `colours`"),
        ("/predict", r#""top_k":0"#, 422, "invalid_parameter", "a whole number from 1"),
    ] {
        app.send(ask(path, fields)).await.problem(status, code, detail);
    }
    let twice = form(&[(part, &photo), (&field("top_k"), b"2")]);
    app.send(app.post_typed("/predict?top_k=1", FORM, twice)).await.problem(
        422,
        "invalid_parameter",
        "`top_k` is `1` in the query but `2` in the form",
    );
}

#[tokio::test]
async fn files_are_called_as_their_senders_call_them() {
    let app = TestApp::spawn().await;
    let photo = plain([0; 3]);
    let mut body = Vec::new();
    for name in [
        b"filename=\"plain.png\"".as_slice(),
        b"filename=\"\xc3\xa4.png\"",
        b"filename=\"caf\xe9.png\"",
        b"filename*=UTF-8''%E2%82%AC.png",
        b"filename=\"=?utf-8?B?w6QucG5n?=\"; filename*=utf-8''%C3%A4.png",
        b"filename=\"a %22b%22.png\"",
        b"filename=token.png",
        b"filename=\"\"",
    ] {
        body.extend_from_slice(b"--b\r\nContent-Disposition: form-data; name=\"image\"; ");
        body.extend_from_slice(name);
        body.extend_from_slice(b"\r\nContent-Type: image/png\r\n\r\n");
        body.extend_from_slice(&photo);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    let answer = app.send(app.post_typed("/predict", FORM, body)).await.ok().json();
    let names: Vec<&Value> = answer["predictions"].as_array().expect("a list").iter().map(|image| &image["image"]).collect();
    assert_eq!(names, ["plain.png", "ä.png", "café.png", "€.png", "ä.png", "a \"b\".png", "token.png", "7"]);
}

#[tokio::test]
async fn damaged_photos_are_told_what_damaged_them() {
    let app = TestApp::spawn().await;
    let jpeg = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/espresso.jpg")).expect("it is there");
    let without = |gone: &[u8]| jpeg.iter().copied().filter(|byte| !gone.contains(byte)).collect::<Vec<u8>>();
    let text = String::from_utf8_lossy(&jpeg).into_owned().into_bytes();
    for (body, hint) in [
        (without(b"\r\n"), "use `--data-binary @FILE`"),
        (without(b"\r\n\0"), "use `--data-binary @FILE`"),
        (text, "not the file's `text()`"),
        (base64(&jpeg).into_bytes(), "they are base64 text"),
    ] {
        let problem = app.send(app.post_image("/predict", body.clone())).await.problem(422, "bad_images", "");
        let detail = problem["errors"][0]["detail"].as_str().expect("a text");
        assert!(detail.contains(hint), "`{hint}` is not in {detail}");
        let skipped = app.send(app.post_image("/features?layer=relu&on_error=skip", body)).await.ok().json();
        assert!(skipped["features"][0]["error"]["detail"].as_str().is_some_and(|text| text.contains(hint)), "{skipped}");
    }
}

#[tokio::test]
async fn no_answer_repeats_what_it_refuses() {
    let app = TestApp::spawn().await;
    let long = "A".repeat(50_000);
    let json = |path: &str, body: String| app.post_typed(path, "application/json", body);
    let photo = || plain([0; 3]);
    let refused = vec![
        json("/predict", format!("{{\"images\":\"{long}\"}}")),
        json("/predict", format!("{{\"images\":[\"{long}*\"]}}")),
        json("/predict", format!("{{\"images\":[{{\"b64\":\"{long}\",\"name\":\"{}\"}}]}}", "A".repeat(1000))),
        json("/features", format!("{{\"{long}\":1}}")),
        json("/features", format!("{{\"images\":[\"AA\"],\"layer\":\"{}\"}}", &long[..9000])),
        json("/predict", format!("{{\"images\":[\"AA\"],\"model\":\"{long}\"}}")),
        json("/jobs/finetune", format!("\"{long}\"")),
        json("/jobs/finetune", format!("{{\"dataset\":\"{long}\",\"name\":\"{long}\"}}")),
        json("/jobs/finetune", format!("{{\"dataset\":\"x\",\"name\":\"x\",\"base\":\"{long}\",\"{long}\":1}}")),
        json("/jobs/finetune", format!("{{\"dataset\":\"x\",\"name\":\"x\",\"batch_size\":\"{long}\",\"phases\":\"{long}\"}}")),
        json("/datasets", format!("{{\"path\":\"{}\"}}", &long[..9000])),
        json("/datasets", format!("{{\"{}\":1}}", &long[..9000])),
        app.ask(Method::PUT, "/models/colours/stable")
            .header("Content-Type", "application/json")
            .body(format!("{{\"version\":\"{long}\"}}")),
        app.post_image(&format!("/predict?model={}", &long[..9000]), photo()),
        app.post_image(&format!("/predict?{}=1", &long[..9000]), photo()),
        app.post_image(&format!("/features?layer={}", &long[..9000]), photo()),
        app.post_image("/features", photo()).header("Accept", format!("text/{}", &long[..9000])),
        app.post_image("/features", photo()).header("Content-Encoding", &long[..9000]),
        app.post_typed("/predict", &long[..9000], photo()),
        app.post_typed("/datasets", &long[..9000], photo()),
        app.post_typed("/jobs/finetune", &long[..9000], photo()),
        json("/jobs/finetune", "{}".to_owned()).header("Idempotency-Key", &long[..9000]),
        app.ask(Method::GET, &format!("/jobs?after={}", &long[..9000])),
        app.ask(Method::GET, &format!("/jobs?state={}", &long[..9000])),
        app.post_typed("/predict", FORM, form(&[(&format!("Content-Disposition: form-data; name=\"{long}\""), b"1")])),
        app.post_typed("/predict", FORM, form(&[("Content-Disposition: form-data; name=\"top_k\"", long.as_bytes())])),
    ];
    for request in refused {
        let answer = app.send(request).await;
        let mut problem = answer.json();
        assert!(answer.status >= 400 || problem["jobs"].is_array(), "{problem}");
        problem.as_object_mut().expect("a problem").remove("instance");
        let text = problem.to_string();
        assert!(!text.contains(&"A".repeat(61)) && text.len() < 6000, "{} bytes: {}", text.len(), &text[..text.len().min(2000)]);
    }
}

/// Node's clients, among others, give up when the connection is closed while they send, and never read the answer.
#[tokio::test]
async fn who_is_refused_early_may_send_to_the_end() {
    let app = TestApp::spawn().await;
    let file = |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\n\r\n");
    let two = [file("file"), "x\r\n".to_owned(), file("file")].concat();
    let unknown = "--b\r\nContent-Disposition: form-data; name=\"nope\"\r\n\r\n1\r\n".to_owned() + &file("image");
    let many = file("image").repeat(100);
    for (route, header, begin) in [
        ("POST /predicts", "Content-Type: image/jpeg", ""),
        ("PUT /predict", "Content-Type: image/jpeg", ""),
        ("GET /models/nope", "Content-Type: image/jpeg", ""),
        ("POST /predict", "Content-Type: multipart/form-data", ""),
        ("POST /predict", "Content-Type: multipart/form-data; boundary=b", &unknown),
        ("POST /features", "Content-Type: multipart/form-data; boundary=b", &many),
        ("POST /predict", "Content-Type: text/plain", ""),
        ("POST /predict?model=nope", "Content-Type: image/jpeg", ""),
        ("POST /predict", "Content-Type: image/jpeg\r\nContent-Encoding: gzip", "no gzip"),
        ("POST /predict", "Content-Type: image/jpeg\r\nContent-Encoding: br", ""),
        ("POST /datasets", "Content-Type: multipart/form-data", ""),
        ("POST /datasets", "Content-Type: multipart/form-data; boundary=b", &two),
        ("POST /datasets", "Content-Type: application/json", ""),
        ("POST /datasets?nope=1", "Content-Type: application/zip", ""),
        ("POST /jobs/finetune", "Content-Type: application/json", ""),
        ("PUT /models/colours/stable", "Content-Type: application/json", ""),
    ] {
        let body = [begin.as_bytes(), &vec![b'x'; 6 << 20]].concat();
        let address = app.address;
        let head = format!("{route} HTTP/1.1\r\nHost: localhost\r\n{header}\r\nContent-Length: {}\r\n\r\n", body.len());
        let exchange = move || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            stream.write_all(head.as_bytes())?;
            // In pieces, so that the answer is there before the end.
            for piece in body.chunks(1 << 20) {
                stream.write_all(piece)?;
                std::thread::sleep(Duration::from_millis(2));
            }
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answers = String::new();
            stream.read_to_string(&mut answers).map(|_| answers)
        };
        let answers = tokio::task::spawn_blocking(exchange).await.expect("no panic");
        let answers = answers.unwrap_or_else(|error| panic!("{route} with {header}: {error}"));
        assert!(answers.starts_with("HTTP/1.1 4"), "{route} with {header}: {answers}");
        assert!(answers.ends_with(r#"{"status":"ok"}"#), "{route} with {header}: {answers}");
    }
}
