//! Patterns for hosts and paths: `*` and `?` stay between separators, `**` crosses them.
//! Matching takes at most pattern length times text length steps, without backtracking that a request could exploit.

use crate::limits::{GLOB_BYTES, GLOB_VARIANTS};

/// Pattern for a text whose labels or segments are divided by a separator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    separator: u8,
    variants: Vec<Vec<Part>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// `?`: one byte, except a separator.
    One,
    /// `*`: any number of bytes, except separators.
    Star,
    /// `**`: any number of bytes.
    DoubleStar,
}

impl Glob {
    /// Parses a pattern. `{a,b}` stands for either text; `[` and `\` are refused, because implementations differ about
    /// them and a route must not mean something else than its author thinks.
    ///
    /// The error completes the sentence "the pattern …".
    pub fn parse(pattern: &str, separator: u8) -> Result<Self, &'static str> {
        if pattern.is_empty() || pattern.len() > GLOB_BYTES {
            return Err("is empty or longer than 256 bytes");
        }
        if !pattern.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
            return Err("has a character that is not printable ASCII");
        }
        if pattern.contains(['[', ']', '\\']) {
            return Err("uses [ ] or \\, which this syntax does not have; write the alternatives as {a,b}");
        }
        let variants = expand(pattern)?.iter().map(|variant| parts(variant.as_bytes())).collect();
        Ok(Self { separator, variants })
    }

    /// True when the pattern matches the whole of `text`, case included.
    pub fn matches(&self, text: &str) -> bool {
        self.variants.iter().any(|variant| matches(variant, self.separator, text.as_bytes()))
    }
}

/// Expands braces to the patterns that they stand for, in order.
pub(crate) fn expand(pattern: &str) -> Result<Vec<String>, &'static str> {
    const UNBALANCED: &str = "has braces that are not closed, not opened, or inside each other";
    let Some((before, rest)) = pattern.split_once('{') else {
        return if pattern.contains('}') { Err(UNBALANCED) } else { Ok(vec![pattern.to_owned()]) };
    };
    let (choices, after) = rest.split_once('}').ok_or(UNBALANCED)?;
    if before.contains('}') || choices.contains('{') {
        return Err(UNBALANCED);
    }
    let mut expanded = Vec::new();
    for tail in expand(after)? {
        for choice in choices.split(',') {
            expanded.push([before, choice, &tail].concat());
        }
    }
    if expanded.len() > GLOB_VARIANTS { Err("stands for more than 64 texts") } else { Ok(expanded) }
}

fn parts(pattern: &[u8]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(pattern.len());
    for byte in pattern {
        match (byte, parts.last_mut()) {
            (b'*', Some(last @ (Part::Star | Part::DoubleStar))) => *last = Part::DoubleStar,
            (b'*', _) => parts.push(Part::Star),
            (b'?', _) => parts.push(Part::One),
            (byte, _) => parts.push(Part::Byte(*byte)),
        }
    }
    parts
}

/// Simulates all positions in the pattern at once, as a Thompson NFA, one byte of text after the other.
fn matches(pattern: &[Part], separator: u8, text: &[u8]) -> bool {
    if let Some(equal) = literal(pattern, text) {
        return equal;
    }
    // On the stack, since every request is compared with some patterns; no part is shorter than a byte.
    let (mut at, mut next) = ([false; GLOB_BYTES + 1], [false; GLOB_BYTES + 1]);
    let (Some(mut at), Some(mut next)) = (at.get_mut(..=pattern.len()), next.get_mut(..=pattern.len()))
    else {
        return false;
    };
    mark(pattern, at, 0);
    for byte in text {
        next.fill(false);
        for (position, part) in
            pattern.iter().enumerate().filter(|(position, _)| at.get(*position) == Some(&true))
        {
            let inside = *byte != separator;
            match part {
                Part::Byte(wanted) if wanted == byte => mark(pattern, next, position.saturating_add(1)),
                Part::One if inside => mark(pattern, next, position.saturating_add(1)),
                Part::Star if inside => mark(pattern, next, position),
                Part::DoubleStar => mark(pattern, next, position),
                _ => {}
            }
        }
        std::mem::swap(&mut at, &mut next);
    }
    at.last() == Some(&true)
}

/// Marks a position as reachable, and those behind stars that match the empty text.
fn mark(pattern: &[Part], at: &mut [bool], position: usize) {
    let stars =
        pattern.iter().skip(position).take_while(|part| matches!(part, Part::Star | Part::DoubleStar));
    let end = position.saturating_add(stars.count());
    at.get_mut(position..=end).unwrap_or_default().fill(true);
}

/// Shortcut for a pattern without wildcards, which most are; `None` for any other.
fn literal(pattern: &[Part], text: &[u8]) -> Option<bool> {
    let plain = pattern.iter().all(|part| matches!(part, Part::Byte(_)));
    plain.then(|| {
        pattern.len() == text.len() && pattern.iter().zip(text).all(|(part, byte)| *part == Part::Byte(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pattern: &str, text: &str) -> bool {
        Glob::parse(pattern, b'.').expect(pattern).matches(text)
    }

    #[test]
    fn one_star_stays_in_its_label_and_two_cross_labels() {
        for (pattern, text, expected) in [
            ("agent.team1", "agent.team1", true),
            ("agent.team1", "agent.team1.svc", false),
            ("*.team1", "a.team1", true),
            ("*.team1", "a.b.team1", false),
            ("**.team1", "a.b.team1", true),
            ("keycloak.*", "keycloak.evil.com", false),
            ("*", "localhost", true),
            ("*", "a.b", false),
            ("**", "a.b.c", true),
            ("a?c.d", "abc.d", true),
            ("a?c", "a.c", false),
            ("*tool*.x", "mytools.x", true),
            ("{a,b}.{c,d}", "b.c", true),
            ("{a,b}.{c,d}", "b.a", false),
            ("a*", "a", true),
            ("*a", "b", false),
        ] {
            assert_eq!(host(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_readers_differ_about_is_no_pattern() {
        let long = "a".repeat(GLOB_BYTES + 1);
        let wide = "{a,b}".repeat(7);
        for pattern in ["", "[ab]", "a\\*", "a b", "{a", "a}", "{a{b}}", "ä", &long, &wide] {
            assert!(Glob::parse(pattern, b'.').is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_longest_pattern_is_compared_too() {
        let pattern = format!("{}*", "a".repeat(GLOB_BYTES - 1));
        assert!(host(&pattern, &"a".repeat(GLOB_BYTES + 9)));
        assert!(!host(&pattern, &"a".repeat(GLOB_BYTES - 2)));
    }

    #[test]
    fn a_hostile_pair_does_not_take_long() {
        let pattern = "*a".repeat(100);
        assert!(!host(&pattern, &"a".repeat(8_000).replace("aaaa", "aaab")));
    }
}
