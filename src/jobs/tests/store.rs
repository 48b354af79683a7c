//! Leases, history, removals, the file: every promise of the store, with time given.

use std::{collections::HashSet, time::Duration};

use serde_json::json;

use crate::{
    jobs::{
        Error, Event, Failure, HistoryPage, Jobs, Listing, Progress, Report, Resource, State,
        testing::{Bench, LEASE, config, new_job, unbounded},
    },
    work::Client,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_is_accepted_is_there_after_a_restart() {
    let bench = Bench::new().await;
    let job = bench.enqueue("cats").await;
    assert_eq!((job.state, job.attempts, &job.spec), (State::Queued, 0, &new_job("cats").spec));
    bench.jobs.store().close().await;
    let again = bench.replica().await;
    assert_eq!(again.job(&job.id).await.expect("it is kept"), job);
    assert_eq!(again.events(&job.id, 0, 10).await.expect("kept").len(), 1);
    let unknown = again.job("x").await.expect_err("no such job");
    assert!(matches!(unknown, Error::UnknownJob { .. }), "{unknown}");
    assert!(matches!(again.events("x", 0, 1).await, Err(Error::UnknownJob { .. })));
}

#[tokio::test]
async fn each_job_is_claimed_once_by_however_many() {
    let bench = Bench::with(crate::config::JobsConfig { max_queued: 100, ..config() }).await;
    for name in 0..20 {
        bench.enqueue(&name.to_string()).await;
    }
    let other = bench.replica().await;
    let claims = (0..30).map(|turn| {
        let jobs = if turn % 2 == 0 { bench.jobs.clone() } else { other.clone() };
        tokio::spawn(async move { jobs.store().claim(jobs.now(), LEASE).await.expect("it works").map(|(job, _)| job.id) })
    });
    let mut claimed = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        claimed.extend(claim.await.expect("no panic"));
    }
    assert_eq!((claimed.len(), claimed.iter().collect::<HashSet<_>>().len()), (20, 20));
}

#[tokio::test]
async fn a_silent_workers_job_goes_to_another_and_the_first_can_write_no_more() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let store = bench.jobs.store();
    let (_, stale) = store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
    assert!(bench.requeue().await.is_empty(), "it is seen for the first time");
    bench.pass(LEASE);
    assert!(bench.requeue().await.is_empty(), "it has until then");
    store.heartbeat(&stale, bench.jobs.now(), LEASE).await.expect("it still holds the lease");
    assert!(bench.requeue().await.is_empty(), "it was extended");
    bench.pass(LEASE + SECOND);
    assert_eq!(bench.requeue().await, [id.as_str()]);
    let check = |result: Result<State, Error>| assert!(matches!(result, Err(Error::LeaseLost { .. })), "{result:?}");
    for _ in 0..2 {
        check(store.complete(&stale, &json!(1), bench.jobs.now()).await);
        check(store.fail(&stale, &Failure::new("x", "x"), bench.jobs.now()).await);
        check(store.stop(&stale, bench.jobs.now()).await);
        check(store.release(&stale, bench.jobs.now()).await);
        assert!(matches!(store.heartbeat(&stale, bench.jobs.now(), LEASE).await, Err(Error::LeaseLost { .. })));
        assert!(matches!(store.standing(&stale).await, Err(Error::LeaseLost { .. })));
        // The second time, somebody else has it.
        store.claim(bench.jobs.now(), LEASE).await.expect("it works");
    }
    let job = bench.jobs.job(&id).await.expect("kept");
    assert_eq!((job.state, job.attempts), (State::Running, 2));
    assert_eq!(bench.kinds(&id).await, ["queued", "running", "queued", "running"]);
}

#[tokio::test]
async fn leases_survive_whatever_the_time_of_day_is_set_to() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let bench = Bench::new().await;
    let other = bench.replica().await;
    let id = bench.enqueue("a").await.id;
    let (store, now) = (bench.jobs.store(), bench.jobs.now());
    let (_, lease) = store.claim(now, LEASE).await.expect("it works").expect("one waits");
    let requeued = async || other.requeue_expired().await.expect("it works");
    assert!(requeued().await.is_empty());
    bench.set(now.plus(YEAR));
    assert!(requeued().await.is_empty(), "its worker reports as ever");
    store.heartbeat(&lease, bench.jobs.now(), LEASE).await.expect("it holds the lease");
    bench.set(now);
    assert!(requeued().await.is_empty());
    bench.pass(LEASE);
    assert!(requeued().await.is_empty());
    // Its worker falls silent with a lease that names a time in a year.
    bench.pass(SECOND);
    assert_eq!(requeued().await, [id.as_str()]);
    assert!(matches!(store.heartbeat(&lease, now, LEASE).await, Err(Error::LeaseLost { .. })));
    bench.jobs.cancel(&id).await.expect("it waits");
    let gone = bench.jobs.remove(Resource("dataset/photos".to_owned()), None).await;
    gone.expect("no job uses it any more").done();
}

#[tokio::test]
async fn claims_of_a_job_are_numbered() {
    let bench = Bench::new().await;
    bench.enqueue("a").await;
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let (_, lease) = bench.jobs.store().claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
        let events = vec![Event::new("step").at(1, 1, 1), Event::new("resumed")];
        let report = Report { events, ..Report::default() };
        bench.jobs.store().report(&lease, &report, bench.jobs.now(), LEASE).await.expect("it holds the lease");
        bench.jobs.store().release(&lease, bench.jobs.now()).await.expect("it holds the lease");
        numbers.push(lease.number);
    }
    assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "{numbers:?}");
}

#[tokio::test]
async fn attempts_are_bounded_and_start_again_at_a_checkpoint() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let store = bench.jobs.store();
    let die = async |checkpointed: bool| {
        let (job, lease) = store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
        let report = Report { checkpointed, ..Report::default() };
        store.report(&lease, &report, bench.jobs.now(), LEASE).await.expect("it holds the lease");
        bench.fall_silent().await;
        job.attempts
    };
    let attempts = [die(false).await, die(true).await, die(false).await, die(false).await];
    assert_eq!(attempts, [1, 2, 1, 2]);
    let job = bench.jobs.job(&id).await.expect("kept");
    assert_eq!((job.state, job.error.map(|error| error.code)), (State::Failed, Some("worker_lost".to_owned())));
    bench.events(&id).await;
}

#[tokio::test]
async fn a_clean_shutdown_is_no_attempt() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let store = bench.jobs.store();
    for _ in 0..5 {
        let (job, lease) = store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
        assert_eq!(job.attempts, 1);
        assert_eq!(store.release(&lease, bench.jobs.now()).await.expect("it holds the lease"), State::Queued);
    }
    let (_, lease) = store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
    bench.jobs.cancel(&id).await.expect("it runs");
    assert_eq!(store.release(&lease, bench.jobs.now()).await.expect("it holds the lease"), State::Cancelled);
}

#[tokio::test]
async fn steps_already_reported_are_not_reported_again() {
    let bench = Bench::new().await;
    let id = bench.enqueue("a").await.id;
    let store = bench.jobs.store();
    let steps = |steps: std::ops::Range<u64>| steps.map(|step| Event::new("step").at(1, 1, step)).collect::<Vec<_>>();
    let run = async |events: Vec<Event>| {
        let (_, lease) = store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
        let report = Report { events, progress: Some(Progress::default()), checkpointed: true };
        store.report(&lease, &report, bench.jobs.now(), LEASE).await.expect("it holds the lease");
        // It dies between its events and any change of state.
        bench.fall_silent().await;
    };
    run(steps(1..4)).await;
    run([vec![Event::new("resumed").with("step", 2)], steps(3..6), vec![Event::new("epoch").at(1, 1, 5)]].concat()).await;
    let expected = [
        "queued", "running", "step 1", "step 2", "step 3", "queued", "running", "resumed", "step 4", "step 5", "epoch 5",
        "queued",
    ];
    assert_eq!(bench.kinds(&id).await, expected);
    let page = HistoryPage { after: 0, limit: 9 };
    let details = bench.jobs.details(&id, page, |_| Ok::<_, Error>(())).await.expect("kept");
    assert_eq!((json!(details.history), details.next), (json!([{"phase": 1, "epoch": 1, "step": 5}]), None));
    let page = bench.jobs.events(&id, 3, 2).await.expect("kept");
    assert_eq!(page.iter().map(|event| event.id).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test]
async fn a_cancelled_job_ends_once() {
    let bench = Bench::new().await;
    let store = bench.jobs.store();
    let waiting = bench.enqueue("waiting").await.id;
    assert_eq!(bench.jobs.cancel(&waiting).await.expect("it waits").state, State::Cancelled);
    let again = bench.jobs.cancel(&waiting).await.expect_err("it has ended");
    assert!(matches!(again, Error::Finished { state: State::Cancelled, .. }), "{again}");
    assert_eq!(bench.kinds(&waiting).await, ["queued", "end"]);

    let running = bench.enqueue("running").await.id;
    let (_, lease) = store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
    let job = bench.jobs.cancel(&running).await.expect("it runs");
    assert_eq!((job.state, job.cancel_requested), (State::Running, true));
    assert!(store.heartbeat(&lease, bench.jobs.now(), LEASE).await.expect("it holds the lease").cancel_requested);
    bench.fall_silent().await;
    assert_eq!(bench.jobs.job(&running).await.expect("kept").state, State::Cancelled, "its worker died meanwhile");
    assert_eq!(bench.kinds(&running).await, ["queued", "running", "end"]);
    assert!(matches!(bench.jobs.cancel("x").await, Err(Error::UnknownJob { .. })));
}

#[tokio::test]
async fn lists_are_filtered_and_paged_and_history_is_bounded() {
    let bench = Bench::with(crate::config::JobsConfig { max_finished: 2, ..config() }).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let id = bench.enqueue(name).await.id;
        bench.jobs.cancel(&id).await.expect("it waits");
        ids.push(id);
    }
    ids.push(bench.enqueue("e").await.id);
    let list = async |state, after: Option<&String>, limit| {
        let listing = Listing { state, after: after.cloned(), limit };
        bench.jobs.list(&listing, unbounded).await.expect("it works").into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 9).await, [&ids[4], &ids[3], &ids[2]].map(String::as_str), "the oldest are gone");
    assert_eq!(list(None, Some(&ids[4]), 1).await, [ids[3].as_str()]);
    assert_eq!(list(Some(State::Queued), None, 9).await, [ids[4].as_str()]);
    assert_eq!(list(Some(State::Failed), None, 9).await, Vec::<String>::new());
    assert!(bench.jobs.events(&ids[0], 0, 9).await.is_err(), "events go with their job");
}

#[tokio::test]
async fn what_unfinished_jobs_use_is_not_removed_whichever_process_asks() {
    let bench = Bench::new().await;
    let other = bench.replica().await;
    let resource = |name: &str| Resource(name.to_owned());
    let id = bench.enqueue("a").await.id;
    for (jobs, name) in [(&bench.jobs, "dataset/photos"), (&other, "version/vgg16@1")] {
        let Err(Error::InUse { job, .. }) = jobs.remove(resource(name), None).await else { panic!("{name} is used") };
        assert_eq!(job, id);
    }
    other.remove(resource("version/vgg16@2"), None).await.expect("nobody uses it").done();
    bench.jobs.cancel(&id).await.expect("it waits");
    other.remove(resource("dataset/photos"), None).await.expect("nobody uses it any more").done();
    let refused = bench.jobs.enqueue(&Client::local(), &new_job("b"), None).await.expect_err("it is gone");
    assert!(matches!(&refused, Error::Removed { resource } if resource.0 == "dataset/photos"), "{refused}");
    assert_eq!(bench.jobs.list(&Listing { limit: 9, ..Listing::default() }, unbounded).await.expect("it works").len(), 1);
}

#[tokio::test]
async fn a_removal_that_did_not_happen_leaves_no_trace() {
    let bench = Bench::new().await;
    let photos = Resource("dataset/photos".to_owned());
    drop(bench.jobs.remove(photos.clone(), None).await.expect("nobody uses it"));
    while bench.jobs.enqueue(&Client::local(), &new_job("a"), None).await.is_err() {
        tokio::task::yield_now().await;
    }
    // That of a process that died is none.
    let dead = bench.replica().await;
    let id = bench.jobs.list(&Listing { limit: 1, ..Listing::default() }, unbounded).await.expect("it works")[0].id.clone();
    bench.jobs.cancel(&id).await.expect("it waits");
    dead.remove(photos, None).await.expect("nobody uses it").done();
    assert!(bench.jobs.enqueue(&Client::local(), &new_job("b"), None).await.is_err());
    bench.kill(dead);
    bench.enqueue("b").await;
}

#[tokio::test]
async fn a_removal_that_fails_ends_no_other_of_the_same() {
    let bench = Bench::new().await;
    let other = bench.replica().await;
    let photos = Resource("dataset/photos".to_owned());
    let begin = async |jobs: &Jobs| jobs.store().begin_removal(&photos, None, jobs.now()).await.expect("nobody uses it");
    let (first, second) = (begin(&bench.jobs).await, begin(&other).await);
    other.store().give_removal_up(&second).await.expect("it was under way");
    let refused = bench.jobs.enqueue(&Client::local(), &new_job("a"), None).await;
    assert!(matches!(refused, Err(Error::Removed { .. })), "{refused:?}");
    bench.jobs.store().give_removal_up(&first).await.expect("it was under way");
    bench.enqueue("a").await;
}

#[tokio::test]
async fn of_what_must_not_all_go_one_stays() {
    let bench = Bench::new().await;
    let other = bench.replica().await;
    let [one, two] = ["version/m@1", "version/m@2"].map(|name| Resource(name.to_owned()));
    bench.jobs.remove(one.clone(), Some(std::slice::from_ref(&two))).await.expect("the other stays").done();
    let last = other.remove(two, Some(&[one])).await.err();
    assert!(matches!(last, Some(Error::Last { .. })));
    let alone = other.remove(Resource("version/n@1".to_owned()), Some(&[])).await.err();
    assert!(matches!(alone, Some(Error::Last { .. })));
}

/// A store as the first graft made it in `dir`.
async fn first_form(dir: &std::path::Path) -> sqlx::SqlitePool {
    use sqlx::migrate::{Migration, MigrationType, Migrator};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("jobs.db")).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a new database");
    let sql = include_str!("../migrations/0001_jobs.sql");
    let first = Migration::new(1, "jobs".into(), MigrationType::Simple, sql.into(), false);
    let migrator = Migrator { migrations: vec![first].into(), ..Migrator::DEFAULT };
    migrator.run(&pool).await.expect("the first form");
    pool
}

#[test]
fn a_store_is_made_and_brought_forward_by_one_of_many() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it is made");
    for is_old in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        if is_old {
            runtime().block_on(async { first_form(dir.path()).await.close().await });
        }
        let together = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            let open = || {
                together.wait();
                runtime().block_on(crate::jobs::Store::open(dir.path())).map(drop)
            };
            let opened = [(); 8].map(|()| scope.spawn(open)).map(|thread| thread.join().expect("no panic"));
            opened.into_iter().for_each(|opened| opened.expect("it opens"));
        });
    }
}

#[tokio::test]
async fn jobs_of_an_earlier_graft_are_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let pool = first_form(dir.path()).await;
    let insert = "INSERT INTO jobs (id, state, name, dataset, base_model, base_version, recipe, estimates, warnings, progress, created) \
                  VALUES ('j', 'queued', 'cats', 'photos', 'vgg16', 1, '{\"seed\": 7}', '{\"minutes\": 1.5}', '[\"w\"]', \
                  '{\"phase\": 1, \"reported_ms\": 5}', 1)";
    sqlx::query(insert).execute(&pool).await.expect("a job");
    pool.close().await;
    let jobs = crate::jobs::Jobs::open(&config(), dir.path(), crate::jobs::system_clock()).await.expect("it is brought forward");
    let job = jobs.job("j").await.expect("it is kept");
    assert_eq!(job.spec.kind, "finetune");
    assert_eq!(json!(job.spec.subject), json!({"name": "cats", "dataset": "photos", "base": {"model": "vgg16", "version": 1}}));
    assert_eq!(json!(job.spec.plan), json!({"recipe": {"seed": 7}, "estimates": {"minutes": 1.5}}));
    let progress = job.progress.expect("it was reported");
    assert_eq!((json!(progress.details), progress.reported_ms), (json!({"phase": 1}), Some(5)));
    for name in ["dataset/photos", "version/vgg16@1"] {
        let used = jobs.remove(Resource(name.to_owned()), None).await.err();
        assert!(matches!(used, Some(Error::InUse { .. })), "{name}");
    }
}

#[tokio::test]
async fn what_is_no_store_is_refused_with_its_path() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("jobs.db"), "not a database, but long enough to be looked at").expect("a file");
    let error = crate::jobs::Store::open(dir.path()).await.expect_err("no database");
    assert!(error.to_string().contains("jobs.db"), "{error}");
    let error = crate::jobs::Store::open(&dir.path().join("jobs.db")).await.expect_err("no folder");
    assert!(matches!(error, Error::Folder { .. }), "{error}");
}
