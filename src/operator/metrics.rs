//! Prometheus metrics of the operator. Names that existing dashboards and alerts use are kept.
//! Label values come from closed lists, so that no agent can grow the number of series.

use countersign_core::refusal::Reason;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Metric labels with static values, in the order of the output.
type Labels<const N: usize> = [(&'static str, &'static str); N];
type Durations = Family<Labels<1>, Histogram, fn() -> Histogram>;

/// Result of a reconciliation, in the terms of controller-runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
pub enum ReconcileResult {
    /// Succeeded, without a next turn.
    success,
    /// Failed, and retried later.
    error,
    /// Succeeded, and repeated at once.
    requeue,
    /// Succeeded, and repeated after a wait.
    requeue_after,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    controller: &'static str,
    result: ReconcileResult,
}

/// All metrics of the process. Clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_time: Durations,
    verifications: Family<Labels<3>, Counter>,
    verification_time: Durations,
    verification_errors: Family<Labels<2>, Counter>,
    chains: Family<Labels<2>, Counter>,
    bundle_age: Gauge<f64, AtomicU64>,
    bundle_errors: Family<Labels<1>, Counter>,
    policy_errors: Family<Labels<1>, Counter>,
    domain_mismatches: Counter,
    refusals: Family<Labels<1>, Counter>,
    cards: Family<Labels<1>, Gauge>,
    fetch_time: Durations,
    leader: Gauge,
    writes: Family<Labels<1>, Counter>,
    dropped_events: Counter,
    failed_watches: Family<Labels<1>, Counter>,
    admissions: Family<Labels<2>, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        // Buckets in seconds: `short` for verifications from 0.1 ms, `long` for fetches up to the timeout.
        let short: fn() -> Histogram = || Histogram::new([0.000_1, 0.000_5, 0.002, 0.01, 0.05, 0.25, 1.0]);
        let long: fn() -> Histogram = || Histogram::new([0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let mut metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            reconcile_time: Family::new_with_constructor(long),
            verifications: Family::default(),
            verification_time: Family::new_with_constructor(short),
            verification_errors: Family::default(),
            chains: Family::default(),
            bundle_age: Gauge::default(),
            bundle_errors: Family::default(),
            policy_errors: Family::default(),
            domain_mismatches: Counter::default(),
            refusals: Family::default(),
            cards: Family::default(),
            fetch_time: Family::new_with_constructor(long),
            leader: Gauge::default(),
            writes: Family::default(),
            dropped_events: Counter::default(),
            failed_watches: Family::default(),
            admissions: Family::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }
}

impl Metrics {
    fn register(&self) -> Registry {
        let mut all = Registry::default();
        all.register("controller_runtime_reconcile", "Reconciliations", self.reconciles.clone());
        all.register_with_unit(
            "controller_runtime_reconcile_time",
            "Duration of reconciliations",
            Unit::Seconds,
            self.reconcile_time.clone(),
        );
        all.register("a2a_signature_verification", "Verified card signatures", self.verifications.clone());
        all.register_with_unit(
            "a2a_signature_verification_duration",
            "Duration of signature verifications",
            Unit::Seconds,
            self.verification_time.clone(),
        );
        all.register(
            "a2a_signature_verification_errors",
            "Failed verifications by error",
            self.verification_errors.clone(),
        );
        all.register("kagenti_x5c_chain_validation", "Validated x5c chains", self.chains.clone());
        all.register_with_unit(
            "kagenti_x5c_trust_bundle_age",
            "Time since the trust bundle was last read",
            Unit::Seconds,
            self.bundle_age.clone(),
        );
        all.register(
            "kagenti_x5c_trust_bundle_load_errors",
            "Trust bundles that could not be read",
            self.bundle_errors.clone(),
        );
        all.register(
            "countersign_policy_load_errors",
            "Reads of a policy file that could not be used",
            self.policy_errors.clone(),
        );
        all.register(
            "kagenti_x5c_binding_trust_domain_mismatch",
            "Signers of another trust domain",
            self.domain_mismatches.clone(),
        );
        all.register("countersign_refusals", "Refused cards by reason", self.refusals.clone());
        all.register("countersign_cards", "AgentCards by outcome", self.cards.clone());
        all.register_with_unit(
            "countersign_card_fetch_duration",
            "Duration of card fetches",
            Unit::Seconds,
            self.fetch_time.clone(),
        );
        all.register("countersign_leader", "1 while this replica holds the lease", self.leader.clone());
        all.register("countersign_api_writes", "Writes to the API server", self.writes.clone());
        all.register("countersign_dropped_events", "Events dropped in a burst", self.dropped_events.clone());
        all.register("countersign_watch_failures", "Watches that failed", self.failed_watches.clone());
        all.register("countersign_admissions", "Requests of admission by result", self.admissions.clone());
        all
    }

    /// Counts a reconciliation of `controller` and its duration.
    pub fn reconciled(&self, controller: &'static str, result: ReconcileResult, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { controller, result }).inc();
        self.reconcile_time.get_or_create(&[("controller", controller)]).observe(took.as_secs_f64());
    }

    /// Counts a verification, with the reason of a refusal, and its duration.
    pub fn verified(&self, refused: Option<Reason>, audit: bool, took: Duration) {
        let provider = ("provider", "x5c");
        let (result, audit) =
            (if refused.is_some() { "failed" } else { "success" }, if audit { "true" } else { "false" });
        self.verifications.get_or_create(&[provider, ("result", result), ("audit_mode", audit)]).inc();
        self.verification_time.get_or_create(&[provider]).observe(took.as_secs_f64());
        let (valid, chain) = match refused {
            None => ("true", "ok"),
            Some(reason) => ("false", chain_reason(reason)),
        };
        self.chains.get_or_create(&[("valid", valid), ("reason", chain)]).inc();
        if let Some(reason) = refused {
            self.verification_errors.get_or_create(&[provider, ("error_type", reason.code())]).inc();
            self.refusals.get_or_create(&[("reason", reason.code())]).inc();
            if reason == Reason::TrustDomainMismatch {
                self.domain_mismatches.inc();
            }
        }
    }

    /// Records the duration of a fetch from `source`, for example `http`, `mtls` or `configmap`.
    pub fn fetched(&self, source: &'static str, took: Duration) {
        self.fetch_time.get_or_create(&[("source", source)]).observe(took.as_secs_f64());
    }

    /// Sets the time since the trust bundle was last read.
    pub fn bundle_age(&self, age: Duration) {
        self.bundle_age.set(age.as_secs_f64());
    }

    /// Counts a failed read of a trust bundle; `reason` is a word of a closed list.
    pub fn bundle_failed(&self, reason: &'static str) {
        self.bundle_errors.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a policy file that could not be used; `reason` is a word of a closed list.
    pub fn policy_failed(&self, reason: &'static str) {
        self.policy_errors.get_or_create(&[("reason", reason)]).inc();
    }

    /// Sets the number of AgentCards with an outcome, `verified` or `refused`.
    pub fn cards(&self, outcome: &'static str, number: usize) {
        self.cards.get_or_create(&[("outcome", outcome)]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Sets whether this replica holds the lease.
    pub fn leading(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Counts a write to the API server by resource, for example `networkpolicies`.
    pub fn wrote(&self, resource: &'static str) {
        self.writes.get_or_create(&[("resource", resource)]).inc();
    }

    /// Counts an event that was dropped because too many waited.
    pub fn dropped_event(&self) {
        self.dropped_events.inc();
    }

    /// Counts a failed request of a watch, which is retried.
    pub fn watch_failed(&self, resource: &'static str) {
        self.failed_watches.get_or_create(&[("resource", resource)]).inc();
    }

    /// Counts a request to a webhook; `result` is a word of a closed list, for example `allowed` or `malformed`.
    pub fn admitted(&self, webhook: &'static str, result: &'static str) {
        self.admissions.get_or_create(&[("webhook", webhook), ("result", result)]).inc();
    }

    /// Renders all metrics in the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Coarse reason of a refusal, as existing dashboards know it.
const fn chain_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::LeafSan | Reason::SpiffeIdMalformed | Reason::TrustDomainMismatch => "san_invalid",
        Reason::ChainEncoding | Reason::ChainTooLarge | Reason::CertificateMalformed => "parse_error",
        Reason::AnchorUnknown
        | Reason::ChainSignature
        | Reason::ChainOrder
        | Reason::ChainAlgorithm
        | Reason::CertificateExpired
        | Reason::CertificateNotYetValid
        | Reason::AnchorNotValid => "chain_invalid",
        _ => "jws_invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_names_and_labels_are_written() {
        let metrics = Metrics::default();
        metrics.reconciled("agentcard", ReconcileResult::requeue_after, Duration::from_millis(3));
        metrics.verified(None, false, Duration::from_micros(200));
        metrics.verified(Some(Reason::TrustDomainMismatch), true, Duration::from_micros(200));
        metrics.bundle_age(Duration::from_millis(1500));
        metrics.bundle_failed("not_found");
        metrics.policy_failed("parse");
        metrics.fetched("http", Duration::from_millis(4));
        metrics.cards("verified", 7);
        metrics.leading(true);
        metrics.admitted("mutate-workloads-authbridge", "allowed");
        let text = metrics.text();
        for line in [
            r#"controller_runtime_reconcile_total{controller="agentcard",result="requeue_after"} 1"#,
            r#"controller_runtime_reconcile_time_seconds_count{controller="agentcard"} 1"#,
            r#"a2a_signature_verification_total{provider="x5c",result="success",audit_mode="false"} 1"#,
            r#"a2a_signature_verification_total{provider="x5c",result="failed",audit_mode="true"} 1"#,
            r#"a2a_signature_verification_duration_seconds_count{provider="x5c"} 2"#,
            r#"a2a_signature_verification_errors_total{provider="x5c",error_type="TrustDomainMismatch"} 1"#,
            r#"kagenti_x5c_chain_validation_total{valid="true",reason="ok"} 1"#,
            r#"kagenti_x5c_chain_validation_total{valid="false",reason="san_invalid"} 1"#,
            "kagenti_x5c_trust_bundle_age_seconds 1.5",
            r#"kagenti_x5c_trust_bundle_load_errors_total{reason="not_found"} 1"#,
            r#"countersign_policy_load_errors_total{reason="parse"} 1"#,
            "kagenti_x5c_binding_trust_domain_mismatch_total 1",
            r#"countersign_refusals_total{reason="TrustDomainMismatch"} 1"#,
            r#"countersign_cards{outcome="verified"} 7"#,
            r#"countersign_card_fetch_duration_seconds_count{source="http"} 1"#,
            "countersign_leader 1",
            r#"countersign_admissions_total{webhook="mutate-workloads-authbridge",result="allowed"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
