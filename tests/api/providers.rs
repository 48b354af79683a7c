//! Execution providers: the one in effect is shown, a required one that cannot be had refuses to start.
//!
//! What happens without a GPU is tested without one; with one these tests say that they skip that.

use graft::{
    config::{Provider, ProviderChoice, ProviderPolicy},
    runtime::Error,
};
use serde_json::json;

use crate::support::{Graft, Setup, Tiny, plain, runtime};

fn cuda(policy: ProviderPolicy) -> ProviderChoice {
    ProviderChoice { provider: Provider::Cuda, policy }
}

/// Whether CUDA works here, in which case nothing is refused.
fn has_gpu() -> bool {
    let works = runtime().check(cuda(ProviderPolicy::Required)).is_ok();
    if works {
        println!("skipped: CUDA works here, so nothing can be refused for want of it");
    }
    works
}

#[tokio::test]
async fn a_preferred_provider_falls_back_with_a_note() {
    let choice = cuda(ProviderPolicy::Preferred);
    let app = Setup::new().with(Tiny::Colours, "plain").configured(|config| {
        config.runtime.model_providers.insert("colours".to_owned(), choice);
    });
    let app = app.spawn().await;
    app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
    app.send(app.post_image("/predict?model=plain", plain([0; 3]))).await.ok();
    let provider = async |model: &str| app.get(&format!("/models/{model}")).await.ok().json()["versions"][0]["provider"].clone();
    assert_eq!(provider("plain").await, json!({"in_effect": "cpu", "note": null}), "others are as the server");
    if has_gpu() {
        assert_eq!(provider("colours").await, json!({"in_effect": "cuda", "note": null}));
        return;
    }
    let found = provider("colours").await;
    assert_eq!(found["in_effect"], "cpu");
    let note = found["note"].as_str().unwrap_or_default();
    assert!(note.starts_with("`cuda` cannot be used: ") && note.len() > 30 && !note.contains('\n'), "{note}");
}

#[tokio::test]
async fn a_required_provider_is_checked_for_the_server_and_for_every_model() {
    if has_gpu() {
        return;
    }
    let required = cuda(ProviderPolicy::Required);
    let server = Setup::new().configured(|config| config.runtime.provider = required);
    let model = Setup::new().configured(|config| {
        config.runtime.model_providers.insert("unheard_of".to_owned(), required);
    });
    for setup in [server, model] {
        let error = setup.bind().await.err().expect("there is no GPU");
        assert!(matches!(error.downcast_ref(), Some(Error::ProviderUnavailable { provider: "cuda", .. })), "{error:#}");
    }
}

#[test]
fn the_refusal_is_one_clear_line() {
    if has_gpu() {
        return;
    }
    let setup = Setup::new();
    let refusal = Graft::refusal(&setup.config().models.dir, "colours", &[("GRAFT__RUNTIME__PROVIDER", "cuda")]);
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    let line = refusal.line();
    assert!(line.starts_with("graft: provider `cuda` is required but cannot be used: "), "{line}");
    assert!(line.contains("set `runtime.provider_policy = \"preferred\"` to fall back to the CPU"), "{line}");
}
