//! `countersign crd`: the custom resource definitions of the operator, for `kubectl apply -f -`.

use super::exit::{Done, Unusable};
use crate::api::agent_card;

/// Print the custom resource definitions that the operator works with
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Prints the custom resource definitions that the operator works with, as YAML for `kubectl apply \
                  --server-side -f -`. The files in crds/ are this output."
)]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<Done, Unusable> {
    // By way of a JSON value, because a status that nobody has set yet is left out there.
    let mut definition = serde_json::to_value(agent_card::definition()).map_err(Unusable::new)?;
    if let Some(definition) = definition.as_object_mut() {
        definition.remove("status");
    }
    let yaml = serde_saphyr::to_string(&definition).map_err(Unusable::new)?;
    Ok(Done::text(yaml))
}
