//! Jobs without training: a kind that plans what it is given, and kinds whose jobs are closures.

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, Sender, channel},
};

use graft::{
    finetuning::kinds::{dataset_resource, version_resource},
    jobs::{AnyKind, Attachment, Control, Ended, Failure, Job, Jobs, Kinds, NewJob, PlanError, Spec, Worker, document},
    message::FieldProblem,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::TestApp;

/// The kind that is planned and run here in the place of the real one.
const KIND: &str = "finetune";

/// Plans every request that has a `name`; `broken` names two problems, `slow` waits at the [`Gate`].
#[derive(Default)]
pub struct Plans {
    gate: Mutex<Option<Receiver<()>>>,
    reached: Arc<Notify>,
}

/// Where a slow plan waits.
pub struct Gate {
    /// Told when a plan is there.
    pub reached: Arc<Notify>,
    /// Lets it through.
    pub open: Sender<()>,
}

impl Plans {
    /// A planner that plans `slow` when it is let through.
    pub fn gated() -> (Self, Gate) {
        let ((open, gate), reached) = (channel(), Arc::new(Notify::new()));
        (Self { gate: Mutex::new(Some(gate)), reached: Arc::clone(&reached) }, Gate { reached, open })
    }
}

impl AnyKind for Plans {
    fn plan(&self, request: &Value, _: Option<&Attachment>) -> Result<NewJob, PlanError> {
        match request["name"].as_str() {
            None => return Err(PlanError::Invalid(vec![FieldProblem::new("name", "is missing")])),
            Some("broken") => {
                let problems = [("phases[0].epochs", "is 0"), ("batch_size", "is negative")]
                    .map(|(field, detail)| FieldProblem::new(field, detail));
                return Err(PlanError::Invalid(problems.into()));
            }
            Some("defect") => return Err(PlanError::Failed("secret".into())),
            Some("slow") => {
                self.reached.notify_one();
                let gate = self.gate.lock().expect("not poisoned");
                gate.as_ref().expect("a gated planner").recv().expect("the test opens the gate");
            }
            Some(_) => {}
        }
        let dataset = request["dataset"].as_str().unwrap_or("photos");
        let subject = json!({"name": request["name"], "dataset": dataset, "base": {"model": "colours", "version": 1}});
        let mut plan = json!({"recipe": {"name": request["name"], "seed": 0}, "estimates": {"minutes": 2}});
        if request["name"] == "wordy" {
            plan["classes"] = "x".repeat(9 << 20).into();
        }
        let document = |value: Value| document(&value).expect("an object");
        Ok(NewJob {
            id: None,
            uses: vec![dataset_resource(dataset), version_resource("colours", 1)],
            spec: Spec {
                kind: KIND.to_owned(),
                subject: document(subject),
                plan: document(plan),
                warnings: vec!["few images".into()],
            },
        })
    }

    fn run(&self, _: &Job, _: &dyn Control) -> Result<Value, Failure> {
        Err(Failure::new("not_run", "a test runs it itself"))
    }
}

/// A kind whose jobs are a closure.
struct Runs<F>(F);

impl<F: Fn(&Job, &dyn Control) -> Result<Value, Failure> + Send + Sync + 'static> AnyKind for Runs<F> {
    fn plan(&self, _: &Value, _: Option<&Attachment>) -> Result<NewJob, PlanError> {
        Err(PlanError::Invalid(Vec::new()))
    }

    fn run(&self, job: &Job, control: &dyn Control) -> Result<Value, Failure> {
        (self.0)(job, control)
    }
}

/// Takes a job and lets `run` do it.
pub async fn run_one(
    jobs: &Jobs,
    run: impl Fn(&Job, &dyn Control) -> Result<Value, Failure> + Send + Sync + 'static,
) -> Option<Ended> {
    Worker::new(jobs.clone(), Kinds::default().with(KIND, Arc::new(Runs(run)))).run_one().await.expect("the store works")
}

/// A request for a job.
pub fn finetune(app: &TestApp, query: &str, body: &Value) -> RequestBuilder {
    let request = app.ask(Method::POST, &format!("/jobs/finetune{query}"));
    request.header("Content-Type", "application/json").body(body.to_string())
}
