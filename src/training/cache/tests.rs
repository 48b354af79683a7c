//! Caches on disk: what was put comes back, what is damaged does not, and old ones make room.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::{Content, Store};
use crate::{
    preprocess::{Mode, Preprocessing},
    training::{batches::Pick, recipe::Frontier},
};

fn content(fingerprint: &str, images: usize) -> Content {
    let tensor = |name: &str, shape: &[usize]| Frontier {
        tensor: name.to_owned(),
        shape: shape.to_vec(),
        pooled: false,
        bytes: 4 * shape.iter().product::<usize>() as u64,
    };
    Content {
        format: 1,
        fingerprint: fingerprint.to_owned(),
        images,
        weights_sha256: String::new(),
        graph_sha256: String::new(),
        preprocessing: Preprocessing::keras(Mode::Tf, 8, 8),
        frontier: vec![tensor("a", &[2, 3]), tensor("b", &[1])],
        beside: Vec::new(),
        flips: true,
        engine: String::new(),
    }
}

const BOUND: u64 = 1 << 20;

fn record(number: usize) -> ([f32; 6], [f32; 1]) {
    let first = number as f32;
    ([first, 1.0, -0.0, f32::MIN_POSITIVE, first / 3.0, 5.0], [first + 0.5])
}

fn put(store: &Store, number: usize) {
    let (a, b) = record(number);
    store.write(number, &[&a, &b]).expect("written");
}

/// Whether the record is there; what is there is right.
fn found(store: &Store, number: usize) -> bool {
    let (mut a, mut b) = ([9.0; 6], [9.0; 1]);
    let whole = store.read(number, &mut [&mut a, &mut b]).expect("read");
    if whole {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let expected = record(number);
        assert_eq!((bits(&a), bits(&b)), (bits(&expected.0), bits(&expected.1)), "record {number}");
    }
    whole
}

fn open(root: &Path, content: &Content) -> Store {
    within(root, content, BOUND)
}

fn within(root: &Path, content: &Content, bound: u64) -> Store {
    Store::open(root, std::slice::from_ref(content), bound).expect("opened").remove(0)
}

#[test]
fn every_part_of_the_content_is_in_the_key() {
    let whole = content("f", 5);
    let mut others = vec![content("g", 5), content("f", 6)];
    let changes: [fn(&mut Content); 6] = [
        |content| content.weights_sha256.push('1'),
        |content| content.graph_sha256.push('1'),
        |content| content.preprocessing.width = 9,
        |content| content.frontier[0].pooled = true,
        |content| content.beside.push("c".to_owned()),
        |content| content.engine.push('1'),
    ];
    for change in changes {
        let mut other = whole.clone();
        change(&mut other);
        others.push(other);
    }
    let keys: std::collections::HashSet<String> = others.iter().chain([&whole]).map(Content::key).collect();
    assert_eq!(keys.len(), 9);
    assert_eq!(whole.key(), Content { flips: false, ..whole.clone() }.key(), "a cache with mirrored images has the others too");
}

#[test]
fn records_lie_by_image_and_mirror() {
    let check = |flips: bool, image: u32, flipped: bool, expected: usize| {
        let mut content = content("f", 5);
        content.flips = flips;
        assert_eq!(content.record(Pick { image, flipped }), expected);
        assert_eq!(content.records(), if flips { 10 } else { 5 });
    };
    check(true, 0, false, 0);
    check(true, 3, true, 8);
    check(true, 3, false, 3);
    check(false, 3, false, 3);
}

#[test]
fn what_was_put_comes_back_in_a_later_process() {
    let root = tempfile::tempdir().expect("a folder");
    let content = content("f", 5);
    let store = open(root.path(), &content);
    assert!((0..10).all(|number| store.lacks(number) && !found(&store, number)));
    [7, 0, 9].into_iter().for_each(|number| put(&store, number));
    drop(store);
    let store = open(root.path(), &content);
    let there: Vec<usize> = (0..10).filter(|&number| found(&store, number)).collect();
    assert_eq!(there, [0, 7, 9]);
    assert!(there.iter().all(|&number| !store.lacks(number)));
    assert_eq!(fs::read(root.path().join(content.key()).join("content.json")).expect("read"), content.to_json());
}

#[test]
fn a_record_past_the_limit_is_not_stored() {
    let root = tempfile::tempdir().expect("a folder");
    let content = content("f", 5);
    let store = within(root.path(), &content, 3 * 28 + 27);
    assert_eq!(store.limit(), 3);
    put(&store, 3);
    assert!(!store.lacks(3) && !found(&store, 3));
    let nothing = within(root.path(), &content, 0);
    assert_eq!(nothing.limit(), 0);
}

#[test]
fn caches_not_used_for_the_longest_time_make_room() {
    let root = tempfile::tempdir().expect("a folder");
    let aged = |name: &str, hours: u64| {
        let content = content(name, 2000);
        let store = open(root.path(), &content);
        (0..4000).for_each(|number| put(&store, number));
        store.sync().expect("synced");
        let lock = OpenOptions::new().append(true).open(root.path().join(content.key()).join("lock")).expect("the lock");
        lock.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours)).expect("aged");
        content.key()
    };
    let (old, older, used) = (aged("a", 1), aged("b", 2), aged("c", 3));
    let holder = open(root.path(), &content("c", 2000));
    let there = |key: &str| root.path().join(key).is_dir();
    let store = within(root.path(), &content("d", 2000), 430_000);
    assert!(there(&old) && !there(&older) && there(&used));
    assert_eq!(store.limit(), 4000, "it fits");
    let more = within(root.path(), &content("e", 2000), 200_000);
    assert!(!there(&old) && there(&used), "in use");
    assert!(more.limit() < 4000, "the one in use takes some");
    drop(holder);
}

#[test]
fn caches_of_one_pass_have_room_together() {
    let root = tempfile::tempdir().expect("a folder");
    let of_images = |name: &str| content(name, 2000);
    let bytes = 4000 * 28;
    let other = open(root.path(), &of_images("other"));
    (0..4000).for_each(|number| put(&other, number));
    let key = of_images("other").key();
    drop(other);
    let contents = [of_images("a"), of_images("b")];
    for filled in [false, true, true] {
        let stores = Store::open(root.path(), &contents, 4 * bytes).expect("opened");
        assert!(stores.iter().all(|store| store.limit() == 4000), "both fit, filled or not");
        assert!(root.path().join(&key).is_dir(), "and what is there stays");
        assert!(stores.iter().all(|store| (0..4000).all(|number| store.lacks(number) != filled)));
        stores.iter().for_each(|store| (0..4000).for_each(|number| put(store, number)));
    }
    let limits: Vec<usize> = Store::open(root.path(), &contents, bytes + 280).expect("opened").iter().map(Store::limit).collect();
    assert_eq!(limits, [4000, 10], "the first has room first");
    assert!(!root.path().join(&key).is_dir());
}

#[test]
fn what_is_reserved_is_nobody_elses_until_its_owner_is_gone() {
    let root = tempfile::tempdir().expect("a folder");
    let (all, some) = (4000 * 28, 1000 * 28);
    let first = within(root.path(), &content("a", 2000), all + some);
    assert_eq!(first.limit(), 4000);
    let second = within(root.path(), &content("b", 2000), all + some);
    assert_eq!(second.limit(), 1000, "the first has written nothing yet, and may");
    let shared = within(root.path(), &Content { flips: false, ..content("a", 2000) }, all + some);
    assert_eq!(shared.limit(), 2000, "of one cache that two jobs share");
    let third = || within(root.path(), &content("c", 2000), all + some);
    assert_eq!(third().limit(), 0);
    let hold = first.hold();
    drop((first, shared));
    assert_eq!(third().limit(), 0, "its owner is between two phases");
    // As a process that is killed leaves it.
    drop(hold);
    assert!(root.path().join(content("a", 2000).key()).is_dir());
    assert!(third().limit() > 3500, "of what is half-written counts what it holds, and that may go");
}

#[test]
fn a_disk_without_room_is_told_before_it_is_full() {
    let root = tempfile::tempdir().expect("a folder");
    let huge = content("a", 1 << 40);
    let room = super::room::Room::lock(root.path(), u64::MAX).expect("locked");
    let error = room.check(&[huge.key()], huge.bytes()).expect_err("no disk is as large");
    assert!(error.is_disk_full(), "{error}");
    assert!(error.to_string().contains("lower `training.cache_bytes`"), "{error}");
    room.check(&[huge.key()], 1).expect("there is room for that");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_costs_the_damaged_record_and_no_other(
        file in 0_usize..3, record in 0_usize..10, byte in any::<u8>(), place in any::<prop::sample::Index>(), cut in any::<bool>()
    ) {
        let root = tempfile::tempdir().expect("a folder");
        let content = content("f", 5);
        let store = open(root.path(), &content);
        (0..10).for_each(|number| put(&store, number));
        drop(store);
        let (name, size) = [("0.f32", 24), ("1.f32", 4), ("checksums.u32", 4)][file];
        let path = root.path().join(content.key()).join(name);
        let damaged: File = OpenOptions::new().read(true).write(true).open(path).expect("the file");
        let at = (size * record + place.index(size)) as u64;
        let mut before = [0];
        damaged.read_exact_at(&mut before, at).expect("within the file");
        if cut { damaged.set_len(at).expect("cut") } else { damaged.write_all_at(&[byte], at).expect("written") }
        let store = open(root.path(), &content);
        for number in 0..10 {
            let whole = if cut { number < record } else { number != record || before == [byte] };
            prop_assert_eq!(found(&store, number), whole, "record {}", number);
            prop_assert_eq!(store.lacks(number), !whole);
            put(&store, number);
            prop_assert!(found(&store, number), "repaired");
        }
    }
}
