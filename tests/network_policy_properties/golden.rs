//! The exact objects of one verified and one refused agent, as a user would see them.
//! A change here changes what is applied to clusters: read the difference before taking it over.

use crate::world::{Agent, cluster_facts, group, namespace, refused, verified};
use countersign_core::refusal::Reason;
use countersign_plan::{CardOutcome, Cidr, ClusterAccess, Destination, Egress, PodGroup};
use serde_json::Value;
use std::fmt::Write;

fn facts() -> ClusterAccess {
    let cidr = |text| Cidr::parse(text).unwrap();
    let models = Destination::new(cidr("0.0.0.0/0"), [cidr("10.0.0.0/8")], &[443]).unwrap();
    cluster_facts(&[("172.18.0.2", &[6443]), ("fd00:18::2", &[6443])])
        .with_caller(group("gateway", &[("app", "envoy")]))
        .with_caller(PodGroup::whole_namespace(namespace("kagenti-system")))
        .with_agent_namespace(namespace("partners"))
        .with_egress(Egress::Listed([models].into()))
}

fn check(path: &str, golden: &str, card: CardOutcome) {
    let agent = Agent::new("team1", "Deployment", "weather", &[("app", "weather")]).enrolled(vec![card]);
    let planned: Vec<Value> =
        agent.policies(&facts()).iter().map(|policy| serde_json::to_value(policy).unwrap()).collect();
    let actual: Vec<String> = planned.iter().map(|value| serde_saphyr::to_string(value).unwrap()).collect();
    let actual = actual.join("---\n");
    // Where `make golden` takes it from.
    let target = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/golden");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::write(target.join(path), &actual).unwrap();
    let parsed: Vec<Value> = serde_saphyr::from_multiple(golden).unwrap();
    if parsed == planned {
        return;
    }
    let mut difference = String::new();
    for (sign, text, other) in [("-", golden, actual.as_str()), ("+", actual.as_str(), golden)] {
        for line in text.lines().filter(|line| !other.lines().any(|l| l == *line)) {
            writeln!(difference, "{sign} {line}").unwrap();
        }
    }
    panic!("tests/golden/{path} differs; `make golden` takes the new form over\n{difference}");
}

#[test]
fn a_verified_agent_gets_these_objects() {
    check(
        "weather-verified.yaml",
        include_str!("../golden/weather-verified.yaml"),
        verified("weather-deployment-card"),
    );
}

#[test]
fn a_refused_agent_gets_these_objects() {
    let card = refused("weather-deployment-card", Reason::SignatureInvalid);
    check("weather-refused.yaml", include_str!("../golden/weather-refused.yaml"), card);
}
