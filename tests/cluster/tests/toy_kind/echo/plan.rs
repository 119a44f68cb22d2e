//! From what was observed to the object that it calls for. Pure.

use countersign_api::ObjectRef;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ObjectMeta;
use std::collections::BTreeMap;

/// What is known of a ConfigMap that wants an echo.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    /// Its data.
    pub(crate) data: BTreeMap<String, String>,
}

impl Observed {
    /// Reads a ConfigMap.
    pub(crate) fn of(object: ConfigMap) -> Option<Self> {
        Some(Self { data: object.data? })
    }
}

/// Plans the echo of a ConfigMap: the same data, louder.
pub(crate) fn plan_echo(object: &ObjectRef, observed: &Observed) -> ConfigMap {
    let echo = echo_of(object);
    let louder = observed.data.iter().map(|(key, value)| (key.clone(), value.to_uppercase()));
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some(echo.namespace.to_string()),
            name: Some(echo.name.to_string()),
            ..ObjectMeta::default()
        },
        data: Some(louder.collect()),
        ..ConfigMap::default()
    }
}

/// The echo of an object.
pub(crate) fn echo_of(object: &ObjectRef) -> ObjectRef {
    ObjectRef::new(&object.namespace, format!("{}-echo", object.name))
}

#[test]
fn an_echo_is_the_same_data_louder() {
    let observed = Observed { data: BTreeMap::from([("word".to_owned(), "hello".to_owned())]) };
    let echo = plan_echo(&ObjectRef::new("team", "talk"), &observed);
    assert_eq!(echo.metadata.name.as_deref(), Some("talk-echo"));
    assert_eq!(echo.data.unwrap()["word"], "HELLO");
}
