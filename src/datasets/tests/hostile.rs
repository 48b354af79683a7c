//! Archives that mean harm or are damaged, and contents that are no data set: each is refused by name, and leaves nothing.

use tar::EntryType;

use super::{
    super::{ArchiveKind, Error, ReadAs},
    Store, block_on, bounds,
    packing::{ZipEntry, gzip, photos, png, tar, tar_entry, tar_of, zip, zip_of},
};
use crate::config::DatasetsConfig;

fn good() -> Vec<(String, Vec<u8>)> {
    photos(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"])
}

/// A good archive with one more entry at its end.
fn zip_with(entry: ZipEntry) -> Vec<u8> {
    let good = good().into_iter().map(|(name, data)| ZipEntry { name: name.into(), data, ..ZipEntry::default() });
    zip(&good.chain([entry]).collect::<Vec<_>>())
}

fn tar_with(entries: &[Vec<u8>]) -> Vec<u8> {
    let good = good().into_iter().map(|(name, data)| tar_entry(name.as_bytes(), EntryType::Regular, &data));
    tar(&good.chain(entries.iter().cloned()).collect::<Vec<_>>())
}

#[test]
fn zips_that_mean_harm_are_refused() {
    let store = Store::new(bounds());
    let check = |name: &str, entry: ZipEntry, expected: &str| {
        let name = if entry.name.is_empty() { name.as_bytes().to_vec() } else { entry.name.clone() };
        store.refused(ArchiveKind::Zip, &zip_with(ZipEntry { name, ..entry }), expected);
    };
    let file = || ZipEntry { data: png(99), ..ZipEntry::default() };
    check("../evil.png", file(), "`../evil.png` leads out of its folder");
    check("a/../../evil.png", file(), "leads out of its folder");
    check("/etc/cron.d/evil", file(), "`/etc/cron.d/evil` is an absolute path");
    check("C:/evil.png", file(), "`C:/evil.png` begins with a drive");
    check("a\\..\\..\\evil.png", file(), "leads out of its folder");
    check("\\\\server\\evil.png", file(), "is an absolute path");
    check("C:\\evil.png", file(), "begins with a drive");
    check("a\\1.png", file(), "`a\\1.png` occurs twice");
    check("a/e\nvil.png", file(), "`a/e\\nvil.png` has a control character");
    check("a/1.png", file(), "`a/1.png` occurs twice");
    check("./a//1.png", file(), "occurs twice");
    check(".", file(), "occurs twice");
    check("a/link.png", ZipEntry { mode: 0o120_777, data: b"/etc/passwd".into(), ..file() }, "`a/link.png` is a link");
    check("a/device", ZipEntry { mode: 0o020_666, ..file() }, "neither a file nor a folder");
    check("a/pipe", ZipEntry { mode: 0o010_666, ..file() }, "neither a file nor a folder");
    check("a/secret.png", ZipEntry { flags: 1, ..file() }, "`a/secret.png` is encrypted");
    check("a/packed.png", ZipEntry { method: 12, ..file() }, "`a/packed.png` is compressed as Bzip2");
    check("a/wrong.png", ZipEntry { wrong_checksum: true, ..file() }, "the zip archive is broken: Invalid checksum");
    check(&format!("a/{}", "x".repeat(1100)), file(), "has more than 1024 bytes in its path");
    check(&"a/".repeat(40), ZipEntry { mode: 0o040_755, ..ZipEntry::default() }, "is more than 16 folders deep");
}

#[test]
fn the_first_bytes_say_what_it_is_whatever_was_said() {
    let store = Store::new(bounds());
    let (zip, tar) = (zip_of(&good()), tar_of(&good()));
    let gz = gzip(&tar);
    for (said, archive) in [(ArchiveKind::Tar, &gz), (ArchiveKind::Zip, &tar), (ArchiveKind::TarGz, &zip)] {
        let dataset = block_on(store.send(said, archive)).unwrap_or_else(|error| panic!("said {said}: {error}"));
        store.datasets.remove(&dataset.id).unwrap();
    }
    let expected = "it was sent as a gzipped tar archive but begins as a zip archive does: the zip archive is broken: ";
    store.refused(ArchiveKind::TarGz, &zip[..zip.len() - 30], expected);
}

#[test]
fn gzip_is_named_by_what_is_in_it() {
    let store = Store::new(bounds());
    let refused = |said: ArchiveKind, inside: &[u8], expected: &str| {
        store.refused(said, &gzip(inside), expected);
    };
    let (zip, tar) = (zip_of(&good()), tar_of(&good()));
    for said in [ArchiveKind::TarGz, ArchiveKind::Zip] {
        refused(said, &zip, "this is a zip archive in gzip; decompress it (`gunzip FILE.gz`), and send the zip archive itself");
        refused(said, &gzip(&tar), "this is a gzipped tar archive in gzip; decompress it");
        refused(said, b"7z\xBC\xAF\x27\x1C", "this is a 7z file");
        refused(said, &png(1), "this is a single photo");
        refused(said, b"labels,files", "this is neither a zip nor a tar archive, gzipped or not");
        refused(said, &[0; 2048], "found no class folder");
    }
}

#[test]
fn the_marks_of_others_are_no_matter_where_an_archive_begins_with_them() {
    let store = Store::new(bounds());
    for folder in ["BZh", "BMW", "MSCF", "GIF89a", "P1 "] {
        let files = good().into_iter().map(|(path, bytes)| (path.replacen('a', folder, 1), bytes)).collect::<Vec<_>>();
        let dataset = block_on(store.send_as(None, &tar_of(&files), ReadAs::default()));
        assert!(dataset.unwrap_or_else(|error| panic!("{folder}: {error}")).classes.iter().any(|class| class.name == folder));
    }
    let expected = "this is a single photo or document, and no archive; pack the class folders";
    Store::new(bounds()).refused(ArchiveKind::Zip, &png(1), expected);
}

#[test]
fn archives_that_are_not_read_are_named_with_the_way_out() {
    let store = Store::new(bounds());
    let check = |first: &[u8], expected: &str| {
        for length in [first.len(), 2000] {
            let mut archive = first.to_vec();
            archive.resize(length, 7);
            let error = store.refused(ArchiveKind::Zip, &archive, expected).to_string();
            assert!(["Windows", "macOS", "zip -r"].iter().all(|word| error.contains(word)), "{error}");
        }
    };
    check(b"7z\xBC\xAF\x27\x1C", "this is a 7z file, which is not read");
    check(b"Rar!\x1A\x07\x00", "this is a RAR file");
    check(b"Rar!\x1A\x07\x01\x00", "this is a RAR file");
    check(b"BZh91AY&SY", "this is a bzip2 file");
    check(b"\xFD7zXZ\x00", "this is a xz file");
    check(b"\x28\xB5\x2F\xFD", "this is a Zstandard file");
    check(b"PK\x07\x08PK\x03\x04", "this is one part of a zip archive in several files");
    let mut last = zip_of(&good());
    let end = last.len() - 22;
    last[end + 4] = 2;
    store.refused(ArchiveKind::Zip, &last, "this is one part of a zip archive in several files");
}

#[test]
fn zips_that_are_packed_in_other_ways_are_named_with_the_way_out() {
    let store = Store::new(bounds());
    for (method, name) in [(12, "Bzip2"), (14, "Lzma"), (93, "Zstd"), (95, "Xz"), (1, "Shrink"), (6, "Implode")] {
        let entry = ZipEntry { name: b"a/9.png".into(), data: png(9), method, ..ZipEntry::default() };
        let error = store.refused(ArchiveKind::Zip, &zip_with(entry), &format!("is compressed as {name}")).to_string();
        assert!(["Windows", "macOS", "zip -r"].iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn tars_that_mean_harm_are_refused() {
    let store = Store::new(bounds());
    let check = |name: &[u8], kind: EntryType, expected: &str| {
        let archive = tar_with(&[tar_entry(name, kind, b"")]);
        store.refused(ArchiveKind::Tar, &archive, expected);
        store.refused(ArchiveKind::TarGz, &gzip(&archive), expected);
    };
    check(b"../evil.png", EntryType::Regular, "leads out of its folder");
    check(b"/etc/evil", EntryType::Regular, "is an absolute path");
    check(b"/etc/", EntryType::Directory, "is an absolute path");
    check(b"a/1.png", EntryType::Regular, "occurs twice");
    check(b"a/\xff.png", EntryType::Regular, "has a name that is not UTF-8");
    check(b"a/soft", EntryType::Symlink, "`a/soft` is a link");
    check(b"a/hard", EntryType::Link, "`a/hard` is a link");
    check(b"a/char", EntryType::Char, "neither a file nor a folder");
    check(b"a/block", EntryType::Block, "neither a file nor a folder");
    check(b"a/pipe", EntryType::Fifo, "neither a file nor a folder");
    check(b"a/\xff", EntryType::Link, "has a name that is not UTF-8");
    check(b"a/sparse", EntryType::GNUSparse, "is broken: ");
    check(b"a/other", EntryType::new(b'Q'), "neither a file nor a folder");
}

#[test]
fn headers_without_bound_are_refused() {
    let store = Store::new(bounds());
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader] {
        let archive =
            tar_with(&[tar_entry(b"x", kind, &vec![b'a'; 1 << 20]), tar_entry(b"a/9.png", EntryType::Regular, &png(9))]);
        store.refused(ArchiveKind::Tar, &archive, "its headers or its padding take too many bytes");
    }
    let long = tar_with(&[tar_entry(b"x", EntryType::GNULongName, &[b'a'; 2000]), tar_entry(b"y", EntryType::Regular, b"")]);
    store.refused(ArchiveKind::Tar, &long, "has more than 1024 bytes in its path");
}

#[test]
fn headers_count_as_entries_and_as_bytes() {
    let remarks = vec![tar_entry(b"x", EntryType::XGlobalHeader, b""); 40];
    let archive = tar_with(&remarks);
    let check = |config: DatasetsConfig, expected: &str| {
        let store = Store::new(config);
        store.refused(ArchiveKind::Tar, &archive, expected);
        store.refused(ArchiveKind::TarGz, &gzip(&archive), expected);
    };
    check(DatasetsConfig { max_entries: 43, ..bounds() }, "more than 43 files and folders (`datasets.max_entries`)");
    check(DatasetsConfig { max_bytes: 20_000, ..bounds() }, "more than 20000 bytes (`datasets.max_bytes`)");
    let store = Store::new(DatasetsConfig { max_entries: 44, max_bytes: 40_000, ..bounds() });
    assert!(block_on(store.send(ArchiveKind::Tar, &archive)).is_ok());
    // Members of nothing between two halves of an archive.
    let (first, second) = archive.split_at(1024);
    let empty = gzip(b"");
    let packed = |many: usize| [gzip(first), empty.repeat(many), gzip(second)].concat();
    let store = Store::new(bounds());
    store.refused(ArchiveKind::TarGz, &packed((2 << 20) / empty.len()), "a MiB and more of its gzip holds nothing");
    assert!(block_on(store.send(ArchiveKind::TarGz, &packed(100))).is_ok());
}

#[test]
fn damaged_archives_are_refused() {
    let store = Store::new(bounds());
    let tar = tar_of(&good());
    let (zip, gz) = (zip_of(&good()), gzip(&tar));
    for (kind, archive) in [(ArchiveKind::Zip, &zip), (ArchiveKind::Tar, &tar), (ArchiveKind::TarGz, &gz)] {
        for kept in [0, 1, 100, archive.len() / 3, archive.len() / 2, archive.len() * 3 / 4] {
            store.refused(kind, &archive[..kept], "is broken: ");
        }
        store.refused(kind, &[0x41; 2000], "is broken: ");
    }
    store.refused(ArchiveKind::TarGz, &gz[..gz.len() - 1], "is broken: ");
    let mut checksum = gz.clone();
    *checksum.iter_mut().nth_back(5).unwrap() ^= 1;
    store.refused(ArchiveKind::TarGz, &checksum, "is broken: ");
    store.refused(ArchiveKind::Tar, &tar[..tar.len() - 1024], "it ends without its closing block");
    store.refused(ArchiveKind::Tar, &[tar.clone(), tar.clone()].concat(), "something follows its end");
    store.refused(ArchiveKind::Tar, &[tar, vec![0; 2 << 20]].concat(), "its padding take too many bytes");
}

#[test]
fn bombs_are_refused() {
    let zeros = |bytes: usize| ZipEntry { name: b"a/zeros.png".into(), data: vec![0; bytes], method: 8, ..ZipEntry::default() };
    let bomb = zip_with(zeros(80 << 20));
    assert!(bomb.len() < 1 << 20, "it is small");
    let gz_bomb = gzip(&tar_with(&[tar_entry(b"a/zeros.png", EntryType::Regular, &vec![0; 80 << 20])]));
    let store = Store::new(bounds());
    store.refused(ArchiveKind::Zip, &bomb, "more than 100 times its size (`datasets.max_ratio`)");
    let liar = |claimed: u32| zip_with(ZipEntry { claimed: Some(claimed), ..zeros(80 << 20) });
    store.refused(ArchiveKind::Zip, &liar(10), "is larger than its declared uncompressed size");
    store.refused(ArchiveKind::Zip, &liar(u32::MAX - 1), "more than 100 times its size (`datasets.max_ratio`)");
    store.refused(ArchiveKind::TarGz, &gz_bomb, "more than 100 times its size (`datasets.max_ratio`)");
    let store = Store::new(DatasetsConfig { max_bytes: 10 << 20, ..bounds() });
    store.refused(ArchiveKind::Zip, &bomb, "more than 10485760 bytes (`datasets.max_bytes`)");
    store.refused(ArchiveKind::TarGz, &gz_bomb, "more than 10485760 bytes (`datasets.max_bytes`)");
    // By the headers alone: nothing of these can be decoded.
    let cut: Vec<_> = good().into_iter().map(|(path, bytes)| (path, bytes[..bytes.len() - 30].to_vec())).collect();
    let store = Store::new(DatasetsConfig { max_pixels: 4 * 64 - 1, ..bounds() });
    store.refused(ArchiveKind::Zip, &zip_of(&cut), "more than 255 pixels together (`datasets.max_pixels`)");
    store.refused(ArchiveKind::Tar, &tar_of(&cut), "more than 255 pixels together (`datasets.max_pixels`)");
    let store = Store::new(DatasetsConfig { max_pixels: 4 * 64, ..bounds() });
    let twins = [good(), vec![("b/twin.png".to_owned(), png(1))]].concat();
    block_on(store.send(ArchiveKind::Zip, &zip_of(&twins))).expect("the same photo is decoded once");
    let inside = [("x/train.zip".to_owned(), zip_of(&good())), ("x/1.png".to_owned(), png(1))];
    Store::new(bounds()).refused(ArchiveKind::Tar, &tar_of(&inside), "unpack `x/train.zip` and other archives in it first");
    let store = Store::new(DatasetsConfig { max_entries: 3, ..bounds() });
    store.refused(ArchiveKind::Zip, &zip_of(&good()), "more than 3 files and folders (`datasets.max_entries`)");
    store.refused(ArchiveKind::Tar, &tar_of(&good()), "more than 3 files and folders (`datasets.max_entries`)");
}

#[test]
fn what_is_no_data_set_is_refused() {
    let store = Store::new(bounds());
    let check = |paths: &[&str], expected: &str| {
        store.refused(ArchiveKind::Zip, &zip_of(&photos(paths)), expected);
        store.refused(ArchiveKind::Tar, &tar_of(&photos(paths)), expected);
    };
    check(&["readme.png"], "found no class folder; a data set has at least two");
    check(&["a/1.png", "a/2.png"], "found one class folder, `a`");
    check(&["a/1.png", "a/2.png", "b/1.png"], "class `b` has 1 usable images to train on");
    check(&["train/a/1.png", "train/a/2.png", "val/a/3.png", "val/b/4.png"], "class `b` has 0 usable images to train on");
    let mut broken = good();
    broken[3].1.truncate(50);
    store.refused(ArchiveKind::Zip, &zip_of(&broken), "class `b` has 1 usable images to train on (1 of its files were skipped)");
    let mut leaking = photos(&["train/a/1.png", "train/a/2.png", "train/b/3.png", "train/b/4.png"]);
    leaking.push(("val/b/5.png".to_owned(), png(4)));
    store.refused(ArchiveKind::Zip, &zip_of(&leaking), "class `b` has 1 usable images to train on (1 of its files were skipped)");
    let empty = ZipEntry { name: b"c/".into(), mode: 0o040_755, ..ZipEntry::default() };
    store.refused(ArchiveKind::Zip, &zip_with(empty), "class `c` has 0 usable images to train on");
    let empty = tar_with(&[tar_entry(b"c/", EntryType::Directory, b"")]);
    store.refused(ArchiveKind::Tar, &empty, "class `c` has 0 usable images to train on");
}

#[test]
fn more_than_there_is_room_for_is_refused() {
    let archive = zip_of(&good());
    let config = |bytes: u64| DatasetsConfig { max_upload_bytes: bytes, ..bounds() };
    Store::new(config(archive.len() as u64 - 1)).refused(ArchiveKind::Zip, &archive, "(`datasets.max_upload_bytes`)");
    let images: u64 = good().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let room = archive.len() as u64 + images;
    let config = |bytes: u64| DatasetsConfig { max_store_bytes: bytes, ..bounds() };
    Store::new(config(archive.len() as u64 - 1)).refused(ArchiveKind::Zip, &archive, "(`datasets.max_store_bytes`)");
    Store::new(config(room - 1)).refused(ArchiveKind::Zip, &archive, "(`datasets.max_store_bytes`)");
    let store = Store::new(config(room));
    let first = block_on(store.send(ArchiveKind::Zip, &archive)).expect("there is room for one");
    assert_eq!(first.bytes, images);
    let full = block_on(store.send(ArchiveKind::Zip, &archive));
    assert!(matches!(full, Err(Error::QuotaExceeded { .. })), "{full:?}");
    assert_eq!(store.left(), std::slice::from_ref(&first.dir));
    let reopened = Store { datasets: super::Datasets::open(config(room), store.folder.path(), super::LIMITS).unwrap(), ..store };
    assert!(block_on(reopened.send(ArchiveKind::Zip, &archive)).is_err(), "what is stored counts after a restart too");
    reopened.datasets.remove(&first.id).unwrap();
    block_on(reopened.send(ArchiveKind::Zip, &archive)).expect("there is room again");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever a few wrong bytes make of an archive, it is a data set or nothing.
    #[test]
    fn damage_never_leaves_anything_half_made(
        kind in 0usize..3,
        damage in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 1..6),
        cut in proptest::option::of(proptest::prelude::any::<proptest::sample::Index>()),
    ) {
        let tar = tar_of(&good());
        let (kind, mut archive) = match kind {
            0 => (ArchiveKind::Zip, zip_of(&good())),
            1 => (ArchiveKind::TarGz, gzip(&tar)),
            _ => (ArchiveKind::Tar, tar),
        };
        for (at, byte) in damage {
            *at.get_mut(&mut archive) = byte;
        }
        archive.truncate(cut.map_or(usize::MAX, |cut| cut.index(archive.len())));
        let store = Store::new(bounds());
        match block_on(store.send(kind, &archive)) {
            Ok(dataset) => assert_eq!(store.left(), std::slice::from_ref(&dataset.dir)),
            Err(Error::Io { action, path, source }) => panic!("cannot {action} {}: {source}", path.display()),
            Err(_) => assert_eq!(store.left(), Vec::<std::path::PathBuf>::new()),
        }
    }
}
