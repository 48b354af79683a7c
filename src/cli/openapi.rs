//! `graft openapi`: the API's description.

use clap::Args;

use super::answer;

/// Print the OpenAPI document; `openapi.yaml` is made with it.
#[derive(Debug, Args)]
pub(super) struct Openapi {}

impl Openapi {
    pub(super) fn run(self) -> anyhow::Result<()> {
        Ok(answer::exact(crate::http::openapi_yaml().trim_end())?)
    }
}
