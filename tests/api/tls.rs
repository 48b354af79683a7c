//! HTTPS from files: requests over it, pairs that are replaced while it serves, and clients that do not speak it.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use graft::config::TlsFiles;
use rcgen::{CertifiedKey, KeyPair};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring, pki_types::ServerName, version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_rustls::TlsConnector;

use crate::support::{Graft, Ran, Setup, TestApp, Tiny, eventually, publish};

const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

type Pair = CertifiedKey<KeyPair>;

fn pair() -> Pair {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair can be made")
}

/// Writes `pair` below `folder`.
fn write(folder: &Path, pair: &Pair) -> TlsFiles {
    let files = TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
    fs::write(&files.certificate, pair.cert.pem()).expect("it can be written to");
    fs::write(&files.key, pair.signing_key.serialize_pem()).expect("it can be written to");
    files
}

fn setup(folder: &Path, pair: &Pair) -> Setup {
    let files = write(folder, pair);
    Setup::new().configured(|config| config.server.tls = Some(files))
}

/// What comes back for [`REQUEST`] over TLS, from a server that has `pair`.
async fn ask(address: SocketAddr, pair: &Pair, versions: &[&'static SupportedProtocolVersion]) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).expect("known versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    stream.write_all(REQUEST.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn is_answered(app: &TestApp, pair: &Pair) -> bool {
    ask(app.address, pair, rustls::DEFAULT_VERSIONS).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

#[tokio::test]
async fn requests_come_over_both_versions_of_tls() {
    let (folder, pair) = (tempfile::tempdir().expect("a temporary folder"), pair());
    let app = setup(folder.path(), &pair).start().await;
    for versions in [&[&version::TLS12], &[&version::TLS13]] {
        let answer = ask(app.address, &pair, versions).await.expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age="), "{answer}");
    }
}

#[tokio::test]
async fn the_doctor_asks_the_running_server_over_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let setup = setup(folder.path(), &pair());
    let models = setup.config().models.dir.clone();
    let app = setup.start().await;
    let port = format!("server.port={}", app.address.port());
    let set = |key: &str, file: &str| format!("server.{key}={}", folder.path().join(file).display());
    let (certificate, key) = (set("tls_certificate", "tls.crt"), set("tls_key", "tls.key"));
    let doctor = async |host: &'static str, files: bool| {
        let (models, port, certificate, key) = (models.clone(), port.clone(), certificate.clone(), key.clone());
        let ask = move || {
            let mut arguments = vec!["doctor", "--running", "--set", &port, "--set", host];
            if files {
                arguments.extend(["--set", &certificate, "--set", &key]);
            }
            Ran::graft(&models, &arguments)
        };
        tokio::task::spawn_blocking(ask).await.expect("no panic")
    };
    // Its certificate is for another name, and signed by nobody.
    for host in ["server.host=127.0.0.1", "server.host=0.0.0.0"] {
        eventually("it is ready", async || doctor(host, true).await.code == Some(0)).await;
    }
    assert_eq!(doctor("server.host=127.0.0.1", false).await.code, Some(1), "it takes no other");
}

#[tokio::test]
async fn a_new_pair_is_taken_up_and_a_broken_one_is_not() {
    let (folder, [first, second]) = (tempfile::tempdir().expect("a temporary folder"), [pair(), pair()]);
    let app = setup(folder.path(), &first).start().await;
    assert!(is_answered(&app, &first).await && !is_answered(&app, &second).await);
    fs::write(folder.path().join("tls.crt"), "not a certificate").expect("it can be written to");
    assert!(is_answered(&app, &first).await, "the last pair stays in force");
    write(folder.path(), &second);
    eventually("the new pair is in force", async || is_answered(&app, &second).await).await;
    assert!(!is_answered(&app, &first).await);
    // As a secret is replaced: by renaming.
    let staged = folder.path().join("staged");
    fs::create_dir(&staged).expect("it can be made");
    write(&staged, &first);
    for name in ["tls.crt", "tls.key"] {
        fs::rename(staged.join(name), folder.path().join(name)).expect("it can be replaced");
    }
    eventually("the first pair is in force again", async || is_answered(&app, &first).await).await;
}

#[tokio::test]
async fn a_request_without_tls_is_told_so() {
    let (folder, pair) = (tempfile::tempdir().expect("a temporary folder"), pair());
    let app = setup(folder.path(), &pair).start().await;
    let answer = app.get("/models").await;
    assert_eq!(answer.header("connection"), "close");
    answer.problem(400, "tls_required", "ask `https://` instead of `http://`");
    let upload = app.post_image("/predict", vec![0; 1 << 20]);
    app.send(upload).await.problem(400, "tls_required", "`server.tls_certificate`");
    let mut stream = TcpStream::connect(app.address).await.expect("it listens");
    stream.write_all(b"\x16\x03\x01\x00\x04nope").await.expect("it reads");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"), "an alert or an end: {rest:?}");
}

#[tokio::test]
async fn silent_handshakes_hold_up_nobody_and_end() {
    let (folder, pair) = (tempfile::tempdir().expect("a temporary folder"), pair());
    let setup = setup(folder.path(), &pair).configured(|config| config.server.header_timeout = Duration::from_secs(2));
    let app = setup.start().await;
    let mut silent = Vec::new();
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"].repeat(20) {
        let mut stream = TcpStream::connect(app.address).await.expect("it listens");
        stream.write_all(begun).await.expect("it reads");
        silent.push(stream);
    }
    assert!(is_answered(&app, &pair).await);
    for mut stream in silent {
        // An end or a reset; a server that waits for ever would fail by the test's time.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    assert!(is_answered(&app, &pair).await);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_handshakes() {
    let (folder, pair) = (tempfile::tempdir().expect("a temporary folder"), pair());
    let setup = setup(folder.path(), &pair);
    let app = setup.bind().await.expect("it starts");
    let address = app.address().expect("it is bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(app.run(async { drop(stopped.await) }));
    let mut silent = TcpStream::connect(address).await.expect("it listens");
    silent.write_all(b"\x16\x03").await.expect("it reads");
    ask(address, &pair, rustls::DEFAULT_VERSIONS).await.expect("the silent one has been accepted before");
    stop.send(()).expect("it runs");
    running.await.expect("no panic").expect("no request was open");
}

#[test]
fn a_pair_that_does_not_match_is_refused_at_start() {
    let (folder, one) = (tempfile::tempdir().expect("a temporary folder"), pair());
    let setup = Setup::empty();
    publish(setup.repository(), Tiny::Colours, "colours");
    write(folder.path(), &one);
    fs::write(folder.path().join("tls.key"), pair().signing_key.serialize_pem()).expect("it can be written to");
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name).display().to_string());
    let variables = [("GRAFT__SERVER__TLS_CERTIFICATE", certificate.as_str()), ("GRAFT__SERVER__TLS_KEY", &key)];
    let refusal = Graft::refusal(&setup.config().models.dir, "colours", &variables);
    assert!(refusal.line().contains("(`server.tls_key`) is not that of the certificate"), "{}", refusal.line());
    let refusal = Graft::refusal(&setup.config().models.dir, "colours", &variables[..1]);
    assert!(refusal.line().contains("given together with `server.tls_key`"), "{}", refusal.line());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_to_do_about_a_certificate_that_it_does_not_trust() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let setup = setup(folder.path(), &pair());
    let models = setup.config().models.dir.clone();
    let app = setup.start().await;
    let (url, file) = (format!("https://localhost:{}", app.address.port()), folder.path().join("tls.crt"));
    let doctor = async |more: &[&str]| {
        let arguments: Vec<String> = [&["doctor", "--url", &url], more].concat().into_iter().map(str::to_owned).collect();
        let models = models.clone();
        let ran = move || Ran::graft(&models, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(ran).await.expect("no panic")
    };
    let untrusted = doctor(&[]).await;
    assert!(untrusted.code == Some(1) && untrusted.stdout.contains("(`--ca FILE`;"), "{untrusted:?}");
    assert!(untrusted.stdout.contains("`--running`"), "{untrusted:?}");
    let trusted = async || doctor(&["--ca", file.to_str().expect("UTF-8")]).await;
    eventually("it is ready", async || trusted().await.code == Some(0)).await;
    let nothing = doctor(&["--ca", folder.path().join("tls.key").to_str().expect("UTF-8")]).await;
    assert!(nothing.code == Some(1) && nothing.stderr.contains("holds no certificate in PEM"), "{nothing:?}");
}
