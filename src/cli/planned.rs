//! Output of planned objects: YAML documents, each after a comment with the verdict that it follows.

use super::exit::Unusable;
use countersign_api::keys::REASON_ANNOTATION;
use countersign_core::verdict::Verdict;
use countersign_plan::{ApiServer, ClusterAccess, Dns, InputError, Namespace, PodGroup};
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Width of the text in a comment, in columns, beside the sign of comments.
const COMMENT_COLUMNS: usize = 78;

/// The NetworkPolicies of one workload, with the verdict that they follow.
#[derive(Debug)]
pub(super) struct Planned {
    /// Kind, namespace and name of the workload.
    pub(super) workload: String,
    /// The label that enrols it; `None` if an AgentCard alone names it.
    pub(super) enrolled_by: Option<&'static str>,
    /// The verdict in words, in one line.
    pub(super) because: String,
    /// The NetworkPolicies, in the order in which to apply them.
    pub(super) policies: Vec<NetworkPolicy>,
}

impl Planned {
    /// Describes a verdict in words, in one line.
    pub(super) fn because(verdict: &Verdict) -> String {
        match verdict.outcome() {
            Ok(bound) => {
                let signed = bound.signed();
                format!("verified: signed by {} over {}", signed.spiffe_id(), signed.profile())
            }
            Err(refusal) => format!("refused: {refusal}"),
        }
    }

    /// Name and reason of one NetworkPolicy, in columns.
    pub(super) fn summary(policy: &NetworkPolicy) -> String {
        let name = policy.metadata.name.as_deref().unwrap_or_default();
        format!("{name:<38}{}", reason(policy))
    }

    /// Writes every NetworkPolicy as a YAML document.
    pub(super) fn yaml(&self) -> Result<Vec<u8>, Unusable> {
        self.documents(&self.policies)
    }

    /// Writes the last NetworkPolicy, the one that depends on the verdict, as a YAML document.
    pub(super) fn last_yaml(&self) -> Result<Vec<u8>, Unusable> {
        let from = self.policies.len().saturating_sub(1);
        self.documents(self.policies.get(from..).unwrap_or_default())
    }

    /// Comment in YAML about the workload and its verdict, in lines of 80 columns. No word of either ends the comment.
    pub(super) fn comment(&self) -> String {
        let lines = super::page::wrap(&format!("{} {}", self.workload, self.because), COMMENT_COLUMNS);
        lines.iter().flat_map(|line| ["# ", line.as_str(), "\n"]).collect()
    }

    fn documents(&self, policies: &[NetworkPolicy]) -> Result<Vec<u8>, Unusable> {
        let mut text = String::new();
        for policy in policies {
            let yaml = serde_saphyr::to_string(policy).map_err(Unusable::new)?;
            text.push_str("---\n");
            text.push_str(&self.comment());
            text.push_str(yaml.trim_start_matches("---\n"));
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        Ok(text.into_bytes())
    }
}

/// The reason code in the annotation of a planned NetworkPolicy, or an empty text.
pub(super) fn reason(policy: &NetworkPolicy) -> &str {
    let annotations = policy.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(REASON_ANNOTATION)).map_or("", String::as_str)
}

/// Address and port of the Service `kubernetes` in most clusters of kubeadm.
pub(super) const EXAMPLE_API_SERVER: (&str, u16) = ("10.96.0.1", 443);

/// Makes the facts of a cluster with usual settings, for output without a real cluster.
pub(super) fn example_cluster() -> Result<ClusterAccess, InputError> {
    cluster("countersign-system", &[(EXAMPLE_API_SERVER.0.to_owned(), EXAMPLE_API_SERVER.1)])
}

/// Makes the facts of a cluster whose operator runs in `operator_namespace` and whose API server answers at
/// `api_server`.
pub(super) fn cluster(
    operator_namespace: &str,
    api_server: &[(String, u16)],
) -> Result<ClusterAccess, InputError> {
    let labelled = |namespace: &str, key: &str, value: &str| {
        let labels = [(key.to_owned(), value.to_owned())].into();
        PodGroup::labelled(Namespace::parse(namespace)?, labels)
    };
    ClusterAccess::new(
        labelled(operator_namespace, "app.kubernetes.io/name", "countersign")?,
        ApiServer::parse(
            api_server.iter().map(|(address, port)| (address.as_str(), std::slice::from_ref(port))),
        )?,
        Dns::new(labelled("kube-system", "k8s-app", "kube-dns")?, &[])?,
    )
}
