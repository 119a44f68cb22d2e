//! Check of patterns for hosts. A pattern that no host can match is refused: its rule would never hold, and a route that denies
//! would deny nothing.

use crate::glob::{Glob, expand};
use crate::host::Host;
use countersign_core::text::Quoted;

/// A sentence about a pattern that has no meaning or that no host can match; `None` for one that can match.
pub(super) fn host_problem(pattern: &str) -> Option<String> {
    let shown = Quoted(pattern);
    if let Some(address) = in_brackets(pattern) {
        return Some(format!("{shown} has an address in brackets; write {}", Quoted(address)));
    }
    if let Err(problem) = Glob::parse(pattern, b'.') {
        return Some(format!("the pattern {shown} {problem}"));
    }
    let is_whole = !pattern.contains('{');
    let variants = expand(pattern).ok()?;
    variants.iter().find_map(|one| problem_of(one, is_whole)).map(|problem| format!("{shown} {problem}"))
}

/// The IPv6 address of `[::1]` or `[::1]:8080`.
fn in_brackets(pattern: &str) -> Option<&str> {
    let (address, after) = pattern.strip_prefix('[')?.split_once(']')?;
    (address.contains(':') && (after.is_empty() || after.starts_with([':', '/']))).then_some(address)
}

/// What is wrong with a pattern without braces. That of a whole rule is brought into the spelling of hosts before it is
/// compared, and an alternative in braces is not.
fn problem_of(pattern: &str, is_whole: bool) -> Option<String> {
    let pattern = &*pattern.to_ascii_lowercase();
    if let Some((_, after)) = pattern.split_once("://") {
        return Some(format!("is a URL, and a rule has the host alone{}", written(authority(after))));
    }
    if let Some((before, after)) = pattern.split_once('/') {
        let is_network = after.bytes().all(|byte| byte.is_ascii_digit()) && !after.is_empty();
        if is_network && Host::parse(before).is_ok_and(|host| host.address().is_some()) {
            return Some("is a network; write its addresses with *, such as 10.1.**".to_owned());
        }
        return Some(format!("has a path, and a rule has the host alone{}", written(authority(before))));
    }
    let has_wildcards = pattern.contains(['*', '?']);
    if pattern.contains(':') && (has_wildcards || Host::parse(pattern).is_err()) {
        return colon_problem(pattern);
    }
    let of_host = |letter: &char| letter.is_ascii_alphanumeric() || "-_.:*?".contains(*letter);
    if let Some(other) = pattern.chars().find(|letter| !of_host(letter)) {
        return Some(format!("has {other}, which no host has"));
    }
    let has_full_dot = is_whole && !has_wildcards;
    let labels = pattern.strip_suffix('.').filter(|_| has_full_dot).unwrap_or(pattern);
    if labels.split('.').any(str::is_empty) {
        let instead = match pattern.strip_prefix('.') {
            Some(below) => format!("{} for every host below it", written(&format!("**.{below}"))),
            None => written(pattern.trim_end_matches('.')),
        };
        return Some(format!("has an empty label, which no host has{instead}"));
    }
    if has_wildcards {
        return None;
    }
    match Host::parse(pattern) {
        Err(why) => Some(format!("is no host: {why}")),
        Ok(host) if !is_whole && host.text() != pattern => {
            Some(format!("has another spelling in braces than hosts have{}", written(host.text())))
        }
        Ok(_) => None,
    }
}

/// What is wrong with a pattern that has a colon, unless it is one of IPv6 addresses such as `fd00:**`.
fn colon_problem(pattern: &str) -> Option<String> {
    let (before, last) = pattern.rsplit_once(':')?;
    let of_ipv6 = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'*' | b'?');
    // A single colon divides the beginning of addresses from any end; `**:443` and `*:*` are meant as ports.
    let is_beginning = !before.contains('*') && !before.is_empty() && last.contains('*');
    let has_wildcards = pattern.contains(['*', '?']);
    if has_wildcards && pattern.bytes().all(of_ipv6) && (before.contains(':') || is_beginning) {
        return None;
    }
    if !before.contains(':') && last.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*') {
        return Some(format!("names a port, and a rule holds for every port{}", written(before)));
    }
    Some("has a colon, which only IPv6 addresses have, and is no pattern of them".to_owned())
}

/// Host of what follows `://`, or stands before a path.
fn authority(text: &str) -> &str {
    let text = text.split_once('/').map_or(text, |(authority, _)| authority);
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    }
}

/// What to write instead, if that is anything.
fn written(host: &str) -> String {
    if host.is_empty() { String::new() } else { format!("; write {}", Quoted(host)) }
}
