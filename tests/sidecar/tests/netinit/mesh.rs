//! A mesh that delivers connections of peers from within the pod, as Istio's ambient mode does, in every mode: they reach
//! the proxy, and the agent only by it.

use crate::pod::{POD, Pod, SERVER, at, call, listen};

const AGENT_PORT: u16 = 8001;
/// The ports of the proxy: for requests to the agent, by Envoy's name, and for redirected connections.
const PROXY_PORTS: [u16; 3] = [8000, 15_124, 8082];

#[test]
fn what_a_mesh_delivers_reaches_the_agent_by_the_proxy_alone_in_every_mode() {
    let to_pod = ["--pod-ip", "10.77.0.2,fd77::2"];
    let enforce = ["--mode", "enforce-redirect", "--agent-port", "8001"];
    for (mode, arguments, agent, redirected) in [
        ("redirect", to_pod.to_vec(), "inbound", "inbound"),
        ("redirect, agent port", [&to_pod[..], &["--agent-port", "8001"]].concat(), "inbound", "inbound"),
        ("redirect, confined", [&to_pod[..], &["--drop-other"]].concat(), "inbound", "inbound"),
        ("enforce-redirect", enforce.to_vec(), "timed out", "timed out"),
        (
            "enforce-redirect, two",
            [&enforce[..], &["--agent-port", "9001"]].concat(),
            "timed out",
            "timed out",
        ),
    ] {
        let pod = Pod::new();
        pod.mark_mesh();
        listen(&pod.inside, "agent", AGENT_PORT);
        for (port, name) in PROXY_PORTS.into_iter().zip(["proxy", "inbound", "redirected"]) {
            listen(&pod.inside, name, port);
        }
        listen(&pod.outside, "server", 80);
        let who = |address| pod.as_mesh(|| call(address)).split(' ').next().unwrap_or_default().to_owned();
        let first = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        assert_eq!(who(at(POD[0], AGENT_PORT)), "agent", "{mode}: before the rules");
        pod.netinit(&arguments);
        for own in [POD[0], POD[1], "127.0.0.1", "::1"] {
            assert_eq!(who(at(own, AGENT_PORT)), first(agent), "{mode} {own}");
            assert_eq!(who(at(own, 8082)), first(redirected), "{mode} {own}");
            assert_eq!(pod.as_proxy(|| call(at(own, AGENT_PORT))), format!("agent {}", at(own, AGENT_PORT)));
        }
        for own in POD {
            // Envoy takes the place of the reverse proxy where there is one.
            let expected = if mode.starts_with("redirect") { "inbound" } else { "proxy" };
            assert_eq!(who(at(own, 8000)), expected, "{mode} {own}");
        }
        // What the mesh itself sends out is its own matter.
        for server in SERVER {
            assert_eq!(who(at(server, 80)), "server", "{mode} {server}");
        }
    }
}

#[test]
fn without_a_mesh_its_mark_opens_and_closes_nothing() {
    let pod = Pod::new();
    pod.mark_mesh();
    listen(&pod.inside, "agent", AGENT_PORT);
    listen(&pod.inside, "redirected", 8082);
    let arguments = ["--mode", "enforce-redirect", "--agent-port", "8001", "--ztunnel-mark", "none"];
    pod.netinit(&arguments);
    let address = at(POD[0], AGENT_PORT);
    assert_eq!(pod.as_mesh(|| call(address)), format!("agent {address}"), "a neighbour like others");
    let server = at(SERVER[0], 80);
    assert_eq!(pod.as_mesh(|| call(server)), format!("redirected {server}"));
}
