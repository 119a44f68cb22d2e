//! Changes of a Pod as a JSON Patch (RFC 6902). Each is planned from the Pod as it is and what it is to be, so that nothing is
//! copied which stays, and a Pod that is as it is to be has none.

use super::pod::NewPod;
use countersign_api::keys::INJECTION_ANNOTATION;
use json_patch::jsonptr::{Pointer, PointerBuf};
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Value, json};

/// Token of a path for the place after the last item of a list (RFC 6902 section 4.1).
pub(super) const END: &str = "-";

/// Operations in the order in which they are carried out.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<PatchOperation>);

impl Changes {
    /// Writes a member of an object, or inserts an item into a list.
    pub(super) fn add(&mut self, path: PointerBuf, value: Value) {
        self.0.push(PatchOperation::Add(AddOperation { path, value }));
    }

    /// Writes an item, or a member, in place of the one that is there.
    pub(super) fn replace(&mut self, path: PointerBuf, value: Value) {
        self.0.push(PatchOperation::Replace(ReplaceOperation { path, value }));
    }

    /// Takes an item out of its list.
    pub(super) fn remove(&mut self, path: PointerBuf) {
        self.0.push(PatchOperation::Remove(RemoveOperation { path }));
    }

    /// Appends items to the list at `path`, which is made unless it `is_there`.
    pub(super) fn append(&mut self, path: &Pointer, is_there: bool, items: Vec<Value>) {
        if items.is_empty() {
            return;
        }
        if !is_there {
            return self.add(path.to_buf(), Value::Array(items));
        }
        for item in items {
            self.add(path.with_trailing_token(END), item);
        }
    }

    /// Writes into the Pod what was done.
    pub(super) fn annotate(&mut self, pod: &NewPod, said: &str) {
        let annotations = json!({ INJECTION_ANNOTATION: said });
        match pod.annotations() {
            None => self.add(PointerBuf::from_tokens(["metadata"]), json!({ "annotations": annotations })),
            Some(Value::Object(known)) => {
                if known.get(INJECTION_ANNOTATION).and_then(Value::as_str) != Some(said) {
                    let path = PointerBuf::from_tokens(["metadata", "annotations", INJECTION_ANNOTATION]);
                    self.add(path, json!(said));
                }
            }
            Some(_) => self.add(PointerBuf::from_tokens(["metadata", "annotations"]), annotations),
        }
    }

    pub(super) fn into_patch(self) -> Patch {
        Patch(self.0)
    }
}
