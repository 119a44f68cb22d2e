//! Settings of the cluster for every sidecar: what SPIRE offers to Pods, and what the API server knows.
//! They are read again and again, so that SPIRE may be installed, or removed, at any time.

use super::flags::Config;
use countersign_controller::api_error::Explained;
use countersign_plan::injection::{SidecarSettings, SpireSocket};
use k8s_openapi::api::storage::v1::CSIDriver;
use kube::{Api, Client};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// The CSI driver that gives Pods the socket of SPIRE's agent.
const DRIVER: &str = "csi.spiffe.io";
/// Time until the cluster is looked at again.
const PERIOD: Duration = Duration::from_secs(30);
/// The same while nothing is known yet.
const SOON: Duration = Duration::from_secs(1);
/// First minor version of Kubernetes 1 whose init containers may go on running.
const NATIVE_SIDECARS: u32 = 29;

/// Settings for sidecars, as last seen.
pub(crate) struct Sidecars(watch::Sender<Option<Arc<SidecarSettings>>>);

impl Default for Sidecars {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Sidecars {
    /// Settings; `None` until the cluster was looked at.
    pub(crate) fn settings(&self) -> Option<Arc<SidecarSettings>> {
        self.0.borrow().clone()
    }

    /// Looks at the cluster until dropped, and calls `changed` after each change.
    pub(crate) async fn follow(&self, config: &Config, client: &Client, changed: impl Fn()) {
        loop {
            match look(config, client).await {
                Ok(seen) => {
                    let differs = self.settings().is_none_or(|settings| *settings != seen);
                    if differs {
                        tracing::info!(spire = ?seen.spire, native = seen.is_native, "what sidecars are made with");
                        self.0.send_replace(Some(Arc::new(seen)));
                        changed();
                    }
                }
                // What was seen last stays: a failed read must not take SPIRE away from new Pods.
                Err(error) => {
                    tracing::warn!("the cluster's offers to sidecars cannot be read: {}", Explained(&error));
                }
            }
            sleep(if self.0.borrow().is_some() { PERIOD } else { SOON }).await;
        }
    }
}

async fn look(config: &Config, client: &Client) -> Result<SidecarSettings, kube::Error> {
    let version = client.apiserver_version().await?;
    let minor: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    let spire = match &config.sidecar_host_path {
        Some(path) => Some(SpireSocket::HostPath(path.clone())),
        None => Api::<CSIDriver>::all(client.clone()).get_opt(DRIVER).await?.map(|_| SpireSocket::Csi),
    };
    Ok(SidecarSettings {
        image: config.sidecar_image.clone(),
        spire,
        is_native: version.major != "1" || minor.parse::<u32>().is_ok_and(|minor| minor >= NATIVE_SIDECARS),
    })
}
