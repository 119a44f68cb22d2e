//! `countersign crd`: prints the custom resource definitions of the operator, for `kubectl apply -f -`.

use super::exit::{Done, Unusable};
use countersign_api::definitions;
use serde_json::Value;

/// Print the custom resource definitions that the operator works with
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Prints the custom resource definitions that the operator works with, as YAML for `kubectl apply \
                  --server-side -f -`. The files in crds/ are this output."
)]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<Done, Unusable> {
    let mut documents = Vec::new();
    for definition in definitions() {
        // The type always writes a status, which a manifest must not have, so a JSON value is edited instead.
        let mut definition = serde_json::to_value(definition).map_err(Unusable::new)?;
        if let Some(definition) = definition.as_object_mut() {
            definition.remove("status");
        }
        write_whole_numbers(&mut definition);
        documents.push(serde_saphyr::to_string(&definition).map_err(Unusable::new)?);
    }
    Ok(Done::text(documents.join("---\n")))
}

/// Rewrites whole floating-point numbers as integers. The type holds bounds as `f64`, and `1.0` in the file would
/// differ from the `1` that other tools write.
fn write_whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(write_whole_numbers),
        Value::Object(members) => members.values_mut().for_each(write_whole_numbers),
        Value::Number(number) if number.is_f64() => {
            if let Ok(whole) = format!("{:.0}", number.as_f64().unwrap_or_default()).parse::<i64>()
                && number.as_f64().is_some_and(|fraction| fraction.fract() == 0.0)
            {
                *value = whole.into();
            }
        }
        _ => {}
    }
}
