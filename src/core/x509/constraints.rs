//! Name constraints: the names that certificates below an issuer may carry (rule 37; RFC 5280 §4.2.1.10).
//!
//! URI and DNS names are compared. A name of another kind refuses the certificate as soon as a constraint speaks of its
//! kind: an SVID has no use for such names, and each kind has comparison rules of its own.

use crate::der;
use crate::limits::{CONSTRAINED_NAMES, NAME_SUBTREES};
use crate::spiffe::SpiffeId;
use crate::text::Quoted;

/// The kinds of `GeneralName`, by the number of their tag (RFC 5280 §4.2.1.6).
const EMAIL: u8 = 1;
const DNS: u8 = 2;
const DIRECTORY: u8 = 4;
const URI: u8 = 6;
/// The object identifier of the attribute `emailAddress` with its tag and length.
const EMAIL_ADDRESS: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];

/// The subtrees that an issuer permits and excludes, each a list of `GeneralSubtree` in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameConstraints {
    permitted: Box<[u8]>,
    excluded: Box<[u8]>,
}

impl NameConstraints {
    /// Parses the value of the extension; the error says what is wrong with it.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, String> {
        let broken = || "are not a list of permitted and one of excluded subtrees".to_owned();
        let lists = der::read_only(value, der::SEQUENCE).ok_or_else(broken)?;
        let (permitted, rest) = split_list(lists, 0xa0);
        let (excluded, rest) = split_list(rest, 0xa1);
        if !rest.is_empty() || (permitted.is_none() && excluded.is_none()) {
            return Err(broken());
        }
        let lists = [permitted, excluded];
        if lists.contains(&Some(&[][..]))
            || !lists.iter().flatten().all(|list| der::consists_of(list, |tag| tag == 0x30))
        {
            return Err(broken());
        }
        let found = lists.iter().flatten().flat_map(|list| subtrees(list));
        // RFC 5280 §4.2.1.10: minimum is zero, which DER leaves out, and maximum is absent.
        if found.clone().any(|subtree| subtree.is_none()) {
            return Err("have a subtree with a minimum or maximum, or with two names".to_owned());
        }
        if found.count() > NAME_SUBTREES {
            return Err(format!("have more than {NAME_SUBTREES} subtrees, the limit"));
        }
        Ok(Self {
            permitted: permitted.unwrap_or_default().into(),
            excluded: excluded.unwrap_or_default().into(),
        })
    }

    /// Checks the names of a certificate somewhere below the issuer; the error says which one is not allowed. Both are in
    /// DER: `subject` whole, `alternative_names` as the contents of the extension.
    ///
    /// Self-issued intermediates are checked as well, unlike in RFC 5280 §6.1.3: SPIRE servers share one name.
    pub(crate) fn check(&self, subject: &[u8], alternative_names: &[u8]) -> Result<(), String> {
        for (index, (kind, name)) in names(subject, alternative_names).enumerate() {
            if index >= CONSTRAINED_NAMES {
                return Err(format!(
                    "has more than {CONSTRAINED_NAMES} names, the limit below name constraints"
                ));
            }
            let unclear =
                || format!("has {}, which cannot be compared with a constraint on it", shown(kind, name));
            for base in bases(&self.excluded, kind) {
                if excludes(kind, base, name).ok_or_else(unclear)? {
                    return Err(format!("has {}, which is excluded", shown(kind, name)));
                }
            }
            let mut permitted = bases(&self.permitted, kind).peekable();
            if permitted.peek().is_none() {
                continue;
            }
            let mut is_permitted = false;
            for base in permitted {
                is_permitted |= contains(kind, base, name).ok_or_else(unclear)?;
            }
            if !is_permitted {
                return Err(format!("has {}, which is not among the permitted ones", shown(kind, name)));
            }
        }
        Ok(())
    }
}

/// Splits an optional list with this tag off `input`.
fn split_list(input: &[u8], tag: u8) -> (Option<&[u8]>, &[u8]) {
    der::read(input, tag).map_or((None, input), |list| (Some(list.contents), list.rest))
}

/// The elements of a list in DER, as tag and contents. What is not an element ends the list.
fn elements(mut list: &[u8]) -> impl Iterator<Item = (u8, &[u8])> + Clone {
    std::iter::from_fn(move || {
        let tag = *list.first()?;
        let element = der::read(list, tag)?;
        list = element.rest;
        Some((tag, element.contents))
    })
}

/// Kind and base of each subtree; `None` for one that is more than a base.
fn subtrees(list: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> + Clone {
    elements(list).map(|(_, subtree)| {
        let tag = *subtree.first()?;
        Some((tag & 0x1f, der::read_only(subtree, tag)?))
    })
}

fn bases(list: &[u8], kind: u8) -> impl Iterator<Item = &[u8]> {
    subtrees(list).flatten().filter(move |(found, _)| *found == kind).map(|(_, base)| base)
}

/// Every name of a certificate that constraints speak of, with its kind: alternative names and the subject, whose
/// `emailAddress` counts as one of kind `EMAIL`.
fn names<'a>(subject: &'a [u8], alternative_names: &'a [u8]) -> impl Iterator<Item = (u8, &'a [u8])> {
    let has_subject = der::read_only(subject, der::SEQUENCE).is_none_or(|parts| !parts.is_empty());
    let has_email = subject.windows(EMAIL_ADDRESS.len()).any(|window| window == EMAIL_ADDRESS);
    let of_subject = [(has_subject, DIRECTORY), (has_email, EMAIL)];
    let of_subject = of_subject.into_iter().filter(|(has, _)| *has).map(move |(_, kind)| (kind, subject));
    elements(alternative_names).map(|(tag, name)| (tag & 0x1f, name)).chain(of_subject)
}

/// True if `name` lies in the subtree; `None` if it cannot be compared.
fn contains(kind: u8, base: &[u8], name: &[u8]) -> Option<bool> {
    let (base, name) = (host(base, true)?, std::str::from_utf8(name).ok()?);
    match kind {
        URI => {
            let id = SpiffeId::parse(name).ok()?;
            let domain = host(id.trust_domain().as_str().as_bytes(), false)?;
            // A host matches itself alone, a domain (`.example.org`) whatever is below it.
            Some(base.is_empty() || is_below(domain, base) || domain.eq_ignore_ascii_case(base))
        }
        DNS => {
            host(name.strip_prefix("*.").unwrap_or(name).as_bytes(), false)?;
            let is_itself = name.eq_ignore_ascii_case(base);
            Some(base.is_empty() || is_itself || is_below(name, base) || is_below(name, &format!(".{base}")))
        }
        _ => None,
    }
}

/// True if `name`, or a name that it stands for as a wildcard, lies in the subtree.
fn excludes(kind: u8, base: &[u8], name: &[u8]) -> Option<bool> {
    let is_inside = contains(kind, base, name)?;
    let matches_one = match name.strip_prefix(b"*") {
        Some(domain) if kind == DNS => {
            is_below(std::str::from_utf8(base).ok()?, std::str::from_utf8(domain).ok()?)
        }
        _ => false,
    };
    Some(is_inside || matches_one)
}

/// True if `domain` begins with a period and `name` has more labels in front of it.
fn is_below(name: &str, domain: &str) -> bool {
    let labels = name.len().checked_sub(domain.len()).and_then(|end| name.split_at_checked(end));
    domain.starts_with('.')
        && labels.is_some_and(|(labels, suffix)| !labels.is_empty() && suffix.eq_ignore_ascii_case(domain))
}

/// A host name of labels; as a base also a domain with a leading period, or empty for every host. `None` for addresses
/// and other text: RFC 5280 refuses a URI whose host is an address, and nobody can say what other text stands for.
fn host(text: &[u8], is_base: bool) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let labels = if is_base { text.strip_prefix('.').unwrap_or(text) } else { text };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_address = labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let is_host = labels.split('.').all(is_label) && !is_address;
    (is_host || (is_base && text.is_empty())).then_some(text)
}

fn shown(kind: u8, name: &[u8]) -> String {
    let text = || Quoted(&String::from_utf8_lossy(name)).to_string();
    match kind {
        EMAIL => "an email address".to_owned(),
        DNS => format!("the DNS name {}", text()),
        DIRECTORY => "a directory name, such as its subject".to_owned(),
        URI => format!("the URI {}", text()),
        kind => format!("a name of kind {kind}"),
    }
}
