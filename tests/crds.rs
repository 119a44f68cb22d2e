//! The custom resource definitions in `crds/` are those of the types, and existing manifests and objects are read.
#![cfg(feature = "operator")]

#[cfg(test)]
mod tests {
    use countersign_api::agent_card::{AgentCard, AgentCardData, BindingScope, definition};
    use countersign_api::{definitions, keys};
    use kube::{CustomResourceExt as _, Resource as _};
    use serde_json::{Value, json};
    use std::process::Command;

    /// The columns of the existing definition, in order: name, type, path, priority.
    const COLUMNS: [(&str, &str, &str, i32); 11] = [
        ("Protocol", "string", ".status.protocol", 0),
        ("Kind", "string", ".status.targetRef.kind", 0),
        ("Target", "string", ".status.targetRef.name", 0),
        ("Agent", "string", ".status.card.name", 0),
        ("Verified", "string", ".status.conditions[?(@.type=='Verified')].status", 0),
        ("Sigstore", "boolean", ".status.sigstoreBundleVerified", 0),
        ("Bound", "string", ".status.bindingStatus.bound", 0),
        ("Synced", "string", ".status.conditions[?(@.type=='Synced')].status", 0),
        ("LastSync", "date", ".status.lastSyncTime", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
        ("AttestedAgent", "string", ".status.attestedAgentSpiffeId", 1),
    ];

    fn schema() -> Value {
        let definition = serde_json::to_value(definition()).unwrap();
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    }

    /// Every schema below `at`, with its path.
    fn walk(at: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, at);
        for (name, property) in at["properties"].as_object().into_iter().flatten() {
            walk(property, &format!("{path}.{name}"), visit);
        }
        for inner in ["items", "additionalProperties"] {
            if at[inner].is_object() {
                walk(&at[inner], &format!("{path}[]"), visit);
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the files are the project's own")]
    fn the_checked_in_definitions_are_those_of_the_types() {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign")).arg("crd").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let stored: Vec<String> = definitions()
            .iter()
            .map(|definition| format!("crds/{}.yaml", definition.metadata.name.as_ref().unwrap()))
            .map(|file| std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")))
            .collect();
        assert_eq!(stored.join("---\n"), printed, "run `make docs`");
    }

    #[test]
    fn names_are_those_that_clients_and_people_use() {
        let definition = definition();
        assert_eq!(AgentCard::api_version(&()), keys::AGENT_CARD_API_VERSION);
        assert_eq!(AgentCard::kind(&()), keys::AGENT_CARD_KIND);
        assert_eq!(AgentCard::crd_name(), "agentcards.agent.kagenti.dev");
        assert_eq!(
            (definition.spec.group.as_str(), definition.spec.scope.as_str()),
            (keys::GROUP, "Namespaced")
        );
        let names = definition.spec.names;
        assert_eq!(names.singular.as_deref(), Some("agentcard"));
        assert_eq!(names.list_kind.as_deref(), Some("AgentCardList"));
        assert_eq!(names.short_names.unwrap(), ["agentcards", "cards"]);
        assert_eq!(names.categories.unwrap(), ["countersign"]);
        let [version] = definition.spec.versions.as_slice() else { panic!("one version") };
        assert!(version.served && version.storage && version.subresources.as_ref().unwrap().status.is_some());
    }

    #[test]
    fn an_agent_runtime_has_the_names_columns_and_defaults_of_the_existing_one() {
        let definition = countersign_api::agent_runtime::definition(keys::Family::Kagenti);
        assert_eq!(definition.metadata.name.as_deref(), Some("agentruntimes.agent.kagenti.dev"));
        let names = &definition.spec.names;
        assert_eq!(names.short_names.as_deref().unwrap(), ["art", "agentrt"]);
        assert_eq!(names.list_kind.as_deref(), Some("AgentRuntimeList"));
        let columns = definition.spec.versions[0].additional_printer_columns.as_ref().unwrap();
        let found: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(found, ["Type", "Target", "Ready", "Age", "Verified", "Reason"], "ours come last");
        let schema = serde_json::to_value(&definition).unwrap();
        let schema = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_eq!(schema["required"], json!(["spec"]));
        let spec = &schema["properties"]["spec"];
        assert_eq!(spec["required"], json!(["targetRef", "type"]));
        for (member, words, default) in [
            ("type", json!(["agent", "tool"]), Value::Null),
            ("mtlsMode", json!(["disabled", "permissive", "strict"]), json!("permissive")),
            ("tlsBridgeMode", json!(["disabled", "enabled"]), json!("disabled")),
            ("authBridgeMode", json!(["proxy-sidecar", "envoy-sidecar", "lite", "waypoint"]), Value::Null),
            ("egressEnforcement", json!(["enforce-redirect", "none"]), Value::Null),
        ] {
            let member = &spec["properties"][member];
            assert_eq!((&member["enum"], &member["default"]), (&words, &default), "{member:#}");
        }
        let card = &schema["properties"]["status"]["properties"]["card"]["properties"];
        for member in ["name", "cardHash", "signatureKeyID", "attestedAgentSpiffeID", "transportSecurity"] {
            assert!(card[member].is_object(), "{member}");
        }
    }

    #[test]
    fn an_agent_runtime_of_the_newer_group_differs_in_the_group_alone() {
        let [older, newer] = keys::Family::ALL.map(countersign_api::agent_runtime::definition);
        assert_eq!(newer.metadata.name.as_deref(), Some("agentruntimes.agent.rossoctl.dev"));
        assert_eq!(newer.spec.group, "agent.rossoctl.dev");
        let as_older = newer.spec.names == older.spec.names && newer.spec.versions == older.spec.versions;
        assert!(as_older, "a copy of one loses nothing of the other");
    }

    #[test]
    fn existing_columns_come_first_and_unchanged() {
        let definition = definition();
        let columns = definition.spec.versions[0].additional_printer_columns.as_ref().unwrap();
        let found: Vec<(&str, &str, &str, i32)> = columns
            .iter()
            .map(|c| {
                (c.name.as_str(), c.type_.as_str(), c.json_path.as_str(), c.priority.unwrap_or_default())
            })
            .collect();
        assert_eq!(found[..COLUMNS.len()], COLUMNS);
        let added: Vec<&str> = found[COLUMNS.len()..].iter().map(|column| column.0).collect();
        assert_eq!(added, ["Reason", "Enforced", "SPIFFE-ID"]);
    }

    #[test]
    fn the_schema_requires_and_defaults_what_the_existing_one_does() {
        let (mut required, mut defaults, mut odd) = (Vec::new(), Vec::new(), Vec::new());
        walk(&schema(), "", &mut |path, schema| {
            for name in schema["required"].as_array().into_iter().flatten() {
                required.push(format!("{path}.{}", name.as_str().unwrap()));
            }
            if !schema["default"].is_null() {
                defaults.push(format!("{path}={}", schema["default"]));
            }
            for keyword in ["nullable", "title", "anyOf", "oneOf", "$ref", "x-kubernetes-list-type"] {
                if !schema[keyword].is_null() {
                    odd.push(format!("{path}: {keyword}"));
                }
            }
            if schema["type"].is_null() && schema["x-kubernetes-preserve-unknown-fields"] != json!(true) {
                odd.push(format!("{path}: no type"));
            }
        });
        required.sort_unstable();
        assert_eq!(
            required,
            [
                ".spec.targetRef.apiVersion",
                ".spec.targetRef.kind",
                ".spec.targetRef.name",
                ".status.bindingStatus.bound",
                ".status.card.signatures[].protected",
                ".status.card.signatures[].signature",
                ".status.conditions[].lastTransitionTime",
                ".status.conditions[].message",
                ".status.conditions[].reason",
                ".status.conditions[].status",
                ".status.conditions[].type",
                ".status.targetRef.apiVersion",
                ".status.targetRef.kind",
                ".status.targetRef.name",
                ".status.verdict.contents[].digest",
                ".status.verdict.contents[].witnessedAt",
                ".status.verdict.outcome",
            ]
        );
        defaults.sort_unstable();
        assert_eq!(defaults, [".spec.identityBinding.strict=false", ".spec.syncPeriod=\"30s\""]);
        assert_eq!(odd, [""; 0]);
    }

    #[test]
    fn an_object_of_the_existing_operator_is_read_and_written_back() {
        let object = json!({
            "apiVersion": "agent.kagenti.dev/v1alpha1",
            "kind": "AgentCard",
            "metadata": { "name": "weather-deployment-card", "namespace": "team1" },
            "spec": {
                "syncPeriod": "5 minutes",
                "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" },
                "identityBinding": { "trustDomain": "Example.org", "strict": true },
                "sigstoreVerification": { "certificateIdentity": "a", "certificateOIDCIssuer": "b" },
            },
            "status": {
                "bindingStatus": {
                    "bound": true, "reason": "Bound", "message": "m", "lastEvaluationTime": "2026-11-21T10:00:00Z",
                },
                "card": {
                    "name": "weather", "url": "http://weather.team1.svc:8000", "supportsAuthenticatedExtendedCard": false,
                    "capabilities": {
                        "streaming": true,
                        "extensions": [{ "uri": "u", "required": false, "params": { "a": { "b": [1, null, "c"] } } }],
                    },
                    "skills": [{ "id": "s", "parameters": [{ "name": "p", "type": "string", "default": "d" }] }],
                    "signatures": [{ "protected": "e30", "signature": "AA", "header": { "timestamp": "t" } }],
                },
                "cardId": "00", "attestedAgentSpiffeId": "spiffe://example.org/a", "expectedSpiffeID": "spiffe://example.org/a",
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "ReadyToServe", "message": "Agent index is ready for queries",
                    "lastTransitionTime": "2026-11-21T10:00:00Z",
                }],
                "lastSyncTime": "2026-11-21T10:00:00Z", "protocol": "a2a", "rekorLogIndex": "1",
                "signatureIdentityMatch": true, "signatureKeyId": "k", "signatureSpiffeId": "spiffe://example.org/a",
                "signatureVerificationDetails": "d", "sigstoreBundleVerified": false, "sigstoreIdentity": "i",
                "slsaCommitSHA": "c", "slsaRepository": "r", "validSignature": true,
                "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" },
            },
        });
        let card: AgentCard = serde_json::from_value(object.clone()).unwrap();
        assert!(card.spec.sync_period().is_err());
        assert_eq!(serde_json::to_value(&card).unwrap(), object);
        // Everything written above is a member of the schema, so that the server does not prune it.
        let schema = schema();
        assert_eq!(unknown(&object["spec"], &schema["properties"]["spec"]), [""; 0]);
        assert_eq!(unknown(&object["status"], &schema["properties"]["status"]), [""; 0]);
    }

    /// The members of `value` that `schema` does not know.
    fn unknown(value: &Value, schema: &Value) -> Vec<String> {
        if let Some(list) = value.as_array() {
            return list.iter().flat_map(|item| unknown(item, &schema["items"])).collect();
        }
        if schema["additionalProperties"].is_object() {
            return Vec::new();
        }
        let members = value.as_object().into_iter().flatten();
        members
            .flat_map(|(name, value)| match &schema["properties"][name] {
                Value::Null => vec![name.clone()],
                inner => unknown(value, inner),
            })
            .collect()
    }

    #[test]
    fn an_object_without_spec_does_not_break_the_list_it_comes_in() {
        for spec in ["", r#","spec":null"#, r#","spec":{}"#] {
            let text = format!(
                r#"{{"apiVersion":"agent.kagenti.dev/v1alpha1","kind":"AgentCard","metadata":{{}}{spec}}}"#
            );
            let card: AgentCard = serde_json::from_str(&text).unwrap();
            assert_eq!(card.spec.target_ref, None);
            assert_eq!(card.spec.sync_period().unwrap().as_secs(), 30);
        }
    }

    #[test]
    fn additions_are_optional_and_read() {
        let binding = json!({ "allowedSpiffeIDs": ["spiffe://example.org/a"], "scope": "trust-domain" });
        let spec = json!({ "paused": true, "identityBinding": binding });
        let card: AgentCard = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
        assert_eq!(card.spec.paused, Some(true));
        let binding = card.spec.identity_binding.unwrap();
        assert_eq!((binding.scope, binding.strict), (Some(BindingScope::TrustDomain), false));
        assert_eq!(binding.allowed_spiffe_ids, ["spiffe://example.org/a"]);
    }

    #[test]
    fn a_missing_target_is_refused_with_the_text_that_clients_know() {
        let schema = schema();
        let text = "spec.targetRef is required: specify the workload backing this agent";
        for at in [&schema, &schema["properties"]["spec"]] {
            assert_eq!(at["x-kubernetes-validations"][0]["message"], text);
        }
    }

    #[test]
    fn empty_contents_are_written_as_an_empty_object() {
        assert_eq!(serde_json::to_value(AgentCardData::default()).unwrap(), json!({}));
    }
}
