//! Status writes of two replicas that both believe they lead, on a real API server: the second of them is refused.

use crate::client;
use countersign_api::ObjectRef;
use countersign_api::agent_card::AgentCard;
use countersign_controller::apply::Writer;
use countersign_rig::Rig;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const CRD: &str = include_str!("../../../../crds/agentcards.agent.kagenti.dev.yaml");
const CARDS: &str = "/apis/agent.kagenti.dev/v1alpha1/namespaces/default/agentcards";

/// Status of this outcome over a protocol that tells who wrote it.
fn status(outcome: &str, by: &str) -> Value {
    json!({ "protocol": by, "verdict": { "outcome": outcome } })
}

fn stored(rig: &Rig, name: &str) -> Value {
    rig.get(&format!("{CARDS}/{name}")).unwrap().unwrap()
}

#[test]
fn a_first_status_is_refused_once_another_writer_has_given_a_verdict() {
    let rig = Rig::control_plane().unwrap();
    let runtime = Runtime::new().unwrap();
    let writer = Writer::new(runtime.block_on(client(&rig)).unwrap());
    rig.apply(CRD).unwrap();
    // No status, one without members, and one without a verdict, as other operators leave them.
    for (name, before) in
        [("none", Value::Null), ("empty", json!({})), ("other", json!({ "protocol": "a2a" }))]
    {
        let card = json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name } } });
        rig.wait("the kind", || Ok(rig.apply(&card.to_string()).is_ok())).unwrap();
        if before.is_object() {
            let patch = json!({ "status": before });
            rig.patch(&format!("{CARDS}/{name}/status"), &patch).unwrap();
        }
        let card = stored(&rig, name);
        assert_eq!(card.get("status").unwrap_or(&Value::Null), &before, "{name}");
        let (object, uid) = (ObjectRef::new("default", name), card["metadata"]["uid"].as_str().unwrap());
        let write = |after: &Value| {
            let change = writer.change_status::<AgentCard>(&object, uid, (&before, after), "verdict");
            runtime.block_on(change)
        };
        write(&status("refused", "first")).unwrap();
        let lost = write(&status("verified", "second")).unwrap_err();
        assert!(matches!(&lost, kube::Error::Api(answer) if answer.code == 422), "{name}: {lost}");
        assert_eq!(stored(&rig, name)["status"], status("refused", "first"), "{name}");
    }
    rig.down().unwrap();
}
