//! The SPIFFE Workload API: the workload's own SVID and the bundles of trust domains, fetched once or followed.
//! The socket is an argument; only the command line reads `SPIFFE_ENDPOINT_SOCKET`.

use countersign_core::encoding::encode_base64_standard_into;
use countersign_core::text::{Quoted, is_unsafe_for_display};
use countersign_core::time::Timestamp;
use futures::{Stream, StreamExt};
use spiffe::{WorkloadApiClient, WorkloadApiError as ClientError, X509BundleSet, X509Context, X509Svid};
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::pin::Pin;
use std::time::Duration;
use zeroize::Zeroizing;

/// Wait before the first new attempt; doubles with each failure in a row.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// What most callers ask for.
const SVID: &str = "X.509-SVID";
/// Longest time without an update before the stream is opened again: a hung agent sends no error.
const QUIET: Duration = Duration::from_mins(1);

/// An X509-SVID with its private key, in memory that is overwritten on drop.
pub struct WorkloadSvid {
    /// The certificates: DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The private key: PKCS#8, DER.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for WorkloadSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadSvid").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl From<&X509Svid> for WorkloadSvid {
    fn from(svid: &X509Svid) -> Self {
        Self {
            chain: svid.cert_chain().iter().map(|certificate| certificate.as_bytes().to_vec()).collect(),
            key: Zeroizing::new(svid.private_key().as_bytes().to_vec()),
        }
    }
}

/// The X.509 authorities of one trust domain, as the agent last sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainBundle {
    /// The name of the trust domain.
    pub trust_domain: String,
    /// The certificates of the authorities, in DER; none means that the domain revoked all of them (rule 44).
    pub authorities: Vec<Vec<u8>>,
}

impl DomainBundle {
    /// The authorities as a bundle document: PEM, or the empty JWKS without any authority, which revokes (rule 44).
    pub fn document(&self) -> Vec<u8> {
        if self.authorities.is_empty() {
            return br#"{"keys":[]}"#.to_vec();
        }
        self.pem().collect::<String>().into_bytes()
    }

    /// The authorities in PEM, one text for each.
    pub fn pem(&self) -> impl Iterator<Item = String> {
        self.authorities.iter().map(|der| pem_certificate(der))
    }
}

/// Writes one certificate in PEM, in lines of 64 characters (RFC 7468 §2).
pub fn pem_certificate(der: &[u8]) -> String {
    let mut base64 = String::new();
    encode_base64_standard_into(der, &mut base64);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (index, letter) in base64.chars().enumerate() {
        if index > 0 && index.checked_rem(64) == Some(0) {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

/// A failed request to the agent, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadApiError {
    /// The agent did not answer in time.
    #[error("the Workload API at {} gave no {asked} within {timeout:?}; {}", Quoted(.socket), Look(.socket))]
    Timeout {
        /// The socket of the agent.
        socket: String,
        /// What was asked for.
        asked: &'static str,
        /// The longest time for the answer.
        timeout: Duration,
    },
    /// The agent refused the request, or the socket cannot be used.
    #[error("the Workload API at {} gave no {asked}: {cause}; {}", Quoted(.socket), Look(.socket))]
    Failed {
        /// The socket of the agent.
        socket: String,
        /// What was asked for.
        asked: &'static str,
        /// What is wrong with the socket, or the quoted error of the client library.
        cause: String,
    },
}

/// Way to see what the agent behind a socket answers.
struct Look<'a>(&'a str);

impl fmt::Display for Look<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = path_of(self.0);
        let path = if path.chars().any(is_unsafe_for_display) { "SOCKET" } else { path };
        write!(
            f,
            "check that the SPIRE agent runs, that its socket is mounted here, and that this workload has a registration \
             entry: `spire-agent api fetch x509 -socketPath {path}` shows the agent's answer"
        )
    }
}

/// Path of a socket that is named as a path or a `unix:` address.
fn path_of(socket: &str) -> &str {
    let path = socket.strip_prefix("unix:").unwrap_or(socket);
    path.strip_prefix("//").unwrap_or(path)
}

/// What is wrong with the file of a socket; `None` if that is not known.
fn problem_of(socket: &str) -> Option<&'static str> {
    if socket.starts_with("tcp:") {
        return None;
    }
    match std::fs::metadata(path_of(socket)) {
        Ok(found) if !found.file_type().is_socket() => Some("it is no socket"),
        Ok(_) => None,
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Some("there is no such file"),
            ErrorKind::PermissionDenied => Some("this user may not look into its folder"),
            _ => None,
        },
    }
}

/// Fetches the workload's default SVID from the agent behind `socket`, a path or a `unix:` address.
pub async fn fetch_svid(socket: &str, timeout: Duration) -> Result<WorkloadSvid, WorkloadApiError> {
    let agent = AgentSocket { socket, timeout, asked: SVID };
    agent.within(async { agent.connect().await?.fetch_x509_svid().await }).await.map(|svid| (&svid).into())
}

/// Follows the workload's default SVID until dropped, and connects again after every failure. Calls `tell` with each
/// SVID, which may equal the previous one, and with each failure; `timeout` bounds every attempt.
pub async fn follow_svid(
    socket: &str,
    timeout: Duration,
    mut tell: impl FnMut(Result<WorkloadSvid, WorkloadApiError>),
) {
    let open = |client: WorkloadApiClient| async move {
        client.stream_x509_svids().await.map(|stream| -> Updates<X509Svid> { Box::pin(stream) })
    };
    let agent = AgentSocket { socket, timeout, asked: SVID };
    agent.follow(open, |update| tell(update.map(|svid| (&svid).into()))).await;
}

/// Follows the bundles of the workload's own and of federated trust domains, in the manner of [`follow_svid`]. Each
/// list is complete: a domain that is not in it is no longer federated.
pub async fn follow_bundles(
    socket: &str,
    timeout: Duration,
    mut tell: impl FnMut(Result<Vec<DomainBundle>, WorkloadApiError>),
) {
    let open = |client: WorkloadApiClient| async move {
        client.stream_x509_bundles().await.map(|stream| -> Updates<X509BundleSet> { Box::pin(stream) })
    };
    let agent = AgentSocket { socket, timeout, asked: "trust bundle" };
    agent.follow(open, |update| tell(update.map(|set| domains(&set)))).await;
}

/// The workload's SVID and bundles, from one answer of the agent.
#[derive(Debug)]
pub struct WorkloadContext {
    /// The workload's default SVID.
    pub svid: WorkloadSvid,
    /// The bundles of the workload's own and of all federated trust domains.
    pub bundles: Vec<DomainBundle>,
}

/// Follows SVID and bundles together, in the manner of [`follow_svid`].
pub async fn follow_context(
    socket: &str,
    timeout: Duration,
    mut tell: impl FnMut(Result<WorkloadContext, WorkloadApiError>),
) {
    let open = |client: WorkloadApiClient| async move {
        client.stream_x509_contexts().await.map(|stream| -> Updates<X509Context> { Box::pin(stream) })
    };
    let read = |context: X509Context| {
        let svid = context.default_svid().ok_or(ClientError::EmptyResponse)?;
        Ok(WorkloadContext { svid: svid.as_ref().into(), bundles: domains(context.bundle_set()) })
    };
    let agent = AgentSocket { socket, timeout, asked: SVID };
    let told = |update: Result<X509Context, WorkloadApiError>| {
        tell(update.and_then(|context| read(context).map_err(|error| agent.failed(&error))));
    };
    agent.follow(open, told).await;
}

/// Fetches a JWT-SVID for one audience; returns the token and its expiry.
pub async fn fetch_jwt_svid(
    socket: &str,
    timeout: Duration,
    audience: &str,
) -> Result<(Zeroizing<String>, Timestamp), WorkloadApiError> {
    let agent = AgentSocket { socket, timeout, asked: "JWT-SVID" };
    let svid = agent.within(async { agent.connect().await?.fetch_jwt_svid([audience], None).await }).await?;
    let expires_at = Timestamp::from_unix(svid.expiry().unix_timestamp());
    Ok((Zeroizing::new(svid.token().to_owned()), expires_at))
}

fn domains(set: &X509BundleSet) -> Vec<DomainBundle> {
    set.iter()
        .map(|(domain, bundle)| DomainBundle {
            trust_domain: domain.to_string(),
            authorities: bundle.authorities().iter().map(|one| one.as_bytes().to_vec()).collect(),
        })
        .collect()
}

type Updates<T> = Pin<Box<dyn Stream<Item = Result<T, ClientError>> + Send>>;

/// The socket of an agent, and the longest time for each answer.
#[derive(Clone, Copy)]
struct AgentSocket<'a> {
    socket: &'a str,
    timeout: Duration,
    /// What is asked for, for errors.
    asked: &'static str,
}

impl AgentSocket<'_> {
    async fn connect(&self) -> Result<WorkloadApiClient, ClientError> {
        let socket = self.socket;
        let endpoint = if socket.contains(':') { socket.to_owned() } else { format!("unix://{socket}") };
        WorkloadApiClient::connect_to(&endpoint).await
    }

    async fn within<T>(
        &self,
        request: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, WorkloadApiError> {
        match tokio::time::timeout(self.timeout, request).await {
            Err(_) => {
                let (socket, asked) = (self.socket.to_owned(), self.asked);
                Err(WorkloadApiError::Timeout { socket, asked, timeout: self.timeout })
            }
            Ok(answer) => answer.map_err(|error| self.failed(&error)),
        }
    }

    fn failed(&self, error: &ClientError) -> WorkloadApiError {
        let library = || Quoted(&error.to_string()).to_string();
        WorkloadApiError::Failed {
            socket: self.socket.to_owned(),
            asked: self.asked,
            cause: problem_of(self.socket).map_or_else(library, str::to_owned),
        }
    }

    async fn follow<T, F>(
        &self,
        open: impl Fn(WorkloadApiClient) -> F,
        mut tell: impl FnMut(Result<T, WorkloadApiError>),
    ) where
        F: Future<Output = Result<Updates<T>, ClientError>>,
    {
        let mut wait = FIRST_WAIT;
        loop {
            let first = self.within(async {
                let mut updates = open(self.connect().await?).await?;
                let first = updates.next().await.unwrap_or(Err(ClientError::EmptyResponse))?;
                Ok((first, updates))
            });
            match first.await {
                Ok((first, updates)) => {
                    wait = FIRST_WAIT;
                    tell(Ok(first));
                    if let Some(error) = drain(updates, |update| tell(Ok(update))).await {
                        tell(Err(self.failed(&error)));
                    }
                }
                Err(error) => tell(Err(error)),
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }
}

/// Passes updates to `tell` until the stream fails, ends, or sends none for [`QUIET`].
async fn drain<T>(mut updates: Updates<T>, mut tell: impl FnMut(T)) -> Option<ClientError> {
    loop {
        match tokio::time::timeout(QUIET, updates.next()).await {
            Ok(Some(Ok(update))) => tell(update),
            Ok(Some(Err(error))) => return Some(error),
            Ok(None) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_absent_agent_is_an_error_that_names_the_socket_and_the_way_out() {
        let error = fetch_svid("/nowhere/agent.sock", Duration::from_secs(2)).await.unwrap_err();
        let message = error.to_string();
        assert_eq!(
            message,
            "the Workload API at \"/nowhere/agent.sock\" gave no X.509-SVID: there is no such file; check that the SPIRE \
             agent runs, that its socket is mounted here, and that this workload has a registration entry: `spire-agent \
             api fetch x509 -socketPath /nowhere/agent.sock` shows the agent's answer"
        );
        for socket in ["unix:///nowhere/a", "unix:/nowhere/a", "/nowhere/a"] {
            assert_eq!(path_of(socket), "/nowhere/a");
        }
        assert_eq!(
            (problem_of("/proc/version"), problem_of("tcp://127.0.0.1:1")),
            (Some("it is no socket"), None)
        );
    }

    #[tokio::test]
    async fn an_absent_agent_is_asked_again_and_every_failure_is_told() {
        let (mut told, enough) = (0, tokio::sync::Notify::new());
        let follow = follow_svid("/nowhere/agent.sock", Duration::from_secs(2), |update| {
            assert!(update.is_err());
            told += 1;
            if told == 2 {
                enough.notify_one();
            }
        });
        tokio::select! {
            () = follow => {}
            () = enough.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("it was not asked again"),
        }
    }

    #[test]
    fn the_key_never_shows_in_debug_output() {
        let svid = WorkloadSvid { chain: vec![vec![1, 2, 3]], key: Zeroizing::new(vec![77, 88, 99]) };
        assert_eq!(format!("{svid:?}"), "WorkloadSvid { certificates: 1, .. }");
    }
}
