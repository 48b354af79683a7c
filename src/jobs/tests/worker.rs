//! The worker with jobs that are closures: every way in which a job can end, and those in which it does not.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::jobs::{
    AnyKind, Attachment, Control, Ended, Event, Failure, Job, Kinds, LeaseReport, LeaseStatus, NewJob, PlanError, Progress,
    State, Stop, Worker, document,
    testing::{Bench, Does, KIND, LEASE, unbounded},
};

fn worker(bench: &Bench, run: impl Fn(&Job, &dyn Control) -> Result<Value, Failure> + Send + Sync + 'static) -> Worker {
    Worker::new(bench.jobs.clone(), Kinds::default().with(KIND, Arc::new(Does(run))))
}

type Run = Box<dyn Fn(&Job, &dyn Control) -> Result<Value, Failure> + Send + Sync>;

/// A job that says that it has begun, and spins until it is told to stop, and why.
fn obedient() -> (Run, Receiver<()>) {
    let (begun, begins) = channel();
    let begun: Mutex<Sender<()>> = Mutex::new(begun);
    let run = move |_: &Job, control: &dyn Control| {
        begun.lock().expect("not poisoned").send(()).expect("the test listens");
        loop {
            if let Some(stop) = control.stop() {
                return Err(Failure::new("stopped", format!("{stop:?}")));
            }
            std::thread::yield_now();
        }
    };
    (Box::new(run), begins)
}

async fn begins(begins: Receiver<()>) -> Receiver<()> {
    let wait = tokio::task::spawn_blocking(move || {
        begins.recv().expect("the job is run");
        begins
    });
    wait.await.expect("no panic")
}

#[tokio::test]
async fn a_job_runs_to_its_result() {
    let bench = Bench::new().await;
    let id = bench.enqueue("cats").await.id;
    let worker = worker(&bench, |job, control| {
        assert_eq!(json!(job.spec.plan), json!({"seed": 7}));
        for step in 1..=300 {
            control.event(Event::new("step").at(1, 1, step).with("loss", 0.5));
        }
        control.event(Event::warning("slow disk"));
        control.progress(Progress {
            remaining_seconds: Some(60.0),
            details: document(&json!({"step": 300})).expect("an object"),
            ..Progress::default()
        });
        control.flush();
        control.checkpointed();
        control.event(Event::new("epoch").at(1, 1, 300).with("val_accuracy", 0.9));
        assert!(!control.cancelled());
        Ok(json!({"version": 3}))
    });
    assert_eq!(worker.run_one().await.expect("it works"), Some(Ended { id: id.clone(), state: Some(State::Succeeded) }));
    assert_eq!(worker.run_one().await.expect("it works"), None);
    let job = bench.jobs.job(&id).await.expect("kept");
    assert_eq!((job.result, job.attempts, job.finished), (Some(json!({"version": 3})), 0, Some(bench.jobs.now())));
    let progress = job.progress.expect("reported");
    assert_eq!(progress.details["step"], 300);
    assert_eq!(progress.estimated_finish(), Some(bench.jobs.now().plus(Duration::from_secs(60))));
    let kinds = bench.kinds(&id).await;
    assert_eq!((kinds.len(), kinds.last().map(String::as_str)), (305, Some("end")));
    assert_eq!((kinds[2].as_str(), kinds[302].as_str(), kinds[303].as_str()), ("step 1", "warning", "epoch 300"));
}

#[tokio::test]
async fn failures_and_panics_end_the_job_with_the_reason_and_the_next_one_runs() {
    let bench = Bench::new().await;
    for (name, code, detail) in [("nan", "not_finite", "loss is NaN"), ("panic", "panic", "the job's code panicked: ouch")] {
        let id = bench.enqueue(name).await.id;
        let worker = worker(&bench, |job, control| {
            control.event(Event::new("step").at(1, 1, 1));
            match job.spec.subject["name"].as_str() {
                Some("panic") => panic!("ouch"),
                _ => Err(Failure::new("not_finite", "loss is NaN")),
            }
        });
        assert_eq!(worker.run_one().await.expect("it works").and_then(|ended| ended.state), Some(State::Failed));
        let job = bench.jobs.job(&id).await.expect("kept");
        assert_eq!(job.error, Some(Failure::new(code, detail)));
        assert_eq!(bench.kinds(&id).await, ["queued", "running", "step 1", "end"]);
    }
}

#[tokio::test]
async fn a_running_job_is_cancelled_here_or_from_another_process() {
    let bench = Bench::new().await;
    let elsewhere = bench.replica().await;
    for jobs in [&bench.jobs, &elsewhere] {
        let id = bench.enqueue("a").await.id;
        let (run, begun) = obedient();
        let worker = worker(&bench, run);
        let cancel = async {
            begins(begun).await;
            jobs.cancel(&id).await.expect("it runs")
        };
        let asked = std::time::Instant::now();
        let (ended, asked_for) = tokio::join!(worker.run_one(), cancel);
        assert!(asked.elapsed() < Duration::from_secs(2), "cancelling takes effect within two seconds");
        assert_eq!((asked_for.state, asked_for.cancel_requested), (State::Running, true));
        assert_eq!(ended.expect("it works").and_then(|ended| ended.state), Some(State::Cancelled));
        assert_eq!(bench.kinds(&id).await, ["queued", "running", "end"]);
    }
}

#[tokio::test]
async fn a_job_cancelled_while_it_waits_is_never_run() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    bench.jobs.cancel(&id).await.expect("it waits");
    let worker = worker(&bench, |_, _| panic!("it is called"));
    assert_eq!(worker.run_one().await.expect("it works"), None);
}

#[tokio::test]
async fn what_is_done_when_the_wish_to_cancel_arrives_has_succeeded() {
    let bench = Bench::new().await;
    bench.enqueue("a").await;
    let (run, begun) = obedient();
    let worker = worker(&bench, move |job, control| {
        let _ = run(job, control);
        Ok(json!("made"))
    });
    let id = bench.jobs.list(&crate::jobs::Listing { limit: 1, ..Default::default() }, unbounded).await.expect("it works")[0]
        .id
        .clone();
    let cancel = async {
        begins(begun).await;
        bench.jobs.cancel(&id).await.expect("it runs")
    };
    let (ended, _) = tokio::join!(worker.run_one(), cancel);
    assert_eq!(ended.expect("it works").and_then(|ended| ended.state), Some(State::Succeeded));
}

#[tokio::test]
async fn shutdown_gives_the_job_back_and_it_goes_on_later() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let (run, begun) = obedient();
    let first = worker(&bench, run);
    first.run_until(async { drop(begins(begun).await) }).await;
    let job = bench.jobs.job(&id).await.expect("kept");
    assert_eq!((job.state, job.attempts), (State::Queued, 0));
    assert_eq!(first.run_one().await.expect("it works"), None, "a worker that stops takes nothing");
    let second = worker(&bench, |_, control| {
        control.event(Event::new("resumed").with("step", 0));
        Ok(Value::Null)
    });
    second.run_one().await.expect("it works");
    assert_eq!(bench.kinds(&id).await, ["queued", "running", "queued", "running", "resumed", "end"]);
}

#[tokio::test]
async fn an_idle_worker_takes_what_is_accepted_and_stops_at_once() {
    let bench = Bench::new().await;
    let (done, did) = channel();
    let done = Mutex::new(done);
    let worker = worker(&bench, move |_, _| {
        done.lock().expect("not poisoned").send(()).expect("the test listens");
        Ok(Value::Null)
    });
    let accept = async {
        bench.enqueue("a").await;
        let did = begins(did).await;
        bench.enqueue("b").await;
        begins(did).await;
    };
    worker.run_until(accept).await;
}

#[tokio::test]
async fn after_a_crash_another_worker_resumes() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    // A worker that dies: its claim is all that is left of it.
    bench.jobs.store().claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
    let worker = worker(&bench, |job, _| Ok(json!(job.attempts)));
    assert_eq!(worker.run_one().await.expect("it works"), None, "the lease lasts");
    bench.pass(LEASE + Duration::from_secs(1));
    assert_eq!(worker.run_one().await.expect("it works").and_then(|ended| ended.state), Some(State::Succeeded));
    assert_eq!(bench.jobs.job(&id).await.expect("kept").result, Some(json!(2)));
}

#[tokio::test]
async fn the_job_of_a_dead_process_reads_so_and_goes_to_another_at_once() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let crashed = bench.replica().await;
    crashed.store().claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
    let lease = async || bench.jobs.lease(bench.jobs.summary(&id).await.expect("kept").claim.as_ref());
    assert_eq!(lease().await.map(|lease| lease.status), Some(LeaseStatus::Held));
    let worker = worker(&bench, |job, _| Ok(json!(job.attempts)));
    assert_eq!(worker.run_one().await.expect("it works"), None, "its process lives");
    drop(crashed);
    let lost = LeaseReport { status: LeaseStatus::Lost, reported: bench.jobs.now(), expires: bench.jobs.now().plus(LEASE) };
    assert_eq!(lease().await, Some(lost));
    assert_eq!(worker.run_one().await.expect("it works").and_then(|ended| ended.state), Some(State::Succeeded));
    assert_eq!(lease().await, None, "nobody has it any more");
    assert_eq!(bench.kinds(&id).await, ["queued", "running", "queued", "running", "end"]);
}

#[tokio::test]
async fn a_silent_workers_job_reads_so_long_before_another_takes_it() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let (_, lease) = bench.jobs.store().claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
    let status = async || {
        let claim = bench.jobs.summary(&id).await.expect("kept").claim;
        bench.jobs.lease(claim.as_ref()).map(|lease| lease.status)
    };
    bench.pass(LEASE / 5);
    assert_eq!(status().await, Some(LeaseStatus::Held), "one report may be late");
    bench.pass(Duration::from_millis(1));
    assert_eq!(status().await, Some(LeaseStatus::Overdue));
    bench.jobs.store().heartbeat(&lease, bench.jobs.now(), LEASE).await.expect("it still holds the lease");
    assert_eq!(status().await, Some(LeaseStatus::Held));
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_stops_and_writes_nothing() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let (run, begun) = obedient();
    let seen = Arc::new(Mutex::new(None));
    let stop = Arc::clone(&seen);
    let slow = worker(&bench, move |job, control| {
        let outcome = run(job, control);
        *stop.lock().expect("not poisoned") = control.stop();
        outcome
    });
    let steal = async {
        begins(begun).await;
        // Its heartbeat may come first and save it; then the lease is taken once more.
        let store = bench.jobs.store();
        while bench.requeue().await.is_empty() {
            bench.pass(LEASE + LEASE);
        }
        store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("it waits again").1
    };
    let (ended, thief) = tokio::join!(slow.run_one(), steal);
    assert_eq!(ended.expect("it works"), Some(Ended { id: id.clone(), state: None }));
    assert_eq!(*seen.lock().expect("not poisoned"), Some(Stop::LeaseLost));
    bench.jobs.store().complete(&thief, &json!("mine"), bench.jobs.now()).await.expect("it holds the lease");
    assert_eq!(bench.jobs.job(&id).await.expect("kept").result, Some(json!("mine")));
    bench.events(&id).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_job_runs_at_low_priority_with_all_its_threads() {
    let bench = Bench::with(crate::config::JobsConfig { nice: 7, ..crate::jobs::testing::config() }).await;
    let id = bench.enqueue("a").await.id;
    let nice = || rustix::process::getpriority_process(None).expect("the calling thread's");
    let (before, worker) = (
        nice(),
        worker(&bench, move |_, _| {
            let child = std::thread::spawn(nice).join().expect("no panic");
            Ok(json!([nice(), child]))
        }),
    );
    worker.run_one().await.expect("it works");
    let job = bench.jobs.job(&id).await.expect("kept");
    assert_eq!(job.result, Some(json!([(before + 7).min(19), (before + 7).min(19)])));
    assert_eq!(nice(), before, "serving keeps its priority");
}

#[tokio::test]
async fn a_job_of_a_kind_that_is_not_known_fails() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let worker = Worker::new(bench.jobs.clone(), Kinds::default());
    assert_eq!(worker.run_one().await.expect("it works").and_then(|ended| ended.state), Some(State::Failed));
    let error = bench.jobs.job(&id).await.expect("kept").error.expect("a reason");
    assert_eq!((error.code.as_str(), error.detail.as_str()), ("unknown_kind", "this graft knows no jobs of the kind `does`"));
}

/// A kind whose jobs leave something behind.
#[derive(Default)]
struct Untidy(Mutex<Vec<String>>);

impl AnyKind for Untidy {
    fn plan(&self, _: &Value, _: Option<&Attachment>) -> Result<NewJob, PlanError> {
        Err(PlanError::Invalid(Vec::new()))
    }

    fn run(&self, job: &Job, control: &dyn Control) -> Result<Value, Failure> {
        self.0.lock().expect("not poisoned").push(job.id.clone());
        control.stop().map_or(Ok(Value::Null), |_| Err(Failure::new("stopped", "as asked")))
    }

    fn leftovers(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }

    fn discard(&self, id: &str) {
        self.0.lock().expect("not poisoned").retain(|left| left != id);
    }
}

#[tokio::test]
async fn what_a_job_leaves_is_discarded_once_it_has_ended() {
    let bench = Bench::new().await;
    let [ends, cancelled, waits] = ["a", "b", "c"].map(|name| bench.enqueue(name));
    let [ends, cancelled, waits] = [ends.await.id, cancelled.await.id, waits.await.id];
    bench.jobs.cancel(&cancelled).await.expect("it waits");
    let left = vec![cancelled, waits.clone(), "a job that was dropped".to_owned()];
    let kind = Arc::new(Untidy(Mutex::new(left)));
    let worker = Worker::new(bench.jobs.clone(), Kinds::default().with(KIND, kind.clone()));
    assert_eq!(worker.run_one().await.expect("it works").map(|ended| ended.id), Some(ends));
    assert_eq!(kind.leftovers(), std::slice::from_ref(&waits), "it goes on from there");
}
