//! Counters and histograms: the statistics of the existing AuthBridge under their names, and metrics for Prometheus.
//! Label values are constants of this program. Text from a request never becomes one, so the number of series is fixed.

use super::denial::Code;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Value, json};

type Labels = [(&'static str, &'static str); 2];

/// All counters and histograms of the process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    /// Requests to the agent, by outcome.
    pub(crate) inbound: InboundStats,
    /// Requests of the agent, by outcome.
    pub(crate) outbound: OutboundStats,
    /// Connections and TLS handshakes, by outcome.
    pub(crate) tls: TlsStats,
    /// Error responses, in the order of [`Code::ALL`]; resolved once, so that a denial takes no lock.
    denials: Vec<Counter>,
    requests: Family<Labels, Counter>,
    handshakes: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    /// Seconds from a request to the agent until the head of its answer.
    pub(crate) inbound_seconds: Histogram,
    /// Seconds from a request of the agent until the head of its answer.
    pub(crate) outbound_seconds: Histogram,
    /// Seconds that a call to a token endpoint takes.
    pub(crate) token_seconds: Histogram,
    /// Calls to token endpoints; tokens from the cache are not among them.
    pub(crate) token_calls: Counter,
    /// Reloads of the configuration: taken over, then refused.
    pub(crate) reloads: [Counter; 2],
    /// 1 while the file on disk is the one that runs.
    pub(crate) config_current: Gauge,
    /// 1 while the file of routes on disk is the one that counts.
    pub(crate) routes_current: Gauge,
}

/// Requests to the agent, by outcome, under the names of the existing AuthBridge.
#[derive(Clone, Debug)]
pub(crate) struct InboundStats {
    pub(crate) passthrough: Counter,
    pub(crate) authorized: Counter,
    pub(crate) unauthenticated: Counter,
    pub(crate) no_header: Counter,
    pub(crate) malformed_header: Counter,
    pub(crate) validator_missing: Counter,
    pub(crate) jwt_failed: Counter,
}

/// Requests of the agent, by outcome, under the names of the existing AuthBridge.
#[derive(Clone, Debug)]
pub(crate) struct OutboundStats {
    pub(crate) no_matching_route: Counter,
    pub(crate) passthrough: Counter,
    pub(crate) no_token_policy: Counter,
    pub(crate) denied_by_route: Counter,
    pub(crate) credentials_grant_failure: Counter,
    pub(crate) no_token: Counter,
    pub(crate) token_exchange_failed: Counter,
    pub(crate) replace_token: Counter,
    pub(crate) cache_hit: Counter,
    /// Redirected connections that are neither HTTP/1 nor TLS; not among the statistics of the existing AuthBridge.
    pub(crate) other_protocol: Counter,
}

/// Connections, by outcome, under the names of the existing AuthBridge.
#[derive(Clone, Debug)]
pub(crate) struct TlsStats {
    pub(crate) inbound_tls_accepted: Counter,
    pub(crate) inbound_plain_accepted: Counter,
    pub(crate) inbound_plain_rejected: Counter,
    pub(crate) inbound_tls_failed: Counter,
    pub(crate) outbound_tls_succeeded: Counter,
    pub(crate) outbound_failed: Counter,
}

impl Stats {
    /// Counters at zero, all series present, so that a rate over the first event is not lost.
    pub(crate) fn new() -> Self {
        let (requests, handshakes, refused) = (Family::default(), Family::default(), Family::default());
        let inbound = |result| counter(&requests, "inbound", result);
        let outbound = |result| counter(&requests, "outbound", result);
        let seconds = || Histogram::new(exponential_buckets(0.000_25, 4.0, 9));
        let denial = |code: &Code| -> Counter {
            Family::get_or_create_owned(&refused, &[("code", code.text()), ("source", "authbridge")])
        };
        Self {
            inbound: InboundStats {
                passthrough: inbound("bypass"),
                authorized: inbound("authorized"),
                unauthenticated: inbound("unauthenticated"),
                no_header: inbound("no_header"),
                malformed_header: inbound("malformed_header"),
                validator_missing: inbound("cannot_verify"),
                jwt_failed: inbound("jwt_failed"),
            },
            outbound: OutboundStats {
                no_matching_route: outbound("no_matching_route"),
                passthrough: outbound("passthrough"),
                no_token_policy: outbound("no_token_policy"),
                denied_by_route: outbound("denied_by_route"),
                credentials_grant_failure: outbound("credentials_grant_failure"),
                no_token: outbound("no_token"),
                token_exchange_failed: outbound("token_exchange_failed"),
                replace_token: outbound("replace_token"),
                cache_hit: outbound("cache_hit"),
                other_protocol: outbound("other_protocol"),
            },
            tls: TlsStats {
                inbound_tls_accepted: counter(&handshakes, "inbound", "tls_accepted"),
                inbound_plain_accepted: counter(&handshakes, "inbound", "plain_accepted"),
                inbound_plain_rejected: counter(&handshakes, "inbound", "plain_rejected"),
                inbound_tls_failed: counter(&handshakes, "inbound", "tls_failed"),
                outbound_tls_succeeded: counter(&handshakes, "outbound", "tls_succeeded"),
                outbound_failed: counter(&handshakes, "outbound", "failed"),
            },
            denials: Code::ALL.iter().map(denial).collect(),
            inbound_seconds: seconds(),
            outbound_seconds: seconds(),
            token_seconds: seconds(),
            token_calls: Counter::default(),
            reloads: [Counter::default(), Counter::default()],
            config_current: Gauge::default(),
            routes_current: Gauge::default(),
            requests,
            handshakes,
            refused,
        }
    }

    /// Counts an error response.
    pub(crate) fn denied(&self, code: Code) {
        let index = Code::ALL.iter().position(|known| *known == code);
        if let Some(counter) = index.and_then(|index| self.denials.get(index)) {
            counter.inc();
        }
    }

    /// Registry of all metrics, in the form that Prometheus scrapes.
    pub(crate) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("authbridge");
        registry.register("requests", "Requests by direction and what became of them", self.requests.clone());
        registry.register(
            "connections",
            "Connections by direction and what became of them",
            self.handshakes.clone(),
        );
        registry.register("denials", "Answers of the sidecar itself by code", self.refused.clone());
        let mut seconds = |name, help, histogram: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        seconds("inbound_request_duration", "Time to the head of the agent's answer", &self.inbound_seconds);
        seconds("outbound_request_duration", "Time to the head of a server's answer", &self.outbound_seconds);
        seconds("token_call_duration", "Time of a call to a token endpoint", &self.token_seconds);
        registry.register("token_calls", "Calls to token endpoints", self.token_calls.clone());
        let [good, bad] = &self.reloads;
        registry.register("config_reloads", "Configurations taken over", good.clone());
        registry.register("config_reload_failures", "Configurations refused", bad.clone());
        registry.register(
            "config_current",
            "1 while the file on disk is what runs",
            self.config_current.clone(),
        );
        registry.register(
            "routes_current",
            "1 while the file of routes on disk is what counts",
            self.routes_current.clone(),
        );
        registry
    }

    /// The statistics in the form that the existing AuthBridge answers.
    pub(crate) fn json(&self) -> Value {
        let Self { inbound, outbound, tls, .. } = self;
        json!({
            "inbound_approvals": { "passthrough": inbound.passthrough.get(), "authorized": inbound.authorized.get() },
            "inbound_denials": {
                "no_header": inbound.no_header.get(), "malformed_header": inbound.malformed_header.get(),
                "validator_missing": inbound.validator_missing.get(), "jwt_failed": inbound.jwt_failed.get(),
            },
            "outbound_approvals": {
                "no_matching_route": outbound.no_matching_route.get(), "no_exchanger": 0,
                "passthrough": outbound.passthrough.get(), "no_token_policy": outbound.no_token_policy.get(),
            },
            "outbound_denials": {
                "creds_requested_no_exchanger": 0,
                "credentials_grant_failure": outbound.credentials_grant_failure.get(),
                "no_token": outbound.no_token.get(), "token_exchange_failed": outbound.token_exchange_failed.get(),
                "denied_by_route": outbound.denied_by_route.get(),
            },
            "outbound_replace_tokens": {
                "replace_token": outbound.replace_token.get(), "cache_hit": outbound.cache_hit.get(),
            },
            "tls": {
                "inbound_tls_accepted": tls.inbound_tls_accepted.get(),
                "inbound_plain_accepted": tls.inbound_plain_accepted.get(),
                "inbound_plain_rejected": tls.inbound_plain_rejected.get(),
                "inbound_tls_failed": tls.inbound_tls_failed.get(),
                "outbound_tls_succeeded": tls.outbound_tls_succeeded.get(),
                "outbound_failed": tls.outbound_failed.get(),
            },
        })
    }
}

fn counter(family: &Family<Labels, Counter>, direction: &'static str, result: &'static str) -> Counter {
    family.get_or_create_owned(&[("direction", direction), ("result", result)])
}
