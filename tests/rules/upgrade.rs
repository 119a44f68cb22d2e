//! Conversion to A2A 1.0: what each member of 0.2 and 0.3 becomes, and which cards are refused because 1.0 says less.

use crate::cards::{card, card_bytes};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::upgrade::upgrade_card;
use serde_json::{Value, json};

/// A 0.3 card with nothing but what 0.3 requires.
fn older() -> Value {
    let mut older = card();
    let members = older.as_object_mut().unwrap();
    members.remove("supportedInterfaces");
    members.insert("url".to_owned(), json!("https://a.example/"));
    older
}

/// `base` with the members of `changes`; null removes a member.
fn with(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(name)),
            value => base[name] = value.clone(),
        }
    }
    base
}

fn upgraded(card: &Value) -> Result<Value, Refusal> {
    upgrade_card(card_bytes(card)).map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn a_1_0_card_comes_back_as_it_is() {
    assert_eq!(upgraded(&card()).unwrap(), card());
    let signed = with(card(), &json!({"signatures": [{"protected": "e30", "signature": "AA"}]}));
    assert_eq!(upgraded(&signed).unwrap(), card(), "an old signature does not fit the result");
}

#[test]
fn each_member_of_0_3_becomes_its_equivalent() {
    let interface = |url: &str, binding: &str, version: &str| json!({"url": url, "protocolBinding": binding, "protocolVersion": version});
    let main = interface("https://a.example/", "JSONRPC", "0.3");
    for (changes, pointer, expected) in [
        (json!({}), "/supportedInterfaces", json!([main])),
        (json!({"protocolVersion": "0.2.6"}), "/supportedInterfaces/0/protocolVersion", json!("0.2")),
        (json!({"preferredTransport": "GRPC"}), "/supportedInterfaces/0/protocolBinding", json!("GRPC")),
        (
            json!({"additionalInterfaces": [
                {"url": "https://a.example/", "transport": "JSONRPC"}, {"url": "https://b.example/", "transport": "GRPC"},
            ]}),
            "/supportedInterfaces",
            json!([main, interface("https://b.example/", "GRPC", "0.3")]),
        ),
        (
            json!({"supportedInterfaces": [interface("https://a.example/", "JSONRPC", "1.0")], "protocolVersion": "0.3.0"}),
            "/supportedInterfaces",
            json!([interface("https://a.example/", "JSONRPC", "1.0"), main]),
        ),
        (
            json!({"supportedInterfaces": [interface("https://a.example/", "JSONRPC", "1.0")]}),
            "/supportedInterfaces",
            json!([interface("https://a.example/", "JSONRPC", "1.0")]),
        ),
        (
            json!({"url": null, "protocolVersion": "1.0.0",
                "supportedInterfaces": [{"url": "https://a.example/", "protocolBinding": "JSONRPC"}]}),
            "/supportedInterfaces",
            json!([interface("https://a.example/", "JSONRPC", "1.0")]),
        ),
        (json!({"supportsAuthenticatedExtendedCard": true}), "/capabilities/extendedAgentCard", json!(true)),
        (
            json!({"supportsAuthenticatedExtendedCard": true, "capabilities": {"extendedAgentCard": null}}),
            "/capabilities",
            json!({"extendedAgentCard": true}),
        ),
        (
            json!({"supportsAuthenticatedExtendedCard": false, "capabilities": {"stateTransitionHistory": false}}),
            "/capabilities",
            json!({}),
        ),
        (
            json!({"security": [{"a": ["r"]}, {}]}),
            "/securityRequirements",
            json!([{"schemes": {"a": {"list": ["r"]}}}, {"schemes": {}}]),
        ),
        (
            json!({"security": [{"a": []}], "securityRequirements": [{"schemes": {"a": {"list": []}}}]}),
            "/securityRequirements",
            json!([{"schemes": {"a": {"list": []}}}]),
        ),
        (
            json!({"skills": [{"id": "s", "name": "n", "description": "d", "tags": ["t"], "security": [{"a": []}]}]}),
            "/skills/0/securityRequirements",
            json!([{"schemes": {"a": {"list": []}}}]),
        ),
        (
            json!({"securitySchemes": {"k": {"type": "apiKey", "in": "header", "name": "X", "description": "d"}}}),
            "/securitySchemes/k",
            json!({"apiKeySecurityScheme": {"location": "header", "name": "X", "description": "d"}}),
        ),
        (
            json!({"securitySchemes": {"m": {"type": "mutualTLS"}, "o": {"type": "openIdConnect", "openIdConnectUrl": "https://i.example/"}}}),
            "/securitySchemes",
            json!({"m": {"mtlsSecurityScheme": {}}, "o": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://i.example/"}}}),
        ),
        (
            json!({"authentication": {"schemes": ["Bearer"], "credentials": null}}),
            "/securitySchemes",
            json!({"Bearer": {"httpAuthSecurityScheme": {"scheme": "bearer"}}}),
        ),
        (
            json!({"authentication": {"schemes": ["basic"]}}),
            "/securityRequirements",
            json!([{"schemes": {"basic": {"list": []}}}]),
        ),
    ] {
        let found =
            upgraded(&with(older(), &changes)).unwrap_or_else(|refusal| panic!("{changes}: {refusal}"));
        assert_eq!(found.pointer(pointer), Some(&expected), "{changes}");
        for gone in [
            "url",
            "preferredTransport",
            "additionalInterfaces",
            "protocolVersion",
            "security",
            "authentication",
        ] {
            assert_eq!(found.get(gone), None, "{changes}");
        }
    }
}

#[test]
fn rule_47_what_1_0_cannot_say_is_refused_by_name() {
    let other =
        json!([{"url": "https://b.example/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]);
    let scheme = |scheme: Value| json!({"securitySchemes": {"a/b": scheme}});
    for (changes, named) in [
        (json!({"xVendor": 1}), "/xVendor"),
        (json!({"xVendor": ""}), "/xVendor"),
        (json!({"capabilities": {"stateTransitionHistory": true}}), "/capabilities/stateTransitionHistory"),
        (json!({"capabilities": {"own": 1}}), "/capabilities/own"),
        (json!({"protocolVersion": "latest"}), "/protocolVersion"),
        (json!({"url": null, "protocolVersion": "0.3.0"}), "/protocolVersion"),
        (json!({"url": null, "protocolVersion": "0.3.0", "supportedInterfaces": other}), "/protocolVersion"),
        (json!({"url": null}), "/supportedInterfaces"),
        (
            json!({"url": null, "preferredTransport": "GRPC", "supportedInterfaces": other}),
            "/preferredTransport",
        ),
        (
            json!({"additionalInterfaces": [{"url": "https://b.example/"}]}),
            "/additionalInterfaces/0/transport",
        ),
        (
            json!({"additionalInterfaces": [{"url": "https://b.example/", "transport": "GRPC", "tenant": "t"}]}),
            "/additionalInterfaces/0/tenant",
        ),
        (
            json!({"supportsAuthenticatedExtendedCard": true, "capabilities": {"extendedAgentCard": false}}),
            "/supportsAuthenticatedExtendedCard",
        ),
        (json!({"security": [{"a": []}], "securityRequirements": []}), "/security"),
        (
            json!({"security": [{"a": []}, {"b": []}], "securityRequirements": [{"schemes": {"a": {"list": []}}}]}),
            "/security",
        ),
        (json!({"skills": [{"id": "s", "name": "n", "description": "d"}]}), "/skills/0/tags"),
        (
            json!({"skills": [{"id": "s", "name": "n", "description": "d", "tags": []}, {"parameters": [1]}]}),
            "/skills/1/parameters",
        ),
        (scheme(json!({"type": "saml"})), "/securitySchemes/a~1b/type"),
        (scheme(json!({"type": "http", "scheme": "bearer", "more": 1})), "/securitySchemes/a~1b/more"),
        (
            scheme(json!({"type": "apiKey", "in": "header", "name": "n", "location": "query"})),
            "/securitySchemes/a~1b/location",
        ),
        (json!({"authentication": {"schemes": ["apiKey"]}}), "/authentication/schemes/0"),
        (json!({"authentication": {"schemes": ["basic", "bearer"]}}), "/authentication/schemes"),
        (
            json!({"authentication": {"schemes": ["basic"], "credentials": "x"}}),
            "/authentication/credentials",
        ),
        (json!({"authentication": {"schemes": ["basic"]}, "security": [{"a": []}]}), "/authentication"),
        (json!({"version": null}), "/version"),
    ] {
        let refusal = upgraded(&with(older(), &changes)).expect_err(&changes.to_string());
        assert_eq!(refusal.reason(), Reason::CardNotSignable, "{changes}: {refusal}");
        assert!(refusal.message().contains(&format!("\"{named}\"")), "{changes}: {refusal}");
    }
}

#[test]
fn a_member_of_another_type_is_refused_by_name() {
    for (changes, named) in [
        (json!({"url": 5}), "/url"),
        (json!({"preferredTransport": []}), "/preferredTransport"),
        (json!({"additionalInterfaces": {}}), "/additionalInterfaces"),
        (json!({"additionalInterfaces": [1]}), "/additionalInterfaces/0"),
        (json!({"capabilities": []}), "/capabilities"),
        (json!({"capabilities": {"stateTransitionHistory": "no"}}), "/capabilities/stateTransitionHistory"),
        (json!({"supportsAuthenticatedExtendedCard": 1}), "/supportsAuthenticatedExtendedCard"),
        (json!({"security": {}}), "/security"),
        (json!({"security": [{"a": {"list": []}}]}), "/security/0/a"),
        (json!({"securitySchemes": []}), "/securitySchemes"),
        (json!({"securitySchemes": {"a": 1}}), "/securitySchemes/a"),
        (json!({"skills": {}}), "/skills"),
        (json!({"skills": [1]}), "/skills/0"),
        (json!({"authentication": []}), "/authentication"),
        (json!({"name": 5}), "/name"),
    ] {
        let refusal = upgraded(&with(older(), &changes)).expect_err(&changes.to_string());
        assert_eq!(refusal.reason(), Reason::CardMemberType, "{changes}: {refusal}");
        assert!(refusal.message().contains(&format!("\"{named}\"")), "{changes}: {refusal}");
    }
}
