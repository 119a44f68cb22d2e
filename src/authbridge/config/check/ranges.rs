//! Checks that numbers and durations are such as the sidecar can work with.

use super::Checker;
use crate::config::duration::GoDuration;
use crate::config::jwt_validation::JwtValidation;
use crate::config::model::{Config, Limits, SessionSettings};
use crate::limits::{
    CONNECTIONS, HALF_READ_BYTES, HEADER_TIMEOUT, KEEPALIVE_TIME, KEYS_MAX_AGE, RESPONSE_TIMEOUT,
    SESSION_BYTES, SESSION_ITEMS, SESSION_TTL, SILENCE,
};
use countersign_api::yaml::{Diagnostic, PathStep, YamlNode, diagnostic_at};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Number of a block, with its key and what it may be.
type Count = (&'static str, usize, RangeInclusive<usize>);
/// Duration of a block, with its key and what it may be.
type Time = (&'static str, GoDuration, RangeInclusive<Duration>);

const fn counts_of_limits(limits: &Limits) -> [Count; 3] {
    [
        ("connections", limits.connections, CONNECTIONS),
        ("connections_per_peer", limits.connections_per_peer, CONNECTIONS),
        ("memory", limits.memory, HALF_READ_BYTES),
    ]
}

const fn times_of_limits(limits: &Limits) -> [Time; 6] {
    [
        ("header_timeout", limits.header_timeout, HEADER_TIMEOUT),
        ("response_timeout", limits.response_timeout, RESPONSE_TIMEOUT),
        ("idle_timeout", limits.idle_timeout, SILENCE),
        ("tunnel_idle_timeout", limits.tunnel_idle_timeout, SILENCE),
        ("half_close_timeout", limits.half_close_timeout, SILENCE),
        ("keepalive", limits.keepalive, KEEPALIVE_TIME),
    ]
}

const fn counts_of_session(session: &SessionSettings) -> [Count; 3] {
    [
        ("max_events", session.max_events, SESSION_ITEMS),
        ("max_sessions", session.max_sessions, SESSION_ITEMS),
        ("max_bytes", session.max_bytes, SESSION_BYTES),
    ]
}

const fn times_of_session(session: &SessionSettings) -> [Time; 1] {
    [("ttl", session.ttl, SESSION_TTL)]
}

fn times(all: impl IntoIterator<Item = Time>) -> Vec<(&'static str, GoDuration, RangeInclusive<GoDuration>)> {
    all.into_iter().map(|(key, value, range)| (key, value, bounds(&range))).collect()
}

const fn bounds(range: &RangeInclusive<Duration>) -> RangeInclusive<GoDuration> {
    GoDuration(*range.start())..=GoDuration(*range.end())
}

impl Checker<'_> {
    /// Tells of each number and duration with which the sidecar would answer nothing, or end what is honest.
    pub(super) fn ranges(&mut self, config: &Config) {
        let (limits, session) = (&config.limits, &config.session);
        let (usual, usual_session) = (&Limits::default(), &SessionSettings::default());
        self.within("limits", counts_of_limits(limits), counts_of_limits(usual));
        self.within("limits", times(times_of_limits(limits)), times(times_of_limits(usual)));
        self.share_of_a_peer(limits);
        if session.enabled {
            self.within("session", counts_of_session(session), counts_of_session(usual_session));
            self.within("session", times(times_of_session(session)), times(times_of_session(usual_session)));
        }
    }

    /// Checks values of a block, whose defaults are in the same order.
    fn within<T: PartialOrd + fmt::Display>(
        &mut self,
        block: &'static str,
        found: impl IntoIterator<Item = (&'static str, T, RangeInclusive<T>)>,
        usual: impl IntoIterator<Item = (&'static str, T, RangeInclusive<T>)>,
    ) {
        for ((key, value, range), (_, usual, _)) in found.into_iter().zip(usual) {
            if let Some(problem) = out_of(&range, &value, &usual) {
                self.wrong(&[PathStep::Key(block), PathStep::Key(key)], problem);
            }
        }
    }

    /// A share that nobody wrote may exceed what there is: the smaller of both holds.
    fn share_of_a_peer(&mut self, limits: &Limits) {
        let (all, share) = (limits.connections, limits.connections_per_peer);
        let at = |key| [PathStep::Key("limits"), PathStep::Key(key)];
        let are_valid = CONNECTIONS.contains(&all) && CONNECTIONS.contains(&share);
        if !are_valid || share <= all {
            return;
        }
        if !self.is_written(&at("connections_per_peer")) {
            let problem = format!(
                "one peer may have all {all}, since connections_per_peer is {share} by default; write connections_per_peer as well"
            );
            return self.note(&at("connections"), problem);
        }
        let whose = if self.is_written(&at("connections")) {
            "limits.connections"
        } else {
            "the default of limits.connections"
        };
        self.wrong(
            &at("connections_per_peer"),
            format!("{share} of one peer are more than all may be, {all} by {whose}; lower it, or raise limits.connections"),
        );
    }

    /// Checks for how long the keys of an issuer count.
    pub(super) fn keys_max_age(&mut self, jwt: &JwtValidation, at: &[PathStep<'_>]) {
        if let Some(problem) =
            out_of(&bounds(&KEYS_MAX_AGE), &jwt.jwks_max_age, &JwtValidation::default().jwks_max_age)
        {
            self.wrong(at, problem);
        }
    }
}

/// Brings values of `session` that only the existing AuthBridge takes into range, with a notice for each.
pub(in crate::config) fn clamp_session(
    session: &mut SessionSettings,
    root: &YamlNode,
    notices: &mut Vec<Diagnostic>,
) {
    if !session.enabled {
        return;
    }
    let mut note = |key, problem: String| {
        notices.push(diagnostic_at(root, &[PathStep::Key("session"), PathStep::Key(key)], problem));
    };
    let (events, sessions) = ("older events are forgotten", "older sessions are forgotten");
    for (key, value, loss) in [
        ("max_events", &mut session.max_events, events),
        ("max_sessions", &mut session.max_sessions, sessions),
    ] {
        if let Some(problem) = clamp(value, &SESSION_ITEMS, loss) {
            note(key, problem);
        }
    }
    let loss = if session.ttl.0 < *SESSION_TTL.start() {
        "sessions stay so long"
    } else {
        "sessions without events are forgotten then"
    };
    if let Some(problem) = clamp(&mut session.ttl, &bounds(&SESSION_TTL), loss) {
        note("ttl", problem);
    }
}

/// Brings a value into its range; a sentence if it was out of it.
fn clamp<T: PartialOrd + Copy + fmt::Display>(
    value: &mut T,
    range: &RangeInclusive<T>,
    loss: &str,
) -> Option<String> {
    if range.contains(value) {
        return None;
    }
    let (least, most) = (range.start(), range.end());
    let counts = if *value < *least { *least } else { *most };
    let found = std::mem::replace(value, counts);
    Some(format!("{found} is out of range, and {counts} counts: {loss}; write {least} to {most}"))
}

fn out_of<T: PartialOrd + fmt::Display>(range: &RangeInclusive<T>, value: &T, usual: &T) -> Option<String> {
    let (least, most) = (range.start(), range.end());
    (!range.contains(value)).then(|| {
        format!("{value} is out of range: write {least} to {most}, or take it out for the default, {usual}")
    })
}
