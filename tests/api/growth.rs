//! Data sets of many classes and of many entries: what they take grows as they do, and is given back.
//!
//! What grows is counted in calls of the system and in bytes that are read and written, which other work on the machine changes
//! nothing of.

use std::fs;

use crate::support::{Answer, Graft, Setup, Tiny, eventually, png};

/// A tar archive of pictures, each unlike the others.
fn archive(classes: usize, photos: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for number in 0..classes * photos {
        let photo = png(4, 4, |x, _| [number as u8, (number >> 8) as u8, x as u8]);
        let mut header = tar::Header::new_gnu();
        header.set_size(photo.len() as u64);
        header.set_mode(0o644);
        let path = format!("{:06}/{number}.png", number % classes);
        archive.append_data(&mut header, path, photo.as_slice()).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}

/// What a process has done so far.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// Calls that read or write.
    calls: u64,
    /// Bytes of these.
    bytes: u64,
}

impl Work {
    fn of(graft: &Graft) -> Self {
        let text = fs::read_to_string(format!("/proc/{}/io", graft.id())).expect("Linux tells");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.and_then(|value| value.parse::<u64>().ok()).expect("a number")
        };
        Self { calls: value("syscr") + value("syscw"), bytes: value("rchar") + value("wchar") }
    }

    fn since(self, before: Self) -> Self {
        Self { calls: self.calls - before.calls, bytes: self.bytes - before.bytes }
    }
}

fn open_files(graft: &Graft) -> usize {
    fs::read_dir(format!("/proc/{}/fd", graft.id())).map_or(0, Iterator::count)
}

/// Works of the life of one data set: its upload, its details, the list, a plan with it, its end.
async fn life(graft: &Graft, setup: &Setup, archive: Vec<u8>) -> Vec<(&'static str, Work)> {
    let folder = setup.config().data.dir.join("datasets");
    let mut works = Vec::new();
    let mut before = Work::of(graft);
    let mut note = |what| {
        let now = Work::of(graft);
        works.push((what, now.since(before)));
        before = now;
    };
    let sent = graft.post("/datasets", "application/x-tar", archive).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    note("upload");
    let path = sent.header("location").to_owned();
    let id = graft.get(&path).await["id"].as_str().expect("a data set has an id").to_owned();
    note("details");
    graft.get("/datasets").await;
    note("list");
    let recipe = format!("{{\"name\": \"many\", \"dataset\": \"{id}\", \"base\": \"seeded\"}}");
    let planned: Answer = graft.post("/jobs/finetune?dry_run=true", "application/json", recipe).await;
    assert_eq!(planned.status, 200, "{}", planned.text());
    note("plan");
    assert_eq!(graft.delete(&path).await.status, 204);
    eventually("its files are gone", async || fs::read_dir(&folder).map_or(0, Iterator::count) == 0).await;
    note("end");
    works
}

#[tokio::test]
async fn what_a_data_set_takes_grows_as_its_classes_and_entries() {
    for shape in [|many: usize| (many, 2), |many: usize| (2, many)] {
        let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
        let variables = [
            ("GRAFT__TELEMETRY__LOG_LEVEL", "error,graft::app=info"),
            ("GRAFT__MODELS__SCAN_INTERVAL_MS", "3600000"),
            ("GRAFT__JOBS__WORKERS", "0"),
        ];
        let graft = Graft::serve(&setup.config().models.dir, "seeded", &variables);
        // What is made once is not theirs.
        life(&graft, &setup, archive(2, 2)).await;
        let opened = open_files(&graft);
        let mut lives = Vec::new();
        for many in [100, 200, 400] {
            let (classes, photos) = shape(many);
            lives.push(life(&graft, &setup, archive(classes, photos)).await);
        }
        for (at, (what, small)) in lives[0].iter().enumerate() {
            let [middle, large] = [lives[1][at].1, lives[2][at].1];
            // Twice as much more is twice as many more; its square would be four times that.
            let check = |unit: &str, small: u64, middle: u64, large: u64, noise: u64| {
                let [first, second] = [middle.saturating_sub(small), large.saturating_sub(middle)];
                assert!(second <= 3 * first + noise, "{what}: {small}, {middle}, {large} {unit}");
            };
            check("calls", small.calls, middle.calls, large.calls, 200);
            check("bytes", small.bytes, middle.bytes, large.bytes, 100_000);
        }
        eventually("its files are closed", async || open_files(&graft) <= opened).await;
    }
}
