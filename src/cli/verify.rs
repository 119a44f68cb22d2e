//! `countersign verify`: verifies a card over a bundle and prints the verdict with its reason.

use super::args::AuthorityArgs;
use super::exit::{Done, Outcome, Unusable};
use super::policy::PolicyArgs;
use super::received::{ReceivedCard, receive};
use super::report::{CoverageWord, Report};
use super::sarif;
use super::sources::expand;
use countersign_core::bundle::Bundle;
use countersign_core::card::Card;
use countersign_core::history::{History, Seen};
use countersign_core::policy::Policy;
use countersign_core::refusal::Refusal;
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verify::{Against, CoverageLevel, Rejection, SignedCard, verify_card};
use countersign_io::files::write_file;
use std::path::PathBuf;

/// Format of a verdict on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum VerifyOutput {
    /// For people.
    Text,
    /// For scripts: stable names and codes.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// Verify who signed a card.
///
/// A refusal names its reason, what was found and what to do; `countersign explain` tells more. No cluster is
/// needed. --expect-id names the workload that must have signed: a card that any other workload of the trust domain
/// signed is not what its agent says. Whoever does not know the workload says so with --any-workload.
///
/// Several cards are verified in one run, and the exit code is that of the worst: 1 if one is refused, else 3 if one was
/// not fetched. JSON is then one object per card, one after the other; SARIF is one run with the results of all.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("signer").args(["expect_id", "any_workload"]).required(true)))]
pub(super) struct Args {
    /// The cards: files, `-` for standard input, http(s) URLs, directories, or patterns with `*`, `?` and `**`. A URL
    /// without a path means the agent's well-known address; a directory means all *.json files in and below it.
    #[arg(value_name = "CARD|URL|DIR", required = true)]
    cards: Vec<String>,
    #[command(flatten)]
    authority: AuthorityArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Accept a signature of any workload of the trust domain, instead of --expect-id.
    #[arg(long, conflicts_with = "memory")]
    any_workload: bool,
    /// Write the card that was signed to a file: exactly the bytes that the signature covers, without members that it
    /// leaves out. Written only if the card is verified; for one card.
    #[arg(long, value_name = "FILE")]
    signed_card: Option<PathBuf>,
    /// How the verdict is written.
    #[arg(short, long, value_enum, default_value_t = VerifyOutput::Text)]
    output: VerifyOutput,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let expected = args.policy.expect_id.as_ref();
    let authority = args.authority.read(expected)?;
    let bundle = authority.bundle()?;
    let (mut memory, history) = args.policy.memory()?;
    let verifier = CardVerifier {
        bundle,
        policy: args.policy.policy(authority.trust_domain().clone()),
        expected,
        history,
        now: args.policy.at(),
    };
    let sources = expand(&args.cards)?;
    if sources.len() > 1
        && let Some(flag) = args.flag_for_one_card()
    {
        let count = sources.len();
        return Err(Unusable::new(format!(
            "{flag} is for one card, and {count} are named; verify each by itself"
        )));
    }
    let mut reports = Vec::with_capacity(sources.len());
    for source in sources {
        let (report, signed) = match receive(&source)? {
            Err(refusal) => (Report::refused(&refusal), None),
            Ok(received) => {
                let digest = received.digest.to_string();
                let (report, signed) = verifier.report(received);
                (Report { digest: Some(digest), ..report }, signed)
            }
        };
        if let Some(signed) = signed {
            if let Some(file) = &args.signed_card {
                write_file(file, signed.document().text().as_bytes())?;
            }
            if let (Some(id), Some(history)) = (expected, verifier.after(&signed))
                && let Some(memory) = memory.take()
            {
                memory.remember(id, &history)?;
            }
        }
        reports.push(Report { source, expected_id: expected.map(ToString::to_string), ..report });
    }
    let outcome = Outcome::worst(reports.iter().map(Report::outcome));
    Ok(Done::text(write(&reports, args.output)?).with_outcome(outcome).with_notes(authority.warnings))
}

fn write(reports: &[Report], output: VerifyOutput) -> Result<Vec<u8>, Unusable> {
    let mut written = Vec::new();
    match output {
        VerifyOutput::Sarif => return sarif::write(reports),
        VerifyOutput::Json => {
            for report in reports {
                written.extend(report.to_json()?);
            }
        }
        VerifyOutput::Text => {
            for report in reports {
                if !written.is_empty() {
                    written.push(b'\n');
                }
                written.extend(report.to_text());
            }
        }
    }
    Ok(written)
}

impl Args {
    /// The flag that makes no sense for several cards, if one is set.
    fn flag_for_one_card(&self) -> Option<&'static str> {
        match (&self.signed_card, self.policy.has_memory()) {
            (Some(_), _) => Some("--signed-card"),
            (None, true) => Some("--memory"),
            (None, false) => None,
        }
    }
}

/// Inputs of a verification besides the card.
pub(super) struct CardVerifier<'a> {
    pub(super) bundle: &'a Bundle,
    pub(super) policy: Policy,
    pub(super) expected: Option<&'a SpiffeId>,
    pub(super) history: Option<History>,
    pub(super) now: Timestamp,
}

impl CardVerifier<'_> {
    /// Verifies a card; returns the report, and the proof of a verified card.
    fn report(&self, received: ReceivedCard) -> (Report, Option<SignedCard>) {
        match self.verify(received.bytes) {
            Ok(signed) => (Report::of_signed(&signed), Some(signed)),
            Err(rejection) => (Report::of_rejection(&rejection), None),
        }
    }

    /// The new memory of the workload after a verified card; `None` if nothing is to be remembered.
    fn after(&self, signed: &SignedCard) -> Option<History> {
        // A run sees one card and knows no replicas, so this card counts as all that the workload serves.
        let (seen, freshness) = (Seen::Everything, self.policy.freshness);
        History::after(self.history.as_ref(), &[signed.accepted()], seen, freshness, self.now)
    }

    /// Verifies the card and refuses a replay of older content (rule 55).
    pub(super) fn verify(&self, bytes: Vec<u8>) -> Result<SignedCard, Box<Rejection>> {
        let card = Card::parse(bytes, self.policy.numbers)?;
        let signed = verify_card(&card, self.against())?;
        match self.history.as_ref().map_or(Ok(()), |history| history.refuse_replay(&signed.accepted())) {
            Ok(()) => Ok(signed),
            Err(refusal) => Err(Box::new(with_signatures(refusal, &signed))),
        }
    }

    pub(super) fn against(&self) -> Against<'_> {
        Against {
            bundle: self.bundle,
            policy: &self.policy,
            expected: self.expected,
            history: self.history.as_ref(),
            now: self.now,
        }
    }
}

/// Makes the rejection of a card whose signatures are good, with their outcomes.
pub(super) fn with_signatures(refusal: Refusal, signed: &SignedCard) -> Rejection {
    let mut rejection = *Box::<Rejection>::from(refusal);
    rejection.signatures = signed.signatures().to_vec();
    rejection
}

impl Report {
    /// Makes the report of a verified card.
    pub(super) fn of_signed(signed: &SignedCard) -> Self {
        Self {
            spiffe_id: Some(signed.spiffe_id().to_string()),
            profile: Some(signed.profile().id()),
            algorithm: Some(signed.algorithm().name()),
            key_id: signed.key_id().map(str::to_owned),
            digest: Some(signed.digest().to_string()),
            not_after: Some(signed.not_after().to_string()),
            coverage: Some(match signed.coverage() {
                CoverageLevel::Full => CoverageWord::Full,
                CoverageLevel::Partial => CoverageWord::Partial,
            }),
            uncovered: signed.uncovered().iter().map(|member| member.pointer().to_owned()).collect(),
            uncovered_unlisted: signed.unlisted(),
            signatures: signed.signatures().iter().map(Into::into).collect(),
            ..Self::verified()
        }
    }

    /// Makes the report of a refused card.
    pub(super) fn of_rejection(rejection: &Rejection) -> Self {
        Self {
            signatures: rejection.signatures.iter().map(Into::into).collect(),
            ..Self::refused(&rejection.refusal)
        }
    }
}
