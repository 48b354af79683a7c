//! What `/predict` and `/features` have in common: running a plan in time, and the headers of its answer.

use axum::{
    Extension,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};

use crate::{
    http::{
        body::{BodyFault, outgoing},
        code::{BODY, Codes, VERSION, codes},
        dto::TimingsDto,
        error::ApiError,
        images::Images,
        observe::{self, SERVER_TIMING},
        request_log,
        state::State,
    },
    inference::{Admission, Answer, Error, ModelId, Plan},
};

const GRAFT_MODEL: HeaderName = HeaderName::from_static("graft-model");
const GRAFT_VERSION: HeaderName = HeaderName::from_static("graft-version");
const GRAFT_PRETRAINED: HeaderName = HeaderName::from_static("graft-pretrained");
/// An answer that is written faster than a thread is found for it, in bytes.
const SMALL: usize = 64 << 10;

/// Longest warning in a header, in characters.
const MAX_WARNING: usize = 500;

const GRAFT_WARNING: HeaderName = HeaderName::from_static("graft-warning");

/// What may go wrong with images, whatever is asked of them.
pub const IMAGES: Codes = BODY
    | VERSION
    | codes! {
        NoImages BadImages TooManyImages TooManyPixels NoClasses UntrainedModel ModelTooLarge QueueFull ResponseTooLarge Timeout
        ShuttingDown
    };

/// Runs `plan` on `images`, with `answer_bytes` of memory taken for what comes of it; what the request holds comes with it.
///
/// # Errors
/// The engine's, or [`ApiError::Busy`].
pub async fn run(state: &State, plan: Plan, images: Images, answer_bytes: usize) -> Result<(Answer, Admission), ApiError> {
    let (ModelId { name: model, version, .. }, captions) = (plan.model(), images.captions());
    let (images, admission) = images.into_parts();
    request_log::note(|facts| {
        (facts.model, facts.version, facts.images) = (Some(model.clone()), Some(version), Some(images.len() as u64));
    });
    admission.take(answer_bytes).map_err(BodyFault::from)?;
    let outcome = state.engine().run(plan, images, &admission).await;
    match &outcome {
        Ok(answer) => {
            let answered = answer.images.iter().filter(|image| image.is_ok()).count();
            request_log::note(|facts| facts.timings = Some(answer.timings.into()));
            observe::count_images(&model, answered, answer.images.len() - answered);
        }
        Err(Error::BadImages(bad)) => observe::count_images(&model, 0, bad.len()),
        Err(_) => {}
    }
    match outcome {
        Ok(answer) => Ok((answer, admission)),
        Err(error @ Error::BadImages(_)) => {
            // What is wrong with an image is looked for in all of its bytes.
            let (origin, held) = (admission.origin(), admission);
            let named = move || {
                let _held = held;
                ApiError::from_engine(error, &captions)
            };
            Err(state.intake().encoding.run(origin, named).await.expect("any number may wait"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether it takes no time to write `answer` in up to `bytes`: what is wrong with an image is looked for in all of its bytes.
pub fn is_quick(answer: &Answer, bytes: usize) -> bool {
    bytes <= SMALL && answer.images.iter().all(Result::is_ok)
}

/// The answer that `make` writes, for which `admission` has memory: at once where that [`is_quick`], else away from the async
/// threads.
///
/// # Errors
/// Those of `make`.
pub async fn encoded(
    state: &State,
    headers: HeaderMap,
    admission: Admission,
    is_quick: bool,
    make: impl FnOnce() -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let body = if is_quick {
        make()?
    } else {
        let held = admission.clone();
        let work = move || {
            let _held = held;
            make()
        };
        state.intake().encoding.run(admission.origin(), work).await.expect("any number may wait")?
    };
    let length = body.len();
    Ok((headers, Extension(admission.clone()), outgoing(body, admission.into_memory(length))).into_response())
}

/// The headers that say who answered.
pub fn model_headers(model: &ModelId) -> HeaderMap {
    // Model names are folder names of a narrow alphabet; the repository refuses others.
    let name = HeaderValue::from_str(&model.name).unwrap_or_else(|_| HeaderValue::from_static("?"));
    let pretrained = HeaderValue::from_static(if model.pretrained { "true" } else { "false" });
    HeaderMap::from_iter([(GRAFT_MODEL, name), (GRAFT_VERSION, model.version.into()), (GRAFT_PRETRAINED, pretrained)])
}

/// The headers that say who answers `plan`, with a `Graft-Warning` for each of its notes: binary answers have no other place.
pub fn plan_headers(plan: &Plan) -> HeaderMap {
    let mut headers = model_headers(&plan.model());
    for note in &plan.notes {
        // A layer's name is whatever the graph says, of any length.
        let text: String = format!("{}; {note}", note.code())
            .chars()
            .map(|letter| if matches!(letter, ' '..='~') { letter } else { '?' })
            .take(MAX_WARNING)
            .collect();
        headers.append(GRAFT_WARNING, HeaderValue::from_str(&text).expect("it is visible ASCII"));
    }
    headers
}

/// The headers that say who answered, and where the time went.
pub fn answer_headers(model: &ModelId, timings: TimingsDto) -> HeaderMap {
    let mut headers = model_headers(model);
    let TimingsDto { decode_ms, queue_ms, inference_ms } = timings;
    let timing = format!("decode;dur={decode_ms}, queue;dur={queue_ms}, inference;dur={inference_ms}");
    headers.insert(SERVER_TIMING, HeaderValue::from_str(&timing).expect("numbers are visible ASCII"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inference::{ImageAnswer, Timings},
        preprocess::ImageError,
    };

    #[test]
    fn answers_with_bad_images_are_not_written_at_once() {
        let image = || ImageAnswer { top_k: Vec::new(), novelty: None, features: Vec::new(), warnings: Vec::new() };
        let answer = |images| Answer { images, timings: Timings::default() };
        assert!(is_quick(&answer(vec![Ok(image())]), SMALL));
        assert!(!is_quick(&answer(vec![Ok(image())]), SMALL + 1));
        assert!(!is_quick(&answer(vec![Ok(image()), Err(ImageError::NotAnImage)]), 1));
    }

    #[test]
    fn headers_say_who_answered_and_how_long_it_took() {
        let model = ModelId { name: "vgg16".to_owned(), version: 3, pretrained: false };
        let headers = answer_headers(&model, TimingsDto { decode_ms: 1.5, queue_ms: 0.0, inference_ms: 164.125 });
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(text("Graft-Model"), Some("vgg16"));
        assert_eq!(text("Graft-Version"), Some("3"));
        assert_eq!(text("Graft-Pretrained"), Some("false"));
        assert_eq!(text("Server-Timing"), Some("decode;dur=1.5, queue;dur=0, inference;dur=164.125"));
    }
}
