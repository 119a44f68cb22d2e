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
use countersign_core::encoding::{Digest, sha256};
use countersign_core::history::{History, Seen};
use countersign_core::policy::Policy;
use countersign_core::refusal::Refusal;
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verify::{Against, CoverageLevel, Rejection, SignedCard, verify_card};
use countersign_io::fetch::Representation;
use countersign_io::files::write_file;
use std::cmp::Reverse;
use std::path::PathBuf;

/// Clients that name no version of A2A.
const UNVERSIONED: Representation = Representation::Unversioned;

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
/// A server may give clients of A2A 1.0 another card at one URL than clients of 0.3. If it says so (`Vary`), both are
/// verified, both must be good, and a refusal names the one that is not.
///
/// Several cards are verified in one run, and the exit code is that of the worst: 1 if one is refused, else 2 if one
/// cannot be read, else 3 if one was not fetched. A card that cannot be read has a line on standard error; the others are
/// verified. JSON is then one object per card, one after the other; SARIF is one run with all cards as artifacts, and a
/// result for each refusal.
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
    let (mut reports, mut unusable) = (Vec::with_capacity(sources.len()), Vec::new());
    let is_alone = sources.len() == 1;
    for source in sources {
        let (report, signed) = match receive(&source) {
            Ok(Err(refusal)) => (Report::refused(&refusal), Vec::new()),
            Ok(Ok(received)) => verifier.report(received),
            Err(problem) if is_alone => return Err(problem),
            // The others are verified all the same: a file that is gone must not hide a refusal.
            Err(problem) => {
                unusable.push(problem.line());
                continue;
            }
        };
        if let (Some(file), Some(first)) = (&args.signed_card, signed.first()) {
            write_file(file, first.document().text().as_bytes())?;
        }
        if let (Some(id), Some(history)) = (expected, verifier.after(&signed))
            && let Some(memory) = memory.take()
        {
            memory.remember(id, &history)?;
        }
        reports.push(Report { source, expected_id: expected.map(ToString::to_string), ..report });
    }
    let outcomes = reports.iter().map(Report::outcome).chain(unusable.iter().map(|_| Outcome::Unusable));
    let outcome = Outcome::worst(outcomes);
    let done = Done::text(write(&reports, &unusable, args.output)?).with_outcome(outcome);
    Ok(done.with_notes(authority.warnings).with_notes(unusable))
}

fn write(reports: &[Report], unusable: &[String], output: VerifyOutput) -> Result<Vec<u8>, Unusable> {
    let mut written = Vec::new();
    match output {
        VerifyOutput::Sarif => return sarif::write(reports, unusable),
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
    /// Verifies a card; returns the report, and the proofs of a verified card. Where clients of one URL get two cards,
    /// both must be good: the report is that of the first unless only the second is bad, and a refusal names which.
    fn report(&self, received: ReceivedCard) -> (Report, Vec<SignedCard>) {
        let ReceivedCard { bytes, digest, representation, unversioned, .. } = received;
        let answers: Vec<_> =
            representation.into_iter().chain(unversioned.as_ref().map(|_| UNVERSIONED)).collect();
        let first = self.report_bytes(bytes, digest);
        let Some(other) = unversioned else {
            return (Report { representations: words(&answers), ..first.0 }, first.1.into_iter().collect());
        };
        let digest = sha256(&other);
        let second = self.report_bytes(other, digest);
        let (report, signed) = match (first, second) {
            ((report, Some(one)), (second, Some(other))) => {
                let not_after = one.not_after().min(other.not_after()).to_string();
                let strength = |signed: &SignedCard, report: &Report| {
                    (signed.coverage() == CoverageLevel::Full, Reverse(report.uncovered_count()))
                };
                let is_weaker = strength(&other, &second) < strength(&one, &report);
                let weaker = if is_weaker { second } else { report.clone() };
                let Report { coverage, uncovered, uncovered_unlisted, .. } = weaker;
                let report =
                    Report { not_after: Some(not_after), coverage, uncovered, uncovered_unlisted, ..report };
                (report, vec![one, other])
            }
            ((report, None), _) => (report.of_answer(Representation::Version1), Vec::new()),
            (_, (report, _)) => (report.of_answer(UNVERSIONED), Vec::new()),
        };
        (Report { representations: words(&answers), ..report }, signed)
    }

    fn report_bytes(&self, bytes: Vec<u8>, digest: Digest) -> (Report, Option<SignedCard>) {
        let (report, signed) = match self.verify(bytes) {
            Ok(signed) => (Report::of_signed(&signed), Some(signed)),
            Err(rejection) => (Report::of_rejection(&rejection), None),
        };
        (Report { digest: Some(digest.to_string()), ..report }, signed)
    }

    /// The new memory of the workload after verified cards; `None` if nothing is to be remembered.
    fn after(&self, signed: &[SignedCard]) -> Option<History> {
        // A run sees one URL and knows no replicas, so what it gave counts as all that the workload serves.
        let (seen, freshness) = (Seen::Everything, self.policy.freshness);
        let accepted: Vec<_> = signed.iter().map(SignedCard::accepted).collect();
        if accepted.is_empty() {
            return None;
        }
        History::after(self.history.as_ref(), &accepted, seen, freshness, self.now)
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

/// The representations in words, in the order in which they were verified.
fn words(answers: &[Representation]) -> Vec<&'static str> {
    answers.iter().map(|representation| representation.as_str()).collect()
}

impl Report {
    /// Names the clients that get a refused card, where others get another one.
    fn of_answer(self, representation: Representation) -> Self {
        let found = self.message.unwrap_or_default();
        let message = Some(format!("in the answer to requests {}: {found}", representation.as_str()));
        Self { message, ..self }
    }

    fn uncovered_count(&self) -> usize {
        self.uncovered.len().saturating_add(self.uncovered_unlisted)
    }

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
