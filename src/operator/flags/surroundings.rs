//! Flags about what surrounds enrolled workloads. Each needs rights that the operator has only where it is asked for.

use super::given::Flags;
use super::syntax::FlagError;

/// What is done around enrolled workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// True if namespaces with an `AgentRuntime` get the labels of Istio's ambient mesh.
    pub istio_mesh_labels: bool,
    /// True if service accounts of workloads with a sidecar are bound to OpenShift's security context constraint for it.
    pub scc_binding: bool,
}

impl Flags<'_> {
    /// What is asked for.
    pub(super) fn surroundings(&self) -> Result<Surroundings, FlagError> {
        Ok(Surroundings {
            istio_mesh_labels: self.boolean("istio-mesh-labels")?,
            scc_binding: self.boolean("scc-binding")?,
        })
    }
}
