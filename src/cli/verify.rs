//! `countersign verify`: verifies a card over a bundle and prints the verdict with its reason.

use super::args::AuthorityArgs;
use super::exit::{Done, Unusable};
use super::policy::PolicyArgs;
use super::received::{ReceivedCard, receive, shown};
use super::report::{CoverageWord, Report};
use super::sarif;
use countersign_core::bundle::Bundle;
use countersign_core::card::Card;
use countersign_core::history::{History, Seen};
use countersign_core::policy::Policy;
use countersign_core::refusal::Refusal;
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verify::{Against, CoverageLevel, Rejection, SignedCard, verify_card};

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
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("signer").args(["expect_id", "any_workload"]).required(true)))]
pub(super) struct Args {
    /// The card: a file, `-` for standard input, or an http(s) URL. A URL without a path means the agent's
    /// well-known address.
    #[arg(value_name = "CARD|URL")]
    card: String,
    #[command(flatten)]
    authority: AuthorityArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Accept a signature of any workload of the trust domain, instead of --expect-id.
    #[arg(long, conflicts_with = "memory")]
    any_workload: bool,
    /// How the verdict is written.
    #[arg(short, long, value_enum, default_value_t = VerifyOutput::Text)]
    output: VerifyOutput,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let expected = args.policy.expect_id.as_ref();
    let authority = args.authority.read(expected)?;
    let bundle = authority.bundle()?;
    let (memory, history) = args.policy.memory()?;
    let verifier = CardVerifier {
        bundle,
        policy: args.policy.policy(authority.trust_domain().clone()),
        expected,
        history,
        now: args.policy.at(),
    };
    let (report, remembered) = match receive(&args.card)? {
        Err(refusal) => (Report::refused(&refusal), None),
        Ok(received) => {
            let digest = received.digest.to_string();
            let (report, remembered) = verifier.report(received);
            (Report { digest: Some(digest), ..report }, remembered)
        }
    };
    let report = Report { expected_id: expected.map(ToString::to_string), ..report };
    if let (Some(memory), Some(id), Some(history)) = (memory, expected, remembered) {
        memory.remember(id, &history)?;
    }
    let output = match args.output {
        VerifyOutput::Text => report.to_text(&shown(&args.card)),
        VerifyOutput::Json => report.to_json()?,
        VerifyOutput::Sarif => sarif::write(&report, &args.card)?,
    };
    Ok(Done::text(output).with_outcome(report.outcome()).with_notes(authority.warnings))
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
    /// Verifies a card; returns the report, and for a verified card the new memory of the workload.
    fn report(&self, received: ReceivedCard) -> (Report, Option<History>) {
        match self.verify(received.bytes) {
            Ok(signed) => {
                let (before, accepted) = (self.history.as_ref(), signed.accepted());
                // A run sees one card and knows no replicas, so this card counts as all that the workload serves.
                let (seen, freshness) = (Seen::Everything, self.policy.freshness);
                let after = History::after(before, &[accepted], seen, freshness, self.now);
                (Report::of_signed(&signed), after)
            }
            Err(rejection) => (Report::of_rejection(&rejection), None),
        }
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
