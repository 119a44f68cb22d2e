//! `authbridge netinit`: kernel rules that redirect a pod's traffic to its sidecar, installed by an init container.
//! All rules of both address families are one nftables transaction, so that either all are in force or none.

mod apply;
mod resolv;
mod rules;
mod settings;
mod values;

use apply::apply_rules;
use clap::Args;
use resolv::read_nameservers;
use rules::plan_rules;
use settings::{NetinitSettings, Texts};
use std::io::Write;
use std::process::ExitCode;

/// Where a flag is missing its variable counts, and where that is unset or empty the default does.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Shows the transaction and changes nothing.
    #[arg(long)]
    print: bool,
    /// What is installed: redirect or enforce-redirect [variable: `MODE`] [default: redirect]
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// The user of the proxy, whose traffic is let out [variable: `PROXY_UID`] [default: 1337]
    #[arg(long, value_name = "UID")]
    proxy_uid: Option<String>,
    /// Where outgoing TCP is sent in mode redirect [variable: `PROXY_PORT`] [default: 15123]
    #[arg(long, value_name = "PORT")]
    proxy_port: Option<String>,
    /// Where incoming TCP is sent in mode redirect [variable: `INBOUND_PROXY_PORT`] [default: 15124]
    #[arg(long, value_name = "PORT")]
    inbound_proxy_port: Option<String>,
    /// Where outgoing TCP is sent in mode enforce-redirect [variable: `TRANSPARENT_PORT`] [default: 8082]
    #[arg(long, value_name = "PORT")]
    transparent_port: Option<String>,
    /// A port left alone both ways in mode redirect, or none [variable: `SSH_PORT`] [default: 22]
    #[arg(long, value_name = "PORT")]
    ssh_port: Option<String>,
    /// Outgoing ports left alone in mode redirect [variable: `OUTBOUND_PORTS_EXCLUDE`]
    #[arg(long, value_name = "PORTS")]
    outbound_ports_exclude: Option<String>,
    /// Incoming ports left alone in mode redirect [variable: `INBOUND_PORTS_EXCLUDE`]
    #[arg(long, value_name = "PORTS")]
    inbound_ports_exclude: Option<String>,
    /// A port that is closed to everything outside the pod; may be repeated [variable: `AGENT_PORT`]
    #[arg(long, value_name = "PORT")]
    agent_port: Vec<String>,
    /// The addresses of the pod, needed in mode redirect [variable: `POD_IP`]
    #[arg(long, value_name = "ADDRESSES")]
    pod_ip: Option<String>,
    /// The port of a mesh's tunnel, left alone in mode redirect [variable: `ZTUNNEL_HBONE_PORT`] [default: 15008]
    #[arg(long, value_name = "PORT")]
    ztunnel_hbone_port: Option<String>,
    /// The mark of a mesh's packets, let out, or none [variable: `ZTUNNEL_MARK`] [default: 0x539/0xfff]
    #[arg(long, value_name = "MARK/MASK")]
    ztunnel_mark: Option<String>,
    /// Where a mesh's health probes come from [variable: `ISTIO_HEALTH_PROBE_SRC`] [default: those of Istio]
    #[arg(long, value_name = "ADDRESSES")]
    istio_health_probe_src: Option<String>,
    /// Lets nothing out in mode redirect either but what is redirected, excluded or DNS [variable: `DROP_OTHER`]
    #[arg(long)]
    drop_other: bool,
    /// The file that names the DNS servers [variable: `RESOLV_CONF`] [default: /etc/resolv.conf]
    #[arg(long, value_name = "FILE")]
    resolv_conf: Option<String>,
    /// The program that speaks to the kernel [variable: `NFT_CMD`] [default: nft]
    #[arg(long, value_name = "PROGRAM")]
    nft: Option<String>,
}

/// Installs the rules, or prints them.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match install(arguments, &variable) {
        Ok(said) => match writeln!(std::io::stdout().lock(), "{said}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(problem) => {
            // A write to a closed terminal fails, and there is nobody to tell.
            let _ = writeln!(std::io::stderr().lock(), "the rules could not be installed: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn install(arguments: &Arguments, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let texts = Texts { arguments, variable };
    let mut settings = NetinitSettings::parse(&texts)?;
    if settings.confines() {
        settings.nameservers = read_nameservers(texts.resolv_conf().as_ref())?;
    }
    let transaction = plan_rules(&settings)?;
    if arguments.print {
        return Ok(transaction.trim_end().to_owned());
    }
    apply_rules(&texts.nft(), &transaction)?;
    Ok(format!("the rules of mode {} are in force, for IPv4 and IPv6", settings.mode.name()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "operators set these variables on the init container of every pod"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct TestCommand {
        #[command(flatten)]
        arguments: Arguments,
    }

    pub(super) fn arguments(flags: &[&str]) -> Arguments {
        TestCommand::parse_from(["netinit"].iter().chain(flags)).arguments
    }

    #[test]
    fn a_confining_mode_is_refused_where_no_dns_server_is_named() {
        let problem = install(&arguments(&["--print", "--mode", "enforce-redirect"]), &|name| {
            (name == "RESOLV_CONF").then(|| "/dev/null".to_owned())
        });
        assert!(problem.unwrap_err().contains("/dev/null"));
    }

    #[test]
    fn a_redirecting_mode_does_not_read_the_file_of_dns_servers() {
        let shown = install(&arguments(&["--print", "--resolv-conf", "/nonexistent"]), &|name| {
            (name == "POD_IP").then(|| "10.1.2.3".to_owned())
        });
        assert!(shown.unwrap().starts_with("add table inet authbridge\ndelete table inet authbridge\n"));
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure() {
        let flags = ["--pod-ip", "10.1.2.3", "--nft", "/nonexistent/nft"];
        assert!(install(&arguments(&flags), &|_| None).unwrap_err().contains("/nonexistent/nft"));
    }
}
