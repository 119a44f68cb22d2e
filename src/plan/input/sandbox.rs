//! `Sandbox` of `agents.x-k8s.io`: one Pod with a stable name, which the Sandbox controls without a `ReplicaSet` between.
//! The kind is somebody else's and a cluster may lack it, so only the members in use are read.

use super::syntax::is_dns_subdomain;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;
use std::collections::BTreeMap;

/// API group of the kind.
pub const SANDBOX_GROUP: &str = "agents.x-k8s.io";
/// Versions that are watched, the first that the cluster serves: the API server converts objects between them.
pub const SANDBOX_VERSIONS: [&str; 2] = ["v1alpha1", "v1beta1"];
/// Name of the kind.
pub const SANDBOX_KIND: &str = "Sandbox";
/// Plural name of the kind in URLs.
pub const SANDBOX_PLURAL: &str = "sandboxes";

/// Annotation on a Sandbox that names its Pod, which its controller sets for one that was made before the Sandbox.
pub const SANDBOX_POD_ANNOTATION: &str = "agents.x-k8s.io/pod-name";

/// Name of the Pod of a Sandbox, with the value of [`SANDBOX_POD_ANNOTATION`] if there is one.
pub fn sandbox_pod<'a>(sandbox: &'a str, annotation: Option<&'a str>) -> &'a str {
    annotation.filter(|name| is_dns_subdomain(name)).unwrap_or(sandbox)
}

/// Members of a Sandbox that identify an agent and its readiness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sandbox {
    /// Template of the Pod, `spec.podTemplate`.
    pub template: PodTemplateSpec,
    /// Selector of the Pod: `status.selector`, or before that is written the labels of the template.
    pub selector: LabelSelector,
    /// True if the condition `Ready` is true and the Sandbox is not paused.
    pub is_ready: bool,
}

impl Sandbox {
    /// Reads a Sandbox from `spec` and `status` of its object.
    ///
    /// # Errors
    /// `spec.podTemplate` is absent or no Pod template.
    pub fn parse(object: &Value) -> Result<Self, serde_json::Error> {
        let template = object.pointer("/spec/podTemplate").cloned().unwrap_or_default();
        let template: PodTemplateSpec = serde_json::from_value(template)?;
        let stated = ["/status/selector", "/status/labelSelector"]
            .map(|member| object.pointer(member).and_then(Value::as_str));
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let is_true = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        let is_paused = object.pointer("/spec/replicas").is_some_and(|replicas| *replicas == 0);
        let is_ready = !is_paused && conditions.is_some_and(|all| all.iter().any(is_true));
        Ok(Self::new(template, stated, is_ready))
    }

    /// Sandbox with this Pod template, whose status states its selector by the first of `stated` that can be read.
    pub fn new(mut template: PodTemplateSpec, stated: [Option<&str>; 2], is_ready: bool) -> Self {
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        let stated = stated.into_iter().flatten().find_map(equalities);
        let selector = stated.clone().unwrap_or_else(|| labels.clone());
        // The controller of Sandboxes adds the labels that it selects by, which the Service selects by too.
        labels.extend(stated.unwrap_or_default());
        let selector = LabelSelector { match_labels: Some(selector), match_expressions: None };
        Self { template, selector, is_ready }
    }
}

/// Labels of a selector as text, such as `a=b,c=d`; `None` if the text selects by anything but equality, or by nothing.
fn equalities(selector: &str) -> Option<BTreeMap<String, String>> {
    let pair = |term: &str| {
        let (key, value) = term.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        let is_plain = |text: &str| !text.contains(['!', '=', '(', ')', ' ']);
        (!key.is_empty() && is_plain(key) && is_plain(value)).then(|| (key.to_owned(), value.to_owned()))
    };
    selector.split(',').map(|term| pair(term.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sandbox(replicas: &Value, status: &Value) -> Sandbox {
        let template = json!({ "metadata": { "labels": { "kagenti.io/type": "agent" } },
            "spec": { "serviceAccountName": "weather", "containers": [] } });
        let object = json!({ "spec": { "podTemplate": template, "replicas": replicas }, "status": status });
        Sandbox::parse(&object).unwrap()
    }

    #[test]
    fn a_sandbox_is_ready_while_its_condition_says_so_and_it_is_not_paused() {
        let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        assert!(sandbox(&json!(1), &ready).is_ready && sandbox(&Value::Null, &ready).is_ready);
        assert!(!sandbox(&json!(0), &ready).is_ready && !sandbox(&json!(1), &json!({})).is_ready);
        let not = json!({ "conditions": [{ "type": "Ready", "status": "False" }] });
        assert!(!sandbox(&json!(1), &not).is_ready);
    }

    #[test]
    fn its_pod_is_selected_by_status_and_before_that_by_the_template() {
        let labels = |found: &Sandbox| found.selector.match_labels.clone().unwrap();
        let [name, agent] = [("agents.x-k8s.io/sandbox-name-hash", "ab12"), ("kagenti.io/type", "agent")];
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        for member in ["selector", "labelSelector"] {
            let stated = sandbox(&json!(1), &json!({ member: "agents.x-k8s.io/sandbox-name-hash=ab12" }));
            assert_eq!(labels(&stated), of(&[name]));
            assert_eq!(stated.template.metadata.unwrap().labels.unwrap(), of(&[name, agent]));
        }
        for unusable in ["", "a in (b,c)", "a!=b", "a", "=b", "a=b,!c"] {
            assert_eq!(
                labels(&sandbox(&json!(1), &json!({ "selector": unusable }))),
                of(&[agent]),
                "{unusable}"
            );
        }
        assert_eq!(equalities("a==b, c="), Some(of(&[("a", "b"), ("c", "")])));
    }

    #[test]
    fn its_pod_has_its_name_or_the_one_that_its_controller_noted() {
        for (annotation, name) in [
            (None, "box"),
            (Some("warm-x7"), "warm-x7"),
            (Some(""), "box"),
            (Some("a,metadata.name!=b"), "box"),
        ] {
            assert_eq!(sandbox_pod("box", annotation), name, "{annotation:?}");
        }
    }

    #[test]
    fn one_without_a_pod_template_is_no_sandbox() {
        for spec in [json!({}), json!({ "podTemplate": 7 })] {
            assert!(Sandbox::parse(&json!({ "spec": spec })).is_err());
        }
    }
}
