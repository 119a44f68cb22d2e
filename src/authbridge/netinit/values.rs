//! Parsers of single values of flags and variables: numbers, ports, addresses, marks, and lists of them.
//! An error names the flag or the variable, whichever the author of the Pod wrote.

use countersign_core::text::Quoted;
use std::net::IpAddr;
use std::str::FromStr;

/// Most entries of a list, so that the transaction fits into a pipe's buffer several times (see `apply_rules`).
pub(super) const LIST: usize = 64;

/// Firewall mark of packets, with the mask of the bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketMark {
    pub(super) value: u32,
    pub(super) mask: u32,
}

/// Parses a value of any type; the error names `name` and what is `wanted`.
fn value<T: FromStr>(name: &str, text: &str, wanted: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{name} cannot be {}: {wanted}", Quoted(text)))
}

/// Parses a TCP or UDP port from 1 to 65535.
pub(super) fn port(name: &str, text: &str) -> Result<u16, String> {
    match value(name, text, "write a port, a whole number from 1 to 65535")? {
        0 => Err(format!("{name} cannot be port 0: write a whole number from 1 to 65535")),
        port => Ok(port),
    }
}

/// Parses an address of either family.
pub(super) fn address(name: &str, text: &str) -> Result<IpAddr, String> {
    value(
        name,
        text,
        "write an address such as 10.0.0.1 or fd00::1, four numbers to 255 or the form of IPv6, without a prefix length",
    )
}

/// Parses `true` or `false`.
pub(super) fn boolean(name: &str, text: &str) -> Result<bool, String> {
    value(name, text, "write true or false")
}

/// Parses the number of a user, who is not root.
pub(super) fn user(name: &str, text: &str) -> Result<u32, String> {
    match value(name, text, "write the number of a user, from 1 to 4294967295, and not a name")? {
        0 => Err(format!(
            "{name} 0 would let every process of root out; write the number of the proxy's own user"
        )),
        uid => Ok(uid),
    }
}

/// Parses a list with commas; an empty text is an empty list.
pub(super) fn list<T>(
    name: &str,
    text: &str,
    read: fn(&str, &str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.len() > LIST {
        return Err(format!("{name} has more than {LIST} entries; take some out"));
    }
    // What else people put between entries is no part of any.
    let hint = |part: &str| if part.contains([';', ' ']) { "; put commas between entries" } else { "" };
    parts
        .into_iter()
        .map(|part| read(name, part).map_err(|problem| format!("{problem}{}", hint(part))))
        .collect()
}

/// Parses a mark such as `0x539/0xfff`, as `iptables` writes it; without a mask all bits count.
pub(super) fn mark(name: &str, text: &str) -> Result<PacketMark, String> {
    let number = |text: &str| match text.trim().strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.trim().parse().ok(),
    };
    let (value, bits) = match text.split_once('/') {
        Some((value, bits)) => (number(value), number(bits)),
        None => (number(text), Some(u32::MAX)),
    };
    match value.zip(bits) {
        // A value without a bit in the mask matches every unmarked packet, which would exempt all traffic; a value with a
        // bit outside of the mask matches none.
        Some((value, mask)) if value & mask != 0 && value & !mask == 0 => Ok(PacketMark { value, mask }),
        _ => Err(format!(
            "{name} cannot be {}: write a mark that is not 0 and a mask with all of its bits, such as 0x539/0xfff, or none \
             where there is no mesh",
            Quoted(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_is_wanted() {
        for (problem, wanted) in [
            (
                port("P", "80000").unwrap_err(),
                "P cannot be \"80000\": write a port, a whole number from 1 to 65535",
            ),
            (
                address("A", "10.0.0.300").unwrap_err(),
                "A cannot be \"10.0.0.300\": write an address such as 10.0.0.1",
            ),
            (boolean("B", "yes").unwrap_err(), "B cannot be \"yes\": write true or false"),
            (mark("M", "foo").unwrap_err(), "such as 0x539/0xfff, or none where there is no mesh"),
            (user("U", "proxy").unwrap_err(), "write the number of a user"),
            (list("L", "8081;9091", port).unwrap_err(), "65535; put commas between entries"),
        ] {
            assert!(problem.contains(wanted), "{wanted}\n{problem}");
        }
    }

    #[test]
    fn ports_are_numbers_from_1_to_65535() {
        assert_eq!(port("P", " 65535 "), Ok(65_535));
        for text in ["0", "65536", "-1", "http", "22 drop", "0x16", ""] {
            assert!(port("P", text).unwrap_err().starts_with("P cannot be "), "{text:?}");
        }
    }

    #[test]
    fn lists_have_commas_between_their_entries_and_an_end() {
        assert_eq!(list("L", "", port), Ok(Vec::new()));
        assert_eq!(list("L", " 1, 2,,3,", port), Ok(vec![1, 2, 3]));
        assert!(list("L", "1 2", port).is_err());
        let many = "1,".repeat(LIST);
        assert_eq!(list("L", &many, port).unwrap().len(), LIST);
        assert!(list("L", &format!("{many}1"), port).unwrap_err().contains("more than"));
    }

    #[test]
    fn a_mark_counts_with_its_mask_and_matches_some_packets_only() {
        assert_eq!(mark("M", "0x539/0xfff"), Ok(PacketMark { value: 0x539, mask: 0xfff }));
        assert_eq!(mark("M", "1337"), Ok(PacketMark { value: 1337, mask: u32::MAX }));
        for text in ["", "0x539/", "0/0", "0/0xfff", "0x539/0x0ff", "0x1ffffffff", "mark"] {
            assert!(mark("M", text).is_err(), "{text:?}");
        }
    }
}
