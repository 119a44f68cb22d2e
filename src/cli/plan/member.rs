//! The member of a manifest that does not fit its type, which the types of Kubernetes do not name.

use countersign_api::yaml::{MemberKey, Place, ReaderContext, YamlNode, YamlValue, read};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Path and problem of the first member of an object that does not fit a type; `None` if none is found.
pub(super) fn misfit<T: DeserializeOwned>(object: &Value) -> Option<String> {
    // Members that a type does not know are none of its business.
    let context = ReaderContext::new(None, true);
    let found = read::<T>(&node(object), &context).err()?;
    Some(if found.key.is_empty() { found.problem } else { format!("{}: {}", found.key, found.problem) })
}

fn node(value: &Value) -> YamlNode {
    let place = Place::default();
    let value = match value {
        Value::Null => YamlValue::Null,
        Value::Bool(value) => YamlValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => YamlValue::Integer(whole),
            None => YamlValue::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => YamlValue::Text(text.clone()),
        Value::Array(all) => YamlValue::List(all.iter().map(node).collect()),
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| (MemberKey { name: name.clone(), place }, node(value));
            YamlValue::Map(members.iter().map(member).collect())
        }
    };
    YamlNode { value, place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    #[test]
    fn the_member_that_does_not_fit_is_named_with_its_path() {
        let misfit = |spec: Value| {
            misfit::<Service>(
                &json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s" }, "spec": spec }),
            )
        };
        assert_eq!(misfit(json!({ "ports": [{ "port": 80, "targetPort": "http" }], "unknown": 1 })), None);
        for (spec, expected) in [
            (json!({ "ports": 5 }), "spec.ports: it is a number, expected a list"),
            (
                json!({ "ports": [{ "port": 80 }, { "port": "80" }] }),
                "spec.ports[1].port: it is a text, expected a whole number; take the quotes off",
            ),
            (
                json!({ "clusterIP": 10 }),
                "spec.clusterIP: it is a number, expected a text; put it into quotes",
            ),
        ] {
            assert_eq!(misfit(spec).as_deref(), Some(expected));
        }
    }
}
