//! Registered reconcilers: what each requires before it may act, and its turn.

use super::failure::Failure;
use super::key::{Key, Reconciler};
use super::next::Next;
use countersign_api::ObjectRef;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::future::Future;

type Reconcile = Box<dyn Fn(ObjectRef) -> BoxFuture<'static, Result<Next, Failure>> + Send + Sync>;
type Unread = Box<dyn Fn() -> Vec<&'static str> + Send + Sync>;

/// Refusal of a second reconciler with a name that is taken: both would write the same objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reconciler named \"{0}\" is registered already: give each kind a name of its own")]
pub struct AlreadyRegistered(pub &'static str);

struct Registered {
    unread: Unread,
    reconcile: Reconcile,
}

/// Registered reconcilers, by name.
#[derive(Default)]
pub(crate) struct Reconcilers(BTreeMap<&'static str, Registered>);

impl Reconcilers {
    /// Registers a reconciler: `unread` names required lists that are not read yet, `reconcile` runs a turn.
    pub(crate) fn register<F>(
        &mut self,
        reconciler: &'static Reconciler,
        unread: impl Fn() -> Vec<&'static str> + Send + Sync + 'static,
        reconcile: impl Fn(ObjectRef) -> F + Send + Sync + 'static,
    ) -> Result<(), AlreadyRegistered>
    where
        F: Future<Output = Result<Next, Failure>> + Send + 'static,
    {
        if self.0.contains_key(reconciler.name) {
            return Err(AlreadyRegistered(reconciler.name));
        }
        let reconcile: Reconcile = Box::new(move |object| Box::pin(reconcile(object)));
        self.0.insert(reconciler.name, Registered { unread: Box::new(unread), reconcile });
        Ok(())
    }

    /// Names of lists that some reconciler requires and that are not read yet, each once.
    pub(crate) fn unread(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for name in self.0.values().flat_map(|registered| (registered.unread)()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// True if every list that a reconciler requires is read.
    pub(crate) fn is_ready(&self, reconciler: &Reconciler) -> bool {
        self.0.get(reconciler.name).is_none_or(|registered| (registered.unread)().is_empty())
    }

    pub(crate) async fn reconcile(&self, key: &Key) -> Result<Next, Failure> {
        match self.0.get(key.reconciler.name) {
            Some(registered) => (registered.reconcile)(key.object.clone()).await,
            // A kind that is switched off is not registered; a key left over from it is done.
            None => Ok(Next::Never),
        }
    }
}
