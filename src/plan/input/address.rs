//! IP addresses and ranges that NetworkPolicies allow.
//! Text is accepted whole or refused: a skipped address closes too much, a misread address opens too much.

use super::error::InputError;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// IP address range in canonical form, with no bits set behind the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Parses `address/prefix`; refuses host bits, signs, leading zeros and IPv4-mapped IPv6 addresses.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let wrong = || InputError::address("a range", text);
        let (address, digits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let canonical =
            digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        let prefix: u8 = digits.parse().map_err(|_| wrong())?;
        let cidr = Self { address, prefix };
        if canonical && !is_mapped(address) && prefix <= width(address) && cidr.has_no_host_bits() {
            Ok(cidr)
        } else {
            Err(wrong())
        }
    }

    /// Range of one address: `/32` for IPv4, `/128` for IPv6.
    pub fn single(address: IpAddr) -> Self {
        Self { address, prefix: width(address) }
    }

    /// True if `other` is smaller than this range and lies wholly inside; IPv4 and IPv6 never contain each other.
    pub(crate) fn strictly_contains(&self, other: &Self) -> bool {
        width(self.address) == width(other.address)
            && other.prefix > self.prefix
            && masked(other.address, self.prefix) == bits(self.address)
    }

    fn has_no_host_bits(self) -> bool {
        masked(self.address, self.prefix) == bits(self.address)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Server address check, equal to what Kubernetes accepts as the address of an endpoint; `what` names the input
/// in the error.
///
/// Loopback and unspecified addresses mean whichever host uses them, and a link-local address would allow access
/// to the metadata service of many clouds.
pub(crate) fn server_address(what: &'static str, address: IpAddr) -> Result<IpAddr, InputError> {
    let special =
        address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_mapped(address);
    let narrow = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if special || narrow { Err(InputError::address(what, &address.to_string())) } else { Ok(address) }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Bits of an address, left-aligned in 128 bits, so that one prefix mask serves both families.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()).rotate_right(32),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

fn masked(address: IpAddr, prefix: u8) -> u128 {
    let dropped = 128_u32.saturating_sub(u32::from(prefix));
    bits(address) & u128::MAX.checked_shl(dropped).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_only_in_its_canonical_form() {
        for good in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.7/32", "::/0", "2001:db8::/32", "2001:db8::1/128"] {
            assert_eq!(Cidr::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "010.0.0.0/8",
            "2001:db8::1/64",
            "::/129",
            "::ffff:10.0.0.0/104",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
        ] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn containment_is_strict_and_keeps_the_families_apart() {
        let cidr = |text| Cidr::parse(text).unwrap();
        assert!(cidr("0.0.0.0/0").strictly_contains(&cidr("10.0.0.0/8")));
        assert!(cidr("10.0.0.0/8").strictly_contains(&cidr("10.1.0.0/16")));
        assert!(!cidr("10.0.0.0/8").strictly_contains(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/8").strictly_contains(&cidr("11.0.0.0/16")));
        assert!(!cidr("::/0").strictly_contains(&cidr("10.0.0.0/8")));
        assert!(!cidr("0.0.0.0/0").strictly_contains(&cidr("2001:db8::/64")));
    }

    #[test]
    fn a_server_has_no_special_address() {
        for good in ["10.0.0.1", "203.0.113.9", "2001:db8::1", "fd00::1"] {
            assert!(server_address("x", good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(server_address("x", bad.parse().unwrap()).is_err(), "{bad}");
        }
    }
}
