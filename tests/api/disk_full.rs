//! A volume that is too small: what does not fit fails or waits, with the reason, and leaves nothing, and the server serves on.

use serde_json::json;

use crate::{
    finetune::{drawings, recipe},
    support::{Setup, Tiny, Volume, eventually, png},
};

#[tokio::test]
async fn what_does_not_fit_fails_and_leaves_nothing() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
    let Some(volume) = Volume::serve(&setup, &[]) else { return };
    let graft = &volume.graft;

    let large = graft.post("/datasets", "application/x-tar", noise()).await;
    large.problem(507, "storage_full", "free some space");
    eventually("nothing of it is left", async || volume.entries("datasets") == 0).await;

    let uploaded = graft.post("/datasets", "application/zip", drawings(200, 1)).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let dataset = uploaded.json()["id"].as_str().expect("a data set has an id").to_owned();
    let submitted = graft.post("/jobs/finetune", "application/json", recipe(&dataset, "shapes").to_string()).await;
    assert_eq!(submitted.status, 202, "{}", submitted.text());
    let waiting = async || graft.get(submitted.header("location")).await["waiting"]["detail"].as_str().map(str::to_owned);
    eventually("it waits for room", async || waiting().await.is_some()).await;
    let detail = waiting().await.unwrap_or_default();
    assert!(detail.contains("data.dir/cache") && detail.contains("free some space there"), "{detail}");
    graft.post(&format!("{}/cancel", submitted.header("location")), "application/json", "").await;
    let job = graft.ended(submitted.header("location")).await;
    assert_eq!(job["state"], json!("cancelled"), "{job}");
    assert_eq!(job["history"].as_array().map(Vec::len), Some(0), "before any time is spent on epochs");
    eventually("its checkpoints are removed", async || volume.entries("jobs") == 0).await;

    let names = graft.get("/models").await["models"].as_array().expect("a list").len();
    assert_eq!(names, 1, "nothing is registered");
    let features = graft.post("/features?layer=max_pooling2d_2", "image/png", png(32, 32, |_, _| [1, 2, 3])).await;
    assert_eq!(features.status, 200, "it serves on: {}", features.text());
}

#[tokio::test]
async fn jobs_are_kept_again_as_soon_as_there_is_room() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
    let Some(volume) = Volume::serve(&setup, &[("GRAFT__JOBS__LEASE_MS", "2000")]) else { return };
    let graft = &volume.graft;
    let uploaded = graft.post("/datasets", "application/zip", drawings(5, 1)).await;
    let dataset = uploaded.json()["id"].as_str().expect("a data set has an id").to_owned();
    let mut recipe = recipe(&dataset, "shapes");
    recipe["phases"] = json!([{"trainable": "head", "epochs": 1}]);
    let submit = async || graft.post("/jobs/finetune", "application/json", recipe.to_string()).await;

    volume.fill();
    let mut answer = submit().await;
    // What is left of the journal's last round may take the first few.
    for _ in 0..20 {
        if answer.status != 202 {
            break;
        }
        volume.fill();
        answer = submit().await;
    }
    answer.problem(507, "storage_full", "the disk that holds the jobs is full; free some space in the folder of `data.dir`");
    for _ in 0..8 {
        // Every connection of the store has met it.
        submit().await.problem(507, "storage_full", "the disk that holds the jobs is full");
    }
    volume.free();
    let accepted = submit().await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let job = graft.ended(accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
}

#[tokio::test]
async fn what_fills_a_disk_can_be_deleted() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
    let Some(volume) = Volume::serve(&setup, &[]) else { return };
    let graft = &volume.graft;
    let uploaded = graft.post("/datasets", "application/zip", drawings(50, 1)).await;
    let path = uploaded.header("location").to_owned();
    volume.fill();
    graft.post("/datasets", "application/zip", drawings(50, 1)).await.problem(507, "storage_full", "");
    let deleted = graft.delete(&path).await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    eventually("its files are gone", async || volume.entries("datasets") == 0).await;
    let small = graft.post("/datasets", "application/zip", drawings(10, 1)).await;
    assert_eq!(small.status, 201, "there is room again: {}", small.text());
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
