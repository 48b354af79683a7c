//! What is shown of one job: as it was written, in pages, within the memory that was let in.

use serde_json::json;

use crate::{
    jobs::{
        Details, Error, Event, HistoryPage, NewJob, Report, Spec, document,
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
