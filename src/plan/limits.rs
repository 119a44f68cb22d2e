//! Limits on what is planned with, and on how long something may stay as it is, each with its reason.

#[cfg(feature = "agent-card")]
use std::time::Duration;

/// Most labels of one object, or of one selector, that are read: an honest object has some ten. An object with more is told
/// so, and opens nothing.
pub const LABELS: usize = 128;
/// Most bytes of keys and values of those labels, of which one object keeps up to three sets (its own, its template's and
/// its selector's) as long as it exists. How many objects a tenant may have is for a `ResourceQuota` to say.
pub const LABEL_BYTES: usize = 8 * 1024;
/// Most items of a list within an object that are read: owners, addresses, ports, expressions of a selector.
pub const ITEMS: usize = 64;
/// Longest name of an object, which is a DNS subdomain (RFC 1123), and longest DNS name in text (RFC 1035 section 2.3.4), in
/// bytes. The API server does not bound what an `EndpointSlice` calls a Pod; UIDs are shorter.
pub(crate) const NAME_BYTES: usize = 253;
/// Most hosts of Ingresses that are kept of a namespace: tenants write them, and a host has up to [`NAME_BYTES`].
pub(crate) const INGRESS_HOSTS: usize = 4096;

/// Longest note of an event, in bytes: the API server refuses a longer one.
#[cfg(feature = "agent-card")]
pub(crate) const NOTE_BYTES: usize = 1024;
/// Most uncovered members that status lists: those that decide about security come first (rule 47).
#[cfg(feature = "agent-card")]
pub(crate) const UNCOVERED: usize = 32;
/// Longest time for which an AgentCard without an evaluation, and without a proof in status, leaves access as it is:
/// whoever replaces a card again and again keeps nothing open beyond it.
#[cfg(feature = "agent-card")]
pub const LONGEST_UNDECIDED: Duration = Duration::from_mins(5);
/// Longest time for which status does not show a loss of trust because the workload's turn, which closes first, has not seen
/// it. Where an authority is removed, a thousand workloads close within some seconds, and each status is written once.
#[cfg(feature = "agent-card")]
pub const LONGEST_UNSEEN: Duration = Duration::from_secs(5);
/// Longest time for which slices and Pods may disagree, a list may take long, or the account may lack a right. Slices follow
/// Pods with a delay on a busy cluster, and an API server reads its rules within seconds.
#[cfg(feature = "agent-card")]
pub(crate) const SETTLING: Duration = Duration::from_secs(10);
/// Longest time for which the API server may not answer: it is restarted or upgraded in less, and an AgentCard without an
/// evaluation leaves access as it is for as long.
#[cfg(feature = "agent-card")]
pub(crate) const UNREAD: Duration = Duration::from_mins(5);
/// Longest time between two fetches of one card: a verdict must not outlive what it stands on for long.
#[cfg(feature = "agent-card")]
pub(crate) const LONGEST_PERIOD: Duration = Duration::from_hours(1);
/// Age of an AgentCard from which status says that its workload or Service is missing or not ready. Until then the
/// agent is isolated, as every agent without a verdict is; the controllers of a cluster usually take less time.
#[cfg(feature = "agent-card")]
pub(crate) const STARTING: Duration = Duration::from_secs(5);
/// Shortest and longest time until a workload that an `AgentRuntime` names and that does not exist is looked for again: both
/// usually come from one file, and one that is missing for a day is not awaited.
#[cfg(feature = "agent-card")]
pub(crate) const TARGET_READ_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Time between two reads of the configuration of an enrolled workload. Each workload is read at a time of its own, so that a
/// change for the whole cluster rolls workloads one after the other over this time.
#[cfg(feature = "agent-card")]
pub(crate) const CONFIG_READ_AGAIN: Duration = Duration::from_mins(5);
/// Longest annotation with the names of skills, in bytes: [`ITEMS`] names of `SKILL_BYTES`. It is read at every turn of its
/// workload, and a tenant may write 256 KiB.
#[cfg(feature = "agent-card")]
pub const SKILLS_BYTES: usize = 16 * 1024;
/// Longest name of a skill, in bytes, as long as that of an object: status shows up to [`ITEMS`] of them.
#[cfg(feature = "agent-card")]
pub(crate) const SKILL_BYTES: usize = NAME_BYTES;
