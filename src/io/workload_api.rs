//! One X.509-SVID with its key from the SPIFFE Workload API, for signing without key files.
//! The socket is an argument; `SPIFFE_ENDPOINT_SOCKET` is read, if at all, by the command line.

use crate::core::text::Quoted;
use spiffe::WorkloadApiClient;
use std::fmt;
use std::time::Duration;

/// An SVID and its private key.
pub struct WorkloadSvid {
    /// DER certificates, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The private key as PKCS#8 DER.
    pub key: Vec<u8>,
}

impl fmt::Debug for WorkloadSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadSvid").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Why no SVID could be had, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadApiError {
    /// The agent did not answer.
    #[error("the Workload API at {} did not answer within {timeout:?}; check that the SPIRE agent runs and that the socket is mounted", Quoted(.socket))]
    Timeout {
        /// The socket asked.
        socket: String,
        /// How long we waited.
        timeout: Duration,
    },
    /// The agent refused, or the socket cannot be used.
    #[error("the Workload API at {} gave no X.509-SVID: {}; check the socket and the registration entry of this workload", Quoted(.socket), Quoted(.cause))]
    Failed {
        /// The socket asked.
        socket: String,
        /// What the client said.
        cause: String,
    },
}

/// Asks the agent behind `socket`, a path or a `unix:` address, for the workload's default SVID.
pub async fn fetch_svid(socket: &str, timeout: Duration) -> Result<WorkloadSvid, WorkloadApiError> {
    let endpoint = if socket.contains(':') { socket.to_owned() } else { format!("unix://{socket}") };
    let ask = async { WorkloadApiClient::connect_to(&endpoint).await?.fetch_x509_svid().await };
    match tokio::time::timeout(timeout, ask).await {
        Err(_) => Err(WorkloadApiError::Timeout { socket: socket.to_owned(), timeout }),
        Ok(Err(error)) => {
            Err(WorkloadApiError::Failed { socket: socket.to_owned(), cause: error.to_string() })
        }
        Ok(Ok(svid)) => Ok(WorkloadSvid {
            chain: svid.cert_chain().iter().map(|certificate| certificate.as_bytes().to_vec()).collect(),
            key: svid.private_key().as_bytes().to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_absent_agent_is_an_error_that_names_the_socket_and_the_way_out() {
        let error = fetch_svid("/nowhere/agent.sock", Duration::from_secs(2)).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains("/nowhere/agent.sock") && message.contains("check"), "{message}");
    }

    #[test]
    fn the_key_never_shows_in_debug_output() {
        let svid = WorkloadSvid { chain: vec![vec![1, 2, 3]], key: vec![77, 88, 99] };
        assert_eq!(format!("{svid:?}"), "WorkloadSvid { certificates: 1, .. }");
    }
}
