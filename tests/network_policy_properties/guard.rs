//! The admission policy that guards the mark names the same label as the planner, everywhere and for everyone.
//! Its expressions run in an API server only; here it is held to what the planner relies on.

use countersign_api::keys::PEER_MARK_LABEL;
use serde_json::{Value, json};

fn guard() -> [Value; 2] {
    let text = include_str!("../../policies/guard-operator-labels.yaml");
    let parsed: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    parsed.try_into().expect("one policy and its binding")
}

#[test]
fn the_guard_covers_every_way_to_a_pods_labels_and_fails_closed() {
    let [policy, binding] = guard();
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let rules = policy["spec"]["matchConstraints"]["resourceRules"].as_array().unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0]["resources"], json!(["pods", "pods/*", "bindings"]));
    assert_eq!(rules[0]["operations"], json!(["CREATE", "UPDATE"]));
    assert_eq!(policy["spec"]["matchConditions"], Value::Null, "no request is left out");
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    assert_eq!(binding["spec"]["matchResources"], Value::Null, "no namespace is left out");
}

#[test]
fn the_guard_compares_the_label_that_policies_select_by() {
    let [policy, _] = guard();
    let compared = |variable: &&Value| variable["name"] == "before" || variable["name"] == "after";
    let variables: Vec<&Value> =
        policy["spec"]["variables"].as_array().unwrap().iter().filter(compared).collect();
    assert_eq!(variables.len(), 2);
    for variable in variables {
        let expression = variable["expression"].as_str().unwrap();
        assert_eq!(expression.matches(&format!("'{PEER_MARK_LABEL}'")).count(), 2, "{expression}");
    }
    let validation = policy["spec"]["validations"][0]["expression"].as_str().unwrap();
    assert!(validation.starts_with("variables.before == variables.after ||"));
    assert!(
        validation
            .ends_with("(request.operation == 'UPDATE' && request.userInfo.username == variables.operator)")
    );
}
