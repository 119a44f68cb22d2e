//! AuthBridge as the external processor of a real Envoy, with the settings that docs/envoy.md shows.
//! Whatever goes wrong between the two, nothing passes that was not judged.

mod closed;
mod inbound;
mod outbound;
mod outcomes;
mod scene;
mod upgrades;

use countersign_sidecar_tests::authbridge::program;
use countersign_sidecar_tests::folder::Folder;
use scene::shown;
use serde_json::Value;

#[test]
fn the_documents_settings_of_authbridge_are_accepted() {
    let folder = Folder::new("document").unwrap();
    let file = folder.write("authbridge.yaml", shown(0)).unwrap();
    let mut check = std::process::Command::new(program());
    let output = check.arg("check").arg("--config").arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["listens"]["ext_proc"], "127.0.0.1:9090");
}
