//! Configuration of the operator: flags and environment as checked values.

use super::given::Flags;
use super::serving::ServingCertificate;
use super::surroundings::Surroundings;
use super::syntax::{FlagError, Given};
use super::table::Effect;
use super::values::{bind_address, collector, min_sync_period, pod_group};
use super::webhook::WebhookServer;
use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::policy::Freshness;
use countersign_core::spiffe::TrustDomain;
use countersign_core::text::Quoted;
use countersign_core::time::Seconds;
use countersign_io::logs::LogFormat;
use countersign_plan::input::host_suffix::HostSuffixes;
use countersign_plan::input::identity::{AllowedDomains, IdTemplate, IdentityRules, SignerScope};
use countersign_plan::{Mode, Namespace, PodGroup};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Origin of trust bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleOrigin {
    /// Pinned ConfigMap, and `ClusterFederatedTrustDomain`s for other domains.
    ConfigMap,
    /// Pinned `ClusterTrustBundle`, and `ClusterFederatedTrustDomain`s for other domains.
    ClusterTrustBundle,
    /// SPIFFE Workload API alone.
    WorkloadApi,
}

/// Source of trust bundles, with the periods of reading and validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleSource {
    /// Origin that is read.
    pub origin: BundleOrigin,
    /// Namespace of the ConfigMap.
    pub namespace: Namespace,
    /// Name of the ConfigMap or `ClusterTrustBundle`.
    pub name: String,
    /// Data key of the bundle in the ConfigMap.
    pub key: String,
    /// Requested period between reads, besides the watch.
    pub refresh: Duration,
    /// Time for which a bundle counts after its last read (rule 45).
    pub max_age: Duration,
}

/// Longest period between two reads of a bundle, whatever the flags say: existing alerts report a bundle as stale
/// after half an hour.
const LONGEST_REFRESH: Duration = Duration::from_mins(10);
/// Shortest maximum age of a bundle, within which three reads must fit.
const SHORTEST_AGE: Duration = Duration::from_secs(10);
/// Shortest maximum age of a bundle from the Workload API, which is reconnected after a silent minute.
const SHORTEST_AGE_OF_WORKLOAD_API: Duration = Duration::from_mins(3);

impl BundleSource {
    /// Period between reads: as requested, but at most a third of the maximum age, so that one failed read makes no
    /// bundle stale, and at most 10 min.
    pub fn read_every(&self) -> Duration {
        let often = self.max_age.checked_div(3).unwrap_or(self.max_age);
        self.refresh.min(often).min(LONGEST_REFRESH)
    }
}

/// Metrics server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsServer {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Certificate for TLS with authorization; `None` serves plain HTTP to every caller.
    pub tls: Option<ServingCertificate>,
}

/// Configuration of the operator. Only flags and environment make one, so that every value is checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Rules that assign SPIFFE IDs to workloads and signers to cards.
    pub identity: IdentityRules,
    /// Accepted canonical forms (rule 49).
    pub profiles: ProfileSet,
    /// Freshness rule of cards (rule 57).
    pub freshness: Freshness,
    /// File with the acceptance policy of each trust domain; `None` for that of the flags.
    pub policy_file: Option<PathBuf>,
    /// Domains under which Ingresses may name hosts of agents.
    pub ingress_hosts: HostSuffixes,
    /// Source of trust bundles.
    pub bundle: BundleSource,
    /// Enforcement mode of namespaces without a label.
    pub mode: Mode,
    /// True if verified agents may reach every destination; else only agents, DNS and the API server.
    pub egress_anywhere: bool,
    /// Pods besides agents that may call verified agents.
    pub callers: Vec<PodGroup>,
    /// DNS Pods.
    pub dns: PodGroup,
    /// Ports of the DNS Pods besides 53.
    pub dns_ports: Vec<u16>,
    /// Namespaces whose verified agents may call those of all namespaces.
    pub agent_namespaces: Vec<Namespace>,
    /// DNS resolvers outside the Pod network.
    pub dns_addresses: Vec<IpAddr>,
    /// Number of concurrent card evaluations, and of concurrent writes.
    pub concurrency: NonZeroUsize,
    /// Image of the sidecar; empty if nothing is injected.
    pub sidecar_image: String,
    /// Folder of nodes with SPIRE's socket; `None` for the CSI driver.
    pub sidecar_host_path: Option<String>,
    /// What is done around enrolled workloads.
    pub surroundings: Surroundings,
    /// Maximum time for an agent to serve its card.
    pub fetch_timeout: Duration,
    /// Shortest time between two fetches of one card, except for a burst after a rest.
    pub min_sync_period: Duration,
    /// True if cards are fetched over SPIFFE mTLS where the Service offers it.
    pub verified_fetch: bool,
    /// Socket address of the Workload API, for the operator's SVID and for bundles of that origin.
    pub workload_api: String,
    /// True if the operator works only while holding the lease.
    pub leader_elect: bool,
    /// Namespace of the operator.
    pub namespace: Namespace,
    /// Name of the operator's Pod, its identity for the lease; `None` outside a Pod.
    pub pod_name: Option<String>,
    /// Namespaces to work in; an empty list means all.
    pub watched: Vec<Namespace>,
    /// Address of the probes; `None` serves none.
    pub health: Option<SocketAddr>,
    /// Metrics server; `None` serves none.
    pub metrics: Option<MetricsServer>,
    /// Admission webhook; `None` serves none.
    pub webhook: Option<WebhookServer>,
    /// OTLP endpoint for traces; `None` sends none.
    pub otlp_endpoint: Option<String>,
    /// Path of the kubeconfig file; `None` uses the service account or the usual files.
    pub kubeconfig: Option<PathBuf>,
    /// Directives of the log filter.
    pub log_filter: String,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Warnings about given flags that are deprecated or have no effect, one line each.
    pub warnings: Vec<String>,
}

impl Config {
    pub(super) fn build(given: &Given, variable: impl Fn(&str) -> Option<String>) -> Result<Self, FlagError> {
        let flags = Flags(given);
        // Charts set variables without a value to the empty string.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let audit = flags.is_audit()?;
        let trust_domain = flags.trust_domain(variable("KAGENTI_SPIRE_TRUST_DOMAIN"))?;
        // What was closed and open before stays so, while an operator that starts would close agent after agent.
        if trust_domain.is_none() && !audit {
            return Err(FlagError::Needed(TRUST_DOMAIN));
        }
        let unverifiable = trust_domain.is_none().then(unverifiable);
        let spire_namespace = match variable("KAGENTI_SPIRE_NAMESPACE") {
            Some(text) if flags.text("spire-trust-bundle-configmap-namespace").is_empty() => {
                environment_namespace("KAGENTI_SPIRE_NAMESPACE", &text)?;
                text
            }
            _ => "zero-trust-workload-identity-manager".to_owned(),
        };
        let webhook = flags.webhook(variable("ENABLE_WEBHOOKS").as_deref())?;
        Ok(Self {
            identity: IdentityRules {
                trust_domain,
                others: flags.each("allow-trust-domain", AllowedDomains::parse)?.into_iter().collect(),
                template: flags.read("spiffe-id-template", IdTemplate::parse)?,
                scope: flags.word(
                    "binding-scope",
                    &[("workload", SignerScope::Workload), ("trust-domain", SignerScope::TrustDomain)],
                )?,
            },
            profiles: flags.profiles()?,
            freshness: flags.freshness()?,
            policy_file: Some(flags.text("policy-file")).filter(|path| !path.is_empty()).map(PathBuf::from),
            ingress_hosts: flags.each("ingress-host-suffix", HostSuffixes::parse)?.into_iter().collect(),
            bundle: flags.bundle(&spire_namespace)?,
            mode: if audit { Mode::Audit } else { Mode::Enforce },
            egress_anywhere: flags.word("egress", &[("anywhere", true), ("agents", false)])?,
            callers: flags.each("caller", pod_group)?,
            dns: flags.read("dns-selector", |text| {
                if text.contains(':') {
                    pod_group(text)
                } else {
                    Err("names a whole namespace; give NAMESPACE:key=value,…".to_owned())
                }
            })?,
            dns_ports: flags.each("dns-port", |text| text.parse().map_err(|_| "is not a port".to_owned()))?,
            agent_namespaces: flags
                .each("agent-namespace", |text| Namespace::parse(text).map_err(|error| error.to_string()))?,
            dns_addresses: flags
                .each("dns-address", |text| text.parse().map_err(|_| "is not an IP address".to_owned()))?,
            concurrency: flags.read("concurrency", |text| {
                let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= 1024);
                number.ok_or_else(|| "is not a number from 1 to 1024".to_owned())
            })?,
            sidecar_image: flags.sidecar_image(webhook.is_some())?,
            sidecar_host_path: flags.read("sidecar-spire-host-path", |text| match text {
                "" => Ok(None),
                path if path.starts_with('/') => Ok(Some(path.to_owned())),
                _ => Err("is no absolute path".to_owned()),
            })?,
            surroundings: flags.surroundings()?,
            fetch_timeout: flags.span("fetch-timeout")?,
            min_sync_period: flags.read("min-sync-period", min_sync_period)?,
            verified_fetch: flags.boolean("enable-verified-fetch")?,
            workload_api: flags.required("verified-fetch-spiffe-socket")?,
            leader_elect: flags.boolean("leader-elect")?,
            namespace: environment_namespace(
                "POD_NAMESPACE",
                &variable("POD_NAMESPACE").unwrap_or_else(|| "kagenti-system".to_owned()),
            )?,
            pod_name: variable("POD_NAME"),
            watched: variable("NAMESPACES2WATCH")
                .iter()
                .flat_map(|list| list.split(','))
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(|name| environment_namespace("NAMESPACES2WATCH", name))
                .collect::<Result<_, _>>()?,
            health: flags.read("health-probe-bind-address", bind_address)?,
            metrics: flags.metrics()?,
            webhook,
            otlp_endpoint: flags.read("otlp-endpoint", collector)?,
            kubeconfig: Some(flags.text("kubeconfig")).filter(|path| !path.is_empty()).map(PathBuf::from),
            log_filter: match variable("RUST_LOG") {
                Some(filter) if given.last("zap-log-level").is_none() => filter,
                _ => flags.read("zap-log-level", log_level)?.to_owned(),
            },
            log_format: flags
                .word("zap-encoder", &[("json", LogFormat::Json), ("console", LogFormat::Console)])?,
            warnings: warnings(given).into_iter().chain(unverifiable).chain(unenforced(given)).collect(),
        })
    }
}

/// Log level for a level of zap; a number is the verbosity of logr, where 1 is debug and more is trace.
fn log_level(text: &str) -> Result<&'static str, String> {
    match text {
        "debug" | "1" => Ok("debug"),
        "info" | "0" => Ok("info"),
        "error" | "panic" => Ok("error"),
        _ if text.parse::<u8>().is_ok() => Ok("trace"),
        _ => Err("is not one of debug, info, error, panic or a number".to_owned()),
    }
}

fn warnings(given: &Given) -> Vec<String> {
    let lines = given.flags().filter_map(|flag| match flag.effect {
        Effect::Yes => None,
        Effect::Deprecated(instead) => {
            Some(format!("DEPRECATED: flag --{} is superseded by {instead}", flag.name))
        }
        Effect::None(why) => Some(format!("flag --{} has no effect: {why}", flag.name)),
    });
    lines.collect()
}

/// Warning that no agent can be verified, for an operator that audits without a trust domain.
fn unverifiable() -> String {
    format!(
        "--{TRUST_DOMAIN} is missing, so every agent is refused and /readyz fails: give the trust domain of your SPIRE \
         server, as in --{TRUST_DOMAIN}=example.org"
    )
}

/// Warning that nothing is closed, if no flag decides about it.
fn unenforced(given: &Given) -> Option<String> {
    let is_decided = MODE_FLAGS.iter().any(|name| given.last(name).is_some());
    (!is_decided).then(|| {
        "verdicts are shown and close nothing: give --mode=enforce, or --mode=audit to say that this is meant".to_owned()
    })
}

fn environment_namespace(variable: &'static str, text: &str) -> Result<Namespace, FlagError> {
    Namespace::parse(text).map_err(|error| FlagError::Environment { variable, problem: error.to_string() })
}

/// Flag without which nothing can be verified.
const TRUST_DOMAIN: &str = "spire-trust-domain";

/// Flags that decide whether verdicts close anything.
const MODE_FLAGS: [&str; 3] = ["mode", "enforce-network-policies", "signature-audit-mode"];

impl Flags<'_> {
    /// Image of the sidecar; empty if none is injected. Without the webhook that injects it, the guard of Pods would refuse every
    /// new Pod of an enrolled workload.
    fn sidecar_image(&self, is_injected: bool) -> Result<String, FlagError> {
        const NAME: &str = "sidecar-image";
        let image = self.text(NAME);
        if image.is_empty() || is_injected {
            return Ok(image.to_owned());
        }
        let problem = "needs the webhook that injects it, which is off: take --webhook-bind-address=0 and \
                       ENABLE_WEBHOOKS=false away, or give no image";
        Err(FlagError::value(NAME, problem.to_owned(), image))
    }

    /// True unless flags ask for enforcement. Without any, a Deployment of the existing operator would cut off every agent
    /// of its cluster on the day of its migration.
    fn is_audit(&self) -> Result<bool, FlagError> {
        let is_audit = self.word("mode", &[("enforce", false), ("audit", true)])?;
        let enforces = self.boolean("enforce-network-policies")?;
        let (mode, enforcement) = (self.0.last("mode"), self.0.last("enforce-network-policies"));
        let is_off = self.boolean("signature-audit-mode")? || (enforcement.is_some() && !enforces);
        Ok(is_off || (is_audit && (mode.is_some() || !enforces)))
    }

    fn namespace(&self, name: &'static str, default: &str) -> Result<Namespace, FlagError> {
        let text = Some(self.text(name)).filter(|text| !text.is_empty()).unwrap_or(default);
        Namespace::parse(text).map_err(|error| FlagError::value(name, error.to_string(), text))
    }

    fn bundle(&self, namespace: &str) -> Result<BundleSource, FlagError> {
        const AGE: &str = "trust-bundle-max-age";
        // The word of the source and the flag with the name are the same.
        const CLUSTER: &str = "cluster-trust-bundle";
        let origin = self.word(
            "trust-bundle-source",
            &[
                ("configmap", BundleOrigin::ConfigMap),
                (CLUSTER, BundleOrigin::ClusterTrustBundle),
                ("workload-api", BundleOrigin::WorkloadApi),
            ],
        )?;
        let is_in_cluster = origin == BundleOrigin::ClusterTrustBundle;
        if !is_in_cluster && !self.text(CLUSTER).is_empty() {
            let problem = "is read with --trust-bundle-source=cluster-trust-bundle only";
            return Err(FlagError::value(CLUSTER, problem, self.text(CLUSTER)));
        }
        let max_age = self.span(AGE)?;
        let (shortest, problem) = match origin {
            BundleOrigin::ConfigMap | BundleOrigin::ClusterTrustBundle => {
                (SHORTEST_AGE, "is shorter than 10s")
            }
            BundleOrigin::WorkloadApi => {
                (SHORTEST_AGE_OF_WORKLOAD_API, "is shorter than 3m, which the workload-api needs")
            }
        };
        if max_age < shortest {
            return Err(FlagError::value(AGE, problem, self.text(AGE)));
        }
        Ok(BundleSource {
            origin,
            namespace: self.namespace("spire-trust-bundle-configmap-namespace", namespace)?,
            name: self.required(if is_in_cluster { CLUSTER } else { "spire-trust-bundle-configmap" })?,
            key: self.required("spire-trust-bundle-configmap-key")?,
            refresh: self.span("spire-trust-bundle-refresh-interval")?,
            max_age,
        })
    }

    fn trust_domain(&self, environment: Option<String>) -> Result<Option<TrustDomain>, FlagError> {
        const PROBLEM: &str = "is not a trust domain: 1 to 255 of a-z 0-9 . - _, for example example.org";
        let written = self.text(TRUST_DOMAIN);
        match (written, environment) {
            ("", None) => Ok(None),
            ("", Some(text)) => TrustDomain::parse(&text).map(Some).map_err(|_| FlagError::Environment {
                variable: "KAGENTI_SPIRE_TRUST_DOMAIN",
                problem: format!("it {PROBLEM}: {}", Quoted(&text)),
            }),
            (text, _) => {
                TrustDomain::parse(text).map(Some).map_err(|_| FlagError::value(TRUST_DOMAIN, PROBLEM, text))
            }
        }
    }

    fn profiles(&self) -> Result<ProfileSet, FlagError> {
        let all = self.each("accept-profile", |text| {
            Profile::from_id(text)
                .ok_or_else(|| format!("is not one of {}", Profile::ALL.map(Profile::id).join(", ")))
        })?;
        Ok(all.into_iter().fold(ProfileSet::DEFAULT, ProfileSet::with))
    }

    fn freshness(&self) -> Result<Freshness, FlagError> {
        const AGE: &str = "max-witness-age";
        let age = self.span(AGE)?;
        let seconds = u32::try_from(age.as_secs())
            .map_err(|_| FlagError::value(AGE, "is longer than 136 years", self.text(AGE)))?;
        let witnessed = Freshness::Witnessed { max_age: Seconds::new(seconds) };
        self.word("freshness", &[("live", Freshness::Live), ("witnessed", witnessed)])
    }

    fn metrics(&self) -> Result<Option<MetricsServer>, FlagError> {
        let Some(address) = self.read("metrics-bind-address", bind_address)? else { return Ok(None) };
        let folder = PathBuf::from(self.text("metrics-cert-path"));
        let certificate = if folder.as_os_str().is_empty() {
            ServingCertificate::SelfSigned
        } else {
            ServingCertificate::Files {
                certificate: folder.join(self.text("metrics-cert-name")),
                key: folder.join(self.text("metrics-cert-key")),
            }
        };
        let tls = self.boolean("metrics-secure")?.then_some(certificate);
        Ok(Some(MetricsServer { address, tls }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax::parse;
    use super::super::webhook::WebhookCertificate;
    use super::*;

    fn config(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, FlagError> {
        let given = parse(arguments.iter().map(|&argument| argument.to_owned()))?.unwrap();
        Config::build(&given, |name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_flags_the_defaults_are_the_safe_ones() {
        let config = config(&[], &[]).unwrap();
        assert_eq!(config.mode, Mode::Audit, "as in the existing operator");
        assert_eq!((config.identity.scope, config.freshness), (SignerScope::Workload, Freshness::Live));
        assert_eq!((config.concurrency.get(), config.fetch_timeout), (16, Duration::from_secs(5)));
        assert_eq!(config.min_sync_period, Duration::from_secs(5));
        assert_eq!(config.health, Some("[::]:8081".parse().unwrap()));
        assert_eq!((config.metrics, config.identity.trust_domain, config.leader_elect), (None, None, false));
        assert_eq!(
            (config.namespace.as_str(), config.bundle.name.as_str()),
            ("kagenti-system", "spire-bundle")
        );
        assert_eq!(config.bundle.namespace.as_str(), "zero-trust-workload-identity-manager");
        assert_eq!(config.bundle.key, "bundle.spiffe");
        assert!(config.watched.is_empty());
        let [unverifiable, unenforced] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
        assert!(unverifiable.contains("--spire-trust-domain is missing"), "{unverifiable}");
        assert!(unenforced.contains("close nothing"), "{unenforced}");
    }

    #[test]
    fn the_arguments_of_the_existing_chart_start_it() {
        let config = config(
            &[
                "--leader-elect",
                "--metrics-bind-address=:8443",
                "--health-probe-bind-address=:8081",
                "--webhook-cert-path=/tmp/k8s-webhook-server/serving-certs",
                "--config-path=/etc/kagenti/config.yaml",
                "--feature-gates-path=/etc/kagenti/feature-gates/feature-gates.yaml",
                "--enable-client-registration=true",
                "--require-a2a-signature=true",
                "--spire-trust-bundle-configmap=spire-bundle",
                "--spire-trust-bundle-configmap-namespace=spire",
                "--svid-expiry-grace-period=30m",
                "--signature-audit-mode=false",
                "--enforce-network-policies=true",
            ],
            &[
                ("POD_NAMESPACE", "kagenti-system"),
                ("KAGENTI_SPIRE_TRUST_DOMAIN", "example.org"),
                ("ENABLE_WEBHOOKS", "false"),
                ("NAMESPACES2WATCH", ""),
            ],
        )
        .unwrap();
        assert!(config.leader_elect && config.mode == Mode::Enforce);
        assert_eq!(config.metrics.unwrap().tls, Some(ServingCertificate::SelfSigned));
        assert_eq!(config.identity.trust_domain.unwrap().as_str(), "example.org");
        assert_eq!(config.bundle.namespace.as_str(), "spire");
        assert_eq!(config.webhook, None, "ENABLE_WEBHOOKS=false");
        assert_eq!(config.warnings.len(), 6, "{:?}", config.warnings);
        let deprecated: Vec<_> =
            config.warnings.iter().filter(|line| line.starts_with("DEPRECATED")).collect();
        assert_eq!(deprecated, ["DEPRECATED: flag --signature-audit-mode is superseded by --mode=audit"]);
    }

    #[test]
    fn a_bundle_is_read_three_times_before_it_is_too_old() {
        for (arguments, seconds) in [
            (&[][..], 300),
            (&["--spire-trust-bundle-refresh-interval=20s"], 20),
            (&["--trust-bundle-max-age=30s"], 10),
            (&["--spire-trust-bundle-refresh-interval=24h"], 600),
        ] {
            let bundle = config(arguments, &[]).unwrap().bundle;
            assert_eq!(bundle.read_every(), Duration::from_secs(seconds), "{arguments:?}");
        }
        let short = ["--trust-bundle-source=workload-api", "--trust-bundle-max-age=2m"];
        let text = config(&short, &[]).unwrap_err().to_string();
        assert!(text.contains("--trust-bundle-max-age is shorter than 3m"), "{text}");
    }

    #[test]
    fn each_way_to_ask_for_audit_or_enforcement_is_understood() {
        let (off, on) = ("--enforce-network-policies=false", "--enforce-network-policies=true");
        for (arguments, mode) in [
            (&["--mode=audit"][..], Mode::Audit),
            (&["--signature-audit-mode"], Mode::Audit),
            (&[off], Mode::Audit),
            (&["--mode=enforce", off], Mode::Audit),
            (&["--mode=audit", on], Mode::Audit),
            (&["--mode=enforce"], Mode::Enforce),
            (&[on], Mode::Enforce),
            (&["--mode=enforce", on], Mode::Enforce),
            (&[on, "--signature-audit-mode"], Mode::Audit),
        ] {
            let config = config(arguments, &[("KAGENTI_SPIRE_TRUST_DOMAIN", "example.org")]).unwrap();
            assert_eq!(config.mode, mode, "{arguments:?}");
            assert!(config.warnings.iter().all(|line| !line.contains("close nothing")), "{arguments:?}");
        }
    }

    #[test]
    fn enforcement_without_a_trust_domain_is_refused_and_audit_warns_of_it() {
        let given = |flag| config(&[flag, "--spire-trust-domain="], &[]);
        for flag in ["--mode=enforce", "--enforce-network-policies"] {
            let text = given(flag).unwrap_err().to_string();
            assert!(text.starts_with("--spire-trust-domain is missing"), "{text}");
            assert!(text.contains("--spire-trust-domain=example.org") && !text.contains('\n'), "{text}");
        }
        for flag in ["--mode=audit", "--enforce-network-policies=false"] {
            let warnings = given(flag).unwrap().warnings;
            let told = warnings.iter().filter(|line| line.starts_with("--spire-trust-domain is missing"));
            assert_eq!(told.count(), 1, "{warnings:?}");
        }
        let known = config(&["--mode=audit", "--spire-trust-domain=example.org"], &[]).unwrap();
        assert!(known.warnings.is_empty(), "{:?}", known.warnings);
    }

    #[test]
    fn flags_win_over_the_environment() {
        let environment =
            [("KAGENTI_SPIRE_TRUST_DOMAIN", "a.org"), ("KAGENTI_SPIRE_NAMESPACE", "a"), ("RUST_LOG", "a=b")];
        let from_environment = config(&[], &environment).unwrap();
        assert_eq!(from_environment.identity.trust_domain.unwrap().as_str(), "a.org");
        assert_eq!(from_environment.bundle.namespace.as_str(), "a");
        assert_eq!(from_environment.log_filter, "a=b");
        let flags = [
            "--spire-trust-domain=b.org",
            "--spire-trust-bundle-configmap-namespace=b",
            "--zap-log-level=debug",
        ];
        let from_flags = config(&flags, &environment).unwrap();
        assert_eq!(from_flags.identity.trust_domain.unwrap().as_str(), "b.org");
        assert_eq!(from_flags.bundle.namespace.as_str(), "b");
        assert_eq!(from_flags.log_filter, "debug");
    }

    #[test]
    fn lists_are_read_from_repeated_flags_and_from_commas() {
        let config = config(
            &[
                "--caller=gateway",
                "--caller=ui:app=web",
                "--dns-address=169.254.20.10",
                "--accept-profile=py-0.3",
            ],
            &[("NAMESPACES2WATCH", "team1, team2,")],
        )
        .unwrap();
        assert_eq!((config.callers.len(), config.dns_addresses.len()), (2, 1));
        assert!(config.profiles.contains(Profile::Py03) && config.profiles.contains(Profile::Spec841));
        let watched: Vec<&str> = config.watched.iter().map(Namespace::as_str).collect();
        assert_eq!(watched, ["team1", "team2"]);
    }

    #[test]
    fn metrics_are_plain_only_when_asked_for() {
        let plain = config(&["--metrics-bind-address=:8080", "--metrics-secure=false"], &[]).unwrap();
        assert_eq!(plain.metrics.unwrap().tls, None);
        let files = config(&["--metrics-bind-address=:8443", "--metrics-cert-path=/certs"], &[]).unwrap();
        assert_eq!(
            files.metrics.unwrap().tls,
            Some(ServingCertificate::Files {
                certificate: "/certs/tls.crt".into(),
                key: "/certs/tls.key".into()
            })
        );
    }

    #[test]
    fn the_webhook_serves_with_a_secret_of_its_own_or_with_files() {
        let secret = |configuration: Option<&str>| WebhookCertificate::Secret {
            service: "kagenti-operator-webhook-service".to_owned(),
            configuration: configuration.map(str::to_owned),
        };
        let given = |arguments: &[&str], environment| config(arguments, environment).unwrap().webhook;
        let webhook = given(&[], &[("ENABLE_WEBHOOKS", "true")]).unwrap();
        assert_eq!((webhook.address.port(), webhook.certificate), (9443, secret(None)));
        let webhook = given(&["--webhook-configuration=here"], &[]).unwrap();
        assert_eq!(webhook.certificate, secret(Some("here")));
        let files = given(&["--webhook-cert-path=/certs", "--webhook-cert-key=key.pem"], &[]).unwrap();
        assert_eq!(
            files.certificate,
            WebhookCertificate::Files(ServingCertificate::Files {
                certificate: "/certs/tls.crt".into(),
                key: "/certs/key.pem".into()
            })
        );
        assert_eq!(given(&["--webhook-bind-address=0"], &[]), None);
        let image = "--sidecar-image=authbridge:1";
        assert!(config(&[image], &[]).is_ok());
        for (arguments, environment) in
            [(&["--webhook-bind-address=0", image][..], &[][..]), (&[image], &[("ENABLE_WEBHOOKS", "false")])]
        {
            let told = config(arguments, environment).unwrap_err().to_string();
            assert!(told.starts_with("--sidecar-image needs the webhook"), "{told}");
        }
        assert_eq!(given(&[], &[("ENABLE_WEBHOOKS", "false")]), None);
    }

    #[test]
    fn a_wrong_value_is_one_line_with_flag_problem_and_value() {
        for (argument, said) in [
            ("--spire-trust-domain=Example.org", "--spire-trust-domain is not a trust domain"),
            ("--spiffe-id-template=spiffe://x/y", "--spiffe-id-template does not start with"),
            (
                "--binding-scope=namespace",
                "--binding-scope is not one of workload, trust-domain: \"namespace\"",
            ),
            ("--accept-profile=x", "--accept-profile is not one of spec841"),
            ("--freshness=stale", "--freshness is not one of live, witnessed"),
            ("--max-witness-age=0s", "--max-witness-age is zero"),
            ("--max-witness-age=2000000h", "--max-witness-age is longer than"),
            ("--fetch-timeout=0", "--fetch-timeout is zero"),
            ("--trust-bundle-max-age=9s", "--trust-bundle-max-age is shorter than 10s"),
            ("--min-sync-period=999ms", "--min-sync-period is not a duration from 1s to 1h"),
            ("--min-sync-period=61m", "--min-sync-period is not a duration from 1s to 1h"),
            ("--min-sync-period=often", "--min-sync-period"),
            ("--concurrency=0", "--concurrency is not a number from 1"),
            ("--concurrency=5000", "--concurrency is not a number from 1"),
            ("--mode=off", "--mode is not one of enforce, audit"),
            ("--egress=none", "--egress is not one of"),
            ("--caller=A", "--caller is refused because"),
            ("--dns-selector=kube-system", "--dns-selector names a whole namespace"),
            ("--dns-address=dns", "--dns-address is not an IP address"),
            ("--metrics-bind-address=8443", "--metrics-bind-address is not an address"),
            ("--webhook-bind-address=9443", "--webhook-bind-address is not an address"),
            ("--webhook-service=Web_Hook", "--webhook-service is not the name of a Service"),
            ("--otlp-endpoint=collector:4317", "--otlp-endpoint is not an address"),
            ("--zap-log-level=loud", "--zap-log-level is not one of"),
            ("--spire-trust-bundle-configmap=", "--spire-trust-bundle-configmap is empty"),
            ("--trust-bundle-source=cluster-trust-bundle", "--cluster-trust-bundle is empty"),
            ("--cluster-trust-bundle=here", "--cluster-trust-bundle is read with --trust-bundle-source"),
        ] {
            let text = config(&[argument], &[]).unwrap_err().to_string();
            assert!(text.contains(said) && !text.contains('\n'), "{argument}: {text}");
        }
        let text = config(&[], &[("POD_NAMESPACE", "A B")]).unwrap_err().to_string();
        assert!(text.starts_with("the environment variable POD_NAMESPACE"), "{text}");
        // What a variable says is no flag's.
        for (name, flag) in [
            ("KAGENTI_SPIRE_TRUST_DOMAIN", "--spire-trust-domain=a.org"),
            ("KAGENTI_SPIRE_NAMESPACE", "--spire-trust-bundle-configmap-namespace=a"),
        ] {
            let told = config(&[], &[(name, "A_B!")]).unwrap_err().to_string();
            assert!(told.starts_with(&format!("the environment variable {name} is not usable: ")), "{told}");
            assert!(!told.contains("--") && told.contains("A_B!"), "{told}");
            assert!(config(&[flag], &[(name, "A_B!")]).is_ok(), "{flag}");
        }
    }
}
