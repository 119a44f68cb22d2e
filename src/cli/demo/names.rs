//! Names of the demonstration.

/// The trust domain of the demonstration.
pub(super) const DOMAIN: &str = "example.org";
/// The namespace of the demonstration's agents.
pub(super) const NAMESPACE: &str = "demo";
