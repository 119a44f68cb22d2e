//! Secret with the webhook's certificate. It holds the certificate in use and the next one, and the API server is told both
//! and the previous one: whatever certificate a replica still serves, or already serves, is one that is trusted.

use super::key_pair::{BACKDATED, NewKeyPair, Usable, parse_usable};
use crate::limits::ITEMS;
use countersign_core::time::{Seconds, Timestamp};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::BTreeMap;

/// Data of a Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// Names of the data of one certificate and its key.
#[derive(Clone, Copy, Debug)]
pub struct Members {
    /// Name of the certificate.
    pub certificate: &'static str,
    /// Name of its private key.
    pub key: &'static str,
}

/// Certificate in use.
pub const CURRENT: Members = Members { certificate: "tls.crt", key: "tls.key" };
/// Certificate that follows it.
pub const NEXT: Members = Members { certificate: "next.crt", key: "next.key" };
/// Name of the data with all certificates that the API server shall trust.
pub const AUTHORITIES: &str = "ca.crt";

const DAYS: u32 = 24 * 60 * 60;
/// Time for which one certificate is in use, and for which it is trusted before and after that.
const TERM: Seconds = Seconds::new(90 * DAYS);
/// Validity of the first certificate, which nobody had to trust before it was in use.
const FIRST: Seconds = Seconds::new(2 * 90 * DAYS);
/// Validity of every other certificate: next, in use, previous.
const LIFETIME: Seconds = Seconds::new(3 * 90 * DAYS);
/// Shortest time between the creation of a certificate and its use, within which every API server learns of it.
const PUBLISHED: Seconds = Seconds::new(3600);

/// Change of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was none.
    Created,
    /// The next certificate came into use.
    Rotated,
    /// Something was missing or unusable, as the sentence says.
    Repaired(String),
}

/// Secret's data as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSecret {
    /// All data, with what others stored beside ours.
    pub data: SecretData,
    /// What changes, and why.
    pub change: Change,
}

/// Plans the Secret's data for a server of `names`; `None` if it is as it shall be. `make` makes a key pair that expires at
/// the given time, and is called only if one is needed.
///
/// # Errors
/// That of `make`.
pub fn plan_certificate<E>(
    stored: Option<&SecretData>,
    names: &[String],
    now: Timestamp,
    mut make: impl FnMut(Timestamp) -> Result<NewKeyPair, E>,
) -> Result<Option<PlannedSecret>, E> {
    let mut make = |validity| make(now.plus(validity)).map(Pair::from);
    let empty = SecretData::new();
    let data = stored.unwrap_or(&empty);
    let (current, next) = (Pair::stored(data, CURRENT, names, now), Pair::stored(data, NEXT, names, now));
    let (current, next, change) = match (current, next) {
        _ if stored.is_none() => (make(FIRST)?, make(LIFETIME)?, Some(Change::Created)),
        (Ok(old), Ok(next)) if is_due(&old, now) && is_published(&next, now) => {
            (next, make(LIFETIME)?, Some(Change::Rotated))
        }
        (Ok(current), Ok(next)) => (current, next, None),
        (Ok(current), Err(problem)) => (current, make(LIFETIME)?, Some(repaired(NEXT, problem))),
        (Err(problem), Ok(next)) => (next, make(LIFETIME)?, Some(repaired(CURRENT, problem))),
        (Err(problem), Err(_)) => (make(FIRST)?, make(LIFETIME)?, Some(repaired(CURRENT, problem))),
    };
    let trusted = trusted(data, [&current.certificate, &next.certificate], names, now);
    let is_trusted = data.get(AUTHORITIES).is_some_and(|stored| *stored == trusted);
    let change = match change {
        None if is_trusted => return Ok(None),
        None => Change::Repaired(format!("{AUTHORITIES} is not the list of the certificates")),
        Some(change) => change,
    };
    let mut planned = data.clone();
    for (members, pair) in [(CURRENT, current), (NEXT, next)] {
        planned.insert(members.certificate.to_owned(), pair.certificate.into_bytes());
        planned.insert(members.key.to_owned(), pair.key);
    }
    planned.insert(AUTHORITIES.to_owned(), trusted);
    Ok(Some(PlannedSecret { data: planned, change }))
}

/// Authorities that the Secret tells; `None` if it tells none, or what is no certificate.
pub fn authorities(data: &SecretData) -> Option<&[u8]> {
    let text = data.get(AUTHORITIES)?;
    let mut all = CertificateDer::pem_slice_iter(text).peekable();
    (all.peek().is_some() && all.all(|one| one.is_ok())).then_some(text)
}

fn repaired(members: Members, problem: &str) -> Change {
    Change::Repaired(format!("{} {problem}", members.certificate))
}

/// Whether a certificate has been in use for its term.
fn is_due(pair: &Pair, now: Timestamp) -> bool {
    pair.validity.is_some_and(|(_, not_after)| not_after.minus(TERM) <= now)
}

/// Whether a certificate has been told for long enough to come into use.
fn is_published(pair: &Pair, now: Timestamp) -> bool {
    pair.validity.is_some_and(|(not_before, _)| not_before.plus(BACKDATED).plus(PUBLISHED) <= now)
}

/// List of the certificate before these two, if it is usable, and these two.
fn trusted(data: &SecretData, ours: [&String; 2], names: &[String], now: Timestamp) -> Vec<u8> {
    const END: &str = "-----END CERTIFICATE-----";
    let stored = data.get(AUTHORITIES).map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or_default());
    let others = stored.split_inclusive(END).take(ITEMS).filter_map(|pem| {
        let usable = parse_usable(pem.as_bytes(), None, names, now).ok()?;
        (!ours.contains(&&usable.pem)).then_some(usable)
    });
    let previous = others.max_by_key(|usable| usable.not_after).map(|usable| usable.pem);
    let [current, next] = ours;
    [previous.as_ref(), Some(current), Some(next)].into_iter().flatten().cloned().collect::<String>().into()
}

/// Certificate and key to store.
struct Pair {
    certificate: String,
    key: Vec<u8>,
    /// Validity of a stored certificate, in whose terms its use is planned.
    validity: Option<(Timestamp, Timestamp)>,
}

impl Pair {
    fn stored(
        data: &SecretData,
        members: Members,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, &'static str> {
        let certificate = data.get(members.certificate).ok_or("is missing")?;
        let key = data.get(members.key).ok_or("has no key beside it")?;
        let Usable { pem, not_before, not_after } = parse_usable(certificate, Some(key), names, now)?;
        Ok(Self { certificate: pem, key: key.clone(), validity: Some((not_before, not_after)) })
    }
}

impl From<NewKeyPair> for Pair {
    fn from(new: NewKeyPair) -> Self {
        let certificate = format!("{}\n", new.certificate.trim());
        Self { certificate, key: new.key.into_bytes(), validity: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
    use std::cell::Cell;
    use std::convert::Infallible;
    use time::OffsetDateTime;

    const START: i64 = 1_795_219_200;

    fn day(day: u32) -> Timestamp {
        Timestamp::from_unix(START).plus(Seconds::new(day.saturating_mul(DAYS)))
    }

    fn names() -> Vec<String> {
        super::super::service_names("webhook", "system")
    }

    fn made(names: &[String], now: Timestamp, not_after: Timestamp) -> NewKeyPair {
        let at = |time: Timestamp| OffsetDateTime::from_unix_timestamp(time.as_unix()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::new(names.to_vec()).unwrap();
        (wanted.not_before, wanted.not_after) = (at(now.minus(BACKDATED)), at(not_after));
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        NewKeyPair { certificate: wanted.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    /// The plan at a time, and how many key pairs it took.
    fn plan(stored: Option<&SecretData>, now: Timestamp) -> (Option<PlannedSecret>, usize) {
        let number = Cell::new(0_usize);
        let make = |not_after| {
            number.set(number.get().saturating_add(1));
            Ok::<_, Infallible>(made(&names(), now, not_after))
        };
        let planned = plan_certificate(stored, &names(), now, make).unwrap();
        (planned, number.get())
    }

    fn created() -> SecretData {
        plan(None, day(0)).0.unwrap().data
    }

    fn text(data: &SecretData, name: &str) -> String {
        String::from_utf8(data[name].clone()).unwrap()
    }

    #[test]
    fn a_secret_that_is_missing_is_created_and_then_left_alone() {
        let (planned, number) = plan(None, day(0));
        let planned = planned.unwrap();
        assert_eq!((planned.change, number), (Change::Created, 2));
        let all = text(&planned.data, "tls.crt") + &text(&planned.data, "next.crt");
        assert_eq!(text(&planned.data, "ca.crt"), all);
        assert_eq!(authorities(&planned.data), Some(all.as_bytes()));
        for now in [0, 1, 45, 89] {
            assert_eq!(plan(Some(&planned.data), day(now)), (None, 0), "day {now}");
        }
    }

    #[test]
    fn every_term_the_next_certificate_comes_into_use_and_the_previous_one_is_still_trusted() {
        let mut data = created();
        for term in 1..=4 {
            let now = day(90 * term);
            let (planned, number) = plan(Some(&data), now);
            let planned = planned.unwrap();
            assert_eq!((&planned.change, number), (&Change::Rotated, 1), "term {term}");
            for (new, old) in [("tls.crt", "next.crt"), ("tls.key", "next.key")] {
                assert_eq!(planned.data[new], data[old], "term {term}");
            }
            let trusted = [&data["tls.crt"], &planned.data["tls.crt"], &planned.data["next.crt"]];
            assert_eq!(planned.data["ca.crt"], trusted.map(Clone::clone).concat(), "term {term}");
            // Whatever a replica served just before, it is trusted for a whole term.
            assert!(text(&planned.data, "ca.crt").contains(&text(&data, "tls.crt")), "term {term}");
            assert_eq!(plan(Some(&planned.data), day(90 * term + 89)), (None, 0), "term {term}");
            data = planned.data;
        }
    }

    #[test]
    fn what_is_unusable_is_replaced_by_what_is_already_trusted_if_there_is_any() {
        let good = created();
        let with = |changes: &[(&str, Option<&[u8]>)]| {
            let mut data = good.clone();
            for (name, value) in changes {
                match value {
                    Some(value) => data.insert((*name).to_owned(), value.to_vec()),
                    None => data.remove(*name),
                };
            }
            data
        };
        let other = made(&["other.test".to_owned()], day(0), day(200));
        let stranger = made(&names(), day(0), day(200));
        let both = [good["tls.crt"].clone(), good["next.crt"].clone()].concat();
        for (what, data, now, makes, told) in [
            ("nothing", SecretData::new(), 1, 2, "tls.crt is missing"),
            ("no certificate", with(&[("tls.crt", None)]), 1, 1, "tls.crt is missing"),
            ("no key", with(&[("tls.key", None)]), 1, 1, "tls.crt has no key beside it"),
            ("no text", with(&[("tls.crt", Some(&[0xff]))]), 1, 1, "tls.crt is not text"),
            ("no PEM", with(&[("tls.crt", Some(b"x"))]), 1, 1, "tls.crt holds no certificate as PEM"),
            (
                "no X.509",
                with(&[("tls.crt", Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))]),
                1,
                1,
                "tls.crt holds no X.509 certificate",
            ),
            ("two", with(&[("tls.crt", Some(&both))]), 1, 1, "tls.crt holds more than one certificate"),
            (
                "another key",
                with(&[("tls.key", Some(stranger.key.as_bytes()))]),
                1,
                1,
                "tls.crt does not certify the key beside it",
            ),
            (
                "no key at all",
                with(&[("tls.key", Some(b"x"))]),
                1,
                1,
                "tls.crt does not certify the key beside it",
            ),
            (
                "other names",
                with(&[
                    ("tls.crt", Some(other.certificate.as_bytes())),
                    ("tls.key", Some(other.key.as_bytes())),
                ]),
                1,
                1,
                "tls.crt is for other names",
            ),
            ("no next", with(&[("next.crt", None)]), 1, 1, "next.crt is missing"),
            ("expired", good.clone(), 181, 1, "tls.crt has expired"),
            ("both expired", good.clone(), 300, 2, "tls.crt has expired"),
            ("no list", with(&[("ca.crt", None)]), 1, 0, "ca.crt is not the list of the certificates"),
            (
                "another list",
                with(&[("ca.crt", Some(b"x"))]),
                1,
                0,
                "ca.crt is not the list of the certificates",
            ),
        ] {
            let now = day(now);
            let (planned, number) = plan(Some(&data), now);
            let planned = planned.unwrap_or_else(|| panic!("{what}"));
            assert_eq!(planned.change, Change::Repaired(told.to_owned()), "{what}");
            assert_eq!(number, makes, "{what}");
            // What is repaired needs no second repair.
            let again = plan(Some(&planned.data), now).0;
            assert!(again.as_ref().is_none_or(|again| again.change == Change::Rotated), "{what}: {again:?}");
            if told.starts_with("tls.crt") && makes == 1 {
                assert_eq!(planned.data["tls.crt"], good["next.crt"], "{what}");
            }
        }
        // A clock that was far ahead left certificates that are not valid yet.
        let (planned, number) = plan(Some(&plan(None, day(900)).0.unwrap().data), day(0));
        assert_eq!(planned.unwrap().change, Change::Repaired("tls.crt is not valid yet".to_owned()));
        assert_eq!(number, 2);
    }

    #[test]
    fn a_certificate_comes_into_use_only_after_every_api_server_could_learn_of_it() {
        let mut data = created();
        data.remove("next.crt");
        let at = |seconds| day(90).plus(Seconds::new(seconds));
        let (planned, _) = plan(Some(&data), at(0));
        let planned = planned.unwrap().data;
        assert_eq!(planned["tls.crt"], data["tls.crt"]);
        assert_eq!(plan(Some(&planned), at(3599)), (None, 0));
        assert_eq!(plan(Some(&planned), at(3600)).0.unwrap().change, Change::Rotated);
    }

    #[test]
    fn a_certificate_of_others_is_never_trusted_and_data_of_others_is_kept() {
        let mut data = created();
        let foreign = made(&["other.test".to_owned()], day(0), day(200)).certificate;
        let list = text(&data, "ca.crt");
        data.insert("ca.crt".to_owned(), format!("{foreign}{list}").into_bytes());
        data.insert("notes".to_owned(), b"of somebody".to_vec());
        let planned = plan(Some(&data), day(1)).0.unwrap().data;
        assert_eq!(text(&planned, "ca.crt"), list);
        assert_eq!(text(&planned, "notes"), "of somebody");
        assert_eq!(authorities(&SecretData::new()), None);
        for unusable in [&b""[..], b"x", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            let data = SecretData::from([(AUTHORITIES.to_owned(), unusable.to_vec())]);
            assert_eq!(authorities(&data), None, "{unusable:?}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?}", made(&names(), day(0), day(1)));
        assert!(!shown.contains("PRIVATE KEY") && shown.contains("CERTIFICATE"), "{shown}");
    }
}
