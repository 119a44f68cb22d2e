//! Domains under which Ingresses may name hosts of agents.

use std::collections::BTreeSet;

/// Longest DNS name in text, in bytes (RFC 1035, section 2.3.4).
const NAME_BYTES: usize = 253;

/// Domains whose names an Ingress may claim for an agent. Whoever may write an Ingress can write any host into it, so an
/// administrator says which domains lead to this cluster; without any, no host of an Ingress belongs to an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSuffixes(BTreeSet<String>);

impl HostSuffixes {
    /// Parses a domain such as `agents.example.org`; the error completes a sentence.
    pub fn parse(text: &str) -> Result<String, String> {
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() > NAME_BYTES || !text.split('.').all(is_label) {
            return Err("is not a domain in lower case, for example agents.example.org".to_owned());
        }
        Ok(text.to_owned())
    }

    /// True if a host, in lower case, is one of the domains or below one of them.
    pub fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|suffix| {
            host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

impl FromIterator<String> for HostSuffixes {
    fn from_iter<I: IntoIterator<Item = String>>(domains: I) -> Self {
        Self(domains.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_allowed_below_a_domain_and_not_beside_it() {
        let suffixes: HostSuffixes = ["agents.example.org"].map(str::to_owned).into_iter().collect();
        for (host, allowed) in [
            ("agents.example.org", true),
            ("weather.agents.example.org", true),
            ("a.b.agents.example.org", true),
            ("evil-agents.example.org", false),
            ("agents.example.org.evil.example", false),
            ("bank.example", false),
            ("example.org", false),
        ] {
            assert_eq!(suffixes.allow(host), allowed, "{host}");
        }
        assert!(!HostSuffixes::default().allow("weather.example"));
    }

    #[test]
    fn only_domains_are_read() {
        assert_eq!(HostSuffixes::parse("agents.example.org").as_deref(), Ok("agents.example.org"));
        for wrong in
            ["", ".", ".example.org", "example.org.", "*.example.org", "Example.org", "a b", "-a.org"]
        {
            assert!(HostSuffixes::parse(wrong).is_err(), "{wrong}");
        }
    }
}
