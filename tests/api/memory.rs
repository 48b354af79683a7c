//! What serving costs in memory, measured on a process of its own.
//!
//! Cuts share the large matrices: ten of them, asked for in turn, may not add up to ten models.

use std::fs;

use graft::registry::import_seeded;

use crate::support::{Answer, Graft, Setup, fixture};

/// Resident memory over the weights that are served, at most.
const SHARE: f64 = 1.6;

const LAYERS: [&str; 10] = [
    "block1_pool",
    "block2_pool",
    "block3_pool",
    "block4_pool",
    "block5_pool",
    "flatten",
    "fc1",
    "fc2",
    "predictions",
    "block5_conv3",
];

/// Resident memory of a process in bytes.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB")
}

#[tokio::test]
async fn ten_layers_of_vgg16_in_turn_stay_near_its_weights() {
    let setup = Setup::empty();
    let version = import_seeded(setup.repository(), "vgg16", "vgg16", 1).expect("seeded weights fit");
    let graft = Graft::serve(&setup.config().models.dir, "vgg16", &[]);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client without TLS can be built");
    let mut most = 0;
    for layer in LAYERS.iter().chain(&LAYERS) {
        let url = format!("http://{}/features?layer={layer}&pool=avg", graft.address);
        let request = client.post(url).header("Content-Type", "image/png").header("Accept", "application/x-npy");
        Answer::to(request.body(fixture("golden_vgg16.png"))).await.ok();
        most = most.max(resident(graft.id()));
    }
    let share = most as f64 / version.metadata.weights.bytes as f64;
    assert!(share < SHARE, "{most} bytes are {share:.2} times the weights");
    println!("{most} bytes, {share:.2} times the weights");
}
