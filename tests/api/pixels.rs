//! What happens to pixels before the model sees them: EXIF orientation, resizing, and formats over the wire.
//!
//! Expected pixels are Pillow's (`tests/goldens/images.py`); that every format has them is tested beside the code.

use serde_json::{Value, json};

use crate::support::{Answer, TestApp, encoded_fixture, png};

async fn seen(app: &TestApp, file: Vec<u8>, query: &str) -> Answer {
    app.send(app.post_image(&format!("/features?layer=relu{query}"), file)).await.ok()
}

/// Pillow's pixels of `file`, as a PNG without metadata; upright when `key` is `transposed`.
fn pillows(file: &str, key: Option<&str>) -> Vec<u8> {
    let listing: Value = serde_json::from_slice(&encoded_fixture("expected.json")).expect("a valid listing");
    let golden = listing["images"].as_array().expect("a list").iter().find(|golden| golden["file"] == file);
    let golden = golden.unwrap_or_else(|| panic!("{file} is not listed"));
    let pixels = key.map_or(golden, |key| &golden[key]);
    let number = |key: &str| pixels[key].as_u64().expect("a number") as usize;
    let (width, height, rgb) = (number("width"), number("height"), &encoded_fixture("expected.rgb")[number("offset")..]);
    png(width as u32, height as u32, |x, y| {
        let at = 3 * (y as usize * width + x as usize);
        [rgb[at], rgb[at + 1], rgb[at + 2]]
    })
}

#[tokio::test]
async fn an_exif_orientation_is_ignored_with_a_warning_or_applied() {
    let app = TestApp::spawn().await;
    for (file, orientation) in [("exif_6.png", 6), ("exif_3.jpg", 3), ("exif_8.webp", 8), ("xmp_5.jpg", 5)] {
        let stored = seen(&app, encoded_fixture(file), "").await;
        let warnings = &stored.json()["features"][0]["warnings"];
        assert_eq!(warnings[0]["code"], "orientation_ignored", "{file}: {warnings}");
        let detail = warnings[0]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(&format!("EXIF orientation {orientation} ")), "{file}: {detail}");
        assert!(detail.contains("`orientation=exif`"), "{file}: {detail}");
        let upright = seen(&app, encoded_fixture(file), "&orientation=exif").await;
        assert_eq!(upright.json()["features"][0]["warnings"], json!([]), "{file}");
        assert_ne!(stored.layer(0, "relu"), upright.layer(0, "relu"), "{file}");
        let ignored = seen(&app, encoded_fixture(file), "&orientation=ignore").await;
        assert_eq!(stored.layer(0, "relu"), ignored.layer(0, "relu"), "{file}");
    }
    let predicted = app.send(app.post_image("/predict", encoded_fixture("exif_6.png"))).await.ok();
    assert_eq!(predicted.json()["predictions"][0]["warnings"][0]["code"], "orientation_ignored");
    // Pillow turns a TIFF upright as it opens it, so there is nothing left to ignore.
    for file in ["exif_1.png", "rgb.jpg", "exif_6.tif"] {
        let upright = seen(&app, encoded_fixture(file), "").await;
        assert_eq!(upright.json()["features"][0]["warnings"], json!([]), "{file}");
    }
}

#[tokio::test]
async fn the_model_sees_pillows_pixels_either_way() {
    let app = TestApp::spawn().await;
    for file in ["exif_6.png", "exif_3.png", "exif_8.webp"] {
        let stored = seen(&app, encoded_fixture(file), "").await.layer(0, "relu");
        assert_eq!(stored, seen(&app, pillows(file, None), "").await.layer(0, "relu"), "{file} as stored");
        let upright = seen(&app, encoded_fixture(file), "&orientation=exif").await.layer(0, "relu");
        let expected = seen(&app, pillows(file, Some("transposed")), "").await.layer(0, "relu");
        assert_eq!(upright, expected, "{file} upright");
    }
    for file in ["palette_8.png", "grey_16.png", "lossless.webp", "animated.gif", "bits_24.bmp", "exif_6.tif"] {
        let found = seen(&app, encoded_fixture(file), "").await.layer(0, "relu");
        assert_eq!(found, seen(&app, pillows(file, None), "").await.layer(0, "relu"), "{file}");
    }
}

#[tokio::test]
async fn the_filter_can_be_chosen_per_request() {
    let app = TestApp::spawn().await;
    // Stripes one pixel wide: nearest takes one colour or the other, the others mix them.
    let stripes = png(32, 32, |x, _| if x % 4 < 2 { [0, 0, 0] } else { [200, 100, 40] });
    let own = seen(&app, stripes.clone(), "").await.layer(0, "relu");
    let nearest = seen(&app, stripes.clone(), "&resize=nearest").await.layer(0, "relu");
    assert_eq!(own, nearest, "the model's own filter is nearest");
    assert!(nearest.iter().all(|level| [0.0, 200.0, 100.0, 40.0].contains(level)), "{nearest:?}");
    let bilinear = seen(&app, stripes.clone(), "&resize=bilinear").await.layer(0, "relu");
    let bicubic = seen(&app, stripes, "&resize=bicubic").await.layer(0, "relu");
    assert!(bilinear.iter().any(|level| (1.0..39.0).contains(level) || (101.0..199.0).contains(level)), "{bilinear:?}");
    assert_ne!(bilinear, nearest);
    assert_ne!(bilinear, bicubic);
}

#[tokio::test]
async fn an_image_can_be_fed_as_opencv_reads_it() {
    let app = TestApp::spawn().await;
    // Red 10, green 20, blue 40; twice the model's input, so that halving is the mean of four.
    let file = png(16, 16, |x, y| if (x + y) % 2 == 0 { [10, 20, 40] } else { [12, 24, 48] });
    let raw = seen(&app, file.clone(), "&resize=opencv_bilinear&preprocess=none&channel_order=bgr").await;
    assert_eq!(raw.layer(0, "relu").chunks_exact(3).next(), Some(&[44.0, 22.0, 11.0][..]), "blue first");
    let input = &raw.json()["input"];
    assert_eq!(input["resize"], "opencv_bilinear");
    assert_eq!(input["channel_order"], "bgr");
    assert_eq!((&input["mean"], &input["scale"]), (&json!([0.0, 0.0, 0.0]), &json!([1.0, 1.0, 1.0])));
    let red_first = seen(&app, file.clone(), "&resize=opencv_bilinear&preprocess=none").await;
    assert_eq!(red_first.layer(0, "relu").chunks_exact(3).next(), Some(&[11.0, 22.0, 44.0][..]), "red first");
    let predicted = app.send(app.post_image("/predict?preprocess=none&channel_order=bgr", file.clone())).await.ok();
    assert_eq!(predicted.json()["input"]["channel_order"], "bgr");
    // Without an override, or with the model's own, there is nothing to say.
    let plain = seen(&app, file, "&resize=nearest").await;
    assert!(plain.json().get("input").is_none(), "{}", plain.json());
}
