//! Policies for the peer of a connection: exact SPIFFE IDs, IDs below a path, or a whole trust domain.

use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::text::Quoted;

/// Set of SPIFFE IDs that may be at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPolicy(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Exactly(SpiffeId),
    /// IDs with more segments than this one, which itself is not among them.
    Below(SpiffeId),
    Domain(TrustDomain),
    /// IDs of one namespace in the form that SPIRE's controller manager gives them.
    Namespace(TrustDomain, String),
}

impl PeerPolicy {
    /// Reads `spiffe://example.org/ns/a/sa/b`, `spiffe://example.org/ns/a/*` or `spiffe://example.org`.
    ///
    /// The error is a sentence.
    pub fn parse(rules: &[String]) -> Result<Self, String> {
        let mut parsed = Vec::with_capacity(rules.len());
        for text in rules {
            let below = text.strip_suffix("/*");
            let id = SpiffeId::parse(below.unwrap_or(text))
                .map_err(|refusal| format!("{} is no rule for peers: {}", Quoted(text), refusal.message()))?;
            parsed.push(match (below, id.has_path()) {
                (Some(_), true) => Rule::Below(id),
                (None, true) => Rule::Exactly(id),
                (_, false) => Rule::Domain(id.trust_domain().clone()),
            });
        }
        Ok(Self(parsed))
    }

    /// Every workload of a trust domain.
    pub fn domain(trust_domain: TrustDomain) -> Self {
        Self(vec![Rule::Domain(trust_domain)])
    }

    /// Every workload of a namespace of a trust domain.
    pub fn namespace(trust_domain: TrustDomain, namespace: String) -> Self {
        Self(vec![Rule::Namespace(trust_domain, namespace)])
    }

    /// True when the policy admits `peer`. An ID without a path is admitted by none, because it names the trust domain
    /// and no workload.
    pub fn admits(&self, peer: &SpiffeId) -> bool {
        peer.has_path()
            && self.0.iter().any(|rule| match rule {
                Rule::Exactly(id) => id == peer,
                Rule::Below(id) => {
                    peer.as_str().strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('/'))
                }
                Rule::Domain(domain) => domain == peer.trust_domain(),
                Rule::Namespace(domain, namespace) => {
                    domain == peer.trust_domain() && namespace_of(peer) == Some(namespace)
                }
            })
    }
}

/// The namespace in an ID of the form `/ns/NAMESPACE/sa/ACCOUNT`.
pub fn namespace_of(id: &SpiffeId) -> Option<&str> {
    let mut segments = id.path().split('/').skip(1);
    match (segments.next(), segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some("ns"), Some(namespace), Some("sa"), Some(_), None) => Some(namespace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(rule: &str, peer: &str) -> bool {
        PeerPolicy::parse(&[rule.to_owned()]).expect(rule).admits(&SpiffeId::parse(peer).expect(peer))
    }

    #[test]
    fn a_rule_admits_what_it_names_and_nothing_that_looks_like_it() {
        let id = "spiffe://a.org/ns/x/sa/y";
        for (rule, peer, expected) in [
            (id, id, true),
            (id, "spiffe://a.org/ns/x/sa/yy", false),
            (id, "spiffe://b.org/ns/x/sa/y", false),
            ("spiffe://a.org/ns/x/*", id, true),
            ("spiffe://a.org/ns/x/*", "spiffe://a.org/ns/xx/sa/y", false),
            ("spiffe://a.org/ns/x/*", "spiffe://a.org/ns/x", false),
            ("spiffe://a.org", id, true),
            ("spiffe://a.org/*", id, true),
            ("spiffe://a.org", "spiffe://a.org.evil/ns/x/sa/y", false),
            ("spiffe://a.org", "spiffe://a.org", false),
        ] {
            assert_eq!(admits(rule, peer), expected, "{rule} on {peer}");
        }
    }

    #[test]
    fn a_namespace_is_read_from_ids_of_the_usual_form_only() {
        let policy = PeerPolicy::namespace(TrustDomain::parse("a.org").unwrap(), "x".to_owned());
        for (peer, expected) in [
            ("spiffe://a.org/ns/x/sa/y", true),
            ("spiffe://b.org/ns/x/sa/y", false),
            ("spiffe://a.org/ns/x/sa/y/z", false),
            ("spiffe://a.org/a/ns/x/sa/y", false),
        ] {
            assert_eq!(policy.admits(&SpiffeId::parse(peer).unwrap()), expected, "{peer}");
        }
    }

    #[test]
    fn what_is_no_identity_is_no_rule() {
        for rule in ["", "*", "a.org", "spiffe://a.org/ns/*/sa", "spiffe://A.org", "https://a.org"] {
            assert!(PeerPolicy::parse(&[rule.to_owned()]).is_err(), "{rule}");
        }
    }
}
