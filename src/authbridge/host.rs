//! Host of a request, in one spelling: servers and resolvers read many spellings of an address as the same one, and a rule
//! for an address must not depend on which of them the agent chose.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name or address of a server. Equal hosts have equal texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    text: String,
    address: Option<IpAddr>,
}

impl Host {
    /// Parses the host of a target, of a `Host` header or of a TLS server name, with or without the brackets of an IPv6
    /// address. The error is a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Some(address) = bare.or_else(|| text.contains(':').then_some(text)) {
            let address: Ipv6Addr = address.parse().map_err(|_| "the host is not an IPv6 address")?;
            return Ok(Self::of(address.into()));
        }
        // The dot of a fully qualified name: `TOOL.team1.` would reach the server past the route for `tool.team1`.
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.split('.').any(str::is_empty) || !name.bytes().all(is_plain) {
            return Err("the host is neither a name nor an address");
        }
        if !name.split('.').all(is_number) {
            return Ok(Self { text: name, address: None });
        }
        // Nothing but numbers is never a name: what one reader takes for none could be an address for the next.
        ipv4(&name).map(|address| Self::of(address.into())).ok_or("the host is not an IPv4 address")
    }

    /// An address; an IPv4 one also where it is written as an IPv6 one (RFC 4291 §2.5.5.2), which connects to the same.
    pub(crate) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { text: address.to_string(), address: Some(address) }
    }

    /// Name in lower case, or address in its usual spelling without brackets.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Address; `None` for a name.
    pub(crate) const fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

/// Pattern for hosts in the spelling of [`Host`]: lower case, and one for a single address as that address.
pub(crate) fn normalize_pattern(pattern: &str) -> String {
    Host::parse(pattern).map_or_else(|_| pattern.to_ascii_lowercase(), |host| host.text)
}

/// True for a pattern of addresses, such as `10.*.*.*`: addresses of names are compared with it, too.
pub(crate) fn is_of_addresses(pattern: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || b".:*?{},".contains(&byte);
    pattern.bytes().all(is_part) && pattern.bytes().any(|byte| byte.is_ascii_digit() || byte == b':')
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    hex.map_or_else(
        || label.bytes().all(|byte| byte.is_ascii_digit()),
        |digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
    )
}

/// Address as `inet_aton` reads it, which resolvers follow: up to four numbers, decimal, octal or hexadecimal, of which the
/// last one fills the bytes that are left.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let number = |label: &str| {
        let (digits, radix) = match (label.strip_prefix("0x"), label.strip_prefix('0')) {
            (Some(digits), _) => (digits, 16),
            (None, Some(digits)) if !digits.is_empty() => (digits, 8),
            _ => (label, 10),
        };
        u32::from_str_radix(digits, radix).ok()
    };
    let (before, last) = text.rsplit_once('.').unwrap_or(("", text));
    let (mut value, mut bits) = (0_u32, 32_u32);
    for label in before.split('.').filter(|label| !label.is_empty()) {
        bits = bits.checked_sub(8)?;
        value |= u32::from(u8::try_from(number(label)?).ok()?).checked_shl(bits)?;
    }
    // Of four bytes one is left for the last number.
    let most = u32::MAX.checked_shr(32_u32.checked_sub(bits)?)?;
    number(last).filter(|last| *last <= most).map(|last| Ipv4Addr::from_bits(value | last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for spelling in [
            "169.254.169.254",
            "169.254.169.254.",
            "2852039166",
            "0xA9FEA9FE",
            "0xa9fea9fe.",
            "025177524776",
            "0251.0376.0251.0376",
            "0xa9.254.0xa9.0376",
            "169.254.43518",
            "169.16689662",
            "169.0xfea9fe",
            "[::ffff:169.254.169.254]",
            "[::FFFF:a9fe:a9fe]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "::ffff:a9fe:a9fe",
        ] {
            let host = Host::parse(spelling).unwrap();
            assert_eq!(host.text(), "169.254.169.254", "{spelling}");
            assert_eq!(host.address(), Some([169, 254, 169, 254].into()), "{spelling}");
        }
        for (spelling, text) in [
            ("[FD00:0:0::0001]", "fd00::1"),
            ("127.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("0x7f.1", "127.0.0.1"),
            ("4294967295", "255.255.255.255"),
        ] {
            assert_eq!(Host::parse(spelling).unwrap().text(), text, "{spelling}");
        }
    }

    #[test]
    fn names_are_names_in_lower_case_and_without_their_last_dot() {
        for (spelling, text) in [
            ("TOOL.Team1.", "tool.team1"),
            ("tool", "tool"),
            ("1.2.3.example", "1.2.3.example"),
            ("0xfe.cafe", "0xfe.cafe"),
            ("a_b-c.d", "a_b-c.d"),
        ] {
            let host = Host::parse(spelling).unwrap();
            assert_eq!((host.text(), host.address()), (text, None), "{spelling}");
        }
    }

    #[test]
    fn what_readers_could_take_for_different_hosts_is_refused() {
        for spelling in [
            "",
            ".",
            "a..b",
            "a..",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.256",
            "1.2.65536",
            "1.16777216",
            "4294967296",
            "08.1.1.1",
            "1.2.3.0x",
            "0x",
            "[::1",
            "[fe80::1%25eth0]",
            "[1.2.3.4]",
            "a%2eb",
            "a b",
            "ü.example",
        ] {
            assert!(Host::parse(spelling).is_err(), "{spelling}");
        }
    }

    #[test]
    fn patterns_of_addresses_are_told_from_those_of_names() {
        assert_eq!(normalize_pattern("0xA9FEA9FE"), "169.254.169.254");
        assert_eq!(normalize_pattern("::FFFF:10.0.0.1"), "10.0.0.1");
        assert_eq!(normalize_pattern("*.Example"), "*.example");
        for pattern in ["10.*.*.*", "169.254.169.254", "fd00:**", "::1", "10.{1,2}.**"] {
            assert!(is_of_addresses(pattern), "{pattern}");
        }
        for pattern in ["**", "*", "*.*", "tool.team1", "10.example", "fade.cafe"] {
            assert!(!is_of_addresses(pattern), "{pattern}");
        }
    }
}
