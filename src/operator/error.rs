//! Why the operator cannot start or go on: one sentence each, with what to do.

use countersign_controller::lease::LeaseError;
use std::net::SocketAddr;
use thiserror::Error;

/// Why the operator ended although nobody asked for it.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// A server cannot listen.
    #[error("cannot listen on {address} for {what}: {error}; free the port or choose another address")]
    Listen {
        /// What was to be served.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// There is no usable configuration for the API server.
    #[error("cannot find the API server: {0}; run in a Pod, or give --kubeconfig")]
    Kubernetes(String),
    /// A part of the process cannot be set up.
    #[error("cannot set up {what}: {error}")]
    Setup {
        /// What was to be set up.
        what: &'static str,
        /// Why not.
        error: String,
    },
    /// The lease is lost.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A controller cannot go on.
    #[error("the controller {name} stopped: {error}")]
    Controller {
        /// Which one.
        name: &'static str,
        /// Why.
        error: String,
    },
}

impl OperatorError {
    /// For [`OperatorError::Setup`].
    pub(super) fn setup(what: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Setup { what, error: error.to_string() }
    }
}
