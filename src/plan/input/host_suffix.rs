//! Domains under which Ingresses may name hosts of agents.

use super::namespace::Namespace;
use crate::limits::NAME_BYTES;
use std::collections::BTreeSet;

/// Domain whose names the Ingresses of a namespace may claim for agents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostSuffix {
    /// Namespace of the Ingresses; `None` for all namespaces.
    namespace: Option<String>,
    domain: String,
}

/// Domains whose names an Ingress may claim for an agent. Whoever may write an Ingress can write any host into it, so an
/// administrator says which domains lead to this cluster; without any, no host of an Ingress belongs to an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSuffixes(BTreeSet<HostSuffix>);

impl HostSuffixes {
    /// Parses `DOMAIN` for all namespaces or `NAMESPACE:DOMAIN`, with `*` for all namespaces; the error completes a sentence.
    pub fn parse(text: &str) -> Result<HostSuffix, String> {
        let (namespace, domain) = match text.split_once(':') {
            None => (None, text),
            Some(("*", domain)) => (None, domain),
            Some((name, domain)) => {
                let name = Namespace::parse(name).map_err(|error| error.to_string())?;
                (Some(name.as_str().to_owned()), domain)
            }
        };
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if domain.len() > NAME_BYTES || !domain.split('.').all(is_label) {
            return Err("is not a domain in lower case, for example agents.example.org or \
                team:agents.example.org"
                .to_owned());
        }
        Ok(HostSuffix { namespace, domain: domain.to_owned() })
    }

    /// True if the Ingresses of a namespace may name any host.
    pub fn are_for(&self, namespace: &str) -> bool {
        self.0.iter().any(|suffix| suffix.namespace.as_deref().is_none_or(|of| of == namespace))
    }

    /// True if a host, in lower case, is one of the domains of a namespace or below one of them. The longest domain decides:
    /// what is given to one namespace is no other's, whatever is given to all above it.
    pub fn allow(&self, namespace: &str, host: &str) -> bool {
        let is_below = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let matching = self.0.iter().filter(|suffix| is_below(&suffix.domain));
        let longest = matching.clone().map(|suffix| suffix.domain.len()).max();
        matching
            .filter(|suffix| Some(suffix.domain.len()) == longest)
            .any(|suffix| suffix.namespace.as_deref().is_none_or(|of| of == namespace))
    }
}

impl FromIterator<HostSuffix> for HostSuffixes {
    fn from_iter<I: IntoIterator<Item = HostSuffix>>(domains: I) -> Self {
        Self(domains.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suffixes(all: &[&str]) -> HostSuffixes {
        all.iter().map(|text| HostSuffixes::parse(text).unwrap()).collect()
    }

    #[test]
    fn ingresses_of_a_namespace_without_a_domain_name_no_host() {
        let (all, one) = (suffixes(&["agents.example.org"]), suffixes(&["team:agents.example.org"]));
        assert!(all.are_for("team") && one.are_for("team"));
        assert!(!one.are_for("other") && !HostSuffixes::default().are_for("team"));
    }

    #[test]
    fn a_host_is_allowed_below_a_domain_and_not_beside_it() {
        let suffixes = suffixes(&["agents.example.org"]);
        for (host, allowed) in [
            ("agents.example.org", true),
            ("weather.agents.example.org", true),
            ("a.b.agents.example.org", true),
            ("evil-agents.example.org", false),
            ("agents.example.org.evil.example", false),
            ("bank.example", false),
            ("example.org", false),
        ] {
            assert_eq!(suffixes.allow("team", host), allowed, "{host}");
        }
        assert!(!HostSuffixes::default().allow("team", "weather.example"));
    }

    #[test]
    fn a_domain_of_one_namespace_is_nothing_to_the_others() {
        let suffixes = suffixes(&["shop:shop.example", "bank:bank.example", "*:all.example"]);
        for (namespace, host, allowed) in [
            ("shop", "cart.shop.example", true),
            ("bank", "cart.shop.example", false),
            ("shop", "bank.example", false),
            ("bank", "bank.example", true),
            ("shop", "x.all.example", true),
            ("other", "x.all.example", true),
        ] {
            assert_eq!(suffixes.allow(namespace, host), allowed, "{namespace} {host}");
        }
    }

    #[test]
    fn only_domains_are_read() {
        for right in ["agents.example.org", "shop:agents.example.org", "*:agents.example.org"] {
            assert!(HostSuffixes::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            ".",
            ".example.org",
            "example.org.",
            "*.example.org",
            "Example.org",
            "a b",
            "-a.org",
            "shop:",
            ":example.org",
            "Shop:example.org",
            "a:b:example.org",
            "*:*:example.org",
            "*:",
        ] {
            assert!(HostSuffixes::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_domain_of_one_namespace_is_no_other_ones_below_a_wider_domain() {
        let suffixes = suffixes(&["example.org", "shop:shop.example.org"]);
        assert!(suffixes.allow("shop", "cart.shop.example.org") && suffixes.allow("bank", "x.example.org"));
        assert!(!suffixes.allow("bank", "cart.shop.example.org"));
    }
}
