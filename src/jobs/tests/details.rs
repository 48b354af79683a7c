//! What is shown of jobs and their events: as it was written, in pages, within the memory that was let in.

use serde_json::json;

use crate::{
    jobs::{
        Ahead, Details, Error, Event, HistoryPage, Listing, NewJob, Report, Spec, document,
        testing::{Bench, LEASE, new_job},
    },
    work::Client,
};

#[tokio::test]
async fn details_are_as_they_were_written_and_within_their_memory() {
    let bench = Bench::new().await;
    let store = bench.jobs.store();
    let plan = json!({"seed": 7, "numbers": [1, 2.50, null]});
    let spec = Spec { plan: document(&plan).expect("an object"), ..new_job("a").spec };
    let id = bench.jobs.enqueue(&Client::local(), &NewJob { spec, ..new_job("a") }, None).await.expect("there is room").id;
    let (_, lease) = store.claim(bench.jobs.now(), LEASE).await.expect("it works").expect("one waits");
    let epochs = (1..=5).map(|epoch| Event::new("epoch").at(1, epoch, 1).with("loss", 0.5));
    let warnings = ["slow", "few images", "slow"].map(Event::warning);
    let report = Report { events: epochs.chain(warnings).collect(), progress: None, checkpointed: false };
    store.report(&lease, &report, bench.jobs.now(), LEASE).await.expect("it holds the lease");
    let result = json!({"confusion": vec![0; 40_000]});
    store.complete(&lease, &result, bench.jobs.now()).await.expect("it holds the lease");

    let show = async |page| {
        let mut held = 0;
        let hold = |bytes| {
            held += bytes;
            if held < 1_000_000 { Ok::<_, Error>(()) } else { Err(Error::QueueFull { limit: 0, of_client: false }) }
        };
        (bench.jobs.details(&id, page, hold).await, held)
    };
    let (details, held) = show(HistoryPage { after: 0, limit: 2 }).await;
    let details = details.expect("kept");
    assert_eq!((json!(details.plan), json!(details.result)), (plan.clone(), result.clone()));
    assert_eq!(details.warnings, ["few images", "slow"], "each once");
    let texts = plan.to_string().len() + result.to_string().len() + details.history.iter().map(|_| 12).sum::<usize>();
    assert!(held >= 3 * texts as u64 && held < 4 * texts as u64, "{held} for {texts}");
    let epochs = |details: &Details| json!(details.history.iter().map(|epoch| &epoch["epoch"]).collect::<Vec<_>>());
    assert_eq!((epochs(&details), details.next), (json!([1, 2]), Some(4)));
    let last = show(HistoryPage { after: 4, limit: 3 }).await.0.expect("kept");
    assert_eq!((epochs(&last), last.next), (json!([3, 4, 5]), None));

    let refused = bench
        .jobs
        .details(&id, HistoryPage { after: 0, limit: 2 }, |_| Err(Error::QueueFull { limit: 0, of_client: false }))
        .await;
    assert!(matches!(refused, Err(Error::QueueFull { .. })), "nothing is read without its memory");
    let end = bench.events(&id).await.pop().expect("it has ended");
    assert_eq!((end.event.data["state"].as_str(), end.event.data.get("result")), (Some("succeeded"), None), "it is long");
}

#[tokio::test]
async fn events_are_measured_before_they_are_read() {
    let bench = Bench::new().await;
    let (jobs, store) = (&bench.jobs, bench.jobs.store());
    let id = bench.enqueue("a").await.id;
    let (_, lease) = store.claim(jobs.now(), LEASE).await.expect("it works").expect("one waits");
    let long = Event::new("note").with("text", "x".repeat(10_000));
    let events = vec![Event::new("step").at(1, 2, 3).with("loss", 0.5), long.clone(), long];
    let report = Report { events, progress: None, checkpointed: false };
    store.report(&lease, &report, jobs.now(), LEASE).await.expect("it holds the lease");

    let stored = bench.events(&id).await;
    let mut after = 0;
    let mut pages = Vec::new();
    while let Ahead { stretch: Some(stretch), has_ended } = jobs.ahead(&id, after, 4, 10_100).await.expect("kept") {
        assert!(!has_ended);
        let written = jobs.written(stretch).await.expect("kept");
        let texts: usize = written.iter().map(|event| json!(event.document).to_string().len()).sum();
        assert!(stretch.memory > 3 * texts as u64 - 200, "{} for {texts}", stretch.memory);
        for event in &written {
            let same = &stored[event.id as usize - 1];
            assert_eq!((json!(event.document), event.at), (json!(same.event.document()), same.at));
            assert_eq!((event.kind.as_str(), event.is_end()), (same.event.kind.as_str(), false));
        }
        pages.push(written.iter().map(|event| event.id).collect::<Vec<_>>());
        after = *pages.last().and_then(|page| page.last()).expect("it has events");
    }
    assert_eq!(pages, [vec![1, 2, 3, 4], vec![5]], "four, and no more bytes than that");
    let few = jobs.ahead(&id, 3, 4, 1).await.expect("kept").stretch.expect("one is more than that, and is read alone");
    assert_eq!(jobs.written(few).await.expect("kept").len(), 1);
    store.complete(&lease, &json!({}), jobs.now()).await.expect("it holds the lease");
    assert!(jobs.ahead(&id, 0, 1, 0).await.expect("kept").has_ended);
    assert_eq!(jobs.ahead(&id, 6, 9, 99).await.expect("kept"), Ahead { has_ended: true, stretch: None });
    assert!(matches!(jobs.ahead("x", 0, 1, 1).await, Err(Error::UnknownJob { .. })));
}

#[tokio::test]
async fn a_list_is_measured_before_it_is_read() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.enqueue(name).await;
    }
    let listing = Listing { limit: 2, ..Listing::default() };
    let mut held = Vec::new();
    let hold = |bytes| {
        held.push(bytes);
        Ok::<_, Error>(())
    };
    let subjects = bench.jobs.list(&listing, hold).await.expect("it works");
    let texts: usize = subjects.iter().map(|job| json!(job.subject).to_string().len()).sum();
    assert_eq!((subjects.len(), held), (2, vec![2 * 2048 + 3 * texts as u64]));
    let full = |_| Err(Error::QueueFull { limit: 0, of_client: false });
    assert!(matches!(bench.jobs.list(&listing, full).await, Err(Error::QueueFull { .. })), "nothing is read without its memory");
}
