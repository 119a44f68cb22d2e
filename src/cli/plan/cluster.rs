//! Flags about the whole cluster, which the manifests of agents do not tell.

use crate::exit::Unusable;
use crate::planned::{EXAMPLE_API_SERVER, cluster};
use countersign_plan::{ClusterAccess, Egress, Namespace, PodGroup};
use std::collections::BTreeSet;

/// The cluster.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// Address of the API server, as in `kubectl get endpointslices -n default`. May be repeated.
    #[arg(long, value_name = "IP:PORT", value_parser = parse_endpoint)]
    api_server: Vec<(String, u16)>,
    /// Namespace of the operator.
    #[arg(long, value_name = "NAME", default_value = "countersign-system")]
    pub(super) operator_namespace: String,
    /// Pods that may call verified agents besides agents, such as a gateway's, as for the operator. May be repeated.
    #[arg(
        long = "caller",
        alias = "allow-caller",
        value_name = "NAMESPACE[:key=value,…]",
        value_parser = PodGroup::parse
    )]
    callers: Vec<PodGroup>,
    /// Namespace whose verified agents may call verified agents of all namespaces; with `--egress agents` name the called
    /// namespaces too. May be repeated.
    #[arg(long, value_name = "NAMESPACE")]
    agent_namespace: Vec<String>,
    /// Where verified agents may go.
    #[arg(long, value_enum, default_value_t = EgressArg::Anywhere)]
    egress: EgressArg,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum EgressArg {
    /// Anywhere: agents call models and tools outside.
    Anywhere,
    /// Only to verified agents, DNS and the API server.
    Agents,
}

impl ClusterArgs {
    /// Returns the access that the flags give in the cluster, with a note for each value that was assumed.
    pub(super) fn facts(&self) -> Result<(ClusterAccess, Vec<String>), Unusable> {
        let (assumed, mut notes) = ([(EXAMPLE_API_SERVER.0.to_owned(), EXAMPLE_API_SERVER.1)], Vec::new());
        let api_server = if self.api_server.is_empty() {
            let (address, port) = EXAMPLE_API_SERVER;
            notes.push(format!(
                "warning: the API server is assumed at {address}:{port}; give its addresses with --api-server"
            ));
            assumed.as_slice()
        } else {
            self.api_server.as_slice()
        };
        let mut facts = cluster(&self.operator_namespace, api_server).map_err(Unusable::new)?;
        for caller in &self.callers {
            facts = facts.with_caller(caller.clone());
        }
        for name in &self.agent_namespace {
            facts = facts.with_agent_namespace(Namespace::parse(name).map_err(Unusable::new)?);
        }
        if let EgressArg::Agents = self.egress {
            facts = facts.with_egress(Egress::Listed(BTreeSet::new()));
        }
        Ok((facts, notes))
    }
}

/// `10.0.0.1:6443` or `[fd00::1]:6443`.
fn parse_endpoint(text: &str) -> Result<(String, u16), String> {
    text.parse::<std::net::SocketAddr>()
        .map(|address| (address.ip().to_string(), address.port()))
        .map_err(|_| "write an address and a port, as in 10.0.0.1:6443".to_owned())
}
