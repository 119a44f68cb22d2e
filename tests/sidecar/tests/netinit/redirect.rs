//! Mode redirect: TCP both ways through an Envoy, whose place listeners of the test take.

use crate::pod::{
    DNS, OTHER, POD, PROBE, Pod, SERVER, at, call, listen, listen_at, listen_udp, sh, udp_answers,
};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpSocket;

const BOTH: [&str; 2] = ["--pod-ip", "10.77.0.2,fd77::2"];

fn pod() -> Pod {
    let pod = Pod::new();
    listen(&pod.inside, "outbound", 15_123);
    listen(&pod.inside, "inbound", 15_124);
    listen(&pod.inside, "agent", 8000);
    for port in [22, 80, 8080] {
        listen(&pod.outside, "server", port);
    }
    pod.mark_mesh();
    let looks = "type filter hook postrouting priority 10; meta skuid 1337 meta mark & 0xfff == 0x539 tcp dport 8000 counter;";
    sh(&pod.inside, &format!("nft add chain inet mesh looks '{{ {looks} }}'"));
    pod
}

fn call_from(source: &str, address: SocketAddr) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(at(source, 0)).unwrap();
        tokio::time::timeout(Duration::from_millis(1500), socket.connect(address)).await.unwrap().unwrap()
    });
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    crate::pod::line(&mut stream)
}

#[test]
fn outgoing_tcp_lands_at_the_proxy_but_for_its_own_and_excluded_ports() {
    let pod = pod();
    pod.netinit(&[&BOTH[..], &["--outbound-ports-exclude", "8080"]].concat());
    for server in SERVER {
        let address = at(server, 80);
        assert_eq!(pod.as_agent(|| call(address)), format!("outbound {address}"));
        assert_eq!(pod.as_proxy(|| call(address)), format!("server {address}"));
        for port in [22, 8080] {
            let address = at(server, port);
            assert_eq!(pod.as_agent(|| call(address)), format!("server {address}"));
        }
    }
    for address in ["127.0.0.1", "::1"] {
        let address = at(address, 8000);
        assert_eq!(pod.as_agent(|| call(address)), format!("agent {address}"));
    }
}

#[test]
fn incoming_tcp_lands_at_the_proxy_but_for_excluded_ports_and_probes() {
    let pod = pod();
    listen(&pod.inside, "excluded", 7000);
    pod.netinit(&[&BOTH[..], &["--inbound-ports-exclude", "7000"]].concat());
    for ((own, source), probe) in POD.into_iter().zip(OTHER).zip(PROBE) {
        let (agent, excluded) = (at(own, 8000), at(own, 7000));
        assert_eq!(pod.beyond(|| call_from(source, agent)), format!("inbound {agent}"));
        assert_eq!(pod.beyond(|| call_from(source, excluded)), format!("excluded {excluded}"));
        // Its route back is by the default, as on a node.
        assert_eq!(pod.beyond(|| call_from(probe, agent)), format!("agent {agent}"));
        assert_eq!(pod.beyond(|| call(at(own, 15_123))), "timed out");
    }
}

#[test]
fn what_a_mesh_delivers_goes_to_the_proxy_first_and_from_it_to_the_agent() {
    let pod = pod();
    listen(&pod.inside, "excluded", 7000);
    pod.netinit(&[&BOTH[..], &["--inbound-ports-exclude", "7000"]].concat());
    let as_mesh = |address| pod.as_mesh(|| call(address));
    for (own, server) in POD.into_iter().zip(SERVER) {
        assert_eq!(as_mesh(at(own, 8000)), format!("inbound {}", at(own, 8000)));
        assert_eq!(as_mesh(at(own, 7000)), format!("excluded {}", at(own, 7000)));
        assert_eq!(as_mesh(at(server, 80)), format!("server {}", at(server, 80)));
    }
    assert!(pod.rules().contains("counter packets 0 "), "{}", pod.rules());
    assert_eq!(pod.as_proxy(|| call(at(POD[0], 8000))), format!("agent {}", at(POD[0], 8000)));
    assert!(!pod.rules().contains("counter packets 0 "), "the proxy's delivery has no mark");
}

#[test]
fn a_mesh_does_not_deliver_past_the_proxy_to_a_family_without_an_address() {
    let pod = pod();
    pod.netinit(&["--pod-ip", POD[0]]);
    let as_mesh = |address| pod.as_mesh(|| call(address));
    assert_eq!(as_mesh(at(POD[0], 8000)), format!("inbound {}", at(POD[0], 8000)));
    let refused = as_mesh(at(POD[1], 8000));
    assert!(!refused.contains("agent") && !refused.contains("inbound"), "{refused}");
}

#[test]
fn datagrams_go_out_unless_that_is_asked_to_end() {
    let pod = pod();
    for address in [DNS, SERVER].concat() {
        listen_udp(&pod.outside, at(address, 53));
    }
    pod.netinit(&BOTH);
    assert!(SERVER.iter().all(|server| pod.as_agent(|| udp_answers(at(server, 53)))));
    pod.netinit(&[&BOTH[..], &["--drop-other"]].concat());
    assert!(!SERVER.iter().any(|server| pod.as_agent(|| udp_answers(at(server, 53)))));
    assert!(DNS.iter().all(|dns| pod.as_agent(|| udp_answers(at(dns, 53)))));
    for server in SERVER {
        assert_eq!(pod.as_agent(|| call(at(server, 80))), format!("outbound {}", at(server, 80)));
        assert_eq!(pod.as_agent(|| call(at(server, 22))), format!("server {}", at(server, 22)));
        assert_eq!(pod.as_proxy(|| call(at(server, 80))), format!("server {}", at(server, 80)));
    }
}

#[test]
fn a_closed_port_is_closed_to_probes_as_well() {
    let pod = pod();
    listen_at(&pod.inside, "agent", at(POD[0], 8001));
    pod.netinit(&[&BOTH[..], &["--agent-port", "8001", "--istio-health-probe-src", OTHER[0]]].concat());
    assert_eq!(pod.beyond(|| call_from(DNS[0], at(POD[0], 8001))), format!("inbound {}", at(POD[0], 8001)));
    let probe = std::panic::catch_unwind(|| pod.beyond(|| call_from(OTHER[0], at(POD[0], 8001))));
    assert!(probe.is_err());
}
