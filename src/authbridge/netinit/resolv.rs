//! DNS servers of a pod, from the file that its resolver reads.
//! An address that cannot be parsed is an error, because skipping it would silently block that server.

use countersign_core::text::Quoted;
use countersign_io::files::read_text;
use std::net::IpAddr;
use std::path::Path;

/// Largest `resolv.conf`, in bytes; a kubelet writes at most three servers and 2,048 characters of search list.
const RESOLV_CONF_BYTES: usize = 64 * 1024;
/// Most servers; a resolver uses three (`resolv.conf(5)`).
const MOST: usize = 16;

/// Reads the DNS servers in the file at `path`.
pub(super) fn read_nameservers(path: &Path) -> Result<Vec<IpAddr>, String> {
    let text = read_text(path, RESOLV_CONF_BYTES).map_err(|error| error.to_string())?;
    parse_nameservers(&text).map_err(|problem| format!("{}: {problem}", Quoted(&path.to_string_lossy())))
}

/// Parses the `nameserver` lines of `resolv.conf(5)`: the keyword begins a line, and the address follows.
fn parse_nameservers(text: &str) -> Result<Vec<IpAddr>, String> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let word = words.next().unwrap_or_default();
        // A link-local server has its interface in the text (RFC 4007 §11); packets have only the address.
        let address = word.split_once('%').map_or(word, |(address, _)| address);
        match address.parse() {
            Ok(address) => servers.push(address),
            Err(_) => return Err(format!("{} is not the address of a nameserver", Quoted(word))),
        }
    }
    if servers.len() > MOST {
        return Err(format!("more than {MOST} nameservers are named"));
    }
    if servers.is_empty() {
        return Err("no nameserver is named, so all DNS would be cut off".to_owned());
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_both_families_are_found_between_other_lines() {
        let text = "# made by a kubelet\nsearch a.svc nameserver\n nameserver\t10.96.0.10 \nnameserver fe80::1%eth0\n\
                    #nameserver 192.0.2.1\noptions ndots:5\n";
        let found: Vec<String> = parse_nameservers(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.96.0.10", "fe80::1"]);
    }

    #[test]
    fn a_file_without_a_server_or_with_a_broken_one_is_refused() {
        for text in
            ["search a\n", "nameserver\n", "nameserver dns.example\n", "nameserver 10.0.0.1;drop\n", "%"]
        {
            assert!(parse_nameservers(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let problem = read_nameservers(Path::new("/nonexistent/resolv.conf")).unwrap_err();
        assert!(problem.contains("/nonexistent/resolv.conf"), "{problem}");
    }
}
