//! Lease object at the API server. Every write carries the resource version that was read, so that of two replicas
//! that take the lease at the same moment one gets a conflict.

use super::decision::{LEASE_DURATION, ObservedLease};
use countersign_api::agent_card::time;
use countersign_api::keys::LEASE_NAME;
use countersign_io::clock::now;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, Error};
use std::time::Duration;

pub(super) struct LeaseStore(Api<Lease>);

impl LeaseStore {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    pub(super) async fn read(&self) -> Result<Option<Lease>, Error> {
        self.0.get_opt(LEASE_NAME).await
    }

    /// Writes `identity` as the holder; `take` counts a transition. After a conflict the caller reads again.
    pub(super) async fn write(&self, stored: Option<Lease>, identity: &str, take: bool) -> Result<(), Error> {
        let exists = stored.is_some();
        let mut lease = stored.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..ObjectMeta::default() },
            spec: None,
        });
        let spec = lease.spec.get_or_insert_default();
        let at = Some(MicroTime(time(now()).0));
        if take {
            spec.acquire_time.clone_from(&at);
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(-1).saturating_add(1));
        }
        spec.holder_identity = Some(identity.to_owned());
        spec.lease_duration_seconds = i32::try_from(LEASE_DURATION.as_secs()).ok();
        spec.renew_time = at;
        if exists {
            self.0.replace(LEASE_NAME, &PostParams::default(), &lease).await?;
        } else {
            self.0.create(&PostParams::default(), &lease).await?;
        }
        Ok(())
    }

    /// Frees the lease, if `identity` still holds it.
    pub(super) async fn release(&self, identity: &str) -> Result<(), Error> {
        let Some(mut lease) = self.read().await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(identity) {
            return Ok(());
        }
        // client-go releases a lease likewise: no holder, and one second for replicas that read the duration alone.
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(time(now()).0));
        self.0.replace(LEASE_NAME, &PostParams::default(), &lease).await.map(|_| ())
    }
}

pub(super) fn observe(lease: &Lease) -> ObservedLease {
    let spec: LeaseSpec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    ObservedLease {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map(|at| at.0.to_string()).unwrap_or_default(),
        duration: seconds.map_or(LEASE_DURATION, Duration::from_secs),
    }
}
