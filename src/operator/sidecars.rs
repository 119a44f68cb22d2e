//! Settings of the cluster for every sidecar: what SPIRE offers to Pods, and what the API server knows.
//! They are read again and again, so that SPIRE may be installed, or removed, at any time.

use countersign_api::keys::SPIFFE_CSI_DRIVER;
use countersign_controller::api_error::Explained;
use countersign_controller::failure::is_passing;
use countersign_plan::injection::{SidecarSettings, SpireSocket, has_native_sidecars};
use k8s_openapi::api::storage::v1::CSIDriver;
use kube::{Api, Client};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Time until the cluster is looked at again.
const PERIOD: Duration = Duration::from_secs(30);
/// The same while nothing is known yet.
const SOON: Duration = Duration::from_secs(1);
/// Refused reads after which what was never seen counts as absent.
const PATIENCE: u32 = 10;

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
        let mut refusals = Refusals::default();
        loop {
            match self.look(host_path, client, &mut refusals).await {
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

    /// Reads what the API server says. What it does not let the operator read stays as it was seen.
    async fn look(
        &self,
        host_path: Option<&str>,
        client: &Client,
        refusals: &mut Refusals,
    ) -> Result<SidecarSettings, kube::Error> {
        let before = self.settings();
        let version = client.apiserver_version().await;
        let is_native = version.map(|version| has_native_sidecars(&version.major, &version.minor));
        let seen = before.as_ref().map(|before| before.is_native);
        let is_native = refusals.known(is_native, seen, ("the version of the API server", true))?;
        let spire = if let Some(path) = host_path {
            Some(SpireSocket::HostPath(path.to_owned()))
        } else {
            let driver = Api::<CSIDriver>::all(client.clone()).get_opt(SPIFFE_CSI_DRIVER).await;
            let driver = driver.map(|driver| driver.map(|_| SpireSocket::Csi));
            let seen = before.as_ref().map(|before| before.spire.clone());
            refusals.known(driver, seen, ("CSIDriver csi.spiffe.io", None))?
        };
        Ok(SidecarSettings { image: self.image.clone(), spire, is_native })
    }
}

/// Reads that the API server refused, such as for a right that is not there, or not yet.
#[derive(Default)]
struct Refusals {
    before_anything_was_seen: u32,
    told: BTreeSet<&'static str>,
}

impl Refusals {
    /// Answer, else what was seen last. While nothing was ever seen, the refusal is an error for a moment, because the rights of
    /// an operator that is just installed are not known to every API server at once; then the value at the end of `what` counts,
    /// so that workloads are enrolled all the same.
    fn known<T>(
        &mut self,
        answer: Result<T, kube::Error>,
        seen: Option<T>,
        (what, otherwise): (&'static str, T),
    ) -> Result<T, kube::Error> {
        let error = match answer {
            Err(error) if !is_passing(&error) => error,
            answer => {
                self.told.remove(what);
                return answer;
            }
        };
        if seen.is_none() && self.before_anything_was_seen < PATIENCE {
            self.before_anything_was_seen = self.before_anything_was_seen.saturating_add(1);
            return Err(error);
        }
        if self.told.insert(what) {
            let counts = if seen.is_some() { "what was seen last stays" } else { "it counts as absent" };
            tracing::warn!("{what} cannot be read, and {counts}: {}", Explained(&error));
        }
        Ok(seen.unwrap_or(otherwise))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn refused<T>(code: u16) -> Result<T, kube::Error> {
        Err(kube::Error::Api(Status { code, ..Status::failure("no", "Reason") }.boxed()))
    }

    #[test]
    fn a_refused_read_leaves_what_was_seen_and_counts_as_absent_only_after_a_while() {
        let mut refusals = Refusals::default();
        let csi = || Some(SpireSocket::Csi);
        let what = ("CSIDriver csi.spiffe.io", None);
        for code in [401, 403, 404] {
            assert_eq!(refusals.known(refused(code), Some(csi()), what.clone()).unwrap(), csi(), "{code}");
        }
        assert!(refusals.known(refused(503), Some(csi()), what.clone()).is_err(), "it passes");
        assert_eq!(refusals.known(Ok(None), Some(csi()), what.clone()).unwrap(), None, "it is gone");
        for _ in 0..PATIENCE {
            assert!(refusals.known(refused(403), None, what.clone()).is_err());
        }
        assert_eq!(refusals.known(refused(403), None, what).unwrap(), None);
    }
}
