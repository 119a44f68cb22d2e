//! The seven profiles of canonical forms, and the sets of them that a trust domain allows.
//! Profiles are ordered by coverage, strongest first, and are tried in this order (rule 49).

use super::emit::{FormRules, Projection, Strip};
use crate::json::Dialect;
use std::fmt;

/// A canonical form: a mapping from a card to the bytes that are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// A2A 1.0 §8.4.1: the 1.0 members with their presence rules, RFC 8785.
    Spec841,
    /// The whole document without its top-level `signatures`, RFC 8785.
    JcsRaw,
    /// The 1.0 members, defaults and all empties removed, RFC 8785: a2a-python ≥ 1.1.4, a2a-js ≥ 1.0.1.
    ProtoCleanJcs,
    /// The members that kagenti knows, empties removed, Go's JSON.
    KagentiGo,
    /// The 1.0 members with 0.3 ones folded, defaults and all empties removed, Python's JSON: a2a-python 1.0.0–1.1.3.
    PyLegacy,
    /// The 0.3 members, schema defaults and empties removed, Python's JSON: a2a-python 0.3.21–0.3.26.
    Py03,
    /// The 1.0 members with 0.3 ones folded, defaults and all empties removed, RFC 8785: a2a-python ≥ 1.1.4 given a
    /// 0.3-shaped card.
    ProtoFoldedJcs,
}

impl Profile {
    /// Every profile, in the order of trial.
    pub const ALL: [Self; 7] = [
        Self::Spec841,
        Self::JcsRaw,
        Self::ProtoCleanJcs,
        Self::KagentiGo,
        Self::PyLegacy,
        Self::Py03,
        Self::ProtoFoldedJcs,
    ];

    /// The name in flags, status and JSON; stable across releases.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Spec841 => "spec841",
            Self::JcsRaw => "jcs-raw",
            Self::ProtoCleanJcs => "proto-clean-jcs",
            Self::KagentiGo => "kagenti-go",
            Self::PyLegacy => "py-legacy",
            Self::Py03 => "py-0.3",
            Self::ProtoFoldedJcs => "proto-folded-jcs",
        }
    }

    /// The profile whose name is exactly `id`.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.id() == id)
    }

    /// A description for people, in one line.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Spec841 => "A2A 1.0 §8.4.1: presence rules, RFC 8785",
            Self::JcsRaw => "the whole document without `signatures`, RFC 8785",
            Self::ProtoCleanJcs => {
                "1.0 members without empties, RFC 8785 (a2a-python ≥ 1.1.4, a2a-js ≥ 1.0.1)"
            }
            Self::KagentiGo => "kagenti's members without empties, Go JSON",
            Self::PyLegacy => {
                "1.0 members, 0.3 ones folded, without empties, Python JSON (a2a-python 1.0.0–1.1.3)"
            }
            Self::Py03 => "0.3 members without defaults and empties, Python JSON (a2a-python 0.3.21–0.3.26)",
            Self::ProtoFoldedJcs => {
                "1.0 members, 0.3 ones folded, without empties, RFC 8785 (a2a-python ≥ 1.1.4)"
            }
        }
    }

    pub(super) const fn folds(self) -> bool {
        matches!(self, Self::PyLegacy | Self::ProtoFoldedJcs)
    }

    pub(super) const fn form(self) -> FormRules {
        let (projection, strip, dialect) = match self {
            Self::Spec841 => (Projection::V1, Strip::Nothing, Dialect::Jcs),
            Self::JcsRaw => (Projection::Everything, Strip::Nothing, Dialect::Jcs),
            Self::ProtoCleanJcs | Self::ProtoFoldedJcs => (Projection::V1, Strip::Empties, Dialect::Jcs),
            Self::KagentiGo => (Projection::Kagenti, Strip::EmptiesOutsideNestedLists, Dialect::Go),
            Self::PyLegacy => (Projection::V1, Strip::Empties, Dialect::PythonFloats),
            Self::Py03 => (Projection::V03, Strip::Empties, Dialect::PythonNumbers),
        };
        FormRules { projection, strip, dialect }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Spec841 => 1,
            Self::JcsRaw => 1 << 1,
            Self::ProtoCleanJcs => 1 << 2,
            Self::KagentiGo => 1 << 3,
            Self::PyLegacy => 1 << 4,
            Self::Py03 => 1 << 5,
            Self::ProtoFoldedJcs => 1 << 6,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The profiles that a trust domain allows, always tried in the order of [`Profile::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileSet(u8);

impl ProfileSet {
    /// The empty set, which refuses every card.
    pub const NONE: Self = Self(0);
    /// The first four profiles: current SDKs, signers of raw RFC 8785, and kagenti.
    pub const DEFAULT: Self = Self(0b1111);
    /// All seven profiles.
    pub const ALL: Self = Self(0b111_1111);

    /// The set with `profile` added.
    #[must_use]
    pub const fn with(self, profile: Profile) -> Self {
        Self(self.0 | profile.bit())
    }

    /// True if `profile` is allowed.
    pub const fn contains(self, profile: Profile) -> bool {
        self.0 & profile.bit() != 0
    }

    /// True if both sets have a profile in common.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The profiles of both sets.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The allowed profiles, in the order of trial.
    pub fn iter(self) -> impl Iterator<Item = Profile> {
        Profile::ALL.into_iter().filter(move |profile| self.contains(*profile))
    }
}

impl Default for ProfileSet {
    fn default() -> Self {
        Self::DEFAULT
    }
}
