//! Jobs that the machine keeps from going on, and workers that are silent: they wait and go on, or leave the job to another.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::io::Errno;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::{
    jobs::{
        Control, Ended, Failure, Job, Kinds, Progress, State, Stop, Worker, document,
        testing::{Bench, Does, KIND, LEASE},
    },
    training::checkpoint::{CheckpointError, Checkpoints},
};

fn worker(
    jobs: &crate::jobs::Jobs,
    run: impl Fn(&Job, &dyn Control) -> Result<Value, Failure> + Send + Sync + 'static,
) -> Worker {
    Worker::new(jobs.clone(), Kinds::default().with(KIND, Arc::new(Does(run))))
}

fn full() -> Failure {
    let error = io::Error::from(Errno::NOSPC);
    Failure::new("disk_full", "no space").caused_by(&error)
}

/// Waits until the job shows what it waits for.
async fn waits(bench: &Bench, id: &str) -> Failure {
    loop {
        let progress = bench.jobs.job(id).await.expect("kept").progress;
        if let Some(waiting) = progress.and_then(|progress| progress.waiting) {
            return waiting;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_job_waits_while_the_machine_keeps_it_from_going_on() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let (tries, seen) = (AtomicU32::new(0), Arc::new(Mutex::new(Vec::new())));
    let known = Arc::clone(&seen);
    let worker = worker(&bench.jobs, move |job, control| {
        let earlier = job.progress.as_ref().map(|progress| (progress.details["step"].clone(), progress.waiting.clone()));
        known.lock().expect("not poisoned").push((control.lease(), earlier));
        let details = document(&json!({"step": 7})).expect("an object");
        control.progress(Progress { details, ..Progress::default() });
        if tries.fetch_add(1, Ordering::SeqCst) < 2 { Err(full()) } else { Ok(json!("made")) }
    });
    let (ended, waiting) = tokio::join!(worker.run_one(), waits(&bench, &id));
    assert_eq!((waiting.code.as_str(), waiting.detail.as_str()), ("disk_full", "no space"));
    assert_eq!(ended.expect("it works").and_then(|ended| ended.state), Some(State::Succeeded));
    let (job, seen) = (bench.jobs.job(&id).await.expect("kept"), seen.lock().expect("not poisoned").clone());
    assert_eq!(job.attempts, 1, "it was tried as one worker's job");
    assert_eq!(job.progress.and_then(|progress| progress.waiting), None);
    let again = (seen[0].0, Some((json!(7), None)));
    assert_eq!(seen, [(seen[0].0, None), again.clone(), again], "it knows how far it was");
    assert_eq!(bench.kinds(&id).await, ["queued", "running", "waiting", "end"], "told once");
}

#[tokio::test]
async fn a_job_that_waits_can_be_cancelled_and_given_back() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let worker = worker(&bench.jobs, |_, _| Err(full()));
    worker.run_until(async { drop(waits(&bench, &id).await) }).await;
    let job = bench.jobs.job(&id).await.expect("kept");
    assert_eq!((job.state, job.attempts), (State::Queued, 0));
    let other = self::worker(&bench.jobs, |_, _| Err(full()));
    let cancel = async {
        while bench.jobs.job(&id).await.expect("kept").state != State::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        waits(&bench, &id).await;
        bench.jobs.cancel(&id).await.expect("it runs")
    };
    let (ended, _) = tokio::join!(other.run_one(), cancel);
    assert_eq!(ended.expect("it works").and_then(|ended| ended.state), Some(State::Cancelled));
}

#[tokio::test]
async fn what_does_not_pass_still_fails() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let damaged = io::Error::from(io::ErrorKind::UnexpectedEof);
    let failure = Failure::new("image", "cut off").caused_by(&damaged);
    let worker = worker(&bench.jobs, move |_, _| Err(failure.clone()));
    assert_eq!(worker.run_one().await.expect("it works"), Some(Ended { id, state: Some(State::Failed) }));
}

#[tokio::test]
async fn a_worker_that_could_not_report_goes_on_with_its_job_if_nobody_took_it() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let file = crate::jobs::Jobs::file(bench.dir.path());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let blocker = sqlx::SqliteConnection::connect_with(&options).await.expect("the store's file");
    let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let tries = AtomicU32::new(0);
    let worker = worker(&bench.jobs, move |job, control| {
        began.send(()).expect("the test listens");
        if tries.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(json!(job.attempts));
        }
        while control.stop().is_none() {
            std::thread::yield_now();
        }
        Err(Failure::new("stopped", format!("{:?}", control.stop())))
    });
    let block = async {
        begins.recv().await.expect("it is run");
        let mut blocker = blocker;
        let held = blocker.begin_with("BEGIN IMMEDIATE").await.expect("nobody writes");
        // The store cannot be written for longer than the lease lasts.
        bench.pass(2 * LEASE);
        tokio::time::sleep(Duration::from_millis(700)).await;
        held.rollback().await.expect("it is held");
    };
    let (ended, ()) = tokio::join!(worker.run_one(), block);
    assert_eq!(ended.expect("it works").and_then(|ended| ended.state), Some(State::Succeeded));
    assert_eq!(bench.jobs.job(&id).await.expect("kept").result, Some(json!(1)), "in its first attempt");
    assert_eq!(bench.kinds(&id).await, ["queued", "running", "end"]);
}

/// Two workers over one store: the first writes a checkpoint, and is stopped past its lease before it writes the next.
#[tokio::test]
async fn an_owner_that_lost_its_lease_disturbs_no_file_of_the_next() {
    let bench = Bench::new().await;
    let other = bench.replica().await;
    let id = bench.enqueue("a").await.id;
    let folder = bench.dir.path().join("checkpoints");
    let open = |folder: &std::path::Path, control: &dyn Control| Checkpoints::open(folder, control.lease());
    let (stopped, stops) = std::sync::mpsc::channel::<()>();
    let (resume, resumes) = std::sync::mpsc::channel::<()>();
    let (hooks, at) = (Mutex::new((stopped, resumes)), folder.clone());
    let first = worker(&bench.jobs, move |_, control| {
        let mut checkpoints = open(&at, control).expect("it is the first");
        checkpoints.write(&1, &[]).expect("written");
        let hooks = hooks.lock().expect("not poisoned");
        hooks.0.send(()).expect("the test listens");
        hooks.1.recv().expect("the test goes on");
        assert_eq!(control.stop(), Some(Stop::LeaseLost), "it knows at once, before anybody told it");
        // What it does nevertheless, being in the middle of it.
        let written = checkpoints.write(&100, &[]);
        let opened = open(&at, control);
        assert!(matches!(opened, Err(CheckpointError::Superseded { .. })), "{opened:?}");
        Err(Failure::new("stopped", format!("{written:?}")))
    });
    let at = folder.clone();
    let second = worker(&other, move |_, control| {
        let mut checkpoints = open(&at, control).expect("there is one");
        let found = checkpoints.newest::<u32>().expect("read").expect("the first one's").state;
        resume.send(()).expect("the first waits");
        for state in found + 1..found + 200 {
            checkpoints.write(&state, &[]).expect("nobody disturbs it");
            let newest = Checkpoints::open(&at, control.lease()).expect("it is its own").newest::<u32>();
            assert_eq!(newest.expect("read").expect("there is one").state, state);
        }
        Ok(json!(found))
    });
    let take_over = async {
        tokio::task::spawn_blocking(move || stops.recv()).await.expect("no panic").expect("it is run");
        // A process that is stopped neither reports nor looks at the time: of this one only the job's thread is stopped, so the store
        // forgets its lease before it can extend it.
        let mut taken = other.requeue_expired().await.expect("it works");
        while taken.is_empty() {
            bench.pass(2 * LEASE);
            taken = other.requeue_expired().await.expect("it works");
        }
        assert_eq!(taken, [id.as_str()]);
        second.run_one().await
    };
    let (lost, ended) = tokio::join!(first.run_one(), take_over);
    assert_eq!(lost.expect("it works"), Some(Ended { id: id.clone(), state: None }));
    assert_eq!(ended.expect("it works"), Some(Ended { id: id.clone(), state: Some(State::Succeeded) }));
    let newest = Checkpoints::open(&folder, u64::MAX).expect("there is one").newest::<u32>().expect("read");
    assert_eq!(newest.expect("there is one").state, 200, "what a dead lease wrote later is not read");
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1, "and goes");
}
