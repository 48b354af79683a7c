//! The store over time: restarts, holds, removal, uploads that are given up, folders of the server.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use futures_util::FutureExt;

use super::{
    super::{
        ArchiveKind, Datasets, Error, ReadAs,
        manifest::{read_summary, stored_bytes},
        staging::take_away,
    },
    LIMITS, Store, block_on, bounds, classes,
    packing::{photos, png, zip_of},
};
use crate::{
    config::DatasetsConfig,
    work::{Budget, Client},
};

fn archive() -> Vec<u8> {
    zip_of(&photos(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"]))
}

/// Memory without a bound.
fn free(_: u64) -> Result<(), Error> {
    Ok(())
}

fn write(root: &Path, paths: &[&str]) {
    for (path, bytes) in photos(paths) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn data_sets_survive_a_restart_and_half_made_ones_do_not() {
    let store = Store::new(bounds());
    assert_eq!(store.left(), Vec::<std::path::PathBuf>::new(), "opening makes nothing");
    let dataset = block_on(store.send(ArchiveKind::Zip, &archive())).unwrap();
    let folder = store.folder.path().join("datasets");
    fs::create_dir_all(folder.join(".staging-x/images")).unwrap();
    fs::create_dir_all(folder.join(".removed-y/removed")).unwrap();
    let in_progress = block_on(store.datasets.upload(&Client::local(), ArchiveKind::Zip)).unwrap();
    let reopened = Datasets::open(bounds(), store.folder.path(), LIMITS).unwrap();
    let mut left: Vec<String> = store.left().iter().map(|path| path.file_name().unwrap().display().to_string()).collect();
    left.sort();
    assert!(left.len() == 2 && left[0].starts_with(".staging-") && left[1] == dataset.id, "one is being received: {left:?}");
    drop(in_progress);
    assert_eq!(reopened.page(None, 9, free, |summary| summary).unwrap(), (vec![dataset.summary.clone()], None));
    assert_eq!(reopened.get(&dataset.id).unwrap(), dataset);
    assert_eq!(store.left(), std::slice::from_ref(&dataset.dir));
    assert_eq!((stored_bytes(&dataset.dir), stored_bytes(&folder)), (Some(dataset.bytes), None));
}

#[test]
fn only_ids_are_looked_up() {
    let store = Store::new(bounds());
    let dataset = block_on(store.send(ArchiveKind::Zip, &archive())).unwrap();
    let upper = dataset.id.to_uppercase();
    for id in
        ["", ".", "..", "x", "../datasets", &format!("../datasets/{}", dataset.id), &upper, &format!("{}/images", dataset.id)]
    {
        assert!(matches!(store.datasets.get(id), Err(Error::Unknown { .. })), "{id}");
        assert!(matches!(store.datasets.summary(id, free), Err(Error::Unknown { .. })), "{id}");
        assert!(matches!(store.datasets.remove(id), Err(Error::Unknown { .. })), "{id}");
    }
    assert!(store.datasets.get(&dataset.id).is_ok());
}

#[test]
fn who_comes_second_to_a_removal_finds_nothing() {
    let store = Store::new(bounds());
    let folder = store.folder.path().join("datasets");
    type Second = fn(&Path, &Path) -> Result<(), Error>;
    let seconds: [Second; 3] = [
        |store, path| take_away(store, path).map(drop),
        |_, path| read_summary(path).map(drop),
        |_, path| super::super::Dataset::read(path).map(drop),
    ];
    for second in seconds {
        let dataset = block_on(store.send(ArchiveKind::Zip, &archive())).unwrap();
        let found = store.datasets.read(&dataset.id, |path| {
            // Somebody else is faster.
            store.datasets.remove(&dataset.id).unwrap();
            second(&folder, path)
        });
        assert!(matches!(found, Err(Error::Unknown { .. })), "{found:?}");
        assert_eq!(store.left(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn data_sets_are_listed_in_pages() {
    let store = Store::new(bounds());
    let ids: Vec<String> = (0..3).map(|_| block_on(store.send(ArchiveKind::Zip, &archive())).unwrap().summary.id).collect();
    let page = |after: Option<&str>, limit| store.datasets.page(after, limit, free, |summary| summary.id).unwrap();
    let newest: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(page(None, 3), (newest.clone(), None));
    assert_eq!(page(None, 2), (newest[..2].to_vec(), Some(newest[1].clone())));
    store.datasets.remove(&newest[1]).unwrap();
    assert_eq!(page(Some(&newest[1]), 2), (newest[2..].to_vec(), None), "one that is gone still has its place");
    assert!(matches!(store.datasets.page(Some("x"), 2, free, |summary| summary.id), Err(Error::Unknown { .. })));
}

#[test]
fn an_import_holds_what_it_was_given_whoever_leaves() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["photos/a/1.png", "photos/a/2.png", "photos/b/1.png"]);
    let store = Store::new(DatasetsConfig { root: Some(root.path().to_owned()), ..bounds() });
    // One thread for all that blocks, which is busy until the client has left.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv().ok());
        let held = std::sync::Arc::new(());
        let (client, given) = (Client::local(), std::sync::Arc::clone(&held));
        let importing = store.datasets.import_below_root(&client, "photos".to_owned(), ReadAs::default(), given);
        assert!(importing.now_or_never().is_none(), "its client has left");
        assert_eq!(std::sync::Arc::strong_count(&held), 2, "the work has it");
        end.send(()).unwrap();
        busy.await.unwrap();
        while std::sync::Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn memory_is_held_before_a_summary_is_read() {
    let store = Store::new(bounds());
    let ids: Vec<String> = (0..2).map(|_| block_on(store.send(ArchiveKind::Zip, &archive())).unwrap().summary.id).collect();
    let length = fs::metadata(store.folder.path().join("datasets").join(&ids[0]).join("dataset.json")).unwrap().len();
    let full = || Error::TooManyUploads { limit: 0, of_client: false };
    let refuse = |_| Err::<(), _>(full());
    assert!(matches!(store.datasets.summary(&ids[0], refuse), Err(Error::TooManyUploads { .. })));
    assert!(matches!(store.datasets.page(None, 9, refuse, |_| panic!("it was read")), Err(Error::TooManyUploads { .. })));
    let memory = Budget::new(3 * length);
    let hold = |bytes| memory.take(&Client::local(), bytes).map_err(|_| full());
    let (shown, _) = store.datasets.page(None, 9, hold, |_| memory.used()).unwrap();
    assert_eq!((shown, memory.used()), (vec![3 * length; 2], 0), "one after the other");
}

#[test]
fn changed_manifests_are_told_and_can_be_removed() {
    let store = Store::new(bounds());
    for (file, text) in [("dataset.json", "{"), ("images.jsonl", "{}\n"), ("images.jsonl", "")] {
        let dataset = block_on(store.send(ArchiveKind::Zip, &archive())).unwrap();
        fs::write(dataset.dir.join(file), text).unwrap();
        assert!(matches!(store.datasets.get(&dataset.id), Err(Error::Corrupt { .. })), "{file} is `{text}`");
        store.datasets.remove(&dataset.id).unwrap();
    }
    assert!(store.datasets.page(None, 9, free, |summary| summary.id).unwrap().0.is_empty());
}

#[tokio::test]
async fn uploads_that_are_given_up_leave_nothing() {
    let store = Store::new(DatasetsConfig { max_uploads: 1, ..bounds() });
    let mut upload = store.datasets.upload(&Client::local(), ArchiveKind::Zip).await.unwrap();
    upload.write(&archive()[..100]).await.unwrap();
    let second = store.datasets.upload(&Client::local(), ArchiveKind::Zip).await;
    assert!(matches!(second, Err(Error::TooManyUploads { limit: 1, of_client: false })));
    drop(upload);
    // On another thread, and the place is given back when nothing is left.
    let again = async || loop {
        match store.datasets.upload(&Client::local(), ArchiveKind::Zip).await {
            Ok(upload) => break upload,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let mut upload = again().await;
    assert_eq!(store.left().len(), 1, "its own");
    // Enough work for its sender to leave before the end.
    let names: Vec<String> = (0..500).map(|number| format!("{}/{number}.png", ["a", "b"][number % 2])).collect();
    upload.write(&zip_of(&photos(&names.iter().map(String::as_str).collect::<Vec<_>>()))).await.unwrap();
    let finishing = upload.finish(ReadAs::default(), ());
    let left = tokio::time::timeout(Duration::ZERO, finishing).await;
    assert!(left.is_err(), "nothing is ready at once");
    // The place is given back when the work has ended, whichever way.
    let _upload = again().await;
    assert_eq!(store.left().len(), 1, "its own");
}

#[test]
fn folders_below_the_root_are_copied() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["photos/a/1.png", "photos/a/2.png", "elsewhere/1.png", "elsewhere/2.png"]);
    symlink("../elsewhere", root.path().join("photos/b")).unwrap();
    let store = Store::new(DatasetsConfig { root: Some(root.path().to_owned()), ..bounds() });
    let absolute = root.path().join("photos").display().to_string();
    for path in ["photos", "./photos/", "photos/../photos", &absolute] {
        let dataset =
            block_on(store.datasets.import_below_root(&Client::local(), path.to_owned(), ReadAs::default(), ())).unwrap();
        assert_eq!(classes(&dataset), ["a 2/0", "b 2/0"], "{path}");
    }
    let dataset =
        block_on(store.datasets.import_below_root(&Client::local(), "photos".to_owned(), ReadAs::default(), ())).unwrap();
    let original = fs::OpenOptions::new().write(true).open(root.path().join("photos/a/1.png")).unwrap();
    original.set_len(1).unwrap();
    assert_eq!(fs::read(dataset.file(&dataset.images[0])).unwrap(), png(1), "the original may change, the data set does not");
}

#[test]
fn folders_that_may_not_be_read_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), &["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    let root = tempfile::tempdir().unwrap();
    for folder in ["escape", "linked", "dangling", "pipe"] {
        write(&root.path().join(folder), &["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    }
    symlink(outside.path(), root.path().join("out")).unwrap();
    symlink(outside.path().join("a/1.png"), root.path().join("escape/a/3.png")).unwrap();
    symlink("..", root.path().join("linked/a/loop")).unwrap();
    symlink("nothing", root.path().join("dangling/a/3.png")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.path().join("pipe/a/3.png"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    fs::write(root.path().join("file"), "x").unwrap();
    let store = Store::new(DatasetsConfig { root: Some(root.path().to_owned()), ..bounds() });
    let check = |store: &Store, path: &str, expected: &str| {
        let error =
            block_on(store.datasets.import_below_root(&Client::local(), path.to_owned(), ReadAs::default(), ())).expect_err(path);
        assert!(error.to_string().contains(expected), "{path}: {error}");
        assert_eq!(store.left(), Vec::<std::path::PathBuf>::new(), "{path}");
    };
    check(&store, "..", "`..` leads out of the folder that may be read");
    check(&store, "../nothing", "leads out of the folder that may be read");
    check(&store, outside.path().to_str().unwrap(), "leads out of the folder that may be read");
    check(&store, "out", "leads out of the folder that may be read");
    check(&store, "escape", "`a/3.png` leads out of the folder that may be read");
    check(&store, "linked", "is more than 16 folders deep");
    check(&store, "dangling", "`a/3.png` cannot be read");
    check(&store, "pipe", "`a/3.png` is neither a file nor a folder");
    check(&store, "nothing", "is not a folder that can be read");
    check(&store, "file", "is not a folder that can be read");
    check(&store, "fi\0le", "is not a folder that can be read");
    check(&Store::new(bounds()), "photos", "`datasets.root` is not configured");
}
