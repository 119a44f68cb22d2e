//! What a gate's denial becomes, and how events name what a plugin did: once for every way in, so that reverse proxy,
//! forward proxy and Envoy never tell the same request differently.

use super::denial::Denial;
use super::quiet::Quiet;
use super::upgrade::WebSocket;

/// What a plugin did with a request that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The token was accepted.
    Authorized,
    /// The path needs no token.
    Bypassed,
    /// No route names the host.
    Unrouted,
    /// A route passes the request on as it is.
    PassedThrough,
    /// The request has no token to exchange, and its route allows that.
    WithoutToken,
    /// Another token was put in.
    Replaced,
    /// The plugin denied the request, and only observes.
    Observed,
}

impl Outcome {
    /// Action, reason, and whether a denial had no effect, as events tell them.
    pub(crate) const fn told(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Authorized => ("allow", "authorized", false),
            Self::Bypassed => ("skip", "bypass", false),
            Self::Unrouted => ("skip", "no_matching_route", false),
            Self::PassedThrough => ("allow", "passthrough", false),
            Self::WithoutToken => ("skip", "no_token", false),
            Self::Replaced => ("modify", "token_replaced", false),
            Self::Observed => ("observe", "denied", true),
        }
    }
}

/// What a gate decided; with `on_error: observe` a denial becomes `instead`, and the log has it. The messages of a
/// WebSocket pass without any further check, so observing does not open one.
pub(crate) fn enforce_or_observe<T>(
    decided: Result<T, Denial>,
    observes: bool,
    upgrade: Option<WebSocket>,
    instead: T,
    quiet: &Quiet,
) -> Result<T, Denial> {
    match decided {
        Err(denial) if observes && upgrade.is_none() => {
            quiet.log("a request would have been denied", &denial.message);
            Ok(instead)
        }
        decided => decided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denial::Code;
    use hyper::{Request, header};

    #[test]
    fn only_a_gate_that_enforces_denies_and_none_that_observes_opens_a_tunnel() {
        let mut handshake = Request::new(());
        for (name, value) in [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")] {
            handshake.headers_mut().insert(name, header::HeaderValue::from_static(value));
        }
        let handshake = WebSocket::requested(&handshake);
        assert!(handshake.is_some());
        let quiet = Quiet::new("test");
        let denied = || Err(Denial::new(Code::ExchangeFailed, "no token"));
        for (decided, observes, upgrade, expected) in [
            (Ok(Outcome::Replaced), false, None, Ok(Outcome::Replaced)),
            (Ok(Outcome::Replaced), true, handshake, Ok(Outcome::Replaced)),
            (denied(), false, None, denied()),
            (denied(), false, handshake, denied()),
            (denied(), true, None, Ok(Outcome::Observed)),
            (denied(), true, handshake, denied()),
        ] {
            let found = enforce_or_observe(decided, observes, upgrade, Outcome::Observed, &quiet);
            assert_eq!(found, expected, "{observes} {upgrade:?}");
        }
    }

    #[test]
    fn every_outcome_has_a_name_of_its_own() {
        use Outcome::{Authorized, Bypassed, Observed, PassedThrough, Replaced, Unrouted, WithoutToken};
        let all = [Authorized, Bypassed, Unrouted, PassedThrough, WithoutToken, Replaced, Observed];
        let names: std::collections::BTreeSet<_> = all.iter().map(|outcome| outcome.told()).collect();
        assert_eq!(names.len(), all.len());
    }
}
