//! JSON bodies as clients write them: base64, names, parameters; and what refusals say.

use super::*;
use crate::{
    config::ServerConfig,
    http::{image_parameters::FeaturesQuery, parameters::Parameters, testing},
    inference::Admissions,
    work::Client,
};

type Expected<'a> = Result<&'a [(Option<&'a str>, &'a [u8])], &'a str>;

/// At most two images.
fn check(body: &str, expected: Expected<'_>) {
    match (parse(body.as_bytes(), 2, FeaturesQuery::declared()), expected) {
        (Ok(read), Ok(expected)) => {
            let got: Vec<_> = read.images.iter().map(|image| (image.name.as_deref(), image.bytes.as_ref())).collect();
            assert_eq!(got, expected, "{body}");
        }
        (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{body}: {error}"),
        (Ok(read), Err(expected)) => {
            let faults: Vec<_> = read.images.iter().map(|image| (&image.name, &image.fault)).collect();
            assert!(format!("{faults:?}").contains(expected), "{body}: {faults:?} instead of {expected}");
        }
        (Err(error), Ok(_)) => panic!("{body}: {error}"),
    }
}

#[test]
fn base64_is_read_as_clients_write_it() {
    let bytes: &[u8] = &[0xfb, 0xff, 0xfe, 0x01];
    for b64 in [
        "+//+AQ==",
        "+//+AQ",
        "-__-AQ",
        "-__-AQ==",
        "+//+\\nAQ==\\r\\n",
        "+\\/\\/+AQ==",
        "data:image/png;base64,+//+AQ==",
        "DATA:;base64,-__-AQ",
    ] {
        check(&format!(r#"{{"images":[{{"b64":"{b64}"}}]}}"#), Ok(&[(None, bytes)]));
        check(&format!(r#"{{"images":["{b64}"]}}"#), Ok(&[(None, bytes)]));
    }
    check(r#"{"images":[{"b64":"","name":"a"},{"name":"b","b64":"AA"}]}"#, Ok(&[(Some("a"), &[]), (Some("b"), &[0])]));
    check(r#"{"images":["AA",{"name":null,"b64":"AA"}]}"#, Ok(&[(None, &[0]), (None, &[0])]));
    check(r#"{"images":[]}"#, Ok(&[]));
}

#[test]
fn other_documents_are_refused_with_the_reason() {
    check("", Err("cannot read the JSON body"));
    check("{", Err("line 1 column 1"));
    check("{} x", Err("trailing characters"));
    check("[]", Err("invalid type: sequence, expected an object with `images`"));
    check("\"x\"", Err("it is a string; send"));
    check("{}", Err("missing field `images`"));
    check(r#"{"images":"AA"}"#, Err("`images` is a string; put it into a list"));
    check(r#"{"images":[],"images":[]}"#, Err("duplicate field `images`"));
    check(r#"{"images":[{}]}"#, Err("missing field `b64`"));
    check(r#"{"images":[{"b64":7}]}"#, Err("invalid type: integer `7`, expected base64"));
    check(r#"{"images":[7]}"#, Err("invalid type: integer `7`, expected an image"));
    check(r#"{"images":[{"url":"http://x"}]}"#, Err("unknown field `url` of an image, expected `b64` or `name`"));
    check(r#"{"images":["","",""]}"#, Err("more than 2 images"));
    check(r#"{"images":[{"b64":"*"},{"b64":"+_","name":"x"}]}"#, Err(r#"(Some("x"), Some("it is not base64"#));
    check(r#"{"images":["*",{"b64":"AA"}]}"#, Err(r#"[(None, Some("it is not base64"#));
    check(r#"{"images":[{"b64":"data:image/png,abc"}]}"#, Err("not base64; write `data:image/jpeg;base64,…`"));
    check(r#"{"images":[{"b64":"data:image/png;base64"}]}"#, Err("no comma"));
}

#[test]
fn addresses_are_not_called_bad_base64() {
    check(r#"{"images":["https://example.org/cat.jpg"]}"#, Err("graft fetches nothing; send the image's bytes as base64"));
}

#[test]
fn white_space_changes_nothing_about_what_is_base64() {
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let text = STANDARD.encode(&bytes);
    let lines: Vec<&str> = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    assert_eq!(decode(&lines.join("\r\n")).as_ref(), Ok(&bytes));
    assert_eq!(decode(&format!(" {}\n", text.trim_end_matches('='))).as_ref(), Ok(&bytes));
    assert_eq!(decode(" \n"), Ok(Vec::new()));
    for wrong in ["AA==\nAAAA", "AAAA\nA", "+\n_AA", "AA AA*AA"] {
        let refused = decode(wrong).expect_err(wrong);
        assert!(refused.starts_with("it is not base64: ") && refused.len() < 100, "{wrong}: {refused}");
    }
}

#[test]
fn all_that_reading_holds_is_reserved() {
    assert_eq!(copies(br#"{"images":["AAAA"]}"#), 19 / 4 * 3);
    assert_eq!(copies(br#"{"images": ["AA AA"]}"#), 21 / 4 * 3);
    assert_eq!(copies(br#"{"images":["AA\nAA"]}"#), 21 / 4 * 3 + 2 * 7);
    assert_eq!(copies(br#"{"images":["AA\"AA","AA"]}"#), 26 / 4 * 3 + 2 * 7, "a quotation mark that is escaped ends nothing");
    assert_eq!(copies(br#"{"images":["AAAAAAAA","\n"]}"#), 28 / 4 * 3 + 2 * 3, "a text without escapes is read where it stands");
}

/// Reads a body of `length` bytes whose one text ends with an escape, where one client may have four times 64 KiB, as it may have
/// four times 64 MiB by default; what is held then.
async fn read_escaped(length: usize) -> Result<u64, ApiError> {
    let (start, end) = (r#"{"images":[""#, r#"\/"]}"#);
    let body = format!("{start}{}{end}", "A".repeat(length - start.len() - end.len()));
    let bound = 64 << 10;
    let server =
        ServerConfig { max_body_bytes: bound, max_response_bytes: bound, max_buffered_bytes: 8 * bound, ..testing::server() };
    let admission = Admissions::new(&server).admit(&Client::local(), None);
    admission.take(body.len()).expect("the body fits");
    let read = read(body.into(), &testing::intake(), FeaturesQuery::declared(), &admission).await?;
    assert_eq!(read.images.len(), 1);
    Ok(admission.memory().held())
}

#[tokio::test]
async fn every_body_that_may_be_sent_is_read_whatever_its_escapes() {
    let largest = 64 << 10;
    assert_eq!(read_escaped(largest).await.map_err(|error| error.to_string()), Ok(largest as u64), "the copies are given back");
    let refused = read_escaped(largest + (largest >> 3)).await.expect_err("it never fits");
    let (needed, limit) = match refused {
        ApiError::JsonNeverFits { needed, limit } => (needed, limit),
        other => panic!("{other}"),
    };
    assert!(needed > limit && limit == 4 * largest as u64, "{needed} of {limit}");
}

#[test]
fn fields_besides_the_images_are_parameters() {
    let check = |fields: &str, expected: Result<&[(&str, &str)], &str>| {
        let body = format!(r#"{{{fields},"images":["AA"]}}"#);
        match (parse(body.as_bytes(), 2, FeaturesQuery::declared()), expected) {
            (Ok(read), Ok(expected)) => {
                let got: Vec<_> = read.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                assert_eq!(got, expected, "{body}");
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{body}: {error}"),
            (got, _) => panic!("{body}: {:?} instead of {expected:?}", got.map(|read| read.parameters)),
        }
    };
    check(r#""model":"vgg16@1","top_k":3"#, Ok(&[("model", "vgg16@1"), ("top_k", "3")]));
    check(r#""top_k":"3","flatten":true"#, Ok(&[("top_k", "3"), ("flatten", "true")]));
    check(r#""model":null"#, Ok(&[]));
    check(r#""layer":["fc1",-1]"#, Ok(&[("layer", "fc1"), ("layer", "-1")]));
    check(r#""layer":"fc1,fc2""#, Ok(&[("layer", "fc1,fc2")]));
    check(r#""topk":3"#, Err("unknown parameter `topk`; did you mean `top_k`? (this route takes `images`, `model`"));
    check(r#""image":"AA""#, Err("unknown parameter `image`; did you mean `images`?"));
    check(r#""top_k":[3]"#, Err("`top_k` is a list; give one value"));
    check(r#""model":{"name":"a"}"#, Err("`model` is an object; give one value"));
    check(r#""layer":[["fc1"]]"#, Err("`layer` is a list of what is no text or number"));
}

#[test]
fn floods_are_cut_short() {
    let entries = vec![r#""AA""#; 100_000].join(",");
    check(&format!(r#"{{"images":[{entries}]}}"#), Err("more than 2 images"));
    let others: Vec<String> = (0..100_000).map(|number| format!("\"{number}\":0")).collect();
    check(&format!("{{{}}}", others.join(",")), Err("more fields than there are parameters"));
    check(&format!(r#"{{"layer":[{entries}]}}"#), Err("a list of parameters is too long"));
}

#[test]
fn no_message_repeats_the_body() {
    let long = "A".repeat(600_000);
    for body in [
        format!("\"{long}\""),
        format!(r#"{{"images":"{long}"}}"#),
        format!(r#"{{"image":"{long}"}}"#),
        format!(r#"{{"images":[{{"url":"{long}"}}]}}"#),
        format!(r#"{{"images":[{{"{long}":1}}]}}"#),
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"images":[{{"b64":"*","name":"{long}"}}]}}"#),
        format!(r#"{{"images":["{long}*"]}}"#),
        format!(r#"{{"top_k":["{long}"],"images":[]}}"#),
        long.clone(),
    ] {
        let error = match parse(body.as_bytes(), 2, FeaturesQuery::declared()) {
            Err(error) => error.to_string(),
            Ok(read) => read.images[0].fault.clone().unwrap_or_else(|| panic!("{} is refused", &body[..40])),
        };
        assert!(error.len() < 400 && !error.contains(&"A".repeat(50)), "{error}");
    }
}
