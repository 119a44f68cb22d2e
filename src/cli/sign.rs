//! `countersign sign`: a card out with a signature that every current reader verifies.

use super::args::parse_seconds;
use super::exit::{Done, Unusable};
use super::received::block_on;
use crate::core::limits::BODY_BYTES;
use crate::core::refusal::Refusal;
use crate::core::sign::{SignOptions, SigningKey, sign_card};
use crate::core::text::Quoted;
use crate::core::time::Seconds;
use crate::core::x509::parse_pem_chain;
use crate::io::files::{read_file, read_text, write_file};
use crate::io::keys::{KEY_FILE_BYTES, PrivateKey, parse_private_key};
use crate::io::{clock, workload_api};
use ring::rand::SystemRandom;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the Workload API may take.
const WORKLOAD_API_TIMEOUT: Duration = Duration::from_secs(30);

/// Sign a card with an X.509-SVID.
///
/// The card is written in the form on which all current readers agree; one that cannot be put into that form is
/// refused. Old signatures are replaced.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The card: a file, or `-` for standard input.
    #[arg(value_name = "CARD")]
    card: PathBuf,
    /// Private key of the SVID: PEM, PKCS#8 or an older form, not encrypted.
    #[arg(long, value_name = "KEY.pem", requires = "chain", required_unless_present = "workload_api")]
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
    /// How long the signature lasts; as long as the SVID, if absent. Past the SVID's end only `witnessed`
    /// verifiers accept it.
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    lifetime: Option<Seconds>,
    /// Write the signed card to this file, whole or not at all, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    if args.lifetime.is_some_and(Seconds::is_zero) {
        return Err(Unusable::new("--lifetime 0 would end before it begins; leave it out for the SVID's"));
    }
    let bytes = read_file(&args.card, BODY_BYTES)?;
    let (key, chain) = match read_svid(args)? {
        Ok(svid) => svid,
        Err(refusal) => return Ok(Done::refusal(&refusal)),
    };
    let options = SignOptions {
        chain: &chain,
        lifetime: args.lifetime,
        also_kagenti: args.also_kagenti,
        now: clock::now(),
    };
    let random = SystemRandom::new();
    let signed = signing_key(&key, &random).and_then(|key| sign_card(bytes, &key, options, &random));
    let mut signed = match signed {
        Ok(signed) => signed,
        Err(refusal) => return Ok(Done::refusal(&refusal)),
    };
    signed.push(b'\n');
    match &args.output {
        None => Ok(Done::data(signed)),
        Some(path) => {
            write_file(path, &signed)?;
            Ok(Done::text(""))
        }
    }
}

/// The first form of the key that can be read.
fn signing_key(key: &PrivateKey, random: &SystemRandom) -> Result<SigningKey, Refusal> {
    let mut forms = key.pkcs8().map(|der| SigningKey::from_pkcs8(der, random));
    let first = forms.next().unwrap_or_else(|| SigningKey::from_pkcs8(&[], random));
    forms.fold(first, Result::or)
}

type Svid = (PrivateKey, Vec<Vec<u8>>);

fn read_svid(args: &Args) -> Result<Result<Svid, Refusal>, Unusable> {
    match (&args.workload_api, &args.key, &args.chain) {
        (Some(socket), ..) => {
            let fetched = block_on(workload_api::fetch_svid(socket, WORKLOAD_API_TIMEOUT))?;
            let svid = fetched.map_err(Unusable::new)?;
            Ok(Ok((PrivateKey::from_pkcs8(svid.key), svid.chain)))
        }
        (None, Some(key), Some(chain)) => read_svid_files(key, chain),
        (None, ..) => Err(Unusable::new("give --key and --chain, or --workload-api")),
    }
}

fn read_svid_files(key: &Path, chain: &Path) -> Result<Result<Svid, Refusal>, Unusable> {
    let parsed = parse_private_key(&read_text(key, KEY_FILE_BYTES)?).map_err(|error| {
        Unusable::new(format!("the key file {}: {error}", Quoted(&key.to_string_lossy())))
    })?;
    Ok(parse_pem_chain(&read_text(chain, KEY_FILE_BYTES)?).map(|chain| (parsed, chain)))
}
