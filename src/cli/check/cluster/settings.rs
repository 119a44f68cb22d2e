//! Settings of the operator for sidecars, as it would find them now.

use super::arguments::Arguments;
use super::operator;
use super::spire::has_spire;
use crate::check::client::{Reader, ServerFacts};
use crate::check::unread::{Answer, Unread};
use countersign_api::keys::SPIFFE_CSI_DRIVER;
use countersign_plan::injection::{SidecarSettings, SpireSocket, has_native_sidecars};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::storage::v1::CSIDriver;

/// Reads the settings of the operator in `namespace`.
///
/// # Errors
/// A sentence that says what is not known of it.
pub(in crate::check) async fn sidecar_settings(
    reader: &Reader,
    facts: &ServerFacts,
    namespace: &str,
) -> Result<SidecarSettings, String> {
    let deployments = reader.list(Some(namespace), operator::LABELS).await.map(operator::choose);
    let arguments = arguments(namespace, &deployments)?;
    let driver = reader.get(None, SPIFFE_CSI_DRIVER).await;
    Ok(settings(&arguments, &driver, has_native_sidecars(&facts.major, &facts.minor)))
}

fn arguments(namespace: &str, deployments: &Answer<Vec<Deployment>>) -> Result<Arguments, String> {
    let found = match deployments {
        Ok(all) => all.first().and_then(operator::arguments),
        Err(Unread::Absent) => None,
        Err(Unread::Forbidden(right)) => {
            return Err(format!("the operator's settings are not known, as you may not {right}"));
        }
        Err(Unread::Failed(problem)) => {
            return Err(format!("the operator's settings are not known: {problem}"));
        }
    };
    found.ok_or_else(|| {
        format!("the operator's settings are not known, as the namespace {namespace} has no Deployment of it")
    })
}

fn settings(arguments: &Arguments, driver: &Answer<CSIDriver>, is_native: bool) -> SidecarSettings {
    let path = arguments.spire_host_path().map(|path| SpireSocket::HostPath(path.to_owned()));
    let spire = path.or_else(|| has_spire(arguments, driver).then_some(SpireSocket::Csi));
    SidecarSettings { image: arguments.sidecar_image().unwrap_or_default().to_owned(), spire, is_native }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_those_of_the_deployment_and_the_cluster() {
        let deployment = |words: &[&str]| -> Answer<Vec<Deployment>> {
            let container = json!({ "name": "manager", "args": words });
            let object =
                json!({ "spec": { "selector": {}, "template": { "spec": { "containers": [container] } } } });
            Ok(vec![serde_json::from_value(object).unwrap()])
        };
        let driver: Answer<CSIDriver> =
            Ok(serde_json::from_value(json!({ "metadata": {}, "spec": {} })).unwrap());
        let (image, path) = ("--sidecar-image=x", "--sidecar-spire-host-path=/run");
        let folder = Some(SpireSocket::HostPath("/run".to_owned()));
        for (words, driver, image, spire) in [
            (&[][..], &driver, "", Some(SpireSocket::Csi)),
            (&[image], &driver, "x", Some(SpireSocket::Csi)),
            (&[image], &Err(Unread::Absent), "x", None),
            (&[image, path], &Err(Unread::Absent), "x", folder),
        ] {
            let arguments = arguments("system", &deployment(words)).unwrap();
            let found = settings(&arguments, driver, true);
            assert_eq!(
                found,
                SidecarSettings { image: image.to_owned(), spire, is_native: true },
                "{words:?}"
            );
        }
        for (unread, told) in [
            (Ok(Vec::new()), "the namespace system has no Deployment"),
            (Err(Unread::Absent), "the namespace system has no Deployment"),
            (Err(Unread::Forbidden("list x".to_owned())), "you may not list x"),
            (Err(Unread::Failed("500".to_owned())), "not known: 500"),
        ] {
            assert!(arguments("system", &unread).unwrap_err().contains(told), "{unread:?}");
        }
    }
}
