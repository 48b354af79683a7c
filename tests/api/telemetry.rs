//! ONNX Runtime's telemetry is off: its official libraries would keep a device id and events on disk and send them.
//!
//! Both are written while the environment is made, before any call could forbid it; so a whole process is watched.

use std::{fs, path::Path};

use crate::support::{Answer, Graft, Setup, Tiny, plain, publish};

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("and its entries").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path.display().to_string()] }).collect()
}

/// Remote addresses of a process's connections that are not the loopback's, as `/proc` writes them.
fn remote_addresses(process: u32) -> Vec<String> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .expect("the process runs")
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (remote, inode) = (fields[2], fields[9]);
            let local = remote.starts_with("0100007F:") || remote.trim_start_matches('0').starts_with(':');
            if sockets.iter().any(|socket| socket == inode) && !local {
                found.push(format!("{table} {remote}"));
            }
        }
    }
    found
}

#[tokio::test]
async fn a_serving_process_keeps_no_device_id_and_calls_nobody() {
    let setup = Setup::empty();
    publish(setup.repository(), Tiny::Colours, "colours");
    let home = tempfile::tempdir().expect("a temporary folder");
    let path = home.path().display().to_string();
    // No variable of a continuous integration is there: ONNX Runtime is silent under those by itself.
    let variables = [("HOME", path.as_str()), ("XDG_CACHE_HOME", &path), ("TMPDIR", &path)];
    let graft = Graft::serve(&setup.config().models.dir, "colours", &variables);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client without TLS can be built");
    for _ in 0..3 {
        let request = client.post(format!("http://{}/predict", graft.address)).header("Content-Type", "image/png");
        Answer::to(request.body(plain([0; 3]))).await.ok();
        assert_eq!(remote_addresses(graft.id()), Vec::<String>::new());
    }
    assert_eq!(files(home.path()), Vec::<String>::new(), "ONNX Runtime's device id and event store");
}
