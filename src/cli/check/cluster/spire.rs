//! SPIRE's socket for Pods with a sidecar.

use super::arguments::Arguments;
use crate::check::finding::Finding;
use crate::check::unread::{Answer, Unread};
use countersign_api::keys::SPIFFE_CSI_DRIVER;
use k8s_openapi::api::storage::v1::CSIDriver;

const ID: &str = "spire";

/// Judges whether Pods can have SPIRE's socket.
pub(super) fn judge_spire(arguments: &Arguments, answer: &Answer<CSIDriver>) -> Finding {
    let what = format!("CSIDriver {SPIFFE_CSI_DRIVER}");
    if arguments.sidecar_image().is_none() {
        return Finding::skipped(ID, "SPIRE's socket", "is not needed: the operator injects no sidecar");
    }
    if let Some(path) = arguments.spire_host_path() {
        return Finding::ok(ID, "SPIRE's socket", &format!("comes from the folder {path} of each node"));
    }
    match answer {
        Ok(_) => Finding::ok(ID, &what, "exists"),
        Err(unread) => Finding::unread(ID, &what, unread, || {
            Finding::warn(
                ID,
                &what,
                "does not exist, so sidecars have no identity, and mtlsMode strict is refused",
                "install SPIRE with its CSI driver, or set sidecar.spireHostPath in the chart",
            )
        }),
    }
}

/// True if Pods can have SPIRE's socket, as far as that is known.
pub(super) fn has_spire(arguments: &Arguments, answer: &Answer<CSIDriver>) -> bool {
    arguments.spire_host_path().is_some() || !matches!(answer, Err(Unread::Absent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use serde_json::json;

    #[test]
    fn the_socket_comes_from_the_driver_or_from_the_node() {
        let arguments = |words: &[&str]| {
            Arguments::of(&serde_json::from_value(json!({ "name": "manager", "args": words })).unwrap())
        };
        let (image, path) = ("--sidecar-image=x", "--sidecar-spire-host-path=/run");
        let driver: Answer<CSIDriver> =
            Ok(serde_json::from_value(json!({ "metadata": {}, "spec": {} })).unwrap());
        let absent = Err(Unread::Absent);
        for (words, answer, status, has) in [
            (&[][..], &absent, Status::Skipped, false),
            (&[image], &driver, Status::Ok, true),
            (&[image], &absent, Status::Warn, false),
            (&[image, path], &absent, Status::Ok, true),
            (&[image], &Err(Unread::Forbidden("get".to_owned())), Status::Skipped, true),
        ] {
            let arguments = arguments(words);
            assert_eq!(judge_spire(&arguments, answer).status, status, "{words:?}");
            assert_eq!(has_spire(&arguments, answer), has, "{words:?}");
        }
    }
}
