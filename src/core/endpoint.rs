//! The endpoints of a card: http(s) URLs whose host is a DNS name (rule 51).
//! No URL library is used: URL readers disagree about hosts, and every spelling on which they do is refused.

use super::json::{Object, Value};
use super::refusal::{Reason, Refusal};
use super::text::Quoted;

/// An absolute URL whose host is a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    encrypted: bool,
    host: String,
    port: Option<u16>,
}

impl Endpoint {
    /// Parses `http(s)://host[:port][/path]`. Refuses user names, IP literals in any notation, empty labels,
    /// percent-encoding and non-ASCII in the host, white space, backslashes and fragments.
    pub fn parse(url: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(Reason::EndpointMalformed, format!("the endpoint {} {why}", Quoted(url)))
        };
        let (encrypted, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = url.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(refuse("does not start with https:// or http://"));
        };
        if !url
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'<' | b'>' | b'"'))
        {
            return Err(refuse("contains characters that do not belong into a URL"));
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(refuse("contains a user name"));
        }
        let (host, port) = match authority.split_once(':') {
            None => (authority, None),
            Some((host, port)) => {
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|port| digits && *port != 0);
                (host, Some(port.ok_or_else(|| refuse("has no valid port behind its host"))?))
            }
        };
        if !is_dns_name(host) {
            return Err(refuse("has no DNS name as its host"));
        }
        Ok(Self { encrypted, host: host.to_ascii_lowercase(), port })
    }

    /// True if the scheme is https.
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The host name, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if the URL names one; never 0.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

/// True for a DNS name of RFC 1123 §2.1 whose last label is not a number, so that no reader takes it for an IPv4
/// address.
fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").or(last.strip_prefix("0X")).is_some();
    host.len() <= 253 && host.split('.').all(label) && !numeric
}

/// Every endpoint URL of a card: 0.3 `url`, then 1.0 and 0.3 interfaces. An endpoint that is not text is a refusal.
pub(crate) fn endpoint_urls(card: Object<'_>) -> Vec<Result<&str, Refusal>> {
    let text = |value: Value<'_>| -> Result<(), Refusal> {
        Err(Refusal::new(Reason::EndpointMalformed, format!("an endpoint is {}", value.kind().name())))
    };
    let mut urls = Vec::new();
    if let Some(url) = card.get("url") {
        urls.push(url.as_str().map_or_else(|| text(url).map(|()| ""), Ok));
    }
    for list in ["supportedInterfaces", "additionalInterfaces"] {
        let interfaces = card.get(list).and_then(Value::as_array);
        for interface in interfaces.into_iter().flat_map(super::json::Array::iter) {
            let url = interface.as_object().and_then(|interface| interface.get("url"));
            urls.push(match url {
                Some(url) => url.as_str().map_or_else(|| text(url).map(|()| ""), Ok),
                None => text(interface).map(|()| ""),
            });
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_51_plain_urls_are_endpoints() {
        for (url, host, port, encrypted) in [
            ("https://weather.demo.svc.cluster.local/a2a", "weather.demo.svc.cluster.local", None, true),
            ("http://agent:8000", "agent", Some(8000), false),
            ("https://API.Example.org:443/x?y=z", "api.example.org", Some(443), true),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.host(), endpoint.port(), endpoint.is_encrypted()), (host, port, encrypted));
        }
    }

    #[test]
    fn rule_51_everything_that_readers_take_elsewhere_is_refused() {
        for url in [
            "https://agent.demo@evil.example/",
            "https://user:pw@agent.demo/",
            "https://169.254.169.254/",
            "https://[::1]/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://127.1/",
            "https://10.0.0.1./",
            "https://evil.example\\@agent.demo/",
            "https://agent.demo%2eevil.example/",
            "https://agent.demo./",
            "https:///path",
            "https://",
            "//agent.demo/",
            "ftp://agent.demo/",
            "HTTPS://agent.demo/",
            "agent.demo:80",
            "https://agent.demo:/",
            "https://agent.demo:0/",
            "https://agent.demo:65536/",
            "https://agent.demo:+80/",
            "https://agent.demo:80:80/",
            "https://a gent/",
            "https://agent.demo/#frag",
            "https://агент.example/",
            "https://-agent.demo/",
            "https://agent..demo/",
            "https://agent\n.demo/",
            "javascript:alert(1)",
            "",
        ] {
            let refusal = Endpoint::parse(url).expect_err(url);
            assert_eq!(refusal.reason(), Reason::EndpointMalformed, "{url}");
        }
    }
}
