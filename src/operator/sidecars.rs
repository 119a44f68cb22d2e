//! Settings of the cluster for every sidecar: what SPIRE offers to Pods, and what the API server knows.
//! They are read again and again, so that SPIRE may be installed, or removed, at any time.

use countersign_api::keys::SPIFFE_CSI_DRIVER;
use countersign_controller::api_error::Explained;
use countersign_controller::failure::is_passing;
use countersign_plan::injection::{SidecarSettings, SpireSocket, has_native_sidecars};
use k8s_openapi::api::storage::v1::CSIDriver;
use kube::{Api, Client};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Time until the cluster is looked at again.
const PERIOD: Duration = Duration::from_secs(30);
/// The same while nothing is known yet.
const SOON: Duration = Duration::from_secs(1);

/// Settings for sidecars, as last seen; shared by the controllers and the webhook.
pub(crate) struct Sidecars {
    image: String,
    seen: watch::Sender<Option<Arc<SidecarSettings>>>,
}

impl Sidecars {
    /// Settings of an operator that injects `image`; none are known yet, unless it is empty.
    pub(crate) fn new(image: &str) -> Self {
        let nothing = SidecarSettings { image: String::new(), spire: None, is_native: true };
        let seen = image.is_empty().then(|| Arc::new(nothing));
        Self { image: image.to_owned(), seen: watch::Sender::new(seen) }
    }

    /// True if there is an image to inject.
    pub(crate) const fn is_offered(&self) -> bool {
        !self.image.is_empty()
    }

    /// Settings; `None` until the cluster was looked at.
    pub(crate) fn settings(&self) -> Option<Arc<SidecarSettings>> {
        self.seen.borrow().clone()
    }

    /// Looks at the cluster until dropped, and calls `changed` after each change.
    pub(crate) async fn follow(&self, host_path: Option<&str>, client: &Client, changed: impl Fn()) {
        if !self.is_offered() {
            return std::future::pending().await;
        }
        loop {
            match self.look(host_path, client).await {
                Ok(seen) => {
                    let before = self.settings();
                    if before.as_deref() != Some(&seen) {
                        tracing::info!(spire = ?seen.spire, native = seen.is_native, "what sidecars are made with");
                        self.seen.send_replace(Some(Arc::new(seen)));
                        // Until something was seen, turns wait by themselves.
                        if before.is_some() {
                            changed();
                        }
                    }
                }
                // What was seen last stays: a failed read must not take SPIRE away from new Pods.
                Err(error) => {
                    tracing::warn!("the cluster's offers to sidecars cannot be read: {}", Explained(&error));
                }
            }
            sleep(if self.settings().is_some() { PERIOD } else { SOON }).await;
        }
    }

    /// Reads what the API server says. What it does not let the operator read counts as absent, so that workloads are enrolled
    /// all the same.
    async fn look(&self, host_path: Option<&str>, client: &Client) -> Result<SidecarSettings, kube::Error> {
        let is_first = self.settings().is_none();
        let version =
            readable(client.apiserver_version().await, ("the version of the API server", is_first))?;
        let spire = if let Some(path) = host_path {
            Some(SpireSocket::HostPath(path.to_owned()))
        } else {
            let driver = Api::<CSIDriver>::all(client.clone()).get_opt(SPIFFE_CSI_DRIVER).await;
            readable(driver, ("CSIDriver csi.spiffe.io", is_first))?.flatten().map(|_| SpireSocket::Csi)
        };
        let is_native = version.is_none_or(|version| has_native_sidecars(&version.major, &version.minor));
        Ok(SidecarSettings { image: self.image.clone(), spire, is_native })
    }
}

/// Answer; `None` if the API server will say the same again, which is told the first time.
fn readable<T>(
    answer: Result<T, kube::Error>,
    (what, is_first): (&str, bool),
) -> Result<Option<T>, kube::Error> {
    match answer {
        Err(error) if !is_passing(&error) => {
            if is_first {
                tracing::warn!("{what} cannot be read, and counts as absent: {}", Explained(&error));
            }
            Ok(None)
        }
        answer => answer.map(Some),
    }
}
