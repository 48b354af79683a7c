//! What a second transport gets, without HTTP: answers to images and tensors, plans and events within their bounds.

use std::time::Duration;

use graft::{
    inference::{Admission, Answer, Engine, Error as EngineError, Image, Request},
    preprocess::{self, ImageError, Limits},
    service::{Error, Look, Service, Submission},
    tensor::Tensor,
    work::Client,
};
use serde_json::json;

use crate::support::{Plans, Setup, Tiny, eventually, plain};

fn admission(service: &Service) -> Admission {
    service.engine().admissions().admit(&Client::address([192, 0, 2, 1].into()), None)
}

async fn classes(engine: &Engine, image: Image, admission: &Admission) -> Result<Answer, EngineError> {
    let request = Request { model: Some("colours".to_owned()), top_k: Some(2), ..Request::default() };
    engine.run(engine.plan(&request)?, vec![image], admission).await
}

#[tokio::test]
async fn images_and_tensors_get_the_same_answers() {
    let setup = Setup::empty().with(Tiny::Colours, "colours");
    let (service, _jobs) = setup.service(Plans::default()).await;
    let (engine, admission) = (service.engine(), admission(&service));
    let model = engine.model("colours").expect("it is there");
    let spec = model.versions[0].metadata.preprocessing.clone();
    let photo = plain([10, 200, 30]);
    let decoded = preprocess::decode(&photo, &Limits::from(&setup.config().images)).expect("it is an image");
    let tensor = preprocess::prepare(decoded, &spec).0;
    let of_photo = classes(engine, Image::Encoded(photo.into()), &admission).await.expect("an answer");
    let of_tensor = classes(engine, Image::Tensor(tensor.clone()), &admission).await.expect("an answer");
    let top_k = |answer: Answer| answer.images.into_iter().map(|image| image.expect("a photo").top_k).collect::<Vec<_>>();
    assert_eq!(top_k(of_photo), top_k(of_tensor));
    let (shape, mut values) = tensor.into_parts();
    values[0] = f32::NAN;
    let other = Tensor::new(vec![1, shape[1], shape[2]], vec![0.0; shape[1] * shape[2]]).expect("its values");
    let mut refused = Vec::new();
    for tensor in [Tensor::new(shape, values).expect("its values"), other] {
        match classes(engine, Image::Tensor(tensor), &admission).await {
            Err(EngineError::BadImages(bad)) => refused.extend(bad.into_iter().map(|(_, error)| error)),
            other => panic!("it is no input: {other:?}"),
        }
    }
    assert!(matches!(&refused[..], [ImageError::NotFinite, ImageError::Shape { .. }]), "{refused:?}");
}

#[tokio::test]
async fn plans_have_their_time_and_their_places() {
    let setup = Setup::empty().configured(|config| config.server.request_timeout = Duration::from_millis(1));
    let (plans, gate) = Plans::gated();
    let (service, _jobs) = setup.service(plans).await;
    let kind = service.kind("finetune").expect("it is accepted").clone();
    let submission = |name: &str| Submission::new(kind.clone(), "finetune", json!({"name": name}), name.as_bytes());
    let late = service.plan(submission("slow"), &admission(&service)).await;
    assert!(matches!(late, Err(Error::LatePlan { ms: 1 })), "{late:?}");
    // What has begun goes on and keeps its place, and who asks again and again has no more than a share of them.
    gate.reached.notified().await;
    let admission = admission(&service);
    let asked = (0..16).map(|_| Box::pin(service.submit(submission("quick"), None, &admission)));
    let refused = futures_util::future::select_all(asked).await.0;
    assert!(matches!(refused, Err(Error::TooManyPlans)), "{refused:?}");
    gate.open.send(()).expect("the plan waits for this");
}

#[tokio::test]
async fn events_are_read_in_pages_within_the_memory_of_their_client() {
    let setup = Setup::empty().configured(|config| config.server.max_client_percent = 100);
    let (service, jobs) = setup.service(Plans::default()).await;
    let (kind, admission) = (service.kind("finetune").expect("it is accepted").clone(), admission(&service));
    let submission = Submission::new(kind, "finetune", json!({"name": "cats"}), b"cats");
    let id = service.submit(submission, None, &admission).await.expect("it is planned").id;
    let place = service.stream(admission.client()).expect("nobody else has one");
    drop(admission);
    let memory = service.engine().admissions().memory();
    eventually("the plan is over", async || memory.used() == 0).await;

    let all = memory.take(&Client::local(), memory.bound()).expect("nobody else has any");
    let refused = service.events(&id, 0, &place).await;
    assert!(matches!(refused, Err(Error::Memory(_))), "{refused:?}");
    let behind = service.events(&id, 1, &place).await.expect("with nothing to read there is nothing to hold");
    assert!(behind.page.is_none() && !behind.has_ended);
    drop(all);

    jobs.cancel(&id).await.expect("it waits");
    let Look { page, has_ended } = service.events(&id, 0, &place).await.expect("there is room");
    let mut page = page.expect("two events");
    let seen: Vec<_> = page.by_ref().map(|event| (event.id, event.kind, event.is_end)).collect();
    assert_eq!(seen, [(1, "queued".to_owned(), false), (2, "end".to_owned(), true)]);
    assert!(has_ended && memory.used() > 0, "what is taken out may not have been sent yet");
    drop(page);
    assert_eq!(memory.used(), 0);
}
