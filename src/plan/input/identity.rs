//! SPIFFE IDs of workloads, derived from namespace and service account, and the signers that their cards may have.
//! The operator and the command line share this code, so that both expect the same signer (rule 50).

use crate::input::namespace::Namespace;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::text::Quoted;
use std::collections::BTreeSet;

const DOMAIN: &str = "{trustDomain}";
const NAMESPACE: &str = "{namespace}";
const ACCOUNT: &str = "{serviceAccount}";

/// SPIFFE ID template such as `spiffe://{trustDomain}/ns/{namespace}/sa/{serviceAccount}`.
///
/// Each placeholder is a whole path segment, so that two workloads can never share an identity:
/// `{namespace}-{serviceAccount}` would give `a-b`, `c` and `a`, `b-c` one SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdTemplate(String);

impl IdTemplate {
    /// Template of SPIRE's Kubernetes workload registrars.
    pub const DEFAULT: &str = "spiffe://{trustDomain}/ns/{namespace}/sa/{serviceAccount}";

    /// Parses a template; the error completes a sentence that begins with the name of the template.
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

    /// SPIFFE ID of the workloads of a service account; refuses names with a slash, which would span path segments,
    /// and names that give no SPIFFE ID (rule 41).
    pub fn identity(
        &self,
        domain: &TrustDomain,
        namespace: &str,
        account: &str,
    ) -> Result<SpiffeId, Refusal> {
        if let Some(name) = [namespace, account].into_iter().find(|name| name.contains('/')) {
            let found = format!("{} would take the place of several path segments", Quoted(name));
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

/// Signers whose signature a card may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerScope {
    /// SPIFFE ID of the workload alone.
    Workload,
    /// Every SPIFFE ID of the trust domain. Weaker than rule 50; for compatibility only.
    TrustDomain,
}

/// Configuration that assigns SPIFFE IDs to workloads.
#[derive(Clone, Debug)]
pub struct IdentityRules {
    /// Trust domain of the agents; without one, all cards are refused.
    pub trust_domain: Option<TrustDomain>,
    /// Other trust domains that cards may name, as an administrator allows.
    pub others: AllowedDomains,
    /// Template that builds a SPIFFE ID from namespace and service account.
    pub template: IdTemplate,
    /// Accepted signers where the AgentCard does not narrow them.
    pub scope: SignerScope,
}

/// Trust domains other than that of the agents, whose authorities may vouch for agents of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedDomains(BTreeSet<(Option<String>, TrustDomain)>);

impl AllowedDomains {
    /// Set with `domain` allowed in a namespace; `None` for all namespaces.
    #[must_use]
    pub fn with(mut self, namespace: Option<&str>, domain: TrustDomain) -> Self {
        self.0.insert((namespace.map(str::to_owned), domain));
        self
    }

    /// Parses `NAMESPACE:DOMAIN`, with `*` for all namespaces; the error completes a sentence.
    pub fn parse(text: &str) -> Result<(Option<String>, TrustDomain), String> {
        let (namespace, domain) =
            text.split_once(':').ok_or("is not NAMESPACE:TRUST_DOMAIN, with * for all namespaces")?;
        let namespace = match namespace {
            "*" => None,
            name => Some(Namespace::parse(name).map_err(|error| error.to_string())?.as_str().to_owned()),
        };
        let domain = TrustDomain::parse(domain).map_err(|refusal| refusal.message().to_owned())?;
        Ok((namespace, domain))
    }

    fn allows(&self, namespace: &str, domain: &TrustDomain) -> bool {
        self.0.iter().any(|(of, allowed)| {
            allowed == domain && of.as_deref().is_none_or(|allowed| allowed == namespace)
        })
    }
}

impl FromIterator<(Option<String>, TrustDomain)> for AllowedDomains {
    fn from_iter<I: IntoIterator<Item = (Option<String>, TrustDomain)>>(domains: I) -> Self {
        Self(domains.into_iter().collect())
    }
}

/// Signer constraints of an AgentCard, from `spec.identityBinding`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Binding<'a> {
    /// Trust domain that the signer must belong to; `None` means that of the agents.
    pub trust_domain: Option<&'a str>,
    /// SPIFFE IDs that must include the workload's own; an empty list allows every SPIFFE ID.
    pub allowed: &'a [String],
    /// True if only the workload's own SPIFFE ID may sign, whatever scope is configured.
    pub is_narrowed: bool,
}

/// Expected signer of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Trust domain whose authorities may issue the signer's certificate (rule 42).
    pub trust_domain: TrustDomain,
    /// SPIFFE ID of the workload.
    pub spiffe_id: SpiffeId,
    /// Scope of accepted signers: the workload's SPIFFE ID, or its whole trust domain.
    pub scope: SignerScope,
}

impl Expected {
    /// Expectation of exactly one signer, `spiffe_id`.
    pub fn exactly(spiffe_id: SpiffeId) -> Self {
        Self { trust_domain: spiffe_id.trust_domain().clone(), spiffe_id, scope: SignerScope::Workload }
    }

    /// True if a card signed by `signer` counts for the workload.
    pub fn accepts(&self, signer: &SpiffeId) -> bool {
        match self.scope {
            SignerScope::Workload => *signer == self.spiffe_id,
            SignerScope::TrustDomain => *signer.trust_domain() == self.trust_domain,
        }
    }
}

impl IdentityRules {
    /// Expected signer of the card of a workload. `binding` chooses among what the configuration allows: the author of an
    /// AgentCard does not decide whom the cluster trusts (rule 50).
    pub fn expect(&self, binding: Binding<'_>, namespace: &str, account: &str) -> Result<Expected, Refusal> {
        let own = self.trust_domain.clone().ok_or_else(|| {
            Refusal::new(Reason::TrustDomainUnknown, "the operator has no --spire-trust-domain")
        })?;
        let trust_domain = match binding.trust_domain.map(TrustDomain::parse).transpose()? {
            Some(named) if named != own && !self.others.allows(namespace, &named) => {
                let found = format!(
                    "spec.identityBinding.trustDomain is {named}, which nobody allowed for {} beside {own}",
                    Quoted(namespace)
                );
                return Err(Refusal::new(Reason::TrustDomainMismatch, found));
            }
            Some(named) => named,
            None => own,
        };
        let spiffe_id = self.template.identity(&trust_domain, namespace, account)?;
        if !binding.allowed.is_empty() && !binding.allowed.iter().any(|id| id == spiffe_id.as_str()) {
            let found = format!("spec.identityBinding.allowedSpiffeIDs does not contain {spiffe_id}");
            return Err(Refusal::new(Reason::IdentityMismatch, found));
        }
        let scope = if binding.is_narrowed { SignerScope::Workload } else { self.scope };
        Ok(Expected { trust_domain, spiffe_id, scope })
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

    #[test]
    fn a_card_narrows_who_may_sign_it_and_never_widens() {
        let rules = |domain: Option<&str>, scope| IdentityRules {
            trust_domain: domain.map(|name| TrustDomain::parse(name).unwrap()),
            template: IdTemplate::parse(IdTemplate::DEFAULT).unwrap(),
            others: AllowedDomains::default()
                .with(Some("shop"), TrustDomain::parse("partner.example").unwrap()),
            scope,
        };
        let own = "spiffe://example.org/ns/shop/sa/cart".to_owned();
        let partner = "spiffe://partner.example/ns/shop/sa/cart";
        let (exact, other) = ([own.clone()], ["spiffe://example.org/ns/shop/sa/other".to_owned()]);
        let asked = |trust_domain, allowed, is_narrowed| Binding { trust_domain, allowed, is_narrowed };
        let (workload, domain) = (SignerScope::Workload, SignerScope::TrustDomain);
        for (rules, binding, expected) in [
            (rules(Some("example.org"), workload), Binding::default(), Ok((own.as_str(), workload))),
            (rules(Some("example.org"), domain), Binding::default(), Ok((own.as_str(), domain))),
            (rules(Some("example.org"), domain), asked(None, &[], true), Ok((own.as_str(), workload))),
            (rules(Some("example.org"), workload), asked(None, &exact, false), Ok((own.as_str(), workload))),
            (
                rules(Some("example.org"), workload),
                asked(Some("example.org"), &[], false),
                Ok((own.as_str(), workload)),
            ),
            (
                rules(Some("example.org"), workload),
                asked(Some("partner.example"), &[], false),
                Ok((partner, workload)),
            ),
            (
                rules(Some("example.org"), workload),
                asked(Some("other.example"), &[], false),
                Err(Reason::TrustDomainMismatch),
            ),
            (rules(None, workload), asked(Some("example.org"), &[], false), Err(Reason::TrustDomainUnknown)),
            (rules(Some("example.org"), workload), asked(None, &other, false), Err(Reason::IdentityMismatch)),
            (rules(None, workload), Binding::default(), Err(Reason::TrustDomainUnknown)),
        ] {
            let found = rules.expect(binding, "shop", "cart");
            let found = found.as_ref().map(|found| (found.spiffe_id.as_str(), found.scope));
            assert_eq!(found.map_err(Refusal::reason), expected, "{rules:?} {binding:?}");
        }
        let elsewhere = rules(Some("example.org"), workload)
            .expect(asked(Some("partner.example"), &[], false), "bank", "cart")
            .unwrap_err();
        assert_eq!(elsewhere.reason(), Reason::TrustDomainMismatch, "allowed for another namespace");
    }

    #[test]
    fn other_trust_domains_are_allowed_by_namespace() {
        let partner = TrustDomain::parse("partner.example").unwrap();
        assert_eq!(
            AllowedDomains::parse("shop:partner.example"),
            Ok((Some("shop".to_owned()), partner.clone()))
        );
        let all: AllowedDomains = [AllowedDomains::parse("*:partner.example").unwrap()].into_iter().collect();
        assert!(all.allows("any", &partner));
        for wrong in ["partner.example", "Shop:partner.example", ":partner.example", "shop:Partner", "shop:"]
        {
            assert!(AllowedDomains::parse(wrong).is_err(), "{wrong}");
        }
    }
}
