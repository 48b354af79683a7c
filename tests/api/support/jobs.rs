//! Jobs without training: a planner that takes what it is given, and runners that are closures.

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, Sender, channel},
};

use graft::jobs::{Base, Control, Ended, Failure, Job, Jobs, Plan, PlanError, Planner, Problem, Runner, Worker};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::TestApp;

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

impl Planner for Plans {
    fn plan(&self, request: &Value) -> Result<Plan, PlanError> {
        let problem = |field: &str, detail: &str| Problem { field: field.into(), detail: detail.into() };
        match request["name"].as_str() {
            None => return Err(PlanError::Invalid(vec![problem("name", "is missing")])),
            Some("broken") => {
                let problems = vec![problem("phases[0].epochs", "is 0"), problem("batch_size", "is negative")];
                return Err(PlanError::Invalid(problems));
            }
            Some("defect") => return Err(PlanError::Failed("secret".into())),
            Some("slow") => {
                self.reached.notify_one();
                let gate = self.gate.lock().expect("not poisoned");
                gate.as_ref().expect("a gated planner").recv().expect("the test opens the gate");
            }
            Some(_) => {}
        }
        Ok(Plan {
            name: request["name"].as_str().unwrap_or_default().into(),
            dataset: request["dataset"].as_str().unwrap_or("photos").into(),
            base: Base { model: "colours".into(), version: 1 },
            recipe: json!({"name": request["name"], "seed": 0}),
            estimates: json!({"minutes": 2}),
            warnings: vec!["few images".into()],
        })
    }
}

/// A runner that is a closure.
struct Runs<F>(F);

impl<F: Fn(&Job, &dyn Control) -> Result<Value, Failure> + Send + Sync + 'static> Runner for Runs<F> {
    fn run(&self, job: &Job, control: &dyn Control) -> Result<Value, Failure> {
        (self.0)(job, control)
    }
}

/// Takes a job and lets `run` do it.
pub async fn run_one(
    jobs: &Jobs,
    run: impl Fn(&Job, &dyn Control) -> Result<Value, Failure> + Send + Sync + 'static,
) -> Option<Ended> {
    Worker::new(jobs.clone(), Arc::new(Runs(run))).run_one().await.expect("the store works")
}

/// A request for a job.
pub fn finetune(app: &TestApp, query: &str, body: &Value) -> RequestBuilder {
    let request = app.ask(Method::POST, &format!("/jobs/finetune{query}"));
    request.header("Content-Type", "application/json").body(body.to_string())
}
