//! References to objects of the cluster, whatever their kind.

use smol_str::SmolStr;
use std::fmt;

/// Namespace and name of an object. The order is that of namespaces, then names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Namespace; empty for an object that lies in none.
    pub namespace: SmolStr,
    /// Name.
    pub name: SmolStr,
}

impl ObjectRef {
    /// An object in a namespace.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        Self { namespace: SmolStr::new(namespace), name: SmolStr::new(name) }
    }

    /// An object that lies in no namespace, such as a namespace itself.
    pub fn cluster_scoped(name: impl AsRef<str>) -> Self {
        Self { namespace: SmolStr::default(), name: SmolStr::new(name) }
    }
}

impl fmt::Display for ObjectRef {
    /// `namespace/name`, or the name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

#[cfg(feature = "objects")]
impl From<&k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta> for ObjectRef {
    /// The object that these metadata belong to. What is missing is empty, as in an object that has no namespace.
    fn from(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}
