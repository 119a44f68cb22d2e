//! Network plugin. Whether it enforces NetworkPolicies shows in packets alone, and none are sent here.

use crate::check::finding::Finding;
use crate::check::unread::Answer;

const ID: &str = "network-plugin";
/// `DaemonSet`s of plugins that enforce NetworkPolicies unless they are configured not to.
const ENFORCING: [&str; 8] = [
    "antrea-agent",
    "calico-node",
    "canal",
    "cilium",
    "kube-router",
    "kube-network-policies",
    "ovnkube-node",
    "weave-net",
];
/// `DaemonSet`s of plugins that enforce none by themselves.
const OPEN: [&str; 2] = ["kube-flannel", "kube-flannel-ds"];
const PROOF: &str = "to prove it, connect from a Pod that is no agent to a verified agent: nobody may answer";

/// Judges the names of the cluster's `DaemonSet`s, as `namespace/name`.
pub(super) fn judge_network(answer: &Answer<Vec<String>>) -> Finding {
    let what = "the network plugin";
    let sets = match answer {
        Ok(sets) => sets,
        Err(unread) => return Finding::unread(ID, what, unread, || unknown(what)),
    };
    let is = |set: &&String, names: &[&str]| set.rsplit('/').next().is_some_and(|name| names.contains(&name));
    if let Some(set) = sets.iter().find(|set| is(set, &ENFORCING)) {
        let found = format!(
            "is that of the DaemonSet {set}, which can enforce NetworkPolicies; whether it does was not probed: {PROOF}"
        );
        return Finding::skipped(ID, what, &found);
    }
    if let Some(set) = sets.iter().find(|set| is(set, &OPEN)) {
        let found = format!("is that of the DaemonSet {set}, which by itself enforces no NetworkPolicy");
        let fix = "install a plugin that enforces NetworkPolicies beside it, or in its place; without one no verdict stops a packet";
        return Finding::warn(ID, what, &found, fix);
    }
    unknown(what)
}

fn unknown(what: &str) -> Finding {
    Finding::skipped(
        ID,
        what,
        &format!("is not known, and whether it enforces NetworkPolicies was not probed: {PROOF}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;

    #[test]
    fn what_was_not_probed_is_never_said_to_be_well() {
        for (sets, status, found) in [
            (&[][..], Status::Skipped, "not probed"),
            (&["kube-system/kube-proxy"], Status::Skipped, "not probed"),
            (&["kube-system/cilium"], Status::Skipped, "kube-system/cilium"),
            (&["kube-flannel/kube-flannel-ds"], Status::Warn, "enforces no NetworkPolicy"),
            (&["kube-flannel/kube-flannel-ds", "a/calico-node"], Status::Skipped, "a/calico-node"),
        ] {
            let sets = sets.iter().map(|set| (*set).to_owned()).collect();
            let judged = judge_network(&Ok(sets));
            assert_eq!((judged.status, judged.found.contains(found)), (status, true), "{judged:?}");
        }
        assert_eq!(judge_network(&Err(Unread::Forbidden("list".to_owned()))).status, Status::Skipped);
    }
}
