//! RoleBinding with which Pods of enrolled workloads may use OpenShift's security context constraint for the sidecar, which runs
//! under a user of its own. It names the service accounts of these workloads and nobody else.

use countersign_api::keys::{MANAGED_BY, MANAGED_BY_LABEL, SCC_BINDING, SCC_ROLE};
use countersign_core::text::Quoted;
use k8s_openapi::api::rbac::v1::{RoleBinding, Subject};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Kind of a role for the whole cluster.
const CLUSTER_ROLE: &str = "ClusterRole";
/// Kind of a service account among subjects.
const ACCOUNT: &str = "ServiceAccount";

/// RoleBinding of this name as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBinding {
    uid: String,
    /// Kind and name of the role.
    role: (String, String),
    /// Kind, namespace and name of each subject.
    subjects: BTreeSet<(String, String, String)>,
    is_own: bool,
}

impl StoredBinding {
    /// RoleBinding as read; `None` without a UID.
    pub fn of(binding: RoleBinding) -> Option<Self> {
        let of_subject =
            |subject: Subject| (subject.kind, subject.namespace.unwrap_or_default(), subject.name);
        let labels = binding.metadata.labels.unwrap_or_default();
        Some(Self {
            uid: binding.metadata.uid?,
            role: (binding.role_ref.kind, binding.role_ref.name),
            subjects: binding.subjects.into_iter().flatten().map(of_subject).collect(),
            is_own: labels.get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGED_BY),
        })
    }

    /// True if an account of `namespace` is a subject, by itself or as one of all accounts there.
    fn covers(&self, namespace: &str, account: &str) -> bool {
        let group = ("Group".to_owned(), String::new(), format!("system:serviceaccounts:{namespace}"));
        self.subjects.contains(&group) || self.subjects.contains(&subject(namespace, account))
    }
}

/// Observed state of the RoleBinding of one namespace.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Name of the namespace.
    pub namespace: &'a str,
    /// RoleBinding as it stands.
    pub stored: Option<&'a StoredBinding>,
    /// Service accounts of workloads whose new Pods get the sidecar, as far as they are known.
    pub accounts: &'a BTreeSet<String>,
    /// True if all of them are known.
    pub is_whole: bool,
}

/// Plan for the RoleBinding of one namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum BindingPlan {
    /// Nothing to write.
    Stands,
    /// Object for server-side apply.
    Apply(Value),
    /// Object with this UID to delete: nobody needs it any more.
    Remove(String),
    /// Nothing can be written, for this reason.
    Refuse(String),
}

/// Plans the RoleBinding of a namespace. While not all accounts are known it loses none.
pub fn plan_binding(observed: &Observed<'_>) -> BindingPlan {
    let Observed { namespace, stored, accounts, is_whole } = *observed;
    let role = (CLUSTER_ROLE.to_owned(), SCC_ROLE.to_owned());
    if let Some(other) = stored.filter(|stored| stored.role != role) {
        let (kind, name) = &other.role;
        let found = Quoted(&format!("{kind} {name}")).to_string();
        let message = format!(
            "RoleBinding {SCC_BINDING} of the namespace binds the role {found}, which no write can change: delete it, or give it \
             another name, and the operator makes one for {CLUSTER_ROLE} {SCC_ROLE}"
        );
        return if accounts.is_empty() { BindingPlan::Stands } else { BindingPlan::Refuse(message) };
    }
    if accounts.is_empty() {
        let own = stored.filter(|stored| is_whole && stored.is_own);
        return own.map_or(BindingPlan::Stands, |own| BindingPlan::Remove(own.uid.clone()));
    }
    let mut wanted: BTreeSet<_> = accounts.iter().map(|account| subject(namespace, account)).collect();
    if let Some(stored) = stored {
        if !is_whole {
            if accounts.iter().all(|account| stored.covers(namespace, account)) {
                return BindingPlan::Stands;
            }
            wanted.extend(stored.subjects.iter().cloned());
        }
        if stored.is_own && stored.subjects == wanted {
            return BindingPlan::Stands;
        }
    }
    let subjects: Vec<Value> = wanted.into_iter().map(shown).collect();
    let mut object = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "namespace": namespace, "name": SCC_BINDING, "labels": { MANAGED_BY_LABEL: MANAGED_BY } },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": CLUSTER_ROLE, "name": SCC_ROLE },
        "subjects": subjects });
    if let (Some(stored), Some(Value::Object(metadata))) = (stored, object.get_mut("metadata")) {
        metadata.insert("uid".to_owned(), json!(stored.uid));
    }
    BindingPlan::Apply(object)
}

fn subject(namespace: &str, account: &str) -> (String, String, String) {
    (ACCOUNT.to_owned(), namespace.to_owned(), account.to_owned())
}

fn shown((kind, namespace, name): (String, String, String)) -> Value {
    if kind == ACCOUNT {
        json!({ "kind": kind, "namespace": namespace, "name": name })
    } else {
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "Group  system:serviceaccounts:team";

    fn stored(role: &str, subjects: &[&str], is_own: bool) -> StoredBinding {
        let subject = |text: &&str| {
            let mut words = text.split(' ').map(str::to_owned);
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap())
        };
        StoredBinding {
            uid: "uid-binding".to_owned(),
            role: (CLUSTER_ROLE.to_owned(), role.to_owned()),
            subjects: subjects.iter().map(subject).collect(),
            is_own,
        }
    }

    fn plan(found: Option<&StoredBinding>, accounts: &[&str], is_whole: bool) -> BindingPlan {
        let accounts = accounts.iter().map(|&account| account.to_owned()).collect();
        plan_binding(&Observed { namespace: "team", stored: found, accounts: &accounts, is_whole })
    }

    /// Names of the subjects that a plan writes.
    fn written(plan: &BindingPlan) -> Vec<String> {
        let BindingPlan::Apply(object) = plan else { panic!("{plan:?}") };
        let subjects = object["subjects"].as_array().unwrap().iter();
        subjects.map(|subject| subject["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_accounts_of_enrolled_workloads_are_bound_and_no_others() {
        let made = plan(None, &["weather", "default"], true);
        let account = |name: &str| json!({ "kind": "ServiceAccount", "namespace": "team", "name": name });
        assert_eq!(
            made,
            BindingPlan::Apply(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": { "namespace": "team", "name": "agent-authbridge-scc",
                    "labels": { "managed-by": "kagenti-operator" } },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                    "name": "system:openshift:scc:kagenti-authbridge" },
                "subjects": [account("default"), account("weather")] }))
        );
        let weather = "ServiceAccount team weather";
        for (found, writes) in [
            (stored(SCC_ROLE, &[weather], true), false),
            (stored(SCC_ROLE, &[weather], false), true),
            (stored(SCC_ROLE, &[], true), true),
            (stored(SCC_ROLE, &[weather, "ServiceAccount team other"], true), true),
            (stored(SCC_ROLE, &[weather, "ServiceAccount foreign weather"], true), true),
            (stored(SCC_ROLE, &["ServiceAccount foreign weather"], true), true),
            // That of the existing operator, for all accounts of the namespace.
            (stored(SCC_ROLE, &[GROUP], false), true),
        ] {
            let plan = plan(Some(&found), &["weather"], true);
            assert_eq!(plan != BindingPlan::Stands, writes, "{found:?}");
            if writes {
                assert_eq!(written(&plan), ["weather"], "{found:?}");
            }
        }
    }

    #[test]
    fn nobody_loses_the_binding_before_all_workloads_are_known() {
        let found = stored(SCC_ROLE, &["ServiceAccount team weather", "ServiceAccount team other"], true);
        assert_eq!(plan(Some(&found), &["weather"], false), BindingPlan::Stands);
        assert_eq!(plan(Some(&found), &[], false), BindingPlan::Stands);
        assert_eq!(written(&plan(Some(&found), &["more"], false)), ["more", "other", "weather"]);
        assert_eq!(written(&plan(Some(&found), &["weather"], true)), ["weather"]);
        let all = stored(SCC_ROLE, &[GROUP], false);
        assert_eq!(plan(Some(&all), &["weather"], false), BindingPlan::Stands);
    }

    #[test]
    fn what_nobody_needs_goes_if_it_is_ours_and_what_binds_another_role_is_left_alone() {
        let found = |is_own| stored(SCC_ROLE, &["ServiceAccount team weather"], is_own);
        assert_eq!(plan(Some(&found(true)), &[], true), BindingPlan::Remove("uid-binding".to_owned()));
        assert_eq!(plan(Some(&found(false)), &[], true), BindingPlan::Stands);
        assert_eq!(plan(None, &[], true), BindingPlan::Stands);
        let other = stored("view\u{202e}", &[GROUP], true);
        assert_eq!(plan(Some(&other), &[], true), BindingPlan::Stands);
        for is_whole in [false, true] {
            let BindingPlan::Refuse(said) = plan(Some(&other), &["weather"], is_whole) else {
                panic!("{is_whole}")
            };
            assert!(said.contains(r#""ClusterRole view\u{202e}""#) && said.contains("delete it"), "{said}");
        }
    }
}
