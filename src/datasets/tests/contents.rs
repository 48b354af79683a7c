//! What becomes of good archives: classes, splits, skipped files, and the real photos when they are at hand.

use std::fs;

use super::{
    super::{ArchiveKind, Dataset, ReadAs, Split},
    Store, block_on, bounds, classes,
    packing::{ZipEntry, gzip, photos, png, tar, tar_of, zip, zip_of},
    skipped,
};
use crate::{datasets::Datasets, preprocess::Limits, test_data::real};

type Files = Vec<(String, Vec<u8>)>;

fn of_every_kind(files: &Files) -> [(ArchiveKind, Vec<u8>); 3] {
    let tar = tar_of(files);
    [(ArchiveKind::Zip, zip_of(files)), (ArchiveKind::TarGz, gzip(&tar)), (ArchiveKind::Tar, tar)]
}

/// Sends `files` as every kind of archive; all must give the same data set.
#[track_caller]
fn check(files: &Files, expected_classes: &[&str], expected_skipped: &[&str]) -> Dataset {
    let store = Store::new(bounds());
    let sent = of_every_kind(files).map(|(kind, archive)| {
        let dataset = block_on(store.send(kind, &archive)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(classes(&dataset), expected_classes, "{kind}");
        assert_eq!(skipped(&dataset), expected_skipped, "{kind}");
        assert_eq!(store.datasets.get(&dataset.id).unwrap(), dataset, "{kind}: read back");
        for image in &dataset.images {
            let (_, bytes) = files.iter().find(|(path, _)| path.ends_with(&image.path)).unwrap();
            assert_eq!(fs::read(dataset.file(image)).unwrap(), *bytes, "{}", image.path);
        }
        dataset
    });
    assert!(sent.iter().all(|dataset| dataset.fingerprint == sent[0].fingerprint && dataset.images == sent[0].images));
    let [first, ..] = sent;
    first
}

#[test]
fn class_folders_are_classes_in_code_point_order() {
    let dataset = check(
        &photos(&["b/1.png", "b/2.png", "a/x/1.png", "a/2.png", "Z/1.png", "Z/2.png", "ä/1.png", "ä/2.png"]),
        &["Z 2/0", "a 2/0", "b 2/0", "ä 2/0"],
        &[],
    );
    let images: Vec<(&str, usize)> = dataset.images.iter().map(|image| (image.path.as_str(), image.class)).collect();
    let expected = [
        ("Z/1.png", 0),
        ("Z/2.png", 0),
        ("a/2.png", 1),
        ("a/x/1.png", 1),
        ("b/1.png", 2),
        ("b/2.png", 2),
        ("ä/1.png", 3),
        ("ä/2.png", 3),
    ];
    assert_eq!(images, expected);
    assert!(!dataset.has_val && dataset.images.iter().all(|image| image.split == Split::Train));
}

#[test]
fn splits_and_an_outer_folder_are_seen_through() {
    let inner = ["train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "val/a/1.png", "validation/b/9.png"];
    let plain = check(&photos(&inner), &["a 2/1", "b 2/1"], &[]);
    assert!(plain.has_val);
    let outer: Vec<String> = inner.iter().map(|path| format!("./set/{path}")).collect();
    let wrapped = check(&photos(&outer.iter().map(String::as_str).collect::<Vec<_>>()), &["a 2/1", "b 2/1"], &[]);
    assert_eq!(wrapped.fingerprint, plain.fingerprint, "what it is packed in makes no difference");
}

#[test]
fn the_fingerprint_is_of_paths_classes_splits_and_contents() {
    let files = photos(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    let fingerprint = |files: &Files| check(files, &["a 2/0", "b 2/0"], &[]).fingerprint.clone();
    let first = fingerprint(&files);
    assert_eq!(first.len(), 64);
    let mut reversed = files.clone();
    reversed.reverse();
    assert_eq!(fingerprint(&reversed), first);
    let mut renamed = files.clone();
    renamed[0].0 = "a/3.png".to_owned();
    assert_ne!(fingerprint(&renamed), first);
    let mut changed = files;
    changed[0].1 = png(99);
    assert_ne!(fingerprint(&changed), first);
}

#[test]
fn hard_links_in_a_tar_are_other_names_of_a_photo() {
    let link = |name: &str, first: &str| {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(::tar::EntryType::Link);
        header.set_path(name).unwrap();
        header.set_link_name(first).unwrap();
        header.set_size(0);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let files = tar_of(&photos(&["x/a/1.png", "x/a/2.png", "x/b/1.png", "x/b/2.png"]));
    let with = |link: Vec<u8>| tar(&[files[..files.len() - 1024].to_vec(), link]);
    let dataset = block_on(Store::new(bounds()).send(ArchiveKind::Tar, &with(link("x/b/3.png", "./x/b/1.png")))).unwrap();
    assert_eq!(classes(&dataset), ["a 2/0", "b 3/0"]);
    let store = Store::new(bounds());
    store.refused(ArchiveKind::Tar, &with(link("x/b/3.png", "x/b/9.png")), "`x/b/3.png` is a link; pack what it points to");
    store.refused(ArchiveKind::Tar, &with(link("x/b/2.png", "x/b/1.png")), "`x/b/2.png` occurs twice");
}

#[test]
fn what_cannot_be_trained_on_is_skipped_with_the_reason() {
    let mut files = photos(&["s/train/a/1.png", "s/train/a/2.png", "s/train/b/1.png", "s/train/b/2.png", "s/val/a/9.png"]);
    let mut add = |path: &str, bytes: &[u8]| files.push((path.to_owned(), bytes.to_vec()));
    add("s/train/a/notes.txt", b"what a day");
    add("s/train/a/empty.jpg", b"");
    add("s/train/b/cut.png", &png(7)[..60]);
    add("s/train/b/same.png", &png(5));
    add("s/train/b/.DS_Store", b"x");
    add("s/.git/a/1.png", &png(50));
    add("__MACOSX/train/a/1.png", b"x");
    add("s/train/Icon\r", b"");
    add("s/train/a/@eaDir/1.png", &png(52));
    add("s/lost+found/1.png", &png(53));
    add("s/readme.md", b"x");
    add("s/train/loose.png", &png(51));
    add("s/train/a/film.mov", &vec![1; (1 << 20) + 1]);
    check(
        &files,
        &["a 2/1", "b 2/0"],
        &[
            ".git/a/1.png: hidden (its name or a folder's starts with a dot)",
            "__MACOSX/train/a/1.png: what macOS adds to archives, no image of yours",
            "lost+found/1.png: what a file system or a storage device keeps for itself, no image of yours",
            "readme.md: outside the class folders of the splits",
            "train/a/@eaDir/1.png: what a file system or a storage device keeps for itself, no image of yours",
            "train/a/empty.jpg: the image is empty (zero bytes)",
            "train/a/film.mov: the image has 1048577 bytes, more than the 1048576 allowed; send a smaller one",
            "train/a/notes.txt: the bytes are no image; send JPEG, PNG, BMP, GIF, WebP or TIFF",
            "train/b/.DS_Store: hidden (its name or a folder's starts with a dot)",
            "train/b/cut.png: the PNG is truncated or corrupt: unexpected end of file",
            "train/b/same.png: has the same content as `val/a/9.png`, which stays for validation",
            "train/loose.png: outside the class folders of the splits",
        ],
    );
}

#[test]
fn the_same_photo_twice_takes_its_place_once() {
    let mut files = photos(&["a/1.png", "a/2.png", "b/1.png"]);
    files.push(("b/copy.png".to_owned(), png(3)));
    let store = Store::new(bounds());
    let dataset = block_on(store.send(ArchiveKind::Zip, &zip_of(&files))).unwrap();
    assert_eq!(classes(&dataset), ["a 2/0", "b 2/0"]);
    let bytes: usize = files[..3].iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!((dataset.bytes, fs::read_dir(dataset.dir.join("images")).unwrap().count()), (bytes as u64, 3));
}

#[test]
fn photos_of_a_test_folder_are_kept_apart() {
    let mut files = photos(&["Training/a/1.png", "Training/a/2.png", "Training/b/1.png", "Training/b/2.png", "Testing/a/1.png"]);
    files.push(("Training/b/twin.png".to_owned(), png(5)));
    let dataset = check(
        &files,
        &["a 2/0/1", "b 2/0"],
        &["Training/b/twin.png: has the same content as `Testing/a/1.png`, which stays for testing"],
    );
    assert!(!dataset.has_val);
    let test: Vec<&str> =
        dataset.images.iter().filter(|image| image.split == Split::Test).map(|image| image.path.as_str()).collect();
    assert_eq!(test, ["Testing/a/1.png"]);
    assert_eq!(
        dataset.warnings,
        ["`Testing/a/1.png` and `Training/b/twin.png` are the same photo in two classes; keep the right one"]
    );
}

#[test]
fn what_lies_beside_the_splits_is_left_out_aloud() {
    let paths = ["s/train/a/1.png", "s/train/a/2.png", "s/train/b/1.png", "s/train/b/2.png", "s/test/a/1.png", "s/pred/9.png"];
    let dataset = check(&photos(&paths), &["a 2/0/1", "b 2/0"], &["pred/9.png: outside the class folders of the splits"]);
    assert_eq!(dataset.warnings, ["files in `pred` are left out, since they lie in no class folder of a split: 1"]);
}

#[test]
fn two_spellings_of_a_name_are_one() {
    let paths = ["caf\u{e9}/1.png", "caf\u{e9}/2.png", "cafe\u{301}/1.png", "cafe\u{301}/3.png", "b/1.png", "b/2.png"];
    let store = Store::new(bounds());
    for (kind, archive) in of_every_kind(&photos(&paths)) {
        let dataset = block_on(store.send(kind, &archive)).unwrap();
        assert_eq!(classes(&dataset), ["b 2/0", "caf\u{e9} 4/0"], "{kind}");
        let paths: Vec<&str> = dataset.images.iter().map(|image| image.path.as_str()).collect();
        let expected = ["b/1.png", "b/2.png", "caf\u{e9}/1 (2).png", "caf\u{e9}/1.png", "caf\u{e9}/2.png", "caf\u{e9}/3.png"];
        assert_eq!(paths, expected, "{kind}");
    }
}

#[test]
fn zip_names_are_what_the_sender_says() {
    let entry = |name: &[u8], seed| ZipEntry { name: name.into(), data: png(seed), method: 8, mode: 0, ..ZipEntry::default() };
    let folder = ZipEntry { name: b"photos/".into(), mode: 0o040_755, ..ZipEntry::default() };
    // Code page 437's `ü`, and UTF-8 with the flag that says so.
    let names = [
        b"photos/f\x81\xff/1.png".as_slice(),
        b"photos/f\x81\xff/2.png",
        "photos/ä/1.png".as_bytes(),
        "photos/ä/2.png".as_bytes(),
    ];
    let mut entries = vec![folder];
    entries.extend(names.iter().zip(1..).map(|(name, seed)| entry(name, seed)));
    entries[3].flags = 0x800;
    entries[4].flags = 0x800;
    let store = Store::new(bounds());
    let names = |label: &str| ReadAs { names: label.parse().ok(), ..ReadAs::default() };
    let dataset = block_on(store.send_as(None, &zip(&entries), names("cp437"))).unwrap();
    assert_eq!(classes(&dataset), ["fü\u{a0} 2/0", "ä 2/0"]);
    let error = block_on(store.send_as(None, &zip(&entries), names("none"))).unwrap_err().to_string();
    assert!(error.contains("has a name that is not UTF-8") && error.contains("in cp852"), "{error}");
    let error = block_on(store.send_as(None, &zip(&entries), names("shift_jis"))).unwrap_err().to_string();
    assert!(error.contains("has a name that is not shift_jis"), "{error}");
}

#[test]
fn names_without_a_flag_are_utf8_when_they_can_be() {
    let entry = |name: &str, seed| ZipEntry { name: name.into(), data: png(seed), ..ZipEntry::default() };
    let names = ["ä/1.png", "ä/2.png", "b/1.png", "b/2.png"];
    let entries: Vec<_> = names.iter().zip(1..).map(|(name, seed)| entry(name, seed)).collect();
    let dataset = block_on(Store::new(bounds()).send(ArchiveKind::Zip, &zip(&entries))).unwrap();
    assert_eq!(classes(&dataset), ["b 2/0", "ä 2/0"]);
}

#[test]
fn the_unicode_field_says_what_a_name_is_when_its_checksum_holds() {
    let entry = |raw: &[u8], name: &str, of: &[u8], seed| {
        let mut checksum = flate2::Crc::new();
        checksum.update(of);
        let mut extra = vec![0x75, 0x70];
        extra.extend(u16::try_from(name.len() + 5).unwrap().to_le_bytes());
        extra.push(1);
        extra.extend(checksum.sum().to_le_bytes());
        extra.extend(name.as_bytes());
        ZipEntry { name: raw.into(), data: png(seed), extra, ..ZipEntry::default() }
    };
    let names = [
        (b"\x8c\xa2/1.png".as_slice(), "犬/1.png"),
        (b"\x8c\xa2/2.png", "犬/2.png"),
        (b"b/1.png", "b/1.png"),
        (b"b/2.png", "b/2.png"),
    ];
    let all = |of: fn(&[u8]) -> Vec<u8>| -> Vec<u8> {
        zip(&names.iter().zip(1..).map(|((raw, name), seed)| entry(raw, name, &of(raw), seed)).collect::<Vec<_>>())
    };
    let store = Store::new(bounds());
    let dataset = block_on(store.send(ArchiveKind::Zip, &all(<[u8]>::to_vec))).unwrap();
    assert_eq!(classes(&dataset), ["b 2/0", "犬 2/0"]);
    let error = block_on(store.send(ArchiveKind::Zip, &all(|_| b"renamed".to_vec()))).unwrap_err().to_string();
    assert!(error.contains("`犬/1.png` in shift_jis"), "{error}");
}

#[test]
fn damaged_extra_fields_are_passed_over() {
    let damaged: [&[u8]; 6] = [
        b"\x75\x70\x04\0abcd",
        b"\x75\x70\0\0",
        b"\x75\x70\x20\0\x01abcdefgh",
        b"\x75\x70\x09\0\x01abcd\xff\xff/1",
        b"\x55\x54\0\0",
        b"\x75\x70",
    ];
    let names = ["ä/1.png", "ä/2.png", "b/1.png", "b/2.png"];
    for extra in damaged {
        let entry = |(name, seed): (&&str, u32)| ZipEntry {
            name: (*name).into(),
            data: png(seed),
            extra: extra.to_vec(),
            ..ZipEntry::default()
        };
        let archive = zip(&names.iter().zip(1..).map(entry).collect::<Vec<_>>());
        let dataset = block_on(Store::new(bounds()).send(ArchiveKind::Zip, &archive));
        let dataset = dataset.unwrap_or_else(|error| panic!("{extra:x?}: {error}"));
        assert_eq!(classes(&dataset), ["b 2/0", "ä 2/0"], "{extra:x?}");
    }
}

#[test]
fn zips_of_the_64_bit_format_are_read() {
    use std::io::Write;
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().large_file(true);
    for (path, bytes) in photos(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"]) {
        writer.start_file(path, options).unwrap();
        writer.write_all(&bytes).unwrap();
    }
    let archive = writer.finish().unwrap().into_inner();
    assert_eq!(classes(&block_on(Store::new(bounds()).send(ArchiveKind::Zip, &archive)).unwrap()), ["a 2/0", "b 2/0"]);
}

#[test]
fn tars_of_before_posix_are_known_by_their_checksum() {
    let files = photos(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    let mut archive = Vec::new();
    for (name, data) in &files {
        let mut header = tar::Header::new_old();
        header.set_path(name).unwrap();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.extend(header.as_bytes());
        archive.extend(data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    let store = Store::new(bounds());
    assert_eq!(classes(&block_on(store.send_as(None, &archive, ReadAs::default())).unwrap()), ["a 2/0", "b 2/0"]);
    archive[0] ^= 1;
    let error = block_on(store.send_as(None, &archive, ReadAs::default())).unwrap_err();
    assert!(error.to_string().starts_with("this is neither a zip nor a tar archive"), "{error}");
}

#[test]
fn real_photos_are_taken_in_whole() {
    let Some(folder) = real("hymenoptera") else { return };
    let store = tempfile::tempdir().unwrap();
    let datasets = Datasets::open(bounds(), store.path(), Limits { max_bytes: 32 << 20, max_pixels: 50_000_000 }).unwrap();
    let imported = datasets.copy_folder(&folder, ReadAs::default()).unwrap();
    // `imageNotFound.gif` is a drawing of those words, and as such an image.
    assert_eq!(classes(&imported), ["ants 124/70", "bees 121/83"]);
    assert_eq!(skipped(&imported), Vec::<String>::new());
    let files: Files =
        imported.images.iter().map(|image| (image.path.clone(), fs::read(imported.file(image)).unwrap())).collect();
    let store = Store { folder: store, datasets };
    let sent = block_on(store.send(ArchiveKind::TarGz, &gzip(&tar_of(&files)))).unwrap();
    assert_eq!((sent.fingerprint.as_str(), sent.skipped_count), (imported.fingerprint.as_str(), 0));
}

/// Its odd photo made a decoder panic that graft used.
#[test]
fn a_photo_that_a_decoder_fails_on_harms_no_other() {
    let archive = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/archives/panic_jpeg2.zip")).unwrap();
    let store = Store::new(bounds());
    let dataset = block_on(store.send(ArchiveKind::Zip, &archive)).unwrap();
    let odd = |path: &str| path == "ants/odd8.jpg";
    assert_eq!(dataset.images.iter().filter(|image| !odd(&image.path)).count(), 6);
    let read = dataset.images.iter().any(|image| odd(&image.path));
    assert_ne!(
        read,
        skipped(&dataset).iter().any(|skipped| skipped.starts_with("ants/odd8.jpg: the JPEG is")),
        "read, or skipped by name"
    );
}
