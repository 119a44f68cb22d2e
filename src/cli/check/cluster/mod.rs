//! Checks of the cluster: what is read, in which order. Each file beside this one judges one thing.

mod arguments;
mod bundle;
mod definitions;
mod guards;
mod namespaces;
mod network;
mod operator;
mod server;
mod settings;
mod spire;
mod webhook;

pub(super) use settings::sidecar_settings;

use super::client::{Reader, ServerFacts};
use super::finding::Finding;
use super::limits::NAMESPACES;
use super::unread::Answer;
use arguments::{Arguments, BundleSource};
use countersign_api::keys::{AUTHBRIDGE_CONFIG, GROUP, LEASE_NAME, RUNTIME_CONFIG, SPIFFE_CSI_DRIVER};
use countersign_io::clock;
use countersign_plan::injection::is_enabled;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::storage::v1::CSIDriver;

/// Plural names of the kinds that the operator works with.
const KINDS: [&str; 2] = ["agentcards", "agentruntimes"];

/// Checks the cluster, whose operator runs in `namespace`.
pub(super) async fn check(reader: &Reader, facts: &ServerFacts, namespace: &str) -> Vec<Finding> {
    let mut findings = server::judge_server(&reader.address, facts);
    for kind in KINDS {
        let name = format!("{kind}.{GROUP}");
        findings.push(definitions::judge_definition(&name, &reader.get(None, &name).await));
    }
    let deployments = reader.list(Some(namespace), operator::LABELS).await.map(operator::choose);
    findings.extend(operator::judge_operator(namespace, &deployments));
    let deployment = deployments.ok().and_then(|all| all.into_iter().next());
    let known = deployment.as_ref().and_then(operator::arguments);
    let mut driver: Answer<CSIDriver> = Err(super::unread::Unread::Absent);
    if let Some(arguments) = &known {
        driver = reader.get(None, SPIFFE_CSI_DRIVER).await;
        findings.extend(installed(reader, arguments, namespace, &driver).await);
    } else {
        for id in ["operator-lease", "trust-bundle", "spire", "webhook"] {
            let found = "was not checked: it depends on the operator's arguments, which are not known";
            findings.push(Finding::skipped(id, "this", found));
        }
    }
    let arguments = known.unwrap_or_default();
    findings.push(guards::judge_guards(&arguments, &policies(reader).await, &bound(reader).await));
    findings.extend(labelled(reader, &arguments, &driver).await);
    let sets = reader.list::<DaemonSet>(None, "").await;
    let name = |set: DaemonSet| {
        let metadata = set.metadata;
        format!("{}/{}", metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default())
    };
    findings.push(network::judge_network(&sets.map(|sets| sets.into_iter().map(name).collect())));
    findings
}

/// What the operator's arguments say that there has to be.
async fn installed(
    reader: &Reader,
    arguments: &Arguments,
    namespace: &str,
    driver: &Answer<CSIDriver>,
) -> Vec<Finding> {
    let lease = reader.get(Some(namespace), LEASE_NAME).await;
    let mut findings = vec![operator::judge_lease(arguments, &lease, clock::now())];
    let map = match arguments.bundle() {
        BundleSource::ConfigMap { namespace, name, .. } => Some(reader.get(Some(&namespace), &name).await),
        BundleSource::ClusterTrustBundle(_) | BundleSource::WorkloadApi => None,
    };
    findings.push(bundle::judge_bundle(arguments, map.as_ref(), clock::now()));
    findings.push(spire::judge_spire(arguments, driver));
    let configuration: Answer<MutatingWebhookConfiguration> =
        reader.get(None, webhook::configuration_name(arguments)).await;
    findings.extend(webhook::judge_configuration(arguments, &configuration, clock::now()));
    if configuration.is_ok() {
        let service = webhook::service(&configuration);
        let slices = match &service {
            Some((namespace, name)) => {
                reader.list(Some(namespace), &format!("kubernetes.io/service-name={name}")).await
            }
            None => Ok(Vec::new()),
        };
        findings.push(webhook::judge_endpoints(service.as_ref(), &slices));
    }
    findings
}

async fn policies(reader: &Reader) -> Answer<guards::Names> {
    let all = reader.list::<ValidatingAdmissionPolicy>(None, "").await?;
    Ok(all.into_iter().filter_map(|one| one.metadata.name).collect())
}

async fn bound(reader: &Reader) -> Answer<guards::Names> {
    let all = reader.list::<ValidatingAdmissionPolicyBinding>(None, "").await?;
    Ok(all.into_iter().filter_map(|one| one.spec?.policy_name).collect())
}

/// Namespaces with labels of ours.
async fn labelled(reader: &Reader, arguments: &Arguments, driver: &Answer<CSIDriver>) -> Vec<Finding> {
    let (id, what) = ("namespace", "the namespaces");
    let all = match reader.list::<Namespace>(None, "").await {
        Ok(all) => all,
        Err(unread) => {
            return vec![Finding::unread(id, what, &unread, || Finding::skipped(id, what, "are not served"))];
        }
    };
    let ours: Vec<(String, namespaces::Labels)> = all
        .into_iter()
        .filter_map(|one| Some((one.metadata.name?, one.metadata.labels?)))
        .filter(|(_, labels)| namespaces::is_ours(labels))
        .collect();
    if ours.is_empty() {
        return vec![Finding::skipped(
            id,
            what,
            "have no label of ours, so the operator's mode counts in all of them",
        )];
    }
    let mut findings = Vec::new();
    for (index, (name, labels)) in ours.iter().enumerate() {
        let is_asked = arguments.sidecar_image().is_some() && is_enabled(labels) && index < NAMESPACES;
        let configured = if is_asked {
            Some(namespaces::Configured {
                runtime: reader.get(Some(name), RUNTIME_CONFIG).await,
                keycloak: reader.get(Some(name), AUTHBRIDGE_CONFIG).await,
                has_spire: spire::has_spire(arguments, driver),
            })
        } else {
            None
        };
        findings.extend(namespaces::judge_namespace(name, labels, configured.as_ref()));
    }
    if ours.len() > NAMESPACES {
        let found = format!(
            "with labels are more than {NAMESPACES}, of which the configuration of the first was read"
        );
        findings.push(Finding::skipped(id, what, &found));
    }
    findings
}
