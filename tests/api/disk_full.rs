//! A volume that is too small: what does not fit fails with the reason and leaves nothing, and the server serves on.

use std::path::Path;

use serde_json::json;

use crate::{
    finetune::{drawings, recipe},
    support::{Graft, Setup, Tiny, eventually, png},
};

#[tokio::test]
async fn what_does_not_fit_fails_and_leaves_nothing() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
    let variables = [("GRAFT__TELEMETRY__LOG_LEVEL", "error,graft::app=info")];
    let Some(graft) = Graft::with_volume(&setup.config().models.dir, "seeded", &variables, "8m") else {
        eprintln!("skipped: this user may not mount a volume");
        return;
    };
    let data = format!("/proc/{}/root{}", graft.id(), setup.config().data.dir.display());
    let left = |folder: &str| std::fs::read_dir(Path::new(&data).join(folder)).map_or(0, Iterator::count);

    let large = graft.post("/datasets", "application/x-tar", noise()).await;
    large.problem(507, "storage_full", "free some space");
    assert_eq!(left("datasets"), 0);

    let uploaded = graft.post("/datasets", "application/zip", drawings(200, 1)).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let dataset = uploaded.json()["id"].as_str().expect("a data set has an id").to_owned();
    let submitted = graft.post("/jobs/finetune", "application/json", recipe(&dataset, "shapes").to_string()).await;
    assert_eq!(submitted.status, 202, "{}", submitted.text());
    let job = graft.ended(submitted.header("location")).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("disk_full")), "{job}");
    let detail = job["error"]["detail"].as_str().expect("a reason");
    assert!(detail.starts_with("cannot write data.dir/cache/") && detail.contains("free some space there"), "{detail}");
    assert_eq!(job["history"].as_array().map(Vec::len), Some(2), "the second phase needs more than the first");
    eventually("its checkpoints are removed", async || left("jobs") == 0).await;

    let names = graft.get("/models").await["models"].as_array().expect("a list").len();
    assert_eq!(names, 1, "nothing is registered");
    let features = graft.post("/features?layer=max_pooling2d_2", "image/png", png(32, 32, |_, _| [1, 2, 3])).await;
    assert_eq!(features.status, 200, "it serves on: {}", features.text());
}

/// A tar of 10 MB of photos that cannot be compressed.
fn noise() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for number in 0..8 {
        let photo = png(650, 650, |x, y| {
            // Well mixed (the finalizer of MurmurHash3), so that PNG cannot make it smaller.
            let mut mixed = (number << 24) ^ (y << 12) ^ x;
            mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x85EB_CA6B);
            mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xC2B2_AE35);
            [mixed as u8, (mixed >> 8) as u8, (mixed >> 16) as u8]
        });
        let mut header = tar::Header::new_gnu();
        header.set_size(photo.len() as u64);
        header.set_mode(0o644);
        let path = format!("{}/{number}.png", if number % 2 == 0 { "ants" } else { "bees" });
        archive.append_data(&mut header, path, photo.as_slice()).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}
