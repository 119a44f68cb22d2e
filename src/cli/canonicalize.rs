//! `countersign canonicalize`: prints the exact bytes that a signature under one profile covers.

use super::args::{NumbersArg, parse_profile};
use super::exit::{Done, Unusable};
use countersign_core::canon::{Profile, canonicalize};
use countersign_core::card::Card;
use countersign_core::limits::BODY_BYTES;
use countersign_io::files::read_file;
use std::path::PathBuf;

/// Print the exact bytes that a signature under one profile covers.
///
/// Nothing is added, not even a line break at the end, so that the output can be hashed or signed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The card: a file, or `-` for standard input.
    #[arg(value_name = "CARD")]
    card: PathBuf,
    /// The canonical form.
    #[arg(long, value_name = "NAME", value_parser = parse_profile)]
    profile: Profile,
    /// How numbers are read.
    #[arg(long, value_enum, default_value_t = NumbersArg::Strict)]
    numbers: NumbersArg,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let bytes = read_file(&args.card, BODY_BYTES)?;
    let canonical =
        Card::parse(bytes, args.numbers.into()).and_then(|card| canonicalize(card.document(), args.profile));
    Ok(match canonical {
        Ok(bytes) => Done::data(bytes),
        Err(refusal) => Done::refusal(&args.card, &refusal),
    })
}
