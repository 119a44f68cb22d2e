//! NetworkPolicies and marks: there from the first moment, the same for every name, and not to be taken away.

use crate::scene;
use countersign_cluster_tests::{Agents, Scene, card_of, is_open, labelled};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const MARK: &str = "agent.kagenti.dev/verified-peer";

/// The marks of the Pods with this label.
fn marks(scene: &Scene, team: &str, selector: &str) -> Vec<Value> {
    let pods = labelled(scene.rig, "pods", team, selector).unwrap();
    pods.iter().map(|pod| pod["metadata"]["labels"][MARK].clone()).collect()
}

fn wait_marks(scene: &Scene, team: &str, selector: &str, right: impl Fn(&[Value]) -> bool) {
    let mut last = Vec::new();
    let waited = scene.rig.wait("marks", || {
        last = marks(scene, team, selector);
        Ok(right(&last))
    });
    assert!(waited.is_ok(), "{last:?}\n{}", scene.operator.log());
}

fn bare_pod(team: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": team, "labels": labels },
        "spec": { "containers": [{ "name": "agent", "image": "none" }] },
    })
}

#[test]
fn a_mark_in_a_template_earns_nothing_and_a_verified_agent_gets_its_own() {
    let (scene, team) = (scene("marks"), "marks");
    let planted = json!({ MARK: "planted", "agent.kagenti.dev/signature-verified": "true" });
    let tampered = scene.signed(&card_of("thief", team), team, "other");
    scene.agent_labelled(team, "weather", &scene.honest(team, "weather"), &json!({})).unwrap();
    scene.agent_labelled(team, "thief", &tampered, &planted).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    scene.refused(team, "thief", "thief", "IdentityMismatch").unwrap();
    let own = |marks: &[Value]| marks.len() == 1 && marks[0].as_str().is_some_and(|mark| mark != "planted");
    wait_marks(scene, team, "app=weather", own);
    wait_marks(scene, team, "app=thief", |marks| marks == [Value::Null]);
    // The label of the existing operator, which every author can write, opens no policy.
    for policy in scene.list("networkpolicies", team).unwrap() {
        assert!(!policy.to_string().contains("signature-verified"), "{policy:#}");
    }
    // A refusal takes the mark away.
    scene.agents.serve(team, "weather", &tampered).unwrap();
    scene.refused(team, "weather", "weather", "IdentityMismatch").unwrap();
    wait_marks(scene, team, "app=weather", |marks| marks == [Value::Null]);
}

#[test]
fn an_agent_whose_card_cannot_be_made_is_closed() {
    let (scene, team) = (scene("no-card"), "no-card");
    scene.agent_labelled(team, "weather", &scene.honest(team, "weather"), &json!({})).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    wait_marks(scene, team, "app=weather", |marks| marks.len() == 1 && marks[0].is_string());
    let name = "no-cards.rig.example";
    let rule = json!({ "apiGroups": ["agent.kagenti.dev"], "apiVersions": ["*"], "operations": ["CREATE"],
        "resources": ["agentcards"] });
    let only = json!({ "matchLabels": { "kubernetes.io/metadata.name": team } });
    let policy = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": name }, "spec": { "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [rule], "namespaceSelector": only },
            "validations": [{ "expression": "false", "message": "no AgentCards here" }] } });
    let binding = json!({ "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
        "spec": { "policyName": name, "validationActions": ["Deny"] } });
    scene.apply_all(&[policy, binding]).unwrap();
    let other = countersign_cluster_tests::user_card(team, "other", "other").to_string();
    let remove = ["delete", "agentcard", "-n", team, "other", "--ignore-not-found"];
    scene
        .rig
        .wait("the refusal of cards", || {
            // While it is not in force yet, the probe is made.
            let refused = scene.rig.apply(&other).is_err();
            scene.rig.kubectl(&remove)?;
            Ok(refused)
        })
        .unwrap();
    scene.delete("agentcard", team, "weather").unwrap();
    // The policy is the card's and goes with it; the marks are ours to take.
    wait_marks(scene, team, "app=weather", |marks| marks == [Value::Null]);
    // Written after the marks, or taken away by the garbage collector of the API server.
    scene
        .rig
        .wait("the end of every open policy", || {
            Ok(!scene.list("networkpolicies", team)?.iter().any(is_open))
        })
        .unwrap();
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        scene.rig.kubectl(&["delete", kind, name]).unwrap();
    }
    scene.verified(team, "weather-deployment-card", "weather").unwrap();
}

#[test]
fn a_mark_on_a_pod_of_no_agent_is_taken_away() {
    let (scene, team) = (scene("stray"), "stray");
    scene.agent_labelled(team, "weather", &scene.honest(team, "weather"), &json!({})).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    wait_marks(scene, team, "app=weather", |marks| marks.len() == 1 && marks[0].is_string());
    let mark = marks(scene, team, "app=weather").remove(0);
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "default", "namespace": team } });
    scene.rig.apply(&account.to_string()).unwrap();
    // Copies of everything that the author of a Pod can write, with and without the label of an agent.
    scene
        .apply_all(&[
            bare_pod(
                team,
                "copy",
                &json!({ "thief": "1", "app": "x", "kagenti.io/type": "agent", MARK: mark }),
            ),
            bare_pod(team, "plain", &json!({ "thief": "2", MARK: mark })),
        ])
        .unwrap();
    wait_marks(scene, team, "thief=1", |marks| marks == [Value::Null]);
    wait_marks(scene, team, "thief=2", |marks| marks == [Value::Null]);
    // A marked Pod that leaves its agent's labels leaves its mark as well.
    let pods = scene.list("pods", team).unwrap();
    let name =
        pods.iter().find(|pod| pod["metadata"]["labels"]["app"] == "weather").unwrap()["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
    scene.rig.kubectl(&["label", "pod", "-n", team, &name, "left=1", "kagenti.io/type-", "app-"]).unwrap();
    wait_marks(scene, team, "left=1", |marks| marks == [Value::Null]);
}

#[test]
fn long_names_are_enforced_and_two_kinds_of_one_name_share_nothing() {
    let (scene, team) = (scene("long-names"), "long-names");
    let name = format!("a{}", "b".repeat(62));
    scene.agents.serve(team, &name, &scene.honest(team, &name)).unwrap();
    let mut items = Agents::manifests(team, &name);
    let mut second = items[0].clone();
    second["kind"] = json!("StatefulSet");
    second["spec"]["serviceName"] = json!(name);
    for labels in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        second.pointer_mut(labels).unwrap()["app"] = json!("the-other-kind");
    }
    items.push(second);
    scene.apply_all(&items).unwrap();
    // The cards are made for them, and their names are longer than a label value may be.
    let verified = |card: &Value| countersign_cluster_tests::outcome(card) == "Verified";
    scene.operator.wait_card(team, &format!("{name}-deployment-card"), "a verified card", verified).unwrap();
    let refused = |card: &Value| countersign_cluster_tests::outcome(card) == "WorkloadNotReady";
    scene.operator.wait_card(team, &format!("{name}-statefulset-card"), "a refusal", refused).unwrap();
    let verdicts = || {
        let policies = scene.list("networkpolicies", team).unwrap();
        let role = |policy: &Value| policy["metadata"]["name"].as_str().unwrap().contains("signature-policy");
        policies.into_iter().filter(role).collect::<Vec<Value>>()
    };
    scene
        .rig
        .wait("one open and one closed policy", || {
            let all = verdicts();
            let open: Vec<&Value> = all.iter().filter(|policy| is_open(policy)).collect();
            Ok(all.len() == 2 && open.len() == 1)
        })
        .unwrap();
    let closed = verdicts().into_iter().find(|policy| !is_open(policy)).unwrap();
    assert_eq!(closed["spec"]["podSelector"]["matchLabels"], json!({ "app": "the-other-kind" }));
}

#[test]
fn isolation_stands_before_the_first_verdict_and_comes_back_when_it_is_deleted() {
    let (scene, team) = (scene("isolation"), "isolation");
    // An agent that hangs has no verdict yet, and one without a protocol will never have one.
    scene.agents.hang(team, "slow").unwrap();
    let mut items = Agents::manifests(team, "slow");
    let mut mute = Agents::manifests(team, "mute");
    mute[0]["metadata"]["labels"].as_object_mut().unwrap().remove("protocol.kagenti.io/a2a");
    items.extend(mute);
    scene.apply_all(&items).unwrap();
    let names = |scene: &Scene| -> BTreeSet<String> {
        let policies = scene.list("networkpolicies", team).unwrap();
        policies.iter().map(|policy| policy["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let both = ["countersign-baseline", "countersign-minimum"].map(str::to_owned);
    scene.rig.wait("isolation", || Ok(both.iter().all(|name| names(scene).contains(name)))).unwrap();
    // A fetch that hangs ends after five seconds, and only then is there a verdict.
    let card = scene.get("agentcard", team, "slow-deployment-card").unwrap();
    assert_eq!(countersign_cluster_tests::outcome(&card), "", "{card:#}");
    let refused = |card: &Value| countersign_cluster_tests::outcome(card) == "FetchTimeout";
    scene.operator.wait_card(team, "slow-deployment-card", "a refusal", refused).unwrap();
    scene.policy_is(team, "slow", "FetchTimeout").unwrap();
    for name in both.iter().map(String::as_str).chain(["slow-signature-policy"]) {
        let before = scene.get("networkpolicy", team, name).unwrap();
        scene.delete("networkpolicy", team, name).unwrap();
        let restored = || Ok(scene.get("networkpolicy", team, name)?["spec"] == before["spec"]);
        scene.rig.wait("the deleted policy", restored).unwrap();
        // Opened by another hand, it is closed again.
        scene
            .patch("networkpolicy", team, name, &json!({ "spec": { "ingress": [{}], "egress": [{}] } }))
            .unwrap();
        scene.rig.wait("the policy as it was", restored).unwrap();
    }
}

#[test]
fn a_default_card_that_never_finishes_deleting_keeps_nothing_open() {
    let (scene, team) = (scene("leaving"), "leaving");
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.agents.create(team, &["weather"]).unwrap();
    let card = "weather-deployment-card";
    scene.verified(team, card, "weather").unwrap();
    wait_marks(scene, team, "app=weather", |marks| marks.len() == 1 && marks[0].is_string());
    let keep = |finalizers: &Value| {
        scene.patch("agentcard", team, card, &json!({ "metadata": { "finalizers": finalizers } })).unwrap();
    };
    keep(&json!(["tenant.example/keep"]));
    scene.rig.kubectl(&["delete", "agentcard", "-n", team, card, "--wait=false"]).unwrap();
    scene.policy_is(team, "weather", "NoCard").unwrap();
    wait_marks(scene, team, "app=weather", |marks| marks == [Value::Null]);
    // Once it is gone, another one is made and counts.
    keep(&Value::Null);
    scene.verified(team, card, "weather").unwrap();
}

#[test]
fn a_workload_that_never_finishes_deleting_is_closed() {
    let (scene, team) = (scene("never-gone"), "never-gone");
    scene.agent_labelled(team, "weather", &scene.honest(team, "weather"), &json!({})).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    wait_marks(scene, team, "app=weather", |marks| marks.len() == 1 && marks[0].is_string());
    let keep = json!({ "metadata": { "finalizers": ["tenant.example/keep"] } });
    scene.patch("deployment", team, "weather", &keep).unwrap();
    scene.rig.kubectl(&["delete", "deployment", "-n", team, "weather", "--wait=false"]).unwrap();
    // Its Pods run on, because the Deployment is not gone.
    wait_marks(scene, team, "app=weather", |marks| marks == [Value::Null]);
    scene.refused(team, "weather", "weather", "WorkloadNotFound").unwrap();
    let release = json!({ "metadata": { "finalizers": Value::Null } });
    scene.patch("deployment", team, "weather", &release).unwrap();
}

#[test]
fn a_policy_that_cannot_be_written_keeps_no_mark_of_a_refused_agent() {
    let (scene, team) = (scene("unwritten"), "unwritten");
    scene.agent_labelled(team, "weather", &scene.honest(team, "weather"), &json!({})).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    wait_marks(scene, team, "app=weather", |marks| marks.len() == 1 && marks[0].is_string());
    let refuse = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": "no-policies-in-unwritten" },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [{ "apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"],
                "operations": ["UPDATE"], "resources": ["networkpolicies"] }] },
            "matchConditions": [{ "name": "team", "expression": "request.namespace == 'unwritten'" }],
            "validations": [{ "expression": "false", "message": "policies are frozen" }],
        },
    });
    let bind = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": "no-policies-in-unwritten" },
        "spec": { "policyName": "no-policies-in-unwritten", "validationActions": ["Deny"] },
    });
    scene.rig.apply(&refuse.to_string()).unwrap();
    scene.rig.apply(&bind.to_string()).unwrap();
    let frozen = || {
        let patch = json!({ "metadata": { "annotations": { "probe": "1" } } });
        Ok(scene.patch("networkpolicy", team, "countersign-baseline", &patch).is_err())
    };
    scene.rig.wait("policies to be frozen", frozen).unwrap();
    let tampered = scene.signed(&card_of("weather", team), team, "other");
    scene.agents.serve(team, "weather", &tampered).unwrap();
    scene
        .operator
        .wait_card(team, "weather", "a refusal", |card| {
            countersign_cluster_tests::outcome(card) == "IdentityMismatch"
        })
        .unwrap();
    wait_marks(scene, team, "app=weather", |marks| marks == [Value::Null]);
    scene.rig.kubectl(&["delete", "validatingadmissionpolicybinding", "no-policies-in-unwritten"]).unwrap();
    scene.rig.kubectl(&["delete", "validatingadmissionpolicy", "no-policies-in-unwritten"]).unwrap();
    scene.policy_is(team, "weather", "IdentityMismatch").unwrap();
}

#[test]
fn a_deleted_automatic_card_comes_back_and_nothing_opens_in_between() {
    let (scene, team) = (scene("deleted"), "deleted");
    let foreign = scene.signed(&card_of("weather", team), team, "other");
    scene.agents.serve(team, "weather", &foreign).unwrap();
    scene.agents.create(team, &["weather"]).unwrap();
    let card = "weather-deployment-card";
    let before = scene.refused(team, card, "weather", "IdentityMismatch").unwrap();
    let (stop, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let policies = scene.list("networkpolicies", team).unwrap();
                assert!(policies.iter().all(|policy| !is_open(policy)), "{policies:#?}");
                for name in ["countersign-baseline", "countersign-minimum"] {
                    assert!(
                        policies.iter().any(|policy| policy["metadata"]["name"] == name),
                        "{policies:#?}"
                    );
                }
                looks.fetch_add(1, Ordering::AcqRel);
            }
        });
        for _ in 0..3 {
            let uid = scene.get("agentcard", team, card).unwrap()["metadata"]["uid"].clone();
            scene.delete("agentcard", team, card).unwrap();
            let again = scene.operator.wait_card(team, card, "the card again", |card| {
                card["metadata"]["uid"] != uid
                    && countersign_cluster_tests::outcome(card) == "IdentityMismatch"
            });
            assert_ne!(again.unwrap()["metadata"]["uid"], before["metadata"]["uid"]);
            scene.policy_is(team, "weather", "IdentityMismatch").unwrap();
        }
        // What comes late is seen by looks that begin after everything else.
        let before = looks.load(Ordering::Acquire);
        let seen = || Ok(watching.is_finished() || looks.load(Ordering::Acquire) > before + 10);
        let waited = scene.rig.wait("ten more looks", seen);
        stop.store(true, Ordering::Release);
        watching.join().unwrap();
        waited.unwrap();
    });
}

#[test]
fn a_rollout_changes_no_selector_and_old_pods_stay_isolated() {
    let (scene, team) = (scene("rollout"), "rollout");
    scene
        .agent_labelled(team, "weather", &scene.honest(team, "weather"), &json!({ "version": "1" }))
        .unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let selectors = || -> Vec<Value> {
        let policies = scene.list("networkpolicies", team).unwrap();
        policies.iter().map(|policy| policy["spec"]["podSelector"].clone()).collect()
    };
    let before = selectors();
    let template = json!({ "spec": { "template": { "metadata": { "labels": { "version": "2" } } } } });
    scene.patch("deployment", team, "weather", &template).unwrap();
    wait_marks(scene, team, "version=2", |marks| marks.len() == 1 && marks[0].is_string());
    assert_eq!(selectors(), before);
    // A template that drops the label of agents does not take its Pods out: they are isolated by selector.
    let without =
        json!({ "spec": { "template": { "metadata": { "labels": { "kagenti.io/type": null } } } } });
    scene.patch("deployment", team, "weather", &without).unwrap();
    let own = |suffix: &str| {
        let policy = scene.get("networkpolicy", team, &format!("weather-signature-{suffix}")).unwrap();
        policy["spec"]["podSelector"]["matchLabels"] == json!({ "app": "weather" })
    };
    scene.rig.wait("isolation by selector", || Ok(own("baseline") && own("minimum"))).unwrap();
}

#[test]
fn the_minimum_opens_dns_and_the_real_address_of_the_api_server() {
    let (scene, team) = (scene("minimum"), "minimum");
    scene.agent(team, "weather", b"{}").unwrap();
    scene.refused(team, "weather", "weather", "CardUnsigned").unwrap();
    let minimum = scene.get("networkpolicy", team, "countersign-minimum").unwrap();
    let egress = minimum["spec"]["egress"].to_string();
    assert!(egress.contains("10.200.0.1/32") && egress.contains("6443") && egress.contains("53"), "{egress}");
    let ingress = minimum["spec"]["ingress"].to_string();
    // The operator's Pods, and not its whole namespace.
    assert!(ingress.contains("countersign-system") && ingress.contains("podSelector"), "{ingress}");
}

/// The policy that the existing operator left for a workload that it had verified.
fn leftover(team: &str, workload: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": format!("{workload}-signature-policy"), "namespace": team, "labels": {
            "managed-by": "kagenti-operator", "kagenti.dev/agentcard": format!("{workload}-statefulset-card"),
            "kagenti.dev/policy-type": "identity-verification" } },
        "spec": {
            "podSelector": { "matchLabels": { "app": workload } }, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "from": [{ "podSelector": {
                "matchLabels": { "agent.kagenti.dev/signature-verified": "true" } } }] }],
            "egress": [{}],
        },
    })
}

#[test]
fn a_policy_that_the_existing_operator_left_goes_once_ours_stand_and_stays_in_audit() {
    let (scene, team) = (scene("moved"), "moved");
    scene.apply_all(&[leftover(team, "queue")]).unwrap();
    let foreign = scene.signed(&card_of("weather", team), team, "other");
    scene.agent(team, "weather", &foreign).unwrap();
    scene.refused(team, "weather", "weather", "IdentityMismatch").unwrap();
    scene
        .rig
        .wait("the leftover to go", || {
            Ok(scene.get("networkpolicy", team, "queue-signature-policy")?.is_null())
        })
        .unwrap();
    let told = |team: &str, reason: &str| {
        let events = scene.list("events.events.k8s.io", team)?;
        Ok(events
            .iter()
            .any(|event| event["reason"] == reason && event["regarding"]["kind"] == "NetworkPolicy"))
    };
    scene.rig.wait("an event about it", || told(team, "LeftoverPolicyRemoved")).unwrap();

    let audited = "moved-audit";
    scene.namespace(audited, &json!({ "countersign.dev/mode": "audit" })).unwrap();
    scene.apply_all(&[leftover(audited, "queue")]).unwrap();
    scene.rig.wait("an event about it", || told(audited, "LeftoverPolicy")).unwrap();
    assert!(!scene.get("networkpolicy", audited, "queue-signature-policy").unwrap().is_null());
    // Enforced, it goes; but not while it holds a Pod without the label, which ours would not.
    let bare = bare_pod(audited, "bare", &json!({ "app": "queue" }));
    scene.apply_all(&[bare]).unwrap();
    scene.agent(audited, "weather", &scene.signed(&card_of("weather", audited), audited, "other")).unwrap();
    let enforce = ["label", "--overwrite", "namespace", audited, "countersign.dev/mode=enforce"];
    scene.rig.kubectl(&enforce).unwrap();
    scene.refused(audited, "weather", "weather", "IdentityMismatch").unwrap();
    scene.settle(audited, Duration::from_secs(2)).unwrap();
    assert!(!scene.get("networkpolicy", audited, "queue-signature-policy").unwrap().is_null());
    scene.apply_all(&[leftover(audited, "idle")]).unwrap();
    scene
        .rig
        .wait("the other one to go", || {
            Ok(scene.get("networkpolicy", audited, "idle-signature-policy")?.is_null())
        })
        .unwrap();
}
