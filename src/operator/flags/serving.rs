//! Certificate of a server of the operator.

use std::path::PathBuf;

/// Certificate of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServingCertificate {
    /// Self-signed certificate, created at start, which no client can verify.
    SelfSigned,
    /// PEM files, loaded again every minute.
    Files {
        /// Path of the certificate chain.
        certificate: PathBuf,
        /// Path of the private key.
        key: PathBuf,
    },
}
