//! Trust domains besides the operator's own: only those that SPIRE federates with, and only while it does.

use crate::scene;
use countersign_cluster_tests::{Agents, Authority, bundle_json, card_of, outcome, user_card};
use serde_json::{Value, json};

const KIND: &str = "clusterfederatedtrustdomains.spire.spiffe.io";

/// The kind as SPIRE's controller manager installs it, without what it describes for people.
fn definition() -> Value {
    let text = json!({ "type": "string" });
    let spec = json!({ "type": "object", "properties": {
        "trustDomain": text, "trustDomainBundle": text, "bundleEndpointURL": text,
        "bundleEndpointProfile": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } });
    let schema = json!({ "type": "object", "properties": { "spec": spec, "status": { "type": "object" } } });
    let version = json!({ "name": "v1alpha1", "served": true, "storage": true,
        "schema": { "openAPIV3Schema": schema } });
    let names = json!({ "kind": "ClusterFederatedTrustDomain", "listKind": "ClusterFederatedTrustDomainList",
        "plural": "clusterfederatedtrustdomains", "singular": "clusterfederatedtrustdomain" });
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": KIND, "annotations": { "api-approved.kubernetes.io": "unapproved, for tests" } },
        "spec": { "group": "spire.spiffe.io", "scope": "Cluster", "names": names, "versions": [version] } })
}

fn federated(domain: &str, bundle: &Value) -> Value {
    json!({ "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterFederatedTrustDomain",
        "metadata": { "name": "partner" },
        "spec": { "trustDomain": domain, "bundleEndpointURL": "https://partner.example/bundle",
            "bundleEndpointProfile": { "type": "https_web" }, "trustDomainBundle": bundle.to_string() } })
}

#[test]
fn a_federated_domain_counts_while_spire_federates_with_it_and_never_for_ours() {
    let (scene, team) = (scene("federated"), "federated");
    let partner = Authority::new("partner.example");
    let signed = Agents::sign(&card_of("weather", team), &partner.issue(team, "weather", -60, 3600));
    scene.agents.serve(team, "weather", &signed).unwrap();
    let mut card = user_card(team, "weather", "weather");
    card["spec"]["identityBinding"] = json!({ "trustDomain": "partner.example" });
    let mut items = vec![card];
    items.extend(Agents::manifests(team, "weather"));
    scene.apply_all(&items).unwrap();
    // A cluster without the kind federates with nobody.
    scene.refused(team, "weather", "weather", "TrustDomainUnknown").unwrap();

    scene.rig.apply(&definition().to_string()).unwrap();
    scene
        .rig
        .wait("the kind", || {
            Ok(scene
                .rig
                .apply(&federated("partner.example", &bundle_json(&[&partner], 1)).to_string())
                .is_ok())
        })
        .unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let card = scene.get("agentcard", team, "weather").unwrap();
    assert_eq!(card["status"]["signatureSpiffeId"], format!("spiffe://partner.example/ns/{team}/sa/weather"));

    // The same authority, offered as one of our own domain, changes nothing for us.
    let ours = Authority::new(countersign_cluster_tests::TRUST_DOMAIN);
    scene
        .agent(team, "ours", &Agents::sign(&card_of("ours", team), &ours.issue(team, "ours", -60, 3600)))
        .unwrap();
    scene
        .rig
        .apply(&federated(countersign_cluster_tests::TRUST_DOMAIN, &bundle_json(&[&ours], 1)).to_string())
        .unwrap();
    scene.refused(team, "ours", "ours", "AnchorUnknown").unwrap();
    // In a namespace for which nobody allowed the partner, its signature counts for nothing.
    let foreign = "federated-elsewhere";
    scene.namespace(foreign, &json!({})).unwrap();
    let elsewhere = Agents::sign(&card_of("weather", foreign), &partner.issue(foreign, "weather", -60, 3600));
    scene.agents.serve(foreign, "weather", &elsewhere).unwrap();
    let mut card = user_card(foreign, "weather", "weather");
    card["spec"]["identityBinding"] = json!({ "trustDomain": "partner.example" });
    let mut items = vec![card];
    items.extend(Agents::manifests(foreign, "weather"));
    scene.apply_all(&items).unwrap();
    scene.refused(foreign, "weather", "weather", "TrustDomainMismatch").unwrap();
    // That object speaks for the partner no longer.
    scene.refused(team, "weather", "weather", "TrustDomainUnknown").unwrap();

    scene.rig.apply(&federated("partner.example", &bundle_json(&[&partner], 2)).to_string()).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    scene.rig.kubectl(&["delete", KIND, "partner"]).unwrap();
    let gone = |card: &Value| outcome(card) == "TrustDomainUnknown";
    scene.operator.wait_card(team, "weather", "the end of the federation", gone).unwrap();
    scene.policy_is(team, "weather", "TrustDomainUnknown").unwrap();
}
