//! Limits on what is read from the API server at once, each with its reason.

/// Page size of lists of whole objects, which tenants fill as they like: an object may have 1.5 MiB (the limit of etcd), and
/// takes several times that while it is read.
pub(crate) const PAGE_OBJECTS: u32 = 4;
/// Page size of lists of metadata, where annotations are limited to 256 KiB.
pub(crate) const PAGE_METADATA: u32 = 20;
/// Most objects that one list reads. More refuses the card: what was not read may be foreign.
pub(crate) const LIST_OBJECTS: usize = 2_000;
/// Pages of whole objects that are in memory at once, whoever reads them: with [`PAGE_OBJECTS`] some 40 MiB of the 128 MiB
/// that the chart allows. Requests take turns by page, so that a long list holds up nobody for long.
pub(crate) const PAGES_AT_ONCE: usize = 2;
