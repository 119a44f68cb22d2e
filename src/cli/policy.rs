//! The flags of the acceptance policy, and their conversion to a [`Policy`].

use super::args::{NumbersArg, TimeArgs, parse_profile, parse_seconds, parse_spiffe_id};
use super::exit::{Unusable, shown};
use super::memory::Memory;
use countersign_api::policy_file::{Base, POLICY_FILE_BYTES, PolicyFile, parse_policy_file};
use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::history::History;
use countersign_core::policy::{Coverage, Freshness, Policy};
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::time::{Seconds, Timestamp};
use countersign_io::files::read_file;
use std::path::{Path, PathBuf};

/// Treatment of a card whose signature leaves out members that decide about security.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CoverageArg {
    /// Refuse the card.
    Strict,
    /// Accept the signed part and list the rest.
    Report,
}

/// Condition under which a card is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FreshnessArg {
    /// Its leaf certificate is valid now.
    Live,
    /// Its leaf is valid now, or the memory knows this content from when one was.
    Witnessed,
}

/// Flags of the acceptance policy for all cards.
#[derive(Debug, clap::Args)]
pub(super) struct AcceptArgs {
    /// File with the acceptance policy of each trust domain, as the operator reads it; instead of the flags for it.
    #[arg(
        long = "policy",
        value_name = "FILE",
        value_parser = read_policy_file,
        conflicts_with_all = ["coverage", "profiles", "all_profiles", "numbers", "max_svid_lifetime", "skew"]
    )]
    file: Option<PolicyFile>,
    #[command(flatten)]
    pub(super) time: TimeArgs,
    /// What to do about members that decide about security and are not signed.
    #[arg(long, value_enum, default_value_t = CoverageArg::Strict)]
    coverage: CoverageArg,
    /// Canonical forms to try instead of the first four; may be repeated or separated by commas.
    #[arg(long = "profile", value_name = "NAME", value_delimiter = ',', value_parser = parse_profile)]
    profiles: Vec<Profile>,
    /// Try all canonical forms, those of old SDKs too.
    #[arg(long, conflicts_with = "profiles")]
    all_profiles: bool,
    /// How numbers are read.
    #[arg(long, value_enum, default_value_t = NumbersArg::Strict)]
    numbers: NumbersArg,
}

/// Flags of the acceptance policy for one card: those for all cards, the expected signer and the freshness.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// SPIFFE ID of the workload that must have signed.
    #[arg(long, value_name = "SPIFFE_ID", value_parser = parse_spiffe_id)]
    pub(super) expect_id: Option<SpiffeId>,
    #[command(flatten)]
    accept: AcceptArgs,
    /// When a card is fresh.
    #[arg(
        long,
        value_enum,
        default_value_t = FreshnessArg::Live,
        conflicts_with = "file",
        requires_if("witnessed", "memory")
    )]
    freshness: FreshnessArg,
    /// With `witnessed`: the longest time since this content was last verified under a valid SVID.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_seconds, conflicts_with = "file")]
    max_age: Seconds,
    /// File that remembers the accepted card of each workload, for --freshness witnessed and against replays.
    /// `verify` makes it when it does not exist, and writes it only when a card was verified and something
    /// changed; `explain` only reads it.
    #[arg(long, value_name = "FILE", requires = "expect_id")]
    memory: Option<PathBuf>,
}

impl AcceptArgs {
    /// Makes the policy of the flags for a trust domain.
    pub(super) fn policy(&self, trust_domain: TrustDomain) -> Policy {
        if let Some(file) = &self.file {
            return file.policy(trust_domain, Base::default());
        }
        let mut policy = Policy::new(trust_domain);
        policy.profiles = self.profile_set();
        policy.numbers = self.numbers.into();
        policy.coverage = match self.coverage {
            CoverageArg::Strict => Coverage::Strict,
            CoverageArg::Report => Coverage::Report,
        };
        policy.chain = self.time.chain_policy();
        policy
    }

    fn profile_set(&self) -> ProfileSet {
        if self.all_profiles {
            ProfileSet::ALL
        } else if self.profiles.is_empty() {
            ProfileSet::DEFAULT
        } else {
            self.profiles.iter().fold(ProfileSet::NONE, |set, profile| set.with(*profile))
        }
    }
}

impl PolicyArgs {
    /// Makes the policy of the flags for a trust domain.
    pub(super) fn policy(&self, trust_domain: TrustDomain) -> Policy {
        let mut policy = self.accept.policy(trust_domain);
        if self.accept.file.is_some() {
            return policy;
        }
        policy.freshness = match self.freshness {
            FreshnessArg::Live => Freshness::Live,
            FreshnessArg::Witnessed => Freshness::Witnessed { max_age: self.max_age },
        };
        policy
    }

    /// The time at which to verify: `--at`, or now.
    pub(super) fn at(&self) -> Timestamp {
        self.accept.time.at()
    }

    /// True if a memory file is given.
    pub(super) const fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Reads the memory file, if one is given, and the memory of the expected workload in it.
    pub(super) fn memory(&self) -> Result<(Option<Memory>, Option<History>), Unusable> {
        let (Some(path), Some(id)) = (&self.memory, &self.expect_id) else { return Ok((None, None)) };
        let memory = Memory::read(path)?;
        let history = memory.history(id)?;
        Ok((Some(memory), history))
    }
}

fn read_policy_file(path: &str) -> Result<PolicyFile, String> {
    let bytes = read_file(Path::new(path), POLICY_FILE_BYTES).map_err(|error| error.to_string())?;
    parse_policy_file(&bytes).map_err(|error| format!("{}: {error}", shown(Path::new(path))))
}
