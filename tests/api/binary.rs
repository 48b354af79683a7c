//! `/features` as `.npy` and `.npz`: the bytes that numpy reads, and the headers that JSON answers have too.

use half::f16;

use crate::support::{Answer, Close, Npz, TestApp, npy, plain};

const COLOURS: [[u8; 3]; 2] = [[250, 3, 128], [17, 99, 0]];

async fn features(app: &TestApp, query: &str, accept: &str) -> Answer {
    let images = [("first.png", plain(COLOURS[0])), ("zweites £.png", plain(COLOURS[1]))];
    app.send(app.post_form(&format!("/features?{query}"), &images).header("Accept", accept)).await
}

fn levels() -> Vec<f32> {
    COLOURS.iter().flatten().map(|level| f32::from(*level)).collect()
}

#[tokio::test]
async fn npy_is_one_layer_of_all_images() {
    let app = TestApp::spawn().await;
    let answer = features(&app, "layer=relu&pool=max", "application/x-npy").await.ok();
    answer.is_from("colours", "1", "true");
    assert_eq!(answer.header("content-type"), "application/x-npy");
    // Byte for byte what `numpy.save` writes: magic, version 1.0, a header that ends at a multiple of 64, C order.
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    let mut expected = b"\x93NUMPY\x01\0v\0".to_vec();
    expected.extend(format!("{header:<117}\n").bytes());
    expected.extend(levels().iter().flat_map(|level| level.to_le_bytes()));
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn npy_keeps_shapes_and_takes_half_the_bytes_in_float16() {
    let app = TestApp::spawn().await;
    let map = npy(&features(&app, "layer=conv", "application/x-npy").await.ok().body);
    assert_eq!(map.shape(), [2, 8, 8, 3]);
    assert_eq!(map.data()[..3], levels()[..3]);
    assert_eq!(map.data()[map.data().len() - 3..], levels()[3..]);
    let answer = features(&app, "layer=conv&dtype=float16&flatten=true", "application/x-npy").await.ok();
    assert!(answer.body.len() < 128 + 2 * 2 * 192 + 64, "{} bytes", answer.body.len());
    assert_eq!(npy(&answer.body).shape(), [2, 192]);
    assert_eq!(npy(&answer.body).data()[..3], levels()[..3]);
}

#[tokio::test]
async fn npz_holds_every_layer_the_names_and_the_classes() {
    let app = TestApp::spawn().await;
    let answer = features(&app, "layer=logits,relu&top_k=3", "application/x-npz").await.ok();
    answer.is_from("colours", "1", "true");
    assert_eq!(answer.header("content-type"), "application/x-npz");
    let mut npz = Npz::new(answer.body);
    assert_eq!(npz.names(), ["logits", "relu", "images", "top_k_index", "top_k_score"]);
    assert_eq!(npz.array("relu").shape(), [2, 8, 8, 3]);
    let logits: Vec<f64> = npz.array("logits").data().iter().map(|value| f64::from(*value)).collect();
    let expected = COLOURS.map(|[red, green, blue]| [red, green, blue, green].map(|level| f64::from(level) / 64.0));
    Close::ROUNDING.check("logits", &logits, &expected.concat());
    let index = npz.file("top_k_index");
    let header = String::from_utf8_lossy(&index[..128]).into_owned();
    assert!(header.contains("'descr': '<i8'") && header.contains("'shape': (2, 3)"), "NumPy indexes with integers: {header}");
    assert_eq!(index[128..], [0_i64, 2, 1, 1, 3, 0].map(i64::to_le_bytes).concat());
    let score = npz.array("top_k_score");
    assert_eq!(score.shape(), [2, 3]);
    assert!(score.data()[0] > score.data()[1] && score.data()[3] == score.data()[4], "{:?}", score.data());
    let names = String::from_utf8_lossy(&npz.file("images")).into_owned();
    assert!(names.contains("'descr': '<U13'") && names.contains("'shape': (2,)"), "{names}");
    assert!(names.contains(&"first.png".chars().flat_map(|letter| [letter, '\0', '\0', '\0']).collect::<String>()));
}

#[tokio::test]
async fn npz_without_a_layer_has_the_default_one() {
    let app = TestApp::spawn().await;
    let mut npz = Npz::new(features(&app, "dtype=float16", "application/x-npz;q=0.9, text/html").await.ok().body);
    assert_eq!(npz.names(), ["embedding", "images"]);
    let values: Vec<f64> = npz.array("embedding").data().iter().map(|value| f64::from(*value)).collect();
    Close::HALF.check("embedding", &values, &levels().iter().map(|level| f64::from(*level)).collect::<Vec<_>>());
    let halves = levels().iter().flat_map(|level| f16::from_f32(*level).to_le_bytes()).collect::<Vec<_>>();
    assert!(npz.file("embedding").ends_with(&halves));
}

#[tokio::test]
async fn binary_answers_are_not_compressed_and_vary_by_accept() {
    let app = TestApp::spawn().await;
    for (accept, compressed) in [("application/x-npy", false), ("application/x-npz", false), ("application/json", true)] {
        let images = [("x", plain(COLOURS[0]))];
        let request = app.post_form("/features?layer=relu", &images).header("Accept", accept);
        let answer = app.send(request.header("Accept-Encoding", "gzip")).await.ok();
        assert_eq!(answer.header("content-encoding") == "gzip", compressed, "{accept}");
        let vary = answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
        assert!(vary.contains("accept"), "{accept}: {vary}");
        assert_eq!(answer.header("graft-model"), "colours");
    }
}
