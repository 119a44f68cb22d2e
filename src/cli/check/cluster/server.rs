//! Version and clock of the API server.

use crate::check::client::{Clock, ServerFacts};
use crate::check::finding::Finding;
use countersign_plan::injection::{has_native_sidecars, minor_version};

/// First minor version of Kubernetes 1 that serves `ValidatingAdmissionPolicy` v1.
const ADMISSION_POLICIES: u32 = 30;
/// Difference between two clocks that is told: time synchronization keeps them closer.
const NOTABLE: u64 = 5;
/// Largest difference that the operator tolerates in signatures (`CLOCK_SKEW_MAX`).
const TOLERATED: u64 = 60;

/// Judges what the API server said about itself.
pub(super) fn judge_server(address: &str, facts: &ServerFacts) -> Vec<Finding> {
    let reached = Finding::ok("api-server", "the API server", &format!("answers at {address}"));
    vec![reached, version(facts), clock(facts.clock)]
}

fn version(facts: &ServerFacts) -> Finding {
    let (id, what) = ("api-version", "the API server");
    let found = format!("has the version {}", facts.version);
    // A major version after 1 has no minor version that could be compared.
    let has_policies = facts.major != "1"
        || minor_version(&facts.major, &facts.minor).is_some_and(|minor| minor >= ADMISSION_POLICIES);
    if has_policies {
        return Finding::ok(id, what, &found);
    }
    let lacks = if has_native_sidecars(&facts.major, &facts.minor) {
        "ValidatingAdmissionPolicy v1"
    } else {
        "ValidatingAdmissionPolicy v1, and init containers that go on running as sidecars"
    };
    let fix = format!("upgrade the cluster to Kubernetes 1.{ADMISSION_POLICIES} or later");
    Finding::warn(id, what, &format!("{found}, which lacks {lacks}"), &fix)
}

fn clock(clock: Clock) -> Finding {
    let (id, what) = ("clock", "the API server's clock");
    let Some(theirs) = clock.theirs else {
        return Finding::skipped(id, what, "is not known: its answers have no readable header Date");
    };
    // Between the two readings of ours, and up to a second later than it says, because it counts whole seconds.
    let (ahead, behind) = (theirs.since(clock.after), clock.before.since(theirs).saturating_sub(1));
    let (apart, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let apart = u64::try_from(apart).unwrap_or(0);
    if apart <= NOTABLE {
        return Finding::ok(id, what, &format!("agrees with this machine's within {NOTABLE} s"));
    }
    let found = format!("is {apart} s {way} this machine's");
    let fix = "synchronize both with the same time servers; certificates and signatures end by the clock";
    if apart > TOLERATED {
        Finding::fail(id, what, &found, fix)
    } else {
        Finding::warn(id, what, &found, fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use countersign_core::limits::CLOCK_SKEW_MAX;
    use countersign_core::time::Timestamp;

    fn facts(minor: &str, theirs: Option<i64>, took: i64) -> ServerFacts {
        let at = Timestamp::from_unix;
        ServerFacts {
            major: "1".to_owned(),
            minor: minor.to_owned(),
            version: format!("v1.{minor}.0"),
            clock: Clock { theirs: theirs.map(at), before: at(1000), after: at(took.saturating_add(1000)) },
        }
    }

    #[test]
    fn an_old_api_server_is_told_with_what_it_lacks() {
        for (minor, status, found) in [
            ("35", Status::Ok, "has the version v1.35.0"),
            ("30+", Status::Ok, "has the version v1.30+.0"),
            ("29", Status::Warn, "lacks ValidatingAdmissionPolicy v1"),
            ("28", Status::Warn, "init containers that go on running"),
            ("x", Status::Warn, "lacks ValidatingAdmissionPolicy v1"),
        ] {
            let [reached, version, _] = judge_server("https://x", &facts(minor, None, 0)).try_into().unwrap();
            assert_eq!(reached.status, Status::Ok);
            assert_eq!(version.status, status, "{minor}");
            assert!(version.found.contains(found), "{}", version.found);
        }
    }

    #[test]
    fn clocks_are_compared_as_far_as_the_answer_tells() {
        assert_eq!(u64::from(CLOCK_SKEW_MAX.get()), TOLERATED);
        for (theirs, took, status) in [
            (Some(1000), 0, Status::Ok),
            (Some(1007), 7, Status::Ok),
            (Some(1005), 0, Status::Ok),
            (Some(994), 0, Status::Ok),
            (Some(1006), 0, Status::Warn),
            (Some(993), 0, Status::Warn),
            (Some(1060), 0, Status::Warn),
            (Some(1061), 0, Status::Fail),
            (Some(900), 0, Status::Fail),
            (Some(i64::MAX), 0, Status::Fail),
            (None, 0, Status::Skipped),
        ] {
            let found = clock(facts("35", theirs, took).clock);
            assert_eq!(found.status, status, "{theirs:?} {found:?}");
        }
    }
}
