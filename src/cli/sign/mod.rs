//! `countersign sign`: signs a card so that every current reader verifies it, or says who does not.
//! Runs once for people and pipelines, once as the init container of a Pod, or for ever as a sidecar.

mod input;
mod journal;
mod notes;
mod pod;
mod settings;
mod watch;

use super::args::parse_seconds;
use super::chain::read_chain;
use super::exit::{Done, Unusable, shown};
use super::received::block_on;
use countersign_core::limits::BODY_BYTES;
use countersign_core::refusal::Refusal;
use countersign_core::sign::{SignOptions, SigningKey, sign_card};
use countersign_core::text::Quoted;
use countersign_core::time::Seconds;
use countersign_core::upgrade::upgrade_card;
use countersign_io::files::{read_file, read_text, write_file};
use countersign_io::keys::{KEY_FILE_BYTES, PrivateKey, parse_private_key};
use countersign_io::{clock, workload_api};
use input::{Input, SignRefused};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time for an answer of the Workload API, unless a flag says otherwise.
const WORKLOAD_API_TIMEOUT: Duration = Duration::from_secs(30);

/// Sign a card with an X.509-SVID.
///
/// The card is written in the form on which all current readers agree. One without such a form gets two signatures:
/// over all its members, for Countersign, and over what the A2A SDKs check; standard error says who accepts which and
/// what is left out. Old signatures are replaced.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The card: a file, or `-` for standard input.
    #[arg(value_name = "CARD", required_unless_present_any = ["watch", "init"])]
    card: Option<PathBuf>,
    /// Private key of the SVID: PEM, PKCS#8 or an older form, not encrypted.
    #[arg(long, value_name = "KEY.pem", requires = "chain", required_unless_present_any = ["workload_api", "watch", "init"])]
    key: Option<PathBuf>,
    /// Certificates of the SVID: PEM, leaf first.
    #[arg(long, value_name = "CHAIN.pem", requires = "key")]
    chain: Option<PathBuf>,
    /// Take key and chain from the SPIFFE Workload API at this socket.
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["key", "chain"])]
    workload_api: Option<String>,
    /// Add a second signature that kagenti's verifier accepts.
    #[arg(long)]
    also_kagenti: bool,
    /// Write a card of A2A 0.2 or 0.3 in the members of 1.0 before it is signed, so that every current reader sees all of
    /// it: `url` and its companions become `supportedInterfaces`, for example. The agent has to serve the card that is
    /// written. A member that 1.0 cannot express, or does not know, refuses the card and is named. Without this flag a card
    /// is signed in the members that it has.
    #[arg(long)]
    upgrade: bool,
    /// How long the signature lasts; as long as the SVID, if absent. Past the SVID's end only `witnessed`
    /// verifiers accept it.
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    lifetime: Option<Seconds>,
    /// Write the signed card to this file, whole or not at all, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long the Workload API may take to answer, in whole seconds [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    timeout: Option<Seconds>,
    /// Run as the sidecar of a Pod: sign at once, and again whenever the SVID or the card changes.
    ///
    /// What is not given comes from the environment: the card from `UNSIGNED_CARD_PATH`, the socket from
    /// `SPIFFE_ENDPOINT_SOCKET`, the output from `AGENT_CARD_PATH`, the timeout from `SIGN_TIMEOUT`. Failures are
    /// logged and tried again, and leave the last signed card in place.
    #[arg(long, conflicts_with_all = ["key", "chain", "init"])]
    watch: bool,
    /// Run as the init container of a Pod: sign once, with the same environment as --watch.
    #[arg(long, conflicts_with_all = ["key", "chain"])]
    init: bool,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    if args.lifetime.is_some_and(Seconds::is_zero) {
        return Err(Unusable::new("--lifetime 0 would end before it begins; leave it out for the SVID's"));
    }
    if args.watch || args.init {
        return pod::run(args);
    }
    let Some(card) = &args.card else { return Err(Unusable::new("name the card to sign")) };
    let bytes = read_file(card, BODY_BYTES)?;
    let (key, chain) = match read_svid(args)? {
        Ok(svid) => svid,
        Err(refusal) => return Ok(Done::refusal(args.chain.as_ref().unwrap_or(card), &refusal)),
    };
    let options = SignOptions {
        chain: &chain,
        lifetime: args.lifetime,
        also_kagenti: args.also_kagenti,
        now: clock::now(),
    };
    let (signed, notes) = match sign(bytes, &key, args.upgrade, options) {
        Ok(signed) => signed,
        Err(SignRefused { input, refusal }) => {
            return Ok(Done::refusal_of(&named(args, card, input), &refusal));
        }
    };
    let done = match &args.output {
        None => Done::data(signed),
        Some(path) => {
            write_file(path, &signed)?;
            Done::text("")
        }
    };
    Ok(done.with_notes(notes))
}

/// Name of an input as the command line gives it: key and chain of the Workload API are in no file.
fn named(args: &Args, card: &Path, input: Input) -> String {
    let file = match input {
        Input::Card => Some(card),
        Input::Key => args.key.as_deref(),
        Input::Chain => args.chain.as_deref(),
    };
    file.map_or_else(|| input::of_workload_api(args.workload_api.as_deref().unwrap_or_default()), shown)
}

/// Signs a card and appends a line break. Returns also what the user has to know about the signatures.
fn sign(
    card: Vec<u8>,
    key: &PrivateKey,
    upgrade: bool,
    options: SignOptions<'_>,
) -> Result<(Vec<u8>, Vec<String>), SignRefused> {
    let of_card = |refusal| SignRefused { input: Input::Card, refusal };
    let card = if upgrade { upgrade_card(card).map_err(of_card)? } else { card };
    let key = signing_key(key).map_err(|refusal| SignRefused { input: Input::Key, refusal })?;
    let signed = sign_card(card, &key, options).map_err(|refusal| SignRefused::of(refusal, options.chain))?;
    let mut notes = notes::of(&signed);
    notes.extend(notes::of_lifetime(options.chain));
    let mut card = signed.card;
    card.push(b'\n');
    Ok((card, notes))
}

/// The first PKCS#8 document of the key that parses.
fn signing_key(key: &PrivateKey) -> Result<SigningKey, Refusal> {
    let mut forms = key.pkcs8().map(SigningKey::from_pkcs8);
    let first = forms.next().unwrap_or_else(|| SigningKey::from_pkcs8(&[]));
    forms.fold(first, Result::or)
}

fn seconds(span: Seconds) -> Duration {
    Duration::from_secs(u64::from(span.get()))
}

type KeyAndChain = (PrivateKey, Vec<Vec<u8>>);

fn read_svid(args: &Args) -> Result<Result<KeyAndChain, Refusal>, Unusable> {
    match (&args.workload_api, &args.key, &args.chain) {
        (Some(socket), ..) => {
            let timeout = args.timeout.map_or(WORKLOAD_API_TIMEOUT, seconds);
            let fetched = block_on(workload_api::fetch_svid(socket, timeout))?;
            let svid = fetched.map_err(Unusable::new)?;
            Ok(Ok((PrivateKey::from_pkcs8(svid.key), svid.chain)))
        }
        (None, Some(key), Some(chain)) => read_svid_files(key, chain),
        (None, ..) => Err(Unusable::new("give --key and --chain, or --workload-api")),
    }
}

fn read_svid_files(key: &Path, chain: &Path) -> Result<Result<KeyAndChain, Refusal>, Unusable> {
    let parsed = parse_private_key(&read_text(key, KEY_FILE_BYTES)?).map_err(|error| {
        Unusable::new(format!("the key file {}: {error}", Quoted(&key.to_string_lossy())))
    })?;
    Ok(read_chain("--chain", chain)?.map(|chain| (parsed, chain)))
}
