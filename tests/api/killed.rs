//! A job whose server is killed again and again: nothing is lost, nothing is told twice, and the weights are the same bits.

use std::collections::HashSet;

use reqwest::{Client, Method};
use serde_json::Value;

use crate::{
    finetune::{drawings, recipe},
    support::{Answer, Graft, Setup, Tiny, eventually},
};

/// A server that can be killed, and its client.
struct Server {
    graft: Graft,
    client: Client,
}

impl Server {
    fn start(setup: &Setup) -> Self {
        // A killed worker's job is another's after two seconds instead of half a minute. Nobody reads the log of requests, and
        // a full pipe would stop the server.
        let variables = [("GRAFT__JOBS__LEASE_MS", "2000"), ("GRAFT__TELEMETRY__LOG_LEVEL", "warn,graft::app=info")];
        let graft = Graft::serve(&setup.config().models.dir, "seeded", &variables);
        Self { graft, client: Client::builder().no_proxy().build().expect("a client without TLS can be built") }
    }

    async fn ask(&self, method: Method, path: &str, kind: &str, body: Vec<u8>) -> Answer {
        let request = self.client.request(method, format!("http://{}{path}", self.graft.address));
        Answer::to(request.header("Content-Type", kind).body(body)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, "text/plain", Vec::new()).await.ok().json()
    }

    /// Submits the recipe under `name` and gives the job's path.
    async fn submit(&self, dataset: &str, name: &str) -> String {
        let body = recipe(dataset, name).to_string().into_bytes();
        let answer = self.ask(Method::POST, "/jobs/finetune", "application/json", body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.header("location").to_owned()
    }

    async fn epochs(&self, job: &str) -> usize {
        let shown = self.get(job).await;
        assert_ne!(shown["state"], "failed", "{shown}");
        shown["history"].as_array().map_or(0, Vec::len)
    }

    async fn ended(&self, job: &str) -> Value {
        eventually("the job has ended", async || !matches!(self.get(job).await["state"].as_str(), Some("queued" | "running")))
            .await;
        self.get(job).await
    }
}

#[tokio::test]
async fn a_job_survives_kills_and_ends_in_the_same_weights() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
    let mut server = Server::start(&setup);
    let archive = server.ask(Method::POST, "/datasets", "application/zip", drawings(80, 1)).await.json();
    let dataset = archive["id"].as_str().expect("a data set has an id").to_owned();
    let job = server.submit(&dataset, "killed").await;
    for epochs in [0, 1, 3, 6, 10] {
        eventually("the job goes on", async || server.epochs(&job).await >= epochs).await;
        drop(server);
        server = Server::start(&setup);
    }
    let ended = server.ended(&job).await;
    assert_eq!((&ended["state"], ended["history"].as_array().map(Vec::len)), (&"succeeded".into(), Some(14)), "{ended}");
    let events = server.ask(Method::GET, &format!("{job}/events"), "text/plain", Vec::new()).await.ok().text();
    check_events(&events);

    let undisturbed = server.submit(&dataset, "undisturbed").await;
    assert_eq!(server.ended(&undisturbed).await["state"], "succeeded");
    let snapshot = setup.repository().scan().expect("the repository can be read");
    let hash = |name: &str| {
        let versions = &snapshot.model(name).expect("it was registered").versions;
        assert_eq!(versions.len(), 1, "{name} was registered once");
        versions[0].metadata.weights.sha256.clone()
    };
    assert_eq!(hash("killed"), hash("undisturbed"));
}

/// Ids are consecutive from 1, a place in the training is told once, and the last event is the end.
fn check_events(stream: &str) {
    let values = |field: &str| stream.lines().filter_map(|line| line.strip_prefix(field)).map(str::trim).collect::<Vec<_>>();
    let (ids, kinds, data) = (values("id:"), values("event:"), values("data:"));
    let expected: Vec<String> = (1..=ids.len()).map(|id| id.to_string()).collect();
    assert_eq!(ids, expected);
    assert_eq!(kinds.last(), Some(&"end"));
    assert!(kinds.contains(&"resumed"), "{kinds:?}");
    let mut told = HashSet::new();
    for (kind, data) in kinds.iter().zip(data).filter(|(kind, _)| matches!(**kind, "step" | "epoch")) {
        let data: Value = serde_json::from_str(data).expect("events are JSON");
        assert!(told.insert((*kind, data["phase"].as_u64(), data["step"].as_u64())), "{kind} {data} was told twice");
    }
}
