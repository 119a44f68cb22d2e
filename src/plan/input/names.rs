//! Names and label values of planned objects: at most 63 bytes, readable, never shared by two workloads.
//! A longer name is cut and ends in a hash; a cut name never equals an uncut one.

use super::error::InputError;
use super::namespace::Namespace;
use super::syntax::LABEL_BYTES;
use ring::digest::{Digest, SHA256, digest};
use std::fmt::Write;

/// Hexadecimal digits of a hash in a name: 112 bits, so that nobody finds a second workload with one hash.
const HASH_DIGITS: usize = 28;
/// Readable part of a hashed object name, in bytes: what hash and longest suffix leave of 63.
const PREFIX_BYTES: usize = 15;
/// Workload kind whose policies keep the plain names that other operators use for every kind.
const PLAIN_KIND: &str = "Deployment";

/// Role of a NetworkPolicy among those of a workload or namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Isolates Pods and allows nothing.
    Baseline,
    /// Isolates Pods and allows what an agent needs for its card to be evaluated.
    Minimum,
    /// Allows what the verdict over the cards of the workload permits.
    Verdict,
}

impl Role {
    const ALL: [Self; 3] = [Self::Baseline, Self::Minimum, Self::Verdict];

    /// Value of the role label on the policy.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Minimum => "minimum",
            Self::Verdict => "verdict",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Baseline => "signature-baseline",
            Self::Minimum => "signature-minimum",
            Self::Verdict => "signature-policy",
        }
    }
}

/// Identity of a workload object, from which all derived names and label values follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkloadNames {
    namespace: Namespace,
    kind: String,
    name: String,
    uid: Option<String>,
}

impl WorkloadNames {
    pub(crate) fn new(namespace: Namespace, kind: String, name: String) -> Self {
        Self { namespace, kind, name, uid: None }
    }

    pub(crate) fn with_uid(mut self, uid: String) -> Self {
        self.uid = Some(uid);
        self
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Name of the NetworkPolicy with the given role.
    ///
    /// A Deployment keeps `<name>-signature-policy`, which users look for. All other kinds, and names that do
    /// not fit in 63 bytes, end in a hash of kind and name: a Deployment and a `StatefulSet` of one name must not
    /// share an object. A plain name ends in a word and a hashed name in hexadecimal digits, so no choice of a
    /// workload's name makes the two equal.
    pub(crate) fn object_name(&self, role: Role) -> String {
        let plain = format!("{}-{}", self.name, role.suffix());
        if self.kind == PLAIN_KIND && plain.len() <= LABEL_BYTES {
            return plain;
        }
        let hash = hash(&["object", &self.kind, &self.name]);
        format!("{}-{}-{hash}", prefix(&self.name, PREFIX_BYTES), role.suffix())
    }

    /// Label value that names the workload on its policies.
    pub(crate) fn workload_label(&self) -> String {
        workload_label(self.namespace.as_str(), &self.kind, &self.name)
    }

    /// Value of the peer mark on Pods of the workload; changes with the workload's UID.
    pub(crate) fn peer_mark(&self) -> String {
        let uid = self.uid.as_deref().unwrap_or_default();
        hash(&["peer", self.namespace.as_str(), &self.kind, &self.name, uid])
    }
}

/// Label value that names a workload on its policies: a hash of namespace, kind and name.
pub fn workload_label(namespace: &str, kind: &str, name: &str) -> String {
    hash(&["workload", namespace, kind, name])
}

/// Name of each NetworkPolicy of a workload, after the value of its role label.
///
/// # Errors
/// The namespace has a name that no namespace can have.
pub fn policy_names(
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<[(&'static str, String); 3], InputError> {
    let names = WorkloadNames::new(Namespace::parse(namespace)?, kind.to_owned(), name.to_owned());
    Ok(Role::ALL.map(|role| (role.label(), names.object_name(role))))
}

/// True if a policy of this name with this label is one of a workload of `kind`. Only a name that is not cut tells the name of
/// its workload, so false does not say that it is none.
pub(crate) fn is_policy_of(kind: &str, (namespace, policy): (&str, &str), label: &str) -> bool {
    Role::ALL.into_iter().any(|role| {
        let name = policy.rsplit_once(role.suffix()).and_then(|(name, _)| name.strip_suffix('-'));
        name.is_some_and(|name| workload_label(namespace, kind, name) == label)
    })
}

/// Label value for an object name: the name, or if longer than 63 bytes, its start, `_` and a hash. No object
/// name contains `_`, so cut and uncut values never collide.
pub(crate) fn label_value(name: &str) -> String {
    if name.len() <= LABEL_BYTES {
        return name.to_owned();
    }
    let room = LABEL_BYTES.saturating_sub(HASH_DIGITS).saturating_sub(1);
    format!("{}_{}", prefix(name, room), hash(&["label", name]))
}

/// Start of an ASCII name, at most `bytes` long, without trailing `-` and `.`.
fn prefix(name: &str, bytes: usize) -> &str {
    let end = name.len().min(bytes);
    name.get(..end).unwrap_or_default().trim_end_matches(['-', '.'])
}

/// Hash over length-prefixed parts, so that no two lists of parts give one input.
fn hash(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        // Writing into a String cannot fail.
        let _ = write!(text, "{}:{part}", part.len());
    }
    hex(&digest(&SHA256, text.as_bytes()))
}

fn hex(digest: &Digest) -> String {
    let mut text = String::with_capacity(HASH_DIGITS);
    for byte in digest.as_ref().iter().take(HASH_DIGITS.div_ceil(2)) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::syntax::{is_dns_subdomain, is_label_value};
    use proptest::prelude::*;

    const ROLES: [Role; 3] = [Role::Baseline, Role::Minimum, Role::Verdict];

    fn identity(kind: &str, name: &str) -> WorkloadNames {
        WorkloadNames::new(Namespace::parse("team").unwrap(), kind.to_owned(), name.to_owned())
    }

    #[test]
    fn a_deployment_keeps_the_name_that_users_look_for_while_it_fits() {
        assert_eq!(identity("Deployment", "weather").object_name(Role::Verdict), "weather-signature-policy");
        let longest = "a".repeat(46);
        assert_eq!(
            identity("Deployment", &longest).object_name(Role::Verdict),
            format!("{longest}-signature-policy")
        );
        let name = identity("Deployment", &"a".repeat(47)).object_name(Role::Verdict);
        assert!(name.starts_with("aaaaaaaaaaaaaaa-signature-policy-"), "{name}");
        assert!(name.len() <= LABEL_BYTES);
    }

    #[test]
    fn every_policy_of_a_workload_is_named_after_its_role() {
        assert_eq!(
            policy_names("team", "Deployment", "weather").unwrap(),
            [
                ("baseline", "weather-signature-baseline".to_owned()),
                ("minimum", "weather-signature-minimum".to_owned()),
                ("verdict", "weather-signature-policy".to_owned()),
            ]
        );
        assert!(policy_names("No Namespace", "Deployment", "weather").is_err());
    }

    #[test]
    fn two_kinds_of_one_name_share_no_object() {
        for role in ROLES {
            assert_ne!(
                identity("Deployment", "weather").object_name(role),
                identity("StatefulSet", "weather").object_name(role)
            );
        }
    }

    #[test]
    fn no_deployment_can_be_named_into_another_workloads_object() {
        let victim = identity("StatefulSet", "weather").object_name(Role::Verdict);
        for role in ROLES {
            let stem = victim.strip_suffix(&format!("-{}", role.suffix())).unwrap_or(&victim);
            assert_ne!(identity("Deployment", stem).object_name(role), victim);
        }
    }

    #[test]
    fn a_long_card_name_is_a_valid_label_that_no_short_name_can_equal() {
        let value = label_value(&format!("{}.{}", "a".repeat(33), "b".repeat(100)));
        assert!(is_label_value(&value), "{value}");
        assert!(value.len() <= LABEL_BYTES);
        assert!(!is_dns_subdomain(&value));
        assert_eq!(label_value("weather-deployment-card"), "weather-deployment-card");
    }

    #[test]
    fn a_workload_created_again_has_another_mark_and_the_same_objects() {
        let first = identity("Deployment", "weather").with_uid("1".to_owned());
        let second = identity("Deployment", "weather").with_uid("2".to_owned());
        assert_ne!(first.peer_mark(), second.peer_mark());
        assert_eq!(first.object_name(Role::Verdict), second.object_name(Role::Verdict));
        assert_eq!(first.workload_label(), second.workload_label());
    }

    #[test]
    fn a_policy_whose_name_is_not_cut_tells_the_kind_of_its_workload() {
        let kinds = ["Deployment", "StatefulSet", "Sandbox"];
        for name in ["weather", "a-signature-pol", "fifteen-letters"] {
            for kind in kinds {
                let names = identity(kind, name);
                for role in Role::ALL {
                    let (policy, label) = (names.object_name(role), names.workload_label());
                    let found =
                        kinds.map(|one| is_policy_of(one, (names.namespace().as_str(), &policy), &label));
                    assert_eq!(found, kinds.map(|one| one == kind), "{kind} {policy}");
                    assert!(!is_policy_of(kind, ("elsewhere", &policy), &label));
                    assert!(!is_policy_of(kind, (names.namespace().as_str(), "weather"), &label));
                }
            }
        }
        for name in ["a-signature-policy", "signature-minimum"] {
            let plain = identity("Deployment", name);
            let policy = plain.object_name(Role::Verdict);
            assert!(is_policy_of(
                "Deployment",
                (plain.namespace().as_str(), &policy),
                &plain.workload_label()
            ));
        }
        let cut = identity("StatefulSet", "a-name-that-does-not-fit");
        let policy = cut.object_name(Role::Verdict);
        assert!(!is_policy_of("StatefulSet", (cut.namespace().as_str(), &policy), &cut.workload_label()));
    }

    #[test]
    fn the_parts_of_a_hash_cannot_be_shifted_into_each_other() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a", ""]), hash(&["", "a"]));
        assert_ne!(hash(&["1:a"]), hash(&["", "a"]));
    }

    proptest! {
        #[test]
        fn every_name_is_valid_and_its_own(
            kinds in proptest::collection::vec("Deployment|StatefulSet|[A-Z][A-Za-z]{0,20}", 2),
            names in proptest::collection::vec("[a-z0-9]([-a-z0-9.]{0,80}[a-z0-9])?", 2),
        ) {
            prop_assume!(names.iter().all(|name| is_dns_subdomain(name)));
            prop_assume!((&kinds[0], &names[0]) != (&kinds[1], &names[1]));
            let mut seen = std::collections::BTreeSet::new();
            for (kind, name) in kinds.iter().zip(&names) {
                let identity = identity(kind, name);
                for role in ROLES {
                    let object = identity.object_name(role);
                    prop_assert!(object.len() <= LABEL_BYTES);
                    prop_assert!(is_dns_subdomain(&object), "{}", object);
                    prop_assert!(seen.insert(object));
                }
                prop_assert!(is_label_value(&identity.workload_label()));
                prop_assert!(is_label_value(&identity.peer_mark()));
                prop_assert!(is_label_value(&label_value(name)));
            }
        }
    }
}
