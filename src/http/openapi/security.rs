//! What the document says of keys: how they are sent, and which scope each operation needs.

use utoipa::{
    IntoResponses,
    openapi::{
        Components, PathItem,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::problems::{self, Problems};
use crate::http::{
    access::Needs,
    code::{Codes, DOOR, codes},
};

/// Names of the two ways to send a key.
const BEARER: &str = "bearer";
const API_KEY: &str = "api_key";

/// What the door of metrics may come to: any scope will do.
const METRICS: Codes = DOOR & !codes!(Forbidden);

/// Says of every operation of `item` what it `needs`, and what becomes of whoever has not.
pub fn guard(item: &mut PathItem, needs: Needs) {
    let (scope, about) = match needs {
        Needs::Nothing => return,
        Needs::Metrics => {
            (None, "Needs a key of any scope, where keys are in use and `server.metrics_need_key` is true.".to_owned())
        }
        Needs::Key(scope) => (Some(scope.name()), format!("Needs a key with the scope `{scope}`, where keys are in use.")),
    };
    let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
    for operation in operations.into_iter().filter_map(Option::as_mut) {
        operation.security = Some([BEARER, API_KEY].map(|way| SecurityRequirement::new(way, scope)).into());
        let described = operation.description.take().filter(|text| !text.is_empty());
        operation.description = Some(described.map_or_else(|| about.clone(), |text| format!("{text}\n\n{about}")));
        let responses = if scope.is_some() { Problems::<DOOR>::responses() } else { Problems::<METRICS>::responses() };
        problems::add(&mut operation.responses.responses, responses);
    }
}

/// Adds to `components` how keys are sent.
pub fn define(components: &mut Components) {
    let about = "A key that `graft keys create` made, where keys are in use; required scopes are listed per operation.";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("graft_ID_SECRET").description(Some(about));
    let own = ApiKey::Header(ApiKeyValue::with_description(
        "X-API-Key",
        "The same key, for clients that cannot send `Authorization`; one of the two is enough.",
    ));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    components.add_security_scheme(API_KEY, SecurityScheme::ApiKey(own));
}
