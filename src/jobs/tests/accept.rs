//! Acceptance: the queue, each client's share of it, idempotency keys.

use std::{collections::HashSet, time::Duration};

use crate::{
    jobs::{
        Admission, Error, Jobs, Listing, State,
        testing::{Bench, LEASE, config, new_job, unbounded},
    },
    work::Client,
};

#[tokio::test]
async fn the_queue_is_bounded_and_first_come_first_served() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        ids.push(bench.enqueue(name).await.id);
    }
    let full = bench.jobs.enqueue(&Client::local(), &new_job("f"), None).await.expect_err("five wait");
    assert!(matches!(full, Error::QueueFull { limit: 5, of_client: false }), "{full}");
    let store = bench.jobs.store();
    for id in &ids {
        let (job, _) = store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
        assert_eq!((&job.id, job.state, job.started), (id, State::Running, Some(bench.jobs.now())));
    }
    assert!(store.claim(bench.jobs.now(), LEASE).await.expect("it works").is_none());
    bench.enqueue("running jobs do not fill the queue").await;
}

#[tokio::test]
async fn one_client_has_a_share_of_the_queue() {
    let bench = Bench::with(crate::config::JobsConfig { max_client_percent: 50, ..config() }).await;
    let other = bench.replica().await;
    let enqueue = async |jobs: &Jobs, client: &str| jobs.enqueue(&Client::key(client), &new_job("a"), None).await;
    let first = enqueue(&bench.jobs, "one").await.expect("there is room");
    enqueue(&other, "one").await.expect("there is room");
    for jobs in [&bench.jobs, &other] {
        let full = enqueue(jobs, "one").await;
        assert!(matches!(full, Err(Error::QueueFull { limit: 2, of_client: true })), "half of five: {full:?}");
    }
    enqueue(&other, "two").await.expect("there is room for others");
    bench.jobs.cancel(&first.id).await.expect("it waits");
    enqueue(&bench.jobs, "one").await.expect("one has ended");
}

#[tokio::test]
async fn clients_take_turns_in_the_queue() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for client in ["one", "one", "one", "two"] {
        ids.push(bench.jobs.enqueue(&Client::key(client), &new_job("a"), None).await.expect("there is room").id);
    }
    let mut taken = Vec::new();
    while let Some((job, _)) = bench.jobs.store().claim(bench.jobs.now(), LEASE).await.expect("it works") {
        taken.push(job.id);
    }
    assert_eq!(taken, [0, 3, 1, 2].map(|job: usize| ids[job].clone()));
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job() {
    let bench = Bench::new().await;
    let (jobs, me) = (&bench.jobs, &Client::local());
    let Ok(Admission::New(mut first)) = jobs.reserve(me, "k", "body").await else { panic!("the first") };
    assert!(matches!(jobs.reserve(me, "k", "body").await, Err(Error::KeyInProgress { .. })));
    assert!(matches!(jobs.reserve(me, "k", "other").await, Err(Error::KeyReused { .. })));
    let job = jobs.enqueue(me, &new_job("a"), Some(&mut first)).await.expect("there is room");
    let Ok(Admission::Known(known)) = jobs.reserve(me, "k", "body").await else { panic!("known") };
    assert_eq!(known, job.id);
    let read = async |bytes| jobs.accepted(&known, |needed| if needed <= bytes { Ok(()) } else { Err(Error::Gone) }).await;
    assert_eq!(read(u64::MAX).await.expect("it is kept").id, job.id);
    assert!(matches!(read(0).await, Err(Error::Gone)), "nothing is read before there is memory");
    assert!(matches!(jobs.reserve(me, "k", "other").await, Err(Error::KeyReused { .. })));
    first.give_up().await;
    assert!(matches!(jobs.reserve(me, "k", "body").await, Ok(Admission::Known(_))), "too late, and harmless");

    let Ok(Admission::New(refused)) = jobs.reserve(me, "r", "bad").await else { panic!("the first") };
    refused.give_up().await;
    assert!(matches!(jobs.reserve(me, "r", "good").await, Ok(Admission::New(_))));
}

#[tokio::test]
async fn idempotency_keys_belong_to_the_holder_of_an_api_key() {
    let bench = Bench::new().await;
    let jobs = &bench.jobs;
    let [one, other, here, there] =
        [Client::key("one"), Client::key("other"), Client::local(), Client::address([10, 0, 0, 1].into())];
    let accept = async |client: &Client, body: &str| match jobs.reserve(client, "k", body).await.expect("it is free") {
        Admission::New(mut held) => jobs.enqueue(client, &new_job("a"), Some(&mut held)).await.expect("there is room").id,
        Admission::Known(id) => id,
    };
    let ids = [accept(&one, "a").await, accept(&other, "b").await, accept(&here, "c").await];
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(ids, [accept(&one, "a").await, accept(&other, "b").await, accept(&there, "c").await]);
}

#[tokio::test]
async fn an_abandoned_key_can_be_taken_over() {
    let bench = Bench::new().await;
    let (jobs, me) = (&bench.jobs, &Client::local());
    let Ok(Admission::New(mut dead)) = jobs.reserve(me, "k", "body").await else { panic!("the first") };
    bench.pass(Duration::from_secs(61));
    let Ok(Admission::New(mut next)) = jobs.reserve(me, "k", "other").await else { panic!("taken over") };
    let late = jobs.enqueue(me, &new_job("a"), Some(&mut dead)).await;
    assert!(matches!(late, Err(Error::KeyInProgress { .. })), "{late:?}");
    jobs.enqueue(me, &new_job("b"), Some(&mut next)).await.expect("it holds the key");
    assert_eq!(jobs.list(&Listing { limit: 9, ..Listing::default() }, unbounded).await.expect("it works").len(), 1);

    // Nor does a clock that is set back hold one for long, or a process that died.
    let Ok(Admission::New(_held)) = jobs.reserve(me, "r", "body").await else { panic!("the first") };
    bench.set(bench.jobs.now().minus(Duration::from_secs(61)));
    assert!(matches!(jobs.reserve(me, "r", "other").await, Ok(Admission::New(_))));
    let killed = bench.replica().await;
    let held = killed.store().reserve(me, ("p", "body"), killed.now()).await.expect("it is free");
    assert!(matches!(jobs.reserve(me, "p", "body").await, Err(Error::KeyInProgress { .. })));
    bench.kill(killed);
    assert!(matches!((held, jobs.reserve(me, "p", "body").await), (Admission::New(_), Ok(Admission::New(_)))));
}

#[tokio::test]
async fn a_request_that_ends_otherwise_gives_its_key_up() {
    let bench = Bench::new().await;
    let (jobs, me) = (&bench.jobs, &Client::local());
    let Ok(Admission::New(held)) = jobs.reserve(me, "k", "body").await else { panic!("the first") };
    // As a panic of what plans the job does.
    drop(held);
    while jobs.reserve(me, "k", "other").await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn of_many_requests_with_one_key_one_is_first() {
    let bench = Bench::new().await;
    let other = bench.replica().await;
    let requests = (0..20).map(|turn| {
        let jobs = if turn % 2 == 0 { bench.jobs.clone() } else { other.clone() };
        tokio::spawn(async move {
            match jobs.reserve(&Client::local(), "k", "body").await {
                Ok(Admission::New(mut held)) => {
                    Some(jobs.enqueue(&Client::local(), &new_job("a"), Some(&mut held)).await.expect("it holds the key").id)
                }
                Ok(Admission::Known(id)) => Some(id),
                Err(Error::KeyInProgress { .. }) => None,
                Err(other) => panic!("{other}"),
            }
        })
    });
    let mut ids = HashSet::new();
    for request in requests.collect::<Vec<_>>() {
        ids.extend(request.await.expect("no panic"));
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(bench.jobs.list(&Listing { limit: 9, ..Listing::default() }, unbounded).await.expect("it works").len(), 1);
}
