//! Runs helm on the chart of this repository and reads what it renders.
//! Helm is the pinned one of `scripts/helm`.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The namespace that the tests install into.
pub(crate) const NAMESPACE: &str = "countersign-system";

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    // Tests of two packages use this: the root is where the charts are.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|folder| folder.join("charts").is_dir()).unwrap_or(package);
    root.join(path)
}

/// The folder of the chart.
pub(crate) fn chart() -> String {
    repository("charts/countersign").display().to_string()
}

/// Runs a program of `scripts/` in the repository: its output, or what it said instead.
pub(crate) fn script(name: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(repository("scripts").join(name))
        .args(arguments)
        .current_dir(repository(""))
        .output()
        .map_err(|error| format!("scripts/{name}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}

/// `helm template` of the chart with more arguments, paths relative to the repository.
pub(crate) fn template(arguments: &[&str]) -> Result<String, String> {
    let chart = chart();
    let mut all = vec!["template", "countersign", &chart, "--namespace", NAMESPACE];
    all.extend(arguments);
    script("helm", &all)
}

/// The objects of a rendered text.
pub(crate) fn objects(rendered: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(rendered).expect("helm renders YAML");
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The object of a kind and name among several.
pub(crate) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let wanted = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(wanted).unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// Settings with which the operator verifies and enforces.
pub(crate) const VERIFYING: [&str; 6] = [
    "--set=signatureVerification.enabled=true",
    "--set=signatureVerification.enforceNetworkPolicies=true",
    "--set=signatureVerification.spireTrustDomain=example.org",
    "--set=signatureVerification.spireTrustBundle.configMapNamespace=spire-system",
    "--set=networkPolicy.enable=true",
    "--set=podDisruptionBudget.enable=true",
];
