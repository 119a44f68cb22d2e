//! Parts of the process that the controllers share with its servers.

use super::flags::Config;
use super::metrics::Metrics;
use super::sidecars::Sidecars;
use countersign_controller::admin::Readiness;
use kube::Client;
use std::sync::Arc;

/// Parts of the process that controllers use; clones share them.
#[derive(Clone)]
pub struct Shared {
    /// Checked configuration of the operator.
    pub config: Arc<Config>,
    /// Client of the API server, for requests.
    pub client: Client,
    /// Client of the API server for watches, which may be silent for minutes.
    pub watching: Client,
    /// Prometheus metrics of the process.
    pub metrics: Metrics,
    /// Settings of the cluster for sidecars.
    pub(crate) sidecars: Arc<Sidecars>,
    /// Readiness checks behind `/readyz`.
    pub readiness: Readiness,
}
