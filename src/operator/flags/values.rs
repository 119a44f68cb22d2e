//! Parsers of single flag values. Errors say what is wrong and what to give instead.

use countersign_api::duration::parse_duration;
use countersign_plan::PodGroup;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Listen address in Go's syntax: `:8081`, `127.0.0.1:8081`, `[::1]:8081`; `0` or empty text means none.
pub(super) fn bind_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let problem = || "is not an address such as :8081 or 127.0.0.1:8081, or 0 for none".to_owned();
    let address = match text.strip_prefix(':') {
        // Go reads an address without a host as the unspecified address of both families.
        Some(port) => {
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port.parse().map_err(|_| problem())?)
        }
        None => text.parse().map_err(|_| problem())?,
    };
    Ok(Some(address))
}

/// Group of Pods in the syntax `NAMESPACE` or `NAMESPACE:key=value,…`.
pub(super) fn pod_group(text: &str) -> Result<PodGroup, String> {
    PodGroup::parse(text).map_err(|problem| format!("is refused because {problem}"))
}

/// Shortest time between two fetches of a card: 1 s to 1 h, because every card is fetched at least once an hour.
pub(super) fn min_sync_period(text: &str) -> Result<Duration, String> {
    let period = parse_duration(text).map_err(str::to_owned)?;
    let allowed = Duration::from_secs(1)..=Duration::from_hours(1);
    if allowed.contains(&period) { Ok(period) } else { Err("is not a duration from 1s to 1h".to_owned()) }
}

/// Value for one of `words`.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("is not one of {}", known.join(", "))
    })
}

/// URL of an OTLP collector such as `http://collector:4318`; refuses credentials, which logs would show.
pub(super) fn collector(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let problem = "is not an address such as http://collector:4318";
    let url = reqwest::Url::parse(text).map_err(|_| problem)?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || url.query().is_some() {
        return Err(problem.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user name, which would be shown in logs".to_owned());
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_plan::Namespace;
    use std::collections::BTreeMap;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, address) in
            [(":8081", "[::]:8081"), ("127.0.0.1:8443", "127.0.0.1:8443"), ("[::1]:0", "[::1]:0")]
        {
            assert_eq!(bind_address(text).unwrap(), Some(address.parse().unwrap()), "{text}");
        }
        assert_eq!((bind_address("0"), bind_address("")), (Ok(None), Ok(None)));
        for text in ["8081", ":", ":x", ":70000", "localhost:8081", "127.0.0.1"] {
            assert!(bind_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pods_are_named_by_namespace_and_labels() {
        let gateway = Namespace::parse("gateway").unwrap();
        assert_eq!(pod_group("gateway").unwrap(), PodGroup::whole_namespace(gateway.clone()));
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b/c".to_owned(), String::new())]);
        assert_eq!(pod_group("gateway:a=1,b/c=").unwrap(), PodGroup::labelled(gateway, labels).unwrap());
        for text in
            ["", "Gateway", "gateway:", "gateway:a", "gateway:a=1,", "gateway:a=1,a=2", "gateway:a=b c"]
        {
            assert!(pod_group(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_collector_is_an_http_address_without_credentials() {
        assert_eq!(collector(""), Ok(None));
        assert_eq!(collector("http://otel:4318/").unwrap().as_deref(), Some("http://otel:4318"));
        for text in ["otel:4317", "grpc://otel:4317", "http://", "http://u:p@otel:4318", "http://otel?x=1"] {
            assert!(collector(text).is_err(), "{text}");
        }
    }
}
