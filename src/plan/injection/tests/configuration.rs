//! Configuration of the sidecar from what the namespace and Keycloak say.

use super::*;

fn sources<'a>(base: &'a str, keycloak: &'a BTreeMap<String, String>) -> SidecarSources<'a> {
    SidecarSources {
        base,
        keycloak,
        mtls_mode: MtlsMode::Permissive,
        allowed_audiences: &[],
        has_spire: true,
        has_credentials: true,
    }
}

fn keycloak(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn a_pipeline_is_made_from_the_settings_of_keycloak() {
    let settings = keycloak(&[
        ("KEYCLOAK_URL", "http://keycloak:8080"),
        ("KEYCLOAK_REALM", "agents"),
        ("ISSUER", "https://keycloak.example/realms/agents"),
        ("CLIENT_AUTH_TYPE", "federated-jwt"),
        ("JWT_AUDIENCE", "https://keycloak.example/realms/agents"),
        ("DEFAULT_OUTBOUND_POLICY", " "),
    ]);
    let audiences = ["one".to_owned()];
    let sources = SidecarSources { allowed_audiences: &audiences, ..sources("", &settings) };
    let made = read(&plan_sidecar_config(&sources).unwrap());
    let inbound = &made["pipeline"]["inbound"]["plugins"][0];
    assert_eq!(inbound["name"], "jwt-validation");
    assert_eq!(
        inbound["config"],
        json!({ "issuer": "https://keycloak.example/realms/agents", "keycloak_url": "http://keycloak:8080",
            "keycloak_realm": "agents", "audience_file": "/shared/client-id.txt", "allowed_audiences": ["one"] })
    );
    assert_eq!(
        made["pipeline"]["outbound"]["plugins"][0]["config"],
        json!({ "keycloak_url": "http://keycloak:8080", "keycloak_realm": "agents",
            "identity": { "type": "spiffe", "jwt_audience": "https://keycloak.example/realms/agents" } })
    );
    assert_eq!(made["listener"]["reverse_proxy_addr"], ":${AUTHBRIDGE_INBOUND_PORT}");
    assert_eq!(made["mtls"], json!({ "mode": "permissive" }));
}

#[test]
fn what_the_namespace_says_stays_but_for_addresses_and_mtls() {
    let none = BTreeMap::new();
    let base = "mode: lite\npipeline: {dangerously_allow_unauthenticated: true}\nlistener: {skip_hosts: [a]}\n\
                mtls: {mode: strict, allowed_peers: [\"spiffe://example.org\"]}\nspiffe: {mirror_files: true}\n";
    let made = |mtls_mode, has_spire| {
        plan_sidecar_config(&SidecarSources { mtls_mode, has_spire, ..sources(base, &none) })
            .map(|text| read(&text))
    };
    let strict = made(MtlsMode::Strict, true).unwrap();
    assert_eq!(strict["mode"], "proxy-sidecar");
    assert_eq!(strict["listener"]["skip_hosts"], json!(["a"]));
    assert_eq!(strict["mtls"], json!({ "mode": "strict", "allowed_peers": ["spiffe://example.org"] }));
    assert_eq!(strict["spiffe"]["mirror_files"], true);
    let disabled = made(MtlsMode::Disabled, true).unwrap();
    assert!(disabled.get("mtls").is_none() && disabled.get("spiffe").is_some());
    let plain = made(MtlsMode::Permissive, false).unwrap();
    assert!(plain.get("mtls").is_none() && plain.get("spiffe").is_none());
    assert_eq!(made(MtlsMode::Strict, false), Err(ConfigProblem::SpireMissing("spec.mtlsMode is strict")));
    let problem = |base| plan_sidecar_config(&sources(base, &none)).unwrap_err();
    assert_eq!(problem(""), ConfigProblem::IssuerMissing);
    assert_eq!(problem("mode: waypoint"), ConfigProblem::UnknownMode("waypoint".to_owned()));
    for malformed in ["- a", "a: [", "a: 1\na: 2"] {
        assert!(matches!(problem(malformed), ConfigProblem::Malformed(_)), "{malformed}");
    }
    for open in [
        "pipeline: {}",
        "pipeline: {inbound: {plugins: [a2a-parser]}}",
        "pipeline: {dangerously_allow_unauthenticated: 1}",
    ] {
        assert_eq!(problem(open), ConfigProblem::Unguarded, "{open}");
    }
}

#[test]
fn a_token_must_be_for_the_workload_or_for_whom_somebody_named() {
    let named = ["one".to_owned(), "two".to_owned()];
    let config = |gate: &str, allowed: &[String], has_credentials| {
        let base = format!("pipeline: {{inbound: {{plugins: [{gate}]}}}}");
        let none = BTreeMap::new();
        let sources = SidecarSources { allowed_audiences: allowed, has_credentials, ..sources(&base, &none) };
        plan_sidecar_config(&sources)
            .map(|text| read(&text)["pipeline"]["inbound"]["plugins"][0]["config"].clone())
    };
    let file = "/shared/client-id.txt";
    for (gate, allowed, has_credentials, made) in [
        ("jwt-validation", &[][..], true, json!({ "audience_file": file })),
        ("jwt-validation", &named, true, json!({ "audience_file": file, "allowed_audiences": named })),
        ("jwt-validation", &named, false, json!({ "allowed_audiences": named })),
        ("{name: jwt-validation, config: {audience: a}}", &[], true, json!({ "audience": "a" })),
        (
            "{name: jwt-validation, config: {audience_file: /own, allowed_audiences: [two, own]}}",
            &named,
            true,
            json!({ "audience_file": "/own", "allowed_audiences": ["two", "own", "one"] }),
        ),
    ] {
        assert_eq!(config(gate, allowed, has_credentials), Ok(made), "{gate} {allowed:?} {has_credentials}");
    }
    assert_eq!(config("jwt-validation", &[], false), Err(ConfigProblem::AudienceMissing));
}

#[test]
fn settings_of_keycloak_that_are_not_whole_lead_to_what_can_be_checked_or_to_a_sentence() {
    let issuer = ("ISSUER", "https://keycloak.example/realms/agents");
    let (url, realm) = (("KEYCLOAK_URL", "http://keycloak:8080"), ("KEYCLOAK_REALM", "agents"));
    let federated = ("CLIENT_AUTH_TYPE", "federated-jwt");
    let planned = |pairs: &[(&str, &str)], has_spire, has_credentials| {
        let settings = keycloak(pairs);
        let named = ["one".to_owned()];
        let sources = SidecarSources {
            has_spire,
            has_credentials,
            allowed_audiences: &named,
            ..sources("", &settings)
        };
        plan_sidecar_config(&sources).map(|text| {
            let exchange = &read(&text)["pipeline"]["outbound"]["plugins"][0]["config"];
            (!exchange.is_null()).then(|| exchange["identity"].clone())
        })
    };
    assert_eq!(planned(&[url, realm], true, true), Err(ConfigProblem::IssuerMissing));
    assert_eq!(planned(&[issuer], true, true), Ok(None), "the issuer alone checks tokens");
    assert_eq!(planned(&[issuer, url], true, true), Ok(None));
    assert_eq!(planned(&[issuer, url, realm], true, false), Ok(None), "it is no client");
    assert_eq!(
        planned(&[issuer, url, realm], false, true),
        Ok(Some(json!({ "type": "client-secret" }))),
        "as the existing operator has it"
    );
    assert_eq!(
        planned(&[issuer, url, realm, federated], true, true),
        Ok(Some(json!({ "type": "spiffe", "jwt_audience": issuer.1 })))
    );
    assert_eq!(
        planned(&[issuer, url, realm, federated], false, true),
        Err(ConfigProblem::SpireMissing("CLIENT_AUTH_TYPE is federated-jwt"))
    );
}
