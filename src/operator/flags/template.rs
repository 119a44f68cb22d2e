//! The template of workload identities. Each placeholder is a whole path segment, so that two workloads can
//! never share an identity: `{namespace}-{serviceAccount}` would give `a-b`, `c` and `a`, `b-c` the same one.

use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::text::Quoted;

const DOMAIN: &str = "{trustDomain}";
const NAMESPACE: &str = "{namespace}";
const ACCOUNT: &str = "{serviceAccount}";

/// A checked template such as `spiffe://{trustDomain}/ns/{namespace}/sa/{serviceAccount}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdTemplate(String);

impl IdTemplate {
    /// Reads a template. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = text
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(DOMAIN))
            .ok_or_else(|| format!("does not start with spiffe://{DOMAIN}/"))?;
        for placeholder in [NAMESPACE, ACCOUNT] {
            if path.split('/').filter(|segment| *segment == placeholder).count() != 1 {
                return Err(format!("does not have {placeholder} as exactly one of its path segments"));
            }
        }
        let fixed = |segment: &&str| ![NAMESPACE, ACCOUNT].contains(segment);
        if path.split('/').filter(fixed).any(|segment| segment.contains(['{', '}'])) {
            return Err(format!("has braces other than those of {NAMESPACE} and {ACCOUNT}"));
        }
        let template = Self(text.to_owned());
        let domain = TrustDomain::parse("example.org").map_err(|refusal| refusal.to_string())?;
        match template.identity(&domain, "namespace", "account") {
            Ok(_) => Ok(template),
            Err(refusal) => Err(format!("gives no SPIFFE ID: {}", refusal.message())),
        }
    }

    /// The identity of the workloads of a service account. Names that are not those of Kubernetes are refused.
    pub fn identity(
        &self,
        domain: &TrustDomain,
        namespace: &str,
        account: &str,
    ) -> Result<SpiffeId, Refusal> {
        if let Some(name) = [namespace, account].into_iter().find(|name| name.contains('/')) {
            let found = format!("{} would take the object of several path segments", Quoted(name));
            return Err(Refusal::new(Reason::SpiffeIdMalformed, found));
        }
        let fill = |segment| match segment {
            DOMAIN => domain.as_str(),
            NAMESPACE => namespace,
            ACCOUNT => account,
            fixed => fixed,
        };
        SpiffeId::parse(&self.0.split('/').map(fill).collect::<Vec<&str>>().join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_gives_the_identity_of_a_workload() {
        let domain = TrustDomain::parse("example.org").unwrap();
        for (template, id) in [
            (
                "spiffe://{trustDomain}/ns/{namespace}/sa/{serviceAccount}",
                "spiffe://example.org/ns/shop/sa/cart.v1",
            ),
            ("spiffe://{trustDomain}/{serviceAccount}/{namespace}", "spiffe://example.org/cart.v1/shop"),
        ] {
            let template = IdTemplate::parse(template).unwrap();
            assert_eq!(template.identity(&domain, "shop", "cart.v1").unwrap().as_str(), id);
        }
    }

    #[test]
    fn a_name_cannot_reach_into_another_segment() {
        let domain = TrustDomain::parse("example.org").unwrap();
        let template = IdTemplate::parse("spiffe://{trustDomain}/{namespace}/{serviceAccount}").unwrap();
        for (namespace, account) in
            [("a/b", "c"), ("a", "b/c"), ("", "c"), ("..", "c"), ("a", "{namespace} ")]
        {
            assert!(template.identity(&domain, namespace, account).is_err(), "{namespace:?} {account:?}");
        }
    }

    #[test]
    fn templates_under_which_workloads_could_share_an_identity_are_refused() {
        for template in [
            "",
            "spiffe://example.org/ns/{namespace}/sa/{serviceAccount}",
            "spiffe://{trustDomain}.evil.org/{namespace}/{serviceAccount}",
            "spiffe://{trustDomain}/sa/{serviceAccount}",
            "spiffe://{trustDomain}/ns/{namespace}",
            "spiffe://{trustDomain}/{namespace}-{serviceAccount}",
            "spiffe://{trustDomain}/{namespace}/{serviceAccount}/{serviceAccount}",
            "spiffe://{trustDomain}/{namespace}/{serviceAccount}/{podName}",
            "spiffe://{trustDomain}/{namespace}/{serviceAccount}/",
            "spiffe://{trustDomain}/n s/{namespace}/{serviceAccount}",
        ] {
            assert!(IdTemplate::parse(template).is_err(), "{template}");
        }
    }
}
