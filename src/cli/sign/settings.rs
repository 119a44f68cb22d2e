//! The signer in a Pod: its settings, and one round of signing.
//! The environment is that of kagenti's `agentcard-signer`, so that its manifests need only another image.

use super::input::{Input, SignRefused, of_workload_api};
use super::{WORKLOAD_API_TIMEOUT, journal, seconds, sign};
use crate::args::parse_seconds;
use crate::exit::{Unusable, shown};
use countersign_core::encoding::sha256;
use countersign_core::sign::SignOptions;
use countersign_core::text::Quoted;
use countersign_core::time::{Seconds, Timestamp};
use countersign_core::x509::leaf_facts;
use countersign_io::clock;
use countersign_io::files::publish_file;
use countersign_io::keys::PrivateKey;
use countersign_io::workload_api::WorkloadSvid;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// Path of the unsigned card, unless an argument or `UNSIGNED_CARD_PATH` names another.
const DEFAULT_CARD: &str = "/etc/agentcard/agent.json";
/// Socket of the Workload API, unless a flag or `SPIFFE_ENDPOINT_SOCKET` names another.
const DEFAULT_SOCKET: &str = "unix:///run/spire/sockets/agent.sock";

/// Paths, socket and options of the signer in a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignerSettings {
    /// Path of the unsigned card.
    pub(super) card: PathBuf,
    /// Path of the signed card.
    pub(super) output: PathBuf,
    /// Socket of the Workload API.
    pub(super) socket: String,
    /// Longest time for an answer of the Workload API.
    pub(super) timeout: Duration,
    /// Lifetime of a signature; `None` ends the signature with the SVID.
    pub(super) lifetime: Option<Seconds>,
    /// True adds a second signature for kagenti's verifier.
    pub(super) also_kagenti: bool,
    /// True writes the card in A2A 1.0 members before it is signed.
    pub(super) upgrade: bool,
}

/// The result of a round of signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// The end of the signature or of the leaf, whichever is earlier.
    pub(super) ends: Timestamp,
}

impl SignerSettings {
    pub(super) fn of(
        args: &super::Args,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Unusable> {
        // A manifest template may set a variable without a value to the empty string, which means the default.
        let variable = |name: &str, or: &str| {
            variable(name).filter(|value| !value.is_empty()).unwrap_or_else(|| or.to_owned())
        };
        let path = |given: &Option<PathBuf>, name: &str, or: &str| {
            given.clone().unwrap_or_else(|| variable(name, or).into())
        };
        let timeout = match args.timeout {
            Some(timeout) => seconds(timeout),
            None => match variable("SIGN_TIMEOUT", "").as_str() {
                "" => WORKLOAD_API_TIMEOUT,
                text => parse_seconds(text).map(seconds).map_err(|problem| {
                    Unusable::new(format!("SIGN_TIMEOUT is {}: {problem}", Quoted(text)))
                })?,
            },
        };
        if timeout.is_zero() {
            let written = if args.timeout.is_some() { "--timeout" } else { "SIGN_TIMEOUT" };
            return Err(Unusable::new(format!(
                "{written} is 0, which leaves no time to sign; give one such as 30s"
            )));
        }
        Ok(Self {
            card: path(&args.card, "UNSIGNED_CARD_PATH", DEFAULT_CARD),
            output: path(&args.output, "AGENT_CARD_PATH", "/app/.well-known/agent-card.json"),
            socket: args
                .workload_api
                .clone()
                .unwrap_or_else(|| variable("SPIFFE_ENDPOINT_SOCKET", DEFAULT_SOCKET)),
            timeout,
            lifetime: args.lifetime,
            also_kagenti: args.also_kagenti,
            upgrade: args.upgrade,
        })
    }

    /// Error about reading the card; says if nobody named the file.
    pub(super) fn unread_card(&self, error: impl Display) -> String {
        if self.card.as_os_str() == DEFAULT_CARD {
            return format!(
                "{error}; this is the default: name the card by an argument or UNSIGNED_CARD_PATH"
            );
        }
        error.to_string()
    }

    /// Error of the Workload API; says if nobody named the socket.
    pub(super) fn unread_svid(&self, error: impl Display) -> String {
        if self.socket == DEFAULT_SOCKET {
            return format!(
                "{error}; this socket is the default: name it by --workload-api or SPIFFE_ENDPOINT_SOCKET"
            );
        }
        error.to_string()
    }

    /// Signs the card and writes it to the output path, from which the agent serves it. The error is one sentence.
    pub(super) fn sign(&self, card: Vec<u8>, svid: &WorkloadSvid) -> Result<Signed, String> {
        let now = clock::now();
        let ends = self.ends(svid, now)?;
        let options =
            SignOptions { chain: &svid.chain, lifetime: self.lifetime, also_kagenti: self.also_kagenti, now };
        let key = PrivateKey::from_pkcs8(Zeroizing::clone(&svid.key));
        let (signed, notes) = sign(card, &key, self.upgrade, options).map_err(|refused| {
            let SignRefused { input, refusal } = refused;
            let named = match input {
                Input::Card => shown(&self.card),
                Input::Key | Input::Chain => of_workload_api(&self.socket),
            };
            format!("{named}: {refusal}; {}", refusal.reason().fix())
        })?;
        publish_file(&self.output, &signed).map_err(|error| error.to_string())?;
        for note in notes {
            journal::info("not every reader accepts every signature", &[("note", note)]);
        }
        journal::info(
            "signed card written successfully",
            &[
                ("path", self.output.to_string_lossy().into_owned()),
                ("sha256", sha256(&signed).to_string()),
                ("validUntil", ends.to_string()),
            ],
        );
        Ok(Signed { ends })
    }

    /// The end of a signature made at `now`, or of its leaf, whichever is earlier.
    pub(super) fn ends(&self, svid: &WorkloadSvid, now: Timestamp) -> Result<Timestamp, String> {
        let of = || of_workload_api(&self.socket);
        let leaf = svid.chain.first();
        let leaf = leaf.ok_or_else(|| format!("{}: it has no certificate; check the SPIRE agent", of()))?;
        let leaf =
            leaf_facts(leaf).map_err(|refusal| format!("{}: {refusal}; {}", of(), refusal.reason().fix()))?;
        Ok(self.lifetime.map_or(leaf.not_after, |lifetime| leaf.not_after.min(now.plus(lifetime))))
    }
}

/// Logs the SPIFFE ID and expiry of a received SVID, never its key.
pub(super) fn said_fetched(svid: &WorkloadSvid) {
    let leaf = svid.chain.first().and_then(|leaf| leaf_facts(leaf).ok());
    let pairs = leaf.map(|leaf| {
        [("spiffeId", leaf.spiffe_id.as_str().to_owned()), ("notAfter", leaf.not_after.to_string())]
    });
    journal::info("fetched SVID", pairs.as_ref().map_or(&[], |pairs| pairs.as_slice()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct SignLine {
        #[command(flatten)]
        args: super::super::Args,
    }

    fn settings(line: &[&str], environment: &[(&str, &str)]) -> Result<SignerSettings, Unusable> {
        let line = SignLine::try_parse_from([&["sign"], line].concat())
            .map_err(|error| Unusable::new(error.to_string()))?;
        let find =
            |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        SignerSettings::of(&line.args, find)
    }

    #[test]
    fn the_environment_of_the_existing_signer_counts_where_no_flag_does() {
        let none = settings(&["--watch"], &[("AGENT_CARD_PATH", "")]).unwrap();
        assert_eq!(none.card, PathBuf::from("/etc/agentcard/agent.json"));
        assert_eq!(none.output, PathBuf::from("/app/.well-known/agent-card.json"));
        assert_eq!(none.socket, "unix:///run/spire/sockets/agent.sock");
        assert_eq!(none.timeout, Duration::from_secs(30));
        let environment = [
            ("UNSIGNED_CARD_PATH", "/in.json"),
            ("AGENT_CARD_PATH", "/out.json"),
            ("SPIFFE_ENDPOINT_SOCKET", "unix:///s"),
            ("SIGN_TIMEOUT", "5s"),
        ];
        let all = settings(&["--init"], &environment).unwrap();
        assert_eq!((all.card, all.output), (PathBuf::from("/in.json"), PathBuf::from("/out.json")));
        assert_eq!((all.socket.as_str(), all.timeout), ("unix:///s", Duration::from_secs(5)));
        let flags = ["--watch", "c.json", "-o", "o.json", "--workload-api", "/x", "--timeout", "7s"];
        let given = settings(&flags, &environment).unwrap();
        assert_eq!((given.card, given.output), (PathBuf::from("c.json"), PathBuf::from("o.json")));
        assert_eq!((given.socket.as_str(), given.timeout), ("/x", Duration::from_secs(7)));
    }

    #[test]
    fn an_error_about_what_nobody_named_says_that_it_is_the_default() {
        let none = settings(&["--watch"], &[]).unwrap();
        assert!(none.unread_card("cannot read it").contains("this is the default: name the card by"));
        assert!(none.unread_svid("it is no socket").contains("this socket is the default: name it by"));
        let named = settings(&["--watch", "c.json", "--workload-api", "/x"], &[]).unwrap();
        assert_eq!(named.unread_card("cannot read it"), "cannot read it");
        assert_eq!(named.unread_svid("it is no socket"), "it is no socket");
    }

    #[test]
    fn a_timeout_that_cannot_be_read_is_named() {
        for bad in ["soon", "0s"] {
            let told = settings(&["--watch"], &[("SIGN_TIMEOUT", bad)]).unwrap_err().line();
            assert!(told.contains(": SIGN_TIMEOUT is "), "{bad}: {told}");
        }
        let told = settings(&["--watch", "--timeout", "0s"], &[("SIGN_TIMEOUT", "5s")]).unwrap_err().line();
        assert!(told.contains(": --timeout is 0"), "{told}");
    }

    #[test]
    fn an_svid_that_cannot_be_read_is_named_with_its_socket_and_the_fix() {
        let given = settings(&["--watch", "c.json", "--workload-api", "/x"], &[]).unwrap();
        for chain in [vec![b"no certificate".to_vec()], Vec::new()] {
            let svid = WorkloadSvid { chain, key: Zeroizing::new(Vec::new()) };
            let told = given.sign(Vec::new(), &svid).unwrap_err();
            assert!(told.starts_with("the SVID of the Workload API at \"/x\": "), "{told}");
            assert!(told.contains("; "), "{told}");
        }
    }
}
