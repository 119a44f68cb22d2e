//! The bundles of a plan: from flags, or from the ConfigMap that the manifests bring.

use super::arguments::Args;
use super::manifests::Manifests;
use super::metadata::shown_object;
use crate::args::read_bundles;
use crate::exit::Unusable;
use countersign_core::bundle::{BundleSet, parse_bundle};
use countersign_core::spiffe::TrustDomain;
use countersign_plan::input::host_suffix::HostSuffixes;
use countersign_plan::input::identity::{IdentityRules, SignerScope};
use k8s_openapi::api::core::v1::ConfigMap;

/// Keys under which bundles are published, SPIFFE's own format first.
const BUNDLE_KEYS: [&str; 4] = ["bundle.spiffe", "bundle.json", "bundle.crt", "bundle.pem"];

/// The bundles and the trust domain of agents that name none.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) bundles: BundleSet,
    /// The identities that workloads have, by the operator's rules.
    pub(super) identity: IdentityRules,
    /// Domains under which Ingresses may name hosts of agents.
    pub(super) ingress_hosts: HostSuffixes,
    pub(super) warnings: Vec<String>,
}

impl Authorities {
    pub(super) fn read(args: &Args, manifests: &Manifests) -> Result<Self, Unusable> {
        let trust_domain = trust_domain(args, manifests)?;
        let (mut bundles, mut warnings) = read_bundles(&args.bundles, &trust_domain)?;
        if bundles.get(&trust_domain).is_err() {
            let Some(map) = manifests.config_map(None, &args.bundle_config_map) else {
                return Err(Unusable::new(format!(
                    "no trust bundle for {trust_domain}; add --bundle FILE, or a ConfigMap {} to the manifests",
                    args.bundle_config_map
                )));
            };
            let place = shown_object("ConfigMap", &map.metadata);
            let text = bundle_text(map).ok_or_else(|| {
                Unusable::new(format!("{place} has none of the keys {}; add one", BUNDLE_KEYS.join(", ")))
            })?;
            let bundle = parse_bundle(&trust_domain, text.as_bytes().to_vec()).map_err(|refusal| {
                Unusable::new(format!("{place}: {refusal}; {}", refusal.reason().fix()))
            })?;
            warnings.extend(
                bundle
                    .skipped()
                    .iter()
                    .map(|entry| format!("warning: {place}: {} was not used: {}", entry.location, entry.why)),
            );
            bundles.insert(bundle).map_err(Unusable::new)?;
        }
        let template = args.spiffe_id_template.clone();
        // Whoever gives the bundle of another trust domain allows it.
        let others = bundles.iter().map(|bundle| (None, bundle.trust_domain().clone())).collect();
        let scope = SignerScope::Workload;
        let identity = IdentityRules { trust_domain: Some(trust_domain), others, template, scope };
        let ingress_hosts = args.ingress_hosts.iter().cloned().collect();
        Ok(Self { bundles, identity, ingress_hosts, warnings })
    }
}

fn bundle_text(map: &ConfigMap) -> Option<&String> {
    let data = map.data.as_ref()?;
    BUNDLE_KEYS.iter().find_map(|key| data.get(*key))
}

/// The one of the flag, or the only one that the AgentCards name.
fn trust_domain(args: &Args, manifests: &Manifests) -> Result<TrustDomain, Unusable> {
    if let Some(domain) = &args.trust_domain {
        return Ok(domain.clone());
    }
    let mut named: Vec<&str> = manifests.cards.iter().filter_map(|card| card.trust_domain()).collect();
    named.sort_unstable();
    named.dedup();
    match named.as_slice() {
        [one] => TrustDomain::parse(one).map_err(Unusable::new),
        _ => Err(Unusable::new("name the trust domain of the agents with --trust-domain")),
    }
}
