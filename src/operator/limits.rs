//! Limits on what is read from the API server at once, and on how long its failures stay untold, each with its reason. What
//! of an object is read is a limit of the plan, which `countersign plan` shares.

use std::time::Duration;

/// Page size of lists of whole objects, which tenants fill as they like: an object may have 1.5 MiB (the limit of etcd), and
/// takes several times that while it is read.
pub(crate) const PAGE_OBJECTS: u32 = 4;
/// Page size of lists of slices of endpoints, which are parsed whole: a thousand endpoints each, and labels.
pub(crate) const PAGE_SLICES: u32 = 1;
/// Page size of lists of metadata, where annotations are limited to 256 KiB.
pub(crate) const PAGE_METADATA: u32 = 20;
/// Most addresses behind one Service that are read and kept: five thousand Pods, which no agent has.
pub(crate) const ENDPOINTS: usize = 5_000;
/// Longest text of an AgentCard's spec that is kept, in bytes. Its definition has no limits, as the existing one has none; a
/// name or version that is longer names nothing.
pub(crate) const SPEC_TEXT_BYTES: usize = 512;
/// Most objects that one list reads. More refuses the card: what was not read may be foreign.
pub(crate) const LIST_OBJECTS: usize = 2_000;
/// Longest time for one list, with the waits for turns: [`LIST_OBJECTS`] in pages of [`PAGE_OBJECTS`] are 500 requests, of
/// 60 ms each here. An evaluation reads two such lists at most, and its slot is its namespace's.
pub(crate) const LIST_WITHIN: Duration = Duration::from_secs(30);
/// Pages of whole objects that are in memory at once, whoever reads them: with [`PAGE_OBJECTS`] some 40 MiB of the 128 MiB
/// that the chart allows. Requests take turns by page, so that a long list holds up nobody for long.
pub(crate) const PAGES_AT_ONCE: usize = 2;
/// Longest qualified name that is kept, such as a finalizer's: a DNS subdomain, a slash and 63 bytes.
pub(crate) const NAME_BYTES: usize = 317;
/// Longest time for which failures that pass by themselves leave the condition `Enforced` as it was told. Turns are repeated
/// after 250 ms and then twice as long each time, so a busy or restarting API server has some five attempts, and nobody
/// reads for longer than this and the next attempt that a workload is held as it is not.
pub(crate) const ENFORCEMENT_UNTOLD: Duration = Duration::from_secs(10);
/// Time between two workloads that are rolled because what the cluster offers changed, on average, and the longest time until all
/// are: image registry, scheduler and nodes have to start the Pods of all of them.
pub(crate) const ROLLOUTS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_mins(5));
/// `ConfigMap`s with defaults of a namespace that are read, of which the first by name counts and the others are told of: a tenant
/// may have any number, each of 1 MiB.
pub(crate) const DEFAULTS_READ: u32 = 4;
/// Time until a copy of an `AgentRuntime` that the API server refused is sent again: nothing tells when a quota is raised, a
/// policy changed or a definition installed.
pub(crate) const TWIN_REFUSED_AGAIN: Duration = Duration::from_mins(1);
