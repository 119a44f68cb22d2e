//! Errors that end the operator: one sentence each, with a remedy.

use countersign_controller::lease::LeaseError;
use std::net::SocketAddr;
use thiserror::Error;

/// Error that ends the operator.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// Address on which a server cannot listen.
    #[error("cannot listen on {address} for {what}: {error}; free the port or choose another address")]
    Listen {
        /// Purpose of the server.
        what: &'static str,
        /// Address that could not be bound.
        address: SocketAddr,
        /// Error of the socket.
        error: std::io::Error,
    },
    /// Client configuration for the API server that is missing or unusable.
    #[error("cannot find the API server: {0}; run in a Pod, or give --kubeconfig")]
    Kubernetes(String),
    /// Part of the process that cannot be set up.
    #[error("cannot set up {what}: {error}")]
    Setup {
        /// Part that cannot be set up.
        what: &'static str,
        /// Error of the setup.
        error: String,
    },
    /// Lease that was lost to another replica or to time.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Controller that stopped.
    #[error("the controller {name} stopped: {error}")]
    Controller {
        /// Name of the controller.
        name: &'static str,
        /// Error that stopped the controller.
        error: String,
    },
}

impl OperatorError {
    /// Constructs [`OperatorError::Setup`].
    pub(super) fn setup(what: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Setup { what, error: error.to_string() }
    }
}
