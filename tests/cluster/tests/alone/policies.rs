//! The file with the acceptance policies while the operator runs: it is read again, and what cannot be used changes
//! nothing.

use crate::alone;
use countersign_cluster_tests::card_of;

/// The policy that refuses one identity.
fn denying(id: &str) -> String {
    format!("version: 1\ntrustDomains:\n  rig.example:\n    deny:\n      spiffeIds: [\"{id}\"]\n")
}

#[test]
fn a_changed_policy_file_counts_without_a_restart_and_a_broken_one_changes_nothing() {
    let (mut scene, team) = (alone(&["policies"]), "policies");
    let file = scene.rig.folder().join("policy.yaml");
    // As the kubelet does it: a reader never sees half a file.
    let write = |text: &str| {
        let next = file.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    write("version: 1\n");
    scene.start_again(&[&format!("--policy-file={}", file.display())]).unwrap();
    let [weather, other] = ["weather", "other"].map(|name| scene.signed(&card_of(name, team), team, name));
    scene.agent(team, "weather", &weather).unwrap();
    scene.verified(team, "weather", "weather").unwrap();

    write(&denying("spiffe://rig.example/ns/policies/sa/weather"));
    scene.refused(team, "weather", "weather", "Denied").unwrap();

    // Nobody knows what was meant, so what was in force stays, for agents that come later too.
    write("version: 1\ntrustDomains:\n  rig.example:\n    denied: []\n");
    scene.rig.wait("the log", || Ok(scene.operator.log().contains("denied"))).unwrap();
    scene.agent(team, "other", &other).unwrap();
    scene.verified(team, "other", "other").unwrap();
    scene.looked(team, "weather", 2).unwrap();
    scene.refused(team, "weather", "weather", "Denied").unwrap();

    write(&denying("spiffe://rig.example/ns/policies/sa/other"));
    scene.refused(team, "other", "other", "Denied").unwrap();
    scene.verified(team, "weather", "weather").unwrap();
}
