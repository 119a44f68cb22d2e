//! Enrolled workloads, for which policies and peer marks are planned.
//! Construction checks every value, so that planning cannot fail halfway.

use super::error::InputError;
use super::identity::Expected;
use super::names::WorkloadNames;
use super::namespace::Namespace;
use super::ports::OpenPorts;
use super::syntax::{is_dns_subdomain, is_kind, is_label_key, is_label_value, is_uid};
use countersign_api::keys::{Family, PEER_MARK_LABEL, WORKLOAD_LABEL};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use std::collections::BTreeMap;

/// Enrolled workload: object, expected signer, and selector of its Pods.
#[derive(Clone, Debug, PartialEq)]
pub struct EnrolledWorkload {
    identity: WorkloadNames,
    expected: Expected,
    selector: LabelSelector,
    host_network: bool,
    isolation: Isolation,
    open_ports: Option<OpenPorts>,
}

/// NetworkPolicies that isolate the Pods of a workload whatever the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Baseline and minimum of the workload, which select by the workload's selector.
    #[default]
    Own,
    /// Baseline and minimum of the namespace, which select by the agent label of this family. Valid only if the
    /// template and every running Pod of the workload carry that label.
    Namespace(Family),
}

impl EnrolledWorkload {
    /// Enrolled workload with the selector that its controller uses; refuses names and selectors that the API
    /// server would reject.
    ///
    /// `selector` is `spec.selector` of a Deployment, `StatefulSet`, `DaemonSet`, `ReplicaSet` or Job, never the
    /// labels of the current template: the template changes in a rollout while old Pods still run. A kind
    /// without a selector passes the one label by which its controller identifies its Pods. `expected` comes
    /// from the configuration and from the workload, never from a verdict: a card verified for another identity
    /// counts for nothing (rule 50).
    pub fn new(
        namespace: Namespace,
        kind: &str,
        name: &str,
        expected: Expected,
        selector: LabelSelector,
    ) -> Result<Self, InputError> {
        if !is_kind(kind) {
            return Err(InputError::malformed("the workload's kind", kind));
        }
        if !is_dns_subdomain(name) {
            return Err(InputError::malformed("the workload's name", name));
        }
        let identity = WorkloadNames::new(namespace, kind.to_owned(), name.to_owned());
        let selector = check_selector(selector)?;
        Ok(Self {
            identity,
            expected,
            selector,
            host_network: false,
            isolation: Isolation::Own,
            open_ports: None,
        })
    }

    /// Sets the UID of the workload object, which enters the peer mark: a workload that is deleted and created
    /// again under one name needs new marks on its Pods.
    pub fn with_uid(mut self, uid: &str) -> Result<Self, InputError> {
        if !is_uid(uid) {
            return Err(InputError::malformed("the workload's UID", uid));
        }
        self.identity = self.identity.with_uid(uid.to_owned());
        Ok(self)
    }

    /// Sets whether the Pods use the network of their node, where no NetworkPolicy applies.
    #[must_use]
    pub fn with_host_network(mut self, host_network: bool) -> Self {
        self.host_network = host_network;
        self
    }

    /// Sets which NetworkPolicies isolate the Pods; [`Isolation::Own`] by default.
    #[must_use]
    pub fn with_isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets the ports that the policy of the verdict opens; all ports by default, and with `None`.
    #[must_use]
    pub fn with_open_ports(mut self, open_ports: Option<OpenPorts>) -> Self {
        self.open_ports = open_ports;
        self
    }

    /// Namespace of the workload and of its NetworkPolicies.
    pub fn namespace(&self) -> &Namespace {
        self.identity.namespace()
    }

    pub(crate) fn identity(&self) -> &WorkloadNames {
        &self.identity
    }

    pub(crate) fn expected(&self) -> &Expected {
        &self.expected
    }

    pub(crate) fn selector(&self) -> &LabelSelector {
        &self.selector
    }

    pub(crate) fn host_network(&self) -> bool {
        self.host_network
    }

    pub(crate) const fn open_ports(&self) -> Option<&OpenPorts> {
        self.open_ports.as_ref()
    }

    /// NetworkPolicies that isolate the Pods of the workload.
    pub const fn isolation(&self) -> Isolation {
        self.isolation
    }
}

/// Selector in canonical order. Refuses an empty selector, syntax that the API server rejects, and keys of labels
/// that the operator writes: with `DoesNotExist` on the peer mark, marking a Pod would take it out of its policies.
fn check_selector(selector: LabelSelector) -> Result<LabelSelector, InputError> {
    let labels = selector.match_labels.unwrap_or_default();
    let mut expressions = selector.match_expressions.unwrap_or_default();
    if labels.is_empty() && expressions.is_empty() {
        return Err(InputError::EmptySelector("the workload"));
    }
    for (key, value) in &labels {
        check_key(key)?;
        if !is_label_value(value) {
            return Err(InputError::malformed("a value of the workload's selector", value));
        }
    }
    for expression in &expressions {
        check_key(&expression.key)?;
        check_expression(expression)?;
    }
    // The API server stores expressions in the order given; a canonical order keeps equal selectors from
    // looking like drift and being written again.
    for expression in &mut expressions {
        if let Some(values) = &mut expression.values {
            values.sort();
            values.dedup();
        }
        if expression.values.as_ref().is_some_and(Vec::is_empty) {
            expression.values = None;
        }
    }
    expressions.sort_by(|a, b| (&a.key, &a.operator, &a.values).cmp(&(&b.key, &b.operator, &b.values)));
    expressions.dedup();
    Ok(LabelSelector {
        match_labels: (!labels.is_empty()).then_some(labels),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    })
}

fn check_key(key: &str) -> Result<(), InputError> {
    if !is_label_key(key) {
        return Err(InputError::malformed("a key of the workload's selector", key));
    }
    if key == PEER_MARK_LABEL || key == WORKLOAD_LABEL {
        return Err(InputError::ReservedLabel(key.to_owned()));
    }
    Ok(())
}

fn check_expression(expression: &LabelSelectorRequirement) -> Result<(), InputError> {
    let values = expression.values.as_deref().unwrap_or_default();
    let fits = match expression.operator.as_str() {
        "In" | "NotIn" => !values.is_empty(),
        "Exists" | "DoesNotExist" => values.is_empty(),
        _ => false,
    };
    if !fits {
        return Err(InputError::malformed("an operator of the workload's selector", &expression.operator));
    }
    match values.iter().find(|value| !is_label_value(value)) {
        Some(value) => Err(InputError::malformed("a value of the workload's selector", value)),
        None => Ok(()),
    }
}

/// Label selector of exact matches, without expressions.
pub(crate) fn selector_of(labels: impl IntoIterator<Item = (String, String)>) -> LabelSelector {
    let labels: BTreeMap<_, _> = labels.into_iter().collect();
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::spiffe::SpiffeId;

    fn id() -> Expected {
        Expected::exactly(SpiffeId::parse("spiffe://example.org/ns/team/sa/agent").unwrap())
    }

    fn workload(selector: LabelSelector) -> Result<EnrolledWorkload, InputError> {
        EnrolledWorkload::new(Namespace::parse("team")?, "Deployment", "agent", id(), selector)
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        let values = Some(values.iter().map(ToString::to_string).collect());
        LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values,
            }]),
            match_labels: None,
        }
    }

    #[test]
    fn an_empty_selector_is_refused_because_it_means_the_whole_namespace() {
        assert_eq!(workload(LabelSelector::default()), Err(InputError::EmptySelector("the workload")));
        assert_eq!(workload(selector_of([])), Err(InputError::EmptySelector("the workload")));
    }

    #[test]
    fn a_selector_may_not_depend_on_labels_that_the_operator_changes() {
        for operator in ["Exists", "DoesNotExist"] {
            assert_eq!(
                workload(expression(PEER_MARK_LABEL, operator, &[])),
                Err(InputError::ReservedLabel(PEER_MARK_LABEL.to_owned()))
            );
        }
    }

    #[test]
    fn a_selector_that_the_api_server_would_reject_is_refused() {
        for bad in [
            expression("app", "In", &[]),
            expression("app", "Exists", &["x"]),
            expression("app", "in", &["x"]),
            expression("app", "In", &["-"]),
            expression("a b", "Exists", &[]),
            selector_of([("app".to_owned(), "x y".to_owned())]),
        ] {
            assert!(matches!(workload(bad), Err(InputError::Malformed { .. })));
        }
    }

    #[test]
    fn the_order_of_a_selector_does_not_matter() {
        let one = workload(expression("app", "In", &["a", "b"])).unwrap();
        let other = workload(expression("app", "In", &["b", "a", "a"])).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn names_that_kubernetes_would_not_accept_are_refused() {
        let selector = selector_of([("app".to_owned(), "x".to_owned())]);
        let namespace = Namespace::parse("team").unwrap();
        assert!(EnrolledWorkload::new(namespace.clone(), "deployment", "a", id(), selector.clone()).is_err());
        assert!(EnrolledWorkload::new(namespace, "Deployment", "a/b", id(), selector).is_err());
    }
}
