//! The Helm chart as its users meet it: what it renders, what it refuses, and what it asks of a cluster.
//! Everything here is helm's own answer; `chart_on_the_api_server.rs` applies the result.
#![cfg(test)]

mod chart_support;

use chart_support::{NAMESPACE, VERIFYING, chart, find, objects, repository, script, template};
use countersign_api::keys::{
    CONFIG_HASH_ANNOTATION, Family, GUARDS, MANAGED_BY_APP_LABEL, MESH_LABELS, MTLS_MODE_ANNOTATION,
    OPTIONAL_GUARDS, RELEASED_POD_ANNOTATION, REPLACED_POD_ANNOTATION, RUNTIME_LABEL, SCC_BINDING, SCC_ROLE,
    SIDECAR_ANNOTATION, SIDECAR_CONFIG_ANNOTATION, SIDECAR_SPIFFE_ANNOTATION, WEBHOOK_CONFIGURATION,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

const EVERYTHING: &str = "--values=tests/fixtures/chart/everything.yaml";
const EXISTING: &str = "--values=tests/fixtures/chart/existing-values.yaml";
const IMAGE: &str = "--set=sidecar.image.repository=registry.example/authbridge";
const HA: &str = "--values=charts/countersign/values-ha.yaml";
const OPENSHIFT: &str = "--values=charts/countersign/values-openshift.yaml";

/// The flags that the operator knows and acts on.
const FLAGS: [&str; 46] = [
    "sidecar-image",
    "sidecar-spire-host-path",
    "accept-profile",
    "agent-namespace",
    "allow-trust-domain",
    "binding-scope",
    "caller",
    "cluster-trust-bundle",
    "concurrency",
    "dns-address",
    "dns-port",
    "dns-selector",
    "egress",
    "enable-verified-fetch",
    "enforce-network-policies",
    "fetch-timeout",
    "freshness",
    "health-probe-bind-address",
    "ingress-host-suffix",
    "istio-mesh-labels",
    "leader-elect",
    "max-witness-age",
    "metrics-bind-address",
    "metrics-cert-key",
    "metrics-cert-name",
    "metrics-cert-path",
    "metrics-secure",
    "min-sync-period",
    "mode",
    "otlp-endpoint",
    "policy-file",
    "scc-binding",
    "spiffe-id-template",
    "spire-trust-bundle-configmap",
    "spire-trust-bundle-configmap-key",
    "spire-trust-bundle-configmap-namespace",
    "spire-trust-bundle-refresh-interval",
    "spire-trust-domain",
    "trust-bundle-max-age",
    "trust-bundle-source",
    "verified-fetch-spiffe-socket",
    "webhook-bind-address",
    "webhook-cert-path",
    "webhook-configuration",
    "zap-encoder",
    "zap-log-level",
];

fn rendered(arguments: &[&str]) -> Vec<Value> {
    objects(&template(arguments).unwrap())
}

fn refused(arguments: &[&str]) -> String {
    template(arguments).expect_err("helm must refuse these values")
}

fn args(objects: &[Value]) -> Vec<String> {
    let args = &find(objects, "Deployment", "kagenti-controller-manager")["spec"]["template"]["spec"]["containers"]
        [0]["args"];
    args.as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the golden files and sources of this repository are the subject"
)]
fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares with `tests/golden/chart/NAME.yaml` and leaves the new text where `make golden` takes it from.
fn golden(name: &str, actual: &str) -> Option<String> {
    let target = repository("target/golden/chart");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::write(target.join(format!("{name}.yaml")), actual).unwrap();
    let path = format!("tests/golden/chart/{name}.yaml");
    let expected = if repository(&path).exists() { read(&path) } else { String::new() };
    if expected == actual {
        return None;
    }
    let mut difference = String::new();
    for (sign, text, other) in [("-", expected.as_str(), actual), ("+", actual, expected.as_str())] {
        for line in text.lines().filter(|line| !other.lines().any(|l| l == *line)) {
            writeln!(difference, "{sign} {line}").unwrap();
        }
    }
    Some(format!("{path} differs; `make golden` takes the new form over\n{difference}"))
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for values in [None, Some(HA), Some(OPENSHIFT), Some(EVERYTHING), Some(EXISTING)] {
        let chart = chart();
        let mut arguments = vec!["lint", "--strict", chart.as_str()];
        arguments.extend(values);
        let said = script("helm", &arguments).unwrap();
        assert!(said.contains("0 chart(s) failed"), "{said}");
    }
}

#[test]
fn golden_renders_of_each_way_to_install() {
    // The definitions and policies are files of their own; one golden file shows them with parameters.
    let lean = ["--set=crd.enable=false", "--set=policies.enable=false"];
    let differences = [
        golden("default", &template(&lean).unwrap()),
        golden("ha", &template(&[&[HA], &lean[..]].concat()).unwrap()),
        golden("openshift", &template(&[&[OPENSHIFT], &lean[..], &VERIFYING[..4]].concat()).unwrap()),
        golden("everything", &template(&[EVERYTHING, lean[0]]).unwrap()),
    ];
    // All are written before one fails, so that one `make golden` takes all over.
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn an_unknown_value_is_refused_by_name_at_any_depth() {
    for (set, named) in [
        ("featureGatez.envoyProxy=true", "'featureGatez'"),
        ("signatureVerification.enabeld=true", "'enabeld'"),
        ("controllerManager.container.securityContext.runAsRoot=true", "'runAsRoot'"),
        ("defaults.proxy.prot=1", "'prot'"),
    ] {
        let said = refused(&["--set", set]);
        assert!(said.contains("additional properties") && said.contains(named), "{said}");
    }
    let said = refused(&["--set=operator.egress=everywhere"]);
    assert!(said.contains("/operator/egress") && said.contains("'anywhere', 'agents'"), "{said}");
}

#[test]
fn no_object_of_the_schema_is_open_by_accident() {
    fn walk(path: &str, schema: &Value) {
        if schema.get("properties").is_some() {
            assert_eq!(schema["additionalProperties"], json!(false), "{path}");
        }
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), below);
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{path}[]"), items);
        }
    }
    walk("", &serde_json::from_str(&read("charts/countersign/values.schema.json")).unwrap());
}

#[test]
fn the_schema_has_the_same_defaults_as_the_values() {
    fn walk(path: &str, value: &Value, schema: &Value, seen: &mut usize) {
        if let Some(default) = schema.get("default") {
            assert_eq!(value, default, "{path}");
            *seen += 1;
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, below) in value.as_object().into_iter().flatten() {
                walk(&format!("{path}.{name}"), below, &properties[name], seen);
            }
        }
    }
    let values: Value = serde_saphyr::from_str(&read("charts/countersign/values.yaml")).unwrap();
    let mut seen = 0;
    walk(
        "",
        &values,
        &serde_json::from_str(&read("charts/countersign/values.schema.json")).unwrap(),
        &mut seen,
    );
    assert!(seen > 40, "only {seen} defaults were compared");
}

#[test]
fn the_policy_among_the_values_is_described_as_the_policy_file_is() {
    let [values, file]: [Value; 2] = ["charts/countersign/values.schema.json", "schemas/policy.schema.json"]
        .map(|path| serde_json::from_str(&read(path)).unwrap());
    assert_eq!(values["$defs"], file["$defs"]);
    let policy = &values["properties"]["signatureVerification"]["properties"]["policy"];
    for member in ["defaults", "trustDomains"] {
        let described = &file["properties"][member];
        for keyword in ["$ref", "type", "additionalProperties"] {
            assert_eq!(policy["properties"][member][keyword], described[keyword], "{member} {keyword}");
        }
    }
    assert_eq!(file["properties"].as_object().unwrap().len(), 3);
    for (set, named) in [
        (&["version=1", "defaults.clockSkw=5s"][..], "'clockSkw'"),
        (&["version=1", "defaults.coverage=most"], "/defaults/coverage"),
        (&["version=1", "defaults.profiles={spec842}"], "/defaults/profiles/0"),
        (&["version=1", "defaults.algorithms={HS256}"], "/defaults/algorithms/0"),
        (&["version=1", "trustDomains.example.deny.spiffeID=x"], "'spiffeID'"),
        (&["version=1", "trustDomains.example.signers.threshold=0"], "/example/signers"),
        (&["version=2"], "/policy/version"),
        (&["defaults.clockSkew=5s"], "'version'"),
    ] {
        let set: Vec<String> =
            set.iter().map(|value| format!("--set=signatureVerification.policy.{value}")).collect();
        let said = refused(&set.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.contains(named), "{set:?}: {said}");
    }
}

#[test]
fn what_is_missing_is_said_before_anything_is_installed() {
    let enabled = "--set=signatureVerification.enabled=true";
    let namespace = "--set=signatureVerification.spireTrustBundle.configMapNamespace=spire-system";
    let said = refused(&[enabled]);
    assert!(
        said.contains("configMapNamespace is empty: set it to the namespace in which SPIRE publishes"),
        "{said}"
    );
    let said = refused(&[enabled, namespace]);
    assert!(said.contains("spireTrustDomain is empty: set it to the trust domain of this cluster"), "{said}");
    let said = refused(&["--set=enforceNetworkPolicies=true"]);
    assert!(said.contains("nothing verifies agents, so all would stay closed"), "{said}");
    let said = refused(&["--set=verifiedFetch.enabled=true"]);
    assert!(
        said.contains("verifiedFetch.enabled is true and signatureVerification.spireTrustDomain is empty"),
        "{said}"
    );
    // The variable that the existing operator reads is as good as the value.
    let variable = "--set=controllerManager.container.env.KAGENTI_SPIRE_TRUST_DOMAIN=example.org";
    assert!(
        args(&rendered(&[enabled, namespace, variable]))
            .contains(&"--spire-trust-domain=example.org".to_owned())
    );
}

#[test]
fn the_default_limit_of_memory_holds_half_more_than_ten_thousand_agents_take() {
    let size = read("docs/operator.md");
    let row = size.lines().find(|line| line.starts_with("| 10,000, ")).expect("docs/operator.md has sizes");
    let measured = row.split(" | ").nth(1).and_then(|cell| cell.strip_suffix(" MiB")).unwrap();
    let tenths: u32 = measured.replace('.', "").parse().unwrap();
    let objects = rendered(&[]);
    let spec = &find(&objects, "Deployment", "kagenti-controller-manager")["spec"]["template"]["spec"];
    let limit = spec["containers"][0]["resources"]["limits"]["memory"].as_str().unwrap();
    let limit: u32 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
    assert!(limit * 10 >= tenths + tenths / 2, "{limit} MiB for {measured} MiB");
    assert!(size.contains(&format!("{limit}Mi")) && read("docs/install.md").contains(&format!("{limit}Mi")));
    assert!(read("docs/benchmarks.md").contains(&format!("{measured} MiB")), "{measured}");
}

#[test]
fn every_argument_is_a_flag_that_the_operator_acts_on() {
    let off = ["--set=metrics.enable=false", "--set=webhook.enable=false"];
    for values in [&[][..], &[HA], &[OPENSHIFT], &[EVERYTHING], &VERIFYING, &off] {
        for arg in args(&rendered(values)) {
            let name = arg.strip_prefix("--").unwrap().split('=').next().unwrap();
            assert!(FLAGS.contains(&name), "{arg}");
        }
    }
}

#[test]
fn a_cluster_trust_bundle_takes_the_place_of_the_config_map() {
    let named = "--set=signatureVerification.spireTrustBundle.clusterTrustBundle=spire-bundle";
    let objects = rendered(&[VERIFYING[0], VERIFYING[1], VERIFYING[2], named]);
    let args = args(&objects);
    for arg in ["--trust-bundle-source=cluster-trust-bundle", "--cluster-trust-bundle=spire-bundle"] {
        assert!(args.contains(&arg.to_owned()), "{args:?}");
    }
    assert!(args.iter().all(|arg| !arg.contains("configmap")), "{args:?}");
    let role = find(&objects, "ClusterRole", "kagenti-cluster-trust-bundle-reader");
    assert_eq!(role["rules"][0]["resourceNames"], json!(["spire-bundle"]));
}

#[test]
fn an_argument_of_the_user_replaces_the_charts() {
    let with = |arg| args(&rendered(&["--set", &format!("controllerManager.container.args={{{arg}}}")]));
    for arg in ["--concurrency=32", "-concurrency=32"] {
        let args = with(arg);
        assert!(args.contains(&arg.to_owned()), "{args:?}");
        assert!(!args.contains(&"--concurrency=16".to_owned()), "{args:?}");
    }
    assert!(with("--leader-elect=false").iter().all(|arg| arg != "--leader-elect"));
}

#[test]
fn the_image_of_the_existing_operator_is_refused_by_name() {
    let image = |repository: &str| format!("--set=controllerManager.container.image.repository={repository}");
    for theirs in [
        "ghcr.io/kagenti/kagenti-operator",
        "ghcr.io/kagenti/kagenti-operator/kagenti-operator",
        "ghcr.io/rossoctl/operator",
        "mirror.example/ghcr.io/rossoctl/rossoctl-operator",
    ] {
        let said = refused(&[&image(theirs)]);
        let told = format!(
            "controllerManager.container.image.repository is {theirs}, the image of the existing operator"
        );
        assert!(said.contains(&told) && said.contains("the image of Countersign"), "{said}");
        // Whole paths, which can be copied into `--set`.
        let paths =
            "take controllerManager.container.image.repository and controllerManager.container.image.tag out";
        assert!(said.contains(paths), "{said}");
    }
    for ours in ["countersign", "ghcr.io/kagenti/countersign", "mirror.example/kagenti-operator"] {
        let objects = rendered(&[&image(ours)]);
        let spec = &find(&objects, "Deployment", "kagenti-controller-manager")["spec"]["template"]["spec"];
        assert!(spec["containers"][0]["image"].as_str().unwrap().starts_with(ours), "{ours}");
    }
}

#[test]
fn the_page_of_the_installation_names_the_helm_and_the_right_that_are_needed() {
    let page = read("docs/install.md");
    assert!(page.contains("Helm 3.17 or later,\nor 4") && page.contains("--take-ownership"));
    assert!(read("charts/countersign/README.md").contains("Helm 3.17 or newer, or 4"));
    let guard = read("policies/guard-network-policies.yaml");
    assert!(guard.contains("authorizer.group('agent.kagenti.dev').resource('guards').check('override')"));
    assert!(page.contains("apiGroups: [agent.kagenti.dev], resources: [guards], verbs: [override]"));
}

#[test]
fn an_image_that_no_registry_has_is_told_with_what_to_set() {
    let notes = |arguments: &[&str]| {
        let chart = chart();
        let install = ["install", "countersign", &chart, "--namespace", NAMESPACE, "--dry-run=client"];
        script("helm", &[&install[..], arguments].concat()).unwrap()
    };
    let said = notes(&[]);
    for told in [
        "controllerManager.container.image.repository is countersign",
        "the image countersign:0.1.0",
        "--set controllerManager.container.image.repository=<registry>/countersign",
        "--set controllerManager.container.image.tag=<tag>",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let said = notes(&["--set=controllerManager.container.image.repository=registry.example/countersign"]);
    assert!(!said.contains("no registry has"), "{said}");
}

#[test]
fn value_files_of_the_existing_chart_apply_and_what_has_no_effect_is_named() {
    let deployment = rendered(&[EXISTING]);
    let spec = &find(&deployment, "Deployment", "kagenti-controller-manager")["spec"]["template"]["spec"];
    assert_eq!(spec["containers"][0]["image"], "registry.example.org/countersign:v1");
    assert_eq!(spec["containers"][0]["name"], "manager");
    assert_eq!(spec["containers"][0]["command"], json!(["/manager"]));
    assert_eq!(spec["serviceAccountName"], "controller-manager");

    let chart = chart();
    let install = ["install", "countersign", &chart, "--namespace", NAMESPACE, "--dry-run=client"];
    let said = script("helm", &[&install[..], &[EXISTING]].concat()).unwrap();
    let notes = said.split("NOTES:").nth(1).unwrap();
    for name in ["keycloak", "featureGates", "sigstore", "signatureVerification.svidExpiryGracePeriod"] {
        assert!(notes.lines().any(|line| line.trim() == name), "{name} is not in {notes}");
    }
    let said = script("helm", &[&install[..], &["--set=policies.enable=false"]].concat()).unwrap();
    let notes = said.split("NOTES:").nth(1).unwrap();
    assert!(notes.contains("the guards of marks and NetworkPolicies stay"), "{notes}");
    let said = script("helm", &install).unwrap();
    assert!(!said.contains("guards of marks and NetworkPolicies stay"), "{said}");
    let notes = said.split("NOTES:").nth(1).unwrap();
    assert!(!notes.contains("no effect"), "{notes}");
    assert!(notes.contains("--set signatureVerification.enabled=true"), "{notes}");
    // Waiting for what never becomes ready is no advice.
    assert!(notes.contains("has no trust domain") && !notes.contains("rollout status"), "{notes}");
    let readme = read("charts/countersign/README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    for page in [readme.as_str(), notes] {
        assert!(page.contains("refuses every card and does not become ready"), "{page}");
    }
    let trust_domain = "--set=signatureVerification.spireTrustDomain=example.org";
    let said = script("helm", &[&install[..], &[trust_domain]].concat()).unwrap();
    assert!(said.contains("rollout status") && !said.contains("has no trust domain"), "{said}");
}

#[test]
fn the_operator_may_read_no_secret_but_its_own_and_has_no_wildcard() {
    let own = "--set=certmanager.enable=false";
    let (mut rules, mut secrets) = (0, 0);
    for object in rendered(&[EVERYTHING]).into_iter().chain(rendered(&[EVERYTHING, own])) {
        for rule in object["rules"].as_array().into_iter().flatten() {
            rules += 1;
            let text = rule.to_string();
            assert!(!text.contains("\"*\""), "{text}");
            if text.contains("secrets") {
                secrets += 1;
                let is_own = rule["resourceNames"] == json!(["kagenti-operator-webhook-server-cert"]);
                assert!(is_own || rule["verbs"] == json!(["create"]), "{text}");
                assert_eq!((&object["kind"], &rule["resources"]), (&json!("Role"), &json!(["secrets"])));
                assert_eq!(object["metadata"]["namespace"], NAMESPACE);
            }
            // It binds one role alone, where that is asked for.
            let binds = text.contains("bind\"") && rule["resourceNames"] != json!([SCC_ROLE]);
            assert!(!text.contains("escalate") && !text.contains("impersonate") && !binds, "{text}");
        }
    }
    assert!(rules > 20 && secrets == 2, "only {rules} rules were checked");
}

#[test]
fn the_webhook_is_called_for_agents_and_tools_of_enrolled_namespaces_and_never_for_the_release_itself() {
    const CONFIGURATION: &str = "kagenti-operator-mutating-webhook-configuration";
    let objects = rendered(&[]);
    let configuration = find(&objects, "MutatingWebhookConfiguration", CONFIGURATION);
    assert_eq!(configuration["metadata"]["annotations"], Value::Null);
    assert!(args(&objects).contains(&format!("--webhook-configuration={CONFIGURATION}")));
    let webhooks = configuration["webhooks"].as_array().unwrap();
    assert_eq!(webhooks.len(), Family::ALL.len());
    for (webhook, family) in webhooks.iter().zip(Family::ALL) {
        assert_eq!(webhook["name"], family.webhook());
        assert_eq!((&webhook["failurePolicy"], &webhook["timeoutSeconds"]), (&json!("Ignore"), &json!(3)));
        assert_eq!(
            webhook["namespaceSelector"]["matchExpressions"],
            json!([
                { "key": family.namespace_label(), "operator": "In", "values": ["true"] },
                { "key": "kubernetes.io/metadata.name", "operator": "NotIn",
                    "values": ["kube-system", "kube-public", "kube-node-lease", NAMESPACE] },
            ])
        );
        assert!(webhook["objectSelector"].is_null(), "it would join the families of namespace and Pod");
        let conditions = webhook["matchConditions"].to_string();
        for family in Family::ALL {
            for label in [family.type_label(), family.inject_label()] {
                assert!(conditions.contains(&format!("'{label}'")), "{label} is not in {conditions}");
            }
        }
        let service = &webhook["clientConfig"]["service"];
        let found = find(&objects, "Service", service["name"].as_str().unwrap());
        assert_eq!(service["port"], found["spec"]["ports"][0]["port"]);
        // What the operator writes here is not the release's.
        assert_eq!(webhook["clientConfig"].as_object().unwrap().len(), 1);
        // The default of the flag is this name, for which the operator's own certificate is.
        let table = read("src/operator/flags/table.rs");
        assert!(table.contains(&format!("{:?}", found["metadata"]["name"].as_str().unwrap())));
    }
    let pod = &find(&objects, "Deployment", "kagenti-controller-manager")["spec"]["template"];
    let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
    assert!(ports.contains(&json!({ "name": "webhook-server", "containerPort": 9443 })), "{ports:?}");
    for family in Family::ALL {
        assert!(pod["metadata"]["labels"].get(family.type_label()).is_none());
    }
}

#[test]
fn a_new_certificate_by_cert_manager_is_trusted_before_the_operator_has_it() {
    let objects = rendered(&["--set=certmanager.enable=true"]);
    let leaf = &find(&objects, "Certificate", "kagenti-operator-serving-cert")["spec"];
    let issuer = find(&objects, "Issuer", leaf["issuerRef"]["name"].as_str().unwrap());
    let authority = &find(&objects, "Certificate", "kagenti-operator-webhook-ca")["spec"];
    assert_eq!(issuer["spec"]["ca"]["secretName"], authority["secretName"]);
    assert_eq!(
        (&authority["isCA"], &authority["privateKey"]["rotationPolicy"]),
        (&json!(true), &json!("Never"))
    );
    assert_ne!(leaf["secretName"], authority["secretName"]);
}

#[test]
fn the_certificate_of_the_webhook_is_cert_managers_or_the_operators_own() {
    let with = |arguments: &[&str]| {
        let objects = rendered(arguments);
        let has = |kind: &str| objects.iter().any(|object| object["kind"] == kind);
        let text = json!(objects).to_string();
        let mounted = text.contains("webhook-server-cert") && text.contains("volumeMounts");
        (has("MutatingWebhookConfiguration"), has("Certificate"), mounted, args(&objects))
    };
    let folder = "--webhook-cert-path=/tmp/k8s-webhook-server/serving-certs".to_owned();
    let (has, certificate, mounted, args) = with(&[EXISTING]);
    assert!(has && certificate && mounted, "certmanager.enable is true there");
    assert_eq!(args.iter().filter(|arg| **arg == folder).count(), 1, "{args:?}");
    // Without cert-manager nothing is in that folder, whatever the arguments of the existing chart say.
    for own in ["--set=certmanager.enable=false", "--set=certmanager=null"] {
        let (has, certificate, _, args) = with(&[EXISTING, own]);
        assert!(has && !certificate && !args.contains(&folder), "{args:?}");
    }
    for off in [
        "--set=webhook.enable=false",
        "--set=webhook=null",
        "--set-string=controllerManager.container.env.ENABLE_WEBHOOKS=false",
    ] {
        let (has, certificate, mounted, args) = with(&["--set=certmanager.enable=true", off]);
        assert!(!has && !certificate && !mounted, "{off}");
        assert!(args.contains(&"--webhook-bind-address=0".to_owned()), "{off}: {args:?}");
    }
    let said = refused(&["--set=webhook.failurePolicy=Maybe"]);
    assert!(said.contains("'Ignore', 'Fail'"), "{said}");
}

#[test]
fn a_sidecar_is_offered_only_with_the_webhook_that_injects_it_and_the_image_that_policies_accept() {
    for off in [
        "--set=webhook.enable=false",
        "--set=webhook=null",
        "--set-string=controllerManager.container.env.ENABLE_WEBHOOKS=false",
    ] {
        let said = refused(&[IMAGE, off]);
        assert!(said.contains("no webhook injects it"), "{off}: {said}");
    }
    let said =
        refused(&["--set=controllerManager.container.args={--sidecar-image=registry.example/other:1}"]);
    assert!(said.contains("set sidecar.image.repository"), "{said}");
}

#[test]
fn the_webhook_stays_in_its_service_while_the_trust_bundle_or_a_watch_fails() {
    let path = |values: &[&str]| {
        let manager = rendered(values).into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        manager["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"].clone()
    };
    assert_eq!(path(&[]), "/readyz");
    assert_eq!(path(&[IMAGE]), "/readyz?exclude=bundle&exclude=watches");
    let own = "--set=controllerManager.container.readinessProbe.httpGet.path=/healthz";
    assert_eq!(path(&[IMAGE, own]), "/healthz");
}

#[test]
fn config_maps_are_watched_only_where_they_are_named() {
    for object in rendered(&VERIFYING) {
        for rule in object["rules"].as_array().into_iter().flatten() {
            if rule["resources"] == json!(["configmaps"]) && object["kind"] == "ClusterRole" {
                // The defaults of a namespace have a label and no fixed name.
                assert_eq!(rule["verbs"], json!(["get", "list"]));
            } else if rule["resources"] == json!(["configmaps"]) {
                assert_eq!(object["metadata"]["namespace"], "spire-system");
                assert_eq!(rule["resourceNames"], json!(["spire-bundle"]));
            }
        }
    }
}

#[test]
fn definitions_and_policies_are_the_files_of_the_repository() {
    let objects = rendered(&[EVERYTHING]);
    let mut crd: Value = serde_saphyr::from_str(&read("crds/agentcards.agent.kagenti.dev.yaml")).unwrap();
    let shown = find(&objects, "CustomResourceDefinition", "agentcards.agent.kagenti.dev");
    assert_eq!(shown["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert_eq!(shown["spec"], crd["spec"].take());

    let mut changed = BTreeSet::new();
    let files = [
        "operator-labels",
        "network-policies",
        "signed-cards",
        "trust-bundle",
        "enrolment",
        "enrolled-pods",
        "enrolled-workloads",
        "isolation",
        "controllers",
        "running-sidecars",
    ];
    for file in files {
        let source: Vec<Value> =
            serde_saphyr::from_multiple(&read(&format!("policies/guard-{file}.yaml"))).unwrap();
        for object in source {
            let name = object["metadata"]["name"].as_str().unwrap();
            let mut shown = find(&objects, object["kind"].as_str().unwrap(), name)["spec"].clone();
            for (index, variable) in object["spec"]["variables"].as_array().into_iter().flatten().enumerate()
            {
                let place = &mut shown["variables"][index];
                assert_eq!(place["name"], variable["name"]);
                if *place != *variable {
                    let name = variable["name"].as_str().unwrap();
                    changed.insert(format!("{file}.{name} {}", place["expression"].as_str().unwrap()));
                    *place = variable.clone();
                }
            }
            assert_eq!(shown, object["spec"], "{name}");
        }
    }
    let expected = [
        "controllers.controllers [\"system:serviceaccount:kube-system:deployment-controller\",\"system:serviceaccount:kube-system:replicaset-controller\",\"system:serviceaccount:kube-system:statefulset-controller\",\"system:serviceaccount:kube-system:generic-garbage-collector\",\"system:kube-controller-manager\"]",
        "controllers.sandboxControllers [\"system:serviceaccount:sandboxes:manager\",\"system:serviceaccount:sandboxes:other\"]",
        "signed-cards.unnamed \"refuse\"",
        "signed-cards.writers [\"system:serviceaccount:ci:signer\"]",
        "enrolled-pods.otherTypes [\"tool\"]",
        "enrolled-workloads.otherTypes [\"tool\"]",
        "enrolment.operator \"system:serviceaccount:countersign-system:controller-manager\"",
        "network-policies.operator \"system:serviceaccount:countersign-system:controller-manager\"",
        "operator-labels.operator \"system:serviceaccount:countersign-system:controller-manager\"",
        "trust-bundle.bundleName \"spire-bundle\"",
        "trust-bundle.bundleNamespace \"spire-system\"",
        "trust-bundle.writers [\"system:serviceaccount:spire-server:spire-server\",\"system:serviceaccount:spire-system:spire-server\"]",
    ];
    assert_eq!(changed, expected.map(str::to_owned).into());
}

#[test]
fn pods_of_sandboxes_come_from_the_accounts_that_the_values_name() {
    let accounts = |arguments: &[&str]| -> Value {
        let objects = rendered(arguments);
        let guard = find(&objects, "ValidatingAdmissionPolicy", "guard-controllers.agent.kagenti.dev");
        let variables = guard["spec"]["variables"].as_array().unwrap();
        let accounts = variables.iter().find(|variable| variable["name"] == "sandboxControllers").unwrap();
        serde_json::from_str(accounts["expression"].as_str().unwrap()).unwrap()
    };
    let public = "system:serviceaccount:agent-sandbox-system:agent-sandbox-controller";
    assert_eq!(accounts(&[]), json!([public]));
    // As with the values of a release from before.
    assert_eq!(accounts(&["--set=policies.controllers.sandboxUsers=null"]), json!([public]));
    let own = "--set=policies.controllers.sandboxUsers={system:serviceaccount:sandboxes:manager}";
    assert_eq!(accounts(&[own]), json!(["system:serviceaccount:sandboxes:manager"]));
    assert_eq!(accounts(&["--set-json=policies.controllers.sandboxUsers=[]"]), json!([]));
}

#[test]
fn isolation_is_demanded_where_the_operator_isolates() {
    let demanded = |arguments: &[&str]| {
        let objects = rendered(arguments);
        let name = "guard-isolation.agent.kagenti.dev";
        let binding = find(&objects, "ValidatingAdmissionPolicyBinding", name);
        binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"].clone()
    };
    let mode = |operator: &str, value: &str| json!([{ "key": "countersign.dev/mode", "operator": operator, "values": [value] }]);
    assert_eq!(demanded(&[EVERYTHING]), mode("NotIn", "audit"));
    assert_eq!(demanded(&[]), mode("In", "enforce"));
    let audit = "--set=signatureVerification.auditMode=true";
    assert_eq!(demanded(&[EVERYTHING, audit]), mode("In", "enforce"));
}

#[test]
fn the_admission_policies_are_those_that_a_check_looks_for() {
    let objects = rendered(&[EVERYTHING]);
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        let of_kind = objects.iter().filter(|object| object["kind"] == kind);
        let names: BTreeSet<&str> =
            of_kind.map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, GUARDS.into(), "{kind}");
    }
    let configuration = find(&objects, "MutatingWebhookConfiguration", WEBHOOK_CONFIGURATION);
    assert_eq!(configuration["webhooks"].as_array().map(Vec::len), Some(2));
}

/// What an expression of a policy's variable says, as JSON.
fn parameter(objects: &[Value], policy: &str, name: &str) -> Value {
    let policy = find(objects, "ValidatingAdmissionPolicy", policy);
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let variable = variables.iter().find(|variable| variable["name"] == name).unwrap();
    serde_json::from_str(variable["expression"].as_str().unwrap()).unwrap()
}

#[test]
fn optional_policies_are_installed_where_the_values_ask_for_them() {
    let [labels, unprotected] = OPTIONAL_GUARDS;
    let names = |arguments: &[&str]| -> BTreeSet<String> {
        let objects = rendered(arguments);
        let bindings = objects.iter().filter(|object| object["kind"] == "ValidatingAdmissionPolicyBinding");
        let names = bindings.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned());
        names.filter(|name| OPTIONAL_GUARDS.contains(&name.as_str())).collect()
    };
    assert_eq!(names(&[EVERYTHING]), BTreeSet::new());
    let (image, require) =
        ("--set=sidecar.image.repository=authbridge", "--set=policies.requireSidecar.enabled=true");
    let own = "--set=policies.typeLabels.enabled=true";
    assert_eq!(names(&[image, require]), [unprotected.to_owned()].into());
    assert_eq!(names(&[own]), [labels.to_owned()].into());
    assert_eq!(names(&[image, require, own, "--set=policies.enable=false"]), BTreeSet::new());
    for other in [&[require][..], &[require, image, "--set=webhook.enable=false"]] {
        assert!(refused(other).contains("this release injects none: set sidecar.image.repository"));
    }
    let actions = |arguments: &[&str]| {
        let objects = rendered(&[&[image, require], arguments].concat());
        let binding = find(&objects, "ValidatingAdmissionPolicyBinding", unprotected);
        binding["spec"]["validationActions"].clone()
    };
    assert_eq!(actions(&[]), json!(["Deny"]));
    assert_eq!(
        actions(&["--set=policies.requireSidecar.validationActions={Warn,Audit}"]),
        json!(["Warn", "Audit"])
    );
    refused(&[image, require, "--set=policies.requireSidecar.validationActions={Deny,Warn}"]);
    refused(&[image, require, "--set-json=policies.requireSidecar.validationActions=[]"]);

    let users = "--set=policies.typeLabels.users={system:serviceaccount:ci:deployer}";
    let sandboxes = "--set=policies.controllers.sandboxUsers={system:serviceaccount:sandboxes:manager}";
    let out = "--set=policies.requireSidecar.optOut=refuse";
    let objects = rendered(&[image, require, out, own, users, sandboxes]);
    let operator = "system:serviceaccount:countersign-system:controller-manager";
    assert_eq!(parameter(&objects, labels, "operator"), json!(operator));
    assert_eq!(parameter(&objects, labels, "users"), json!(["system:serviceaccount:ci:deployer"]));
    let controllers = parameter(&objects, labels, "controllers");
    for name in ["kube-system:job-controller", "kube-system:replicaset-controller", "sandboxes:manager"] {
        assert!(
            controllers.to_string().contains(&format!("system:serviceaccount:{name}\"")),
            "{controllers}"
        );
    }
    assert_eq!(parameter(&objects, unprotected, "optOut"), json!("refuse"));
    assert!(parameter(&objects, unprotected, "exempt").to_string().contains(NAMESPACE));
}

#[test]
fn the_policy_takes_the_image_and_the_socket_that_the_operator_injects() {
    let guard = "guard-sidecars.agent.kagenti.dev";
    let digest = format!("sha256:{}", "a".repeat(64));
    let by_digest = format!("--set=sidecar.image.digest={digest}");
    let image = "--set=sidecar.image.repository=registry.example/authbridge";
    for (arguments, wanted) in [
        (&[image, "--set-string=sidecar.image.tag=7"][..], "registry.example/authbridge:7".to_owned()),
        (
            &[image, "--set-string=sidecar.image.tag=7", &by_digest],
            format!("registry.example/authbridge@{digest}"),
        ),
    ] {
        let objects = rendered(arguments);
        assert_eq!(parameter(&objects, guard, "image"), json!(wanted));
        assert!(args(&objects).contains(&format!("--sidecar-image={wanted}")));
    }
    refused(&[image, "--set=sidecar.image.digest=7"]);
    let objects = rendered(&[image, "--set=sidecar.spireHostPath=/run/spire"]);
    assert_eq!(parameter(&objects, guard, "spireHostPath"), json!("/run/spire"));
    assert_eq!(parameter(&rendered(&[]), guard, "image"), json!(""));
}

#[test]
fn the_operator_may_write_the_labels_and_annotations_of_enrolment_and_no_others() {
    let objects = rendered(&[EVERYTHING]);
    let policy = find(&objects, "ValidatingAdmissionPolicy", "guard-operator-patches.agent.kagenti.dev");
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let own = variables.iter().find(|variable| variable["name"] == "own").unwrap();
    let listed: BTreeSet<&str> = own["expression"].as_str().unwrap().split('\'').skip(1).step_by(2).collect();
    let protocol = format!("{}a2a", Family::Kagenti.protocol_prefix());
    let written = [
        Family::Kagenti.type_label(),
        &protocol,
        RUNTIME_LABEL,
        MANAGED_BY_APP_LABEL,
        CONFIG_HASH_ANNOTATION,
        MTLS_MODE_ANNOTATION,
        SIDECAR_ANNOTATION,
        SIDECAR_CONFIG_ANNOTATION,
        SIDECAR_SPIFFE_ANNOTATION,
        REPLACED_POD_ANNOTATION,
        RELEASED_POD_ANNOTATION,
    ];
    assert_eq!(listed, written.into());
}

#[test]
fn the_operator_may_label_namespaces_for_the_mesh_alone_and_only_if_it_is_asked_to() {
    let may = |objects: &[Value]| {
        let rules = find(objects, "ClusterRole", "kagenti-manager-role")["rules"].clone();
        let rules = rules.as_array().unwrap().clone();
        let of = |rule: &&Value| rule["resources"] == json!(["namespaces"]);
        let verbs = rules.iter().filter(of).flat_map(|rule| rule["verbs"].as_array().unwrap().clone());
        verbs.map(|verb| verb.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let (off, on) = (rendered(&[]), rendered(&[EVERYTHING]));
    assert_eq!(may(&off), ["list", "watch"].map(str::to_owned).into());
    assert_eq!(may(&on), ["list", "patch", "watch"].map(str::to_owned).into());
    let asked = |objects: &[Value]| args(objects).contains(&"--istio-mesh-labels".to_owned());
    assert!(asked(&on) && !asked(&off));
    // Values of a release from before have none of this.
    assert!(!asked(&rendered(&["--set=istio=null"])));
    let policy = find(&on, "ValidatingAdmissionPolicy", "guard-operator-patches.agent.kagenti.dev");
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let labels = variables.iter().find(|variable| variable["name"] == "meshLabels").unwrap();
    let written = MESH_LABELS.map(|(key, value)| format!("'{key}': '{value}'")).join(", ");
    assert_eq!(labels["expression"], format!("{{{written}}}"));
}

#[test]
fn the_operator_may_bind_the_constraint_of_the_sidecar_alone_and_only_if_it_is_asked_to() {
    let rights = |objects: &[Value]| -> Vec<(Value, Value, Value)> {
        let rules = find(objects, "ClusterRole", "kagenti-manager-role")["rules"].as_array().unwrap().clone();
        let of = |rule: &&Value| rule["apiGroups"] == json!(["rbac.authorization.k8s.io"]);
        let rules = rules.iter().filter(of);
        rules
            .map(|rule| (rule["resources"].clone(), rule["resourceNames"].clone(), rule["verbs"].clone()))
            .collect()
    };
    let (off, on) = (rendered(&[]), rendered(&[EVERYTHING]));
    assert!(rights(&off).is_empty());
    assert_eq!(
        rights(&on),
        [
            (json!(["clusterroles"]), json!([SCC_ROLE]), json!(["get", "bind"])),
            (json!(["rolebindings"]), json!([SCC_BINDING]), json!(["get", "create", "patch", "delete"])),
        ]
    );
    let asked = |objects: &[Value]| args(objects).contains(&"--scc-binding".to_owned());
    assert!(asked(&on) && !asked(&off) && !asked(&rendered(&["--set=openshift=null"])));
}

#[test]
fn the_package_holds_all_that_the_folder_links_to() {
    let folder = repository("target/chart-package");
    std::fs::create_dir_all(&folder).unwrap();
    let folder = folder.display().to_string();
    script("helm", &["package", &chart(), "--destination", &folder]).unwrap();
    let package = format!("{folder}/countersign-0.1.0.tgz");
    let from_package =
        script("helm", &["template", "countersign", &package, "--namespace", NAMESPACE, EVERYTHING]).unwrap();
    assert_eq!(from_package, template(&[EVERYTHING]).unwrap());
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    script("promtool", &["test", "rules", "tests/fixtures/chart/alerts-test.yaml"]).unwrap();
    let objects = rendered(&[EVERYTHING]);
    let file: Value = serde_saphyr::from_str(&read("charts/countersign/files/alerts.yaml")).unwrap();
    assert_eq!(find(&objects, "PrometheusRule", "kagenti-controller-manager")["spec"], file);
}

#[test]
fn the_dashboard_asks_for_metrics_that_the_operator_has() {
    let objects = rendered(&[EVERYTHING]);
    let text =
        find(&objects, "ConfigMap", "countersign-dashboard")["data"]["countersign.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 6);
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        let expression = target["expr"].as_str().unwrap();
        let known = [
            "a2a_signature_verification_total",
            "a2a_signature_verification_duration_seconds_bucket",
            "kagenti_x5c_chain_validation_total",
            "kagenti_x5c_trust_bundle_age_seconds",
            "kagenti_x5c_trust_bundle_load_errors_total",
            "controller_runtime_reconcile_total",
        ];
        assert!(known.iter().any(|metric| expression.contains(metric)), "{expression}");
    }
}

#[test]
fn the_high_availability_values_select_the_pods_of_the_chart() {
    let objects = rendered(&[HA]);
    let deployment = &find(&objects, "Deployment", "kagenti-controller-manager")["spec"];
    assert_eq!(deployment["replicas"], 2);
    let spec = &deployment["template"]["spec"];
    let term = &spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
    let labels = deployment["template"]["metadata"]["labels"].as_object().unwrap();
    for selector in
        [&term["podAffinityTerm"]["labelSelector"], &spec["topologySpreadConstraints"][0]["labelSelector"]]
    {
        for (key, value) in selector["matchLabels"].as_object().unwrap() {
            assert_eq!(labels.get(key), Some(value), "{key}");
        }
    }
    find(&objects, "PodDisruptionBudget", "kagenti-controller-manager");
}

#[test]
fn openshift_chooses_the_user_itself() {
    let objects = rendered(&[&[OPENSHIFT], &VERIFYING[..3]].concat());
    let spec = &find(&objects, "Deployment", "kagenti-controller-manager")["spec"]["template"]["spec"];
    assert_eq!(
        spec["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
    assert!(args(&objects).contains(
        &"--dns-selector=openshift-dns:dns.operator.openshift.io/daemonset-dns=default".to_owned()
    ));
}

#[test]
fn the_socket_of_the_workload_api_comes_by_csi_or_from_the_node() {
    let base =
        ["--set=verifiedFetch.enabled=true", "--set=signatureVerification.spireTrustDomain=example.org"];
    let other = "--set=verifiedFetch.spiffeEndpointSocket=unix:///run/spire/agent/public/api.sock";
    let objects =
        rendered(&[&base[..], &[other, "--set=verifiedFetch.hostPath=/run/spire/agent/public"]].concat());
    let spec = &find(&objects, "Deployment", "kagenti-controller-manager")["spec"]["template"]["spec"];
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/run/spire/agent/public");
    assert_eq!(spec["volumes"][0]["hostPath"]["path"], "/run/spire/agent/public");

    let objects = rendered(&base);
    let spec = &find(&objects, "Deployment", "kagenti-controller-manager")["spec"]["template"]["spec"];
    assert_eq!(spec["volumes"][0]["csi"], json!({"driver": "csi.spiffe.io", "readOnly": true}));
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/spiffe-workload-api");
    let id = &find(&objects, "ClusterSPIFFEID", "kagenti-operator")["spec"];
    assert_eq!(
        id["spiffeIDTemplate"],
        "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}"
    );
}
