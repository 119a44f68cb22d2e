//! Bounds of what a check reads and prints.

use std::time::Duration;

/// Most objects of one kind that are read: more than an SRE reads about, and few enough for a laptop.
pub(super) const OBJECTS: usize = 5_000;
/// Objects of one page of a list, which is what kubectl asks for.
pub(super) const PAGE: u32 = 500;
/// Most namespaces whose configuration is read, because each takes two requests.
pub(super) const NAMESPACES: usize = 200;
/// Most objects that one line names.
pub(super) const NAMED: usize = 5;
/// Longest text of one line, in characters: a condition's message may have 32,768.
pub(super) const TEXT_CHARS: usize = 700;
/// Longest time until a connection to the API server stands.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
