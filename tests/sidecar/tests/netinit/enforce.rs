//! Mode enforce-redirect: what the agent sends goes to the proxy, to DNS, or nowhere.

use crate::pod::{
    AGENT, DNS, POD, Pod, SERVER, at, call, line, listen, listen_at, listen_udp, sh, udp_answers,
    udp_answers_from,
};
use countersign_rig::Net;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;
use tokio::net::TcpSocket;

/// A pod with a listener in the place of the proxy's, and servers outside.
fn pod() -> Pod {
    let pod = Pod::new();
    listen(&pod.inside, "proxy", 8082);
    listen(&pod.outside, "server", 80);
    pod
}

#[test]
fn tcp_of_another_user_lands_at_the_proxy_which_learns_where_it_was_going() {
    let pod = pod();
    for server in SERVER {
        let address = at(server, 80);
        assert_eq!(pod.as_agent(|| call(address)), format!("server {address}"), "before the rules");
    }
    pod.enforce();
    for server in SERVER {
        let address = at(server, 80);
        assert_eq!(pod.as_agent(|| call(address)), format!("proxy {address}"));
        assert_eq!(pod.inside.inside(None, || call(address)).unwrap(), format!("proxy {address}"), "as root");
        assert_eq!(pod.as_proxy(|| call(address)), format!("server {address}"));
    }
}

#[test]
fn without_the_proxy_nothing_gets_through() {
    let pod = Pod::new();
    listen(&pod.outside, "server", 80);
    pod.enforce();
    for server in SERVER {
        assert_eq!(pod.as_agent(|| call(at(server, 80))), "connection refused");
    }
}

#[test]
fn traffic_within_the_pod_is_left_alone() {
    let pod = pod();
    listen(&pod.inside, "neighbour", 9000);
    listen_udp(&pod.inside, at("::", 9000));
    pod.enforce();
    for address in ["127.0.0.1", "127.8.8.8", "::1", POD[0], POD[1]] {
        let address = at(address, 9000);
        assert_eq!(pod.as_agent(|| call(address)), format!("neighbour {address}"));
    }
    assert!(pod.as_agent(|| udp_answers(at("127.0.0.1", 9000))));
    assert!(pod.as_agent(|| udp_answers(at("::1", 9000))));
}

#[test]
fn dns_goes_to_the_named_servers_and_no_other_datagram_goes_out() {
    let pod = pod();
    listen(&pod.outside, "server", 53);
    for address in [DNS, SERVER].concat() {
        listen_udp(&pod.outside, at(address, 53));
        listen_udp(&pod.outside, at(address, 443));
        assert!(pod.as_agent(|| udp_answers(at(address, 443))), "before the rules");
    }
    pod.enforce();
    for dns in DNS {
        assert!(pod.as_agent(|| udp_answers(at(dns, 53))), "{dns}");
        assert!(!pod.as_agent(|| udp_answers(at(dns, 443))), "{dns}");
        assert_eq!(pod.as_agent(|| call(at(dns, 53))), format!("server {}", at(dns, 53)));
    }
    for server in SERVER {
        for port in [53, 443] {
            assert!(!pod.as_agent(|| udp_answers(at(server, port))), "{server} {port}");
            assert!(pod.as_proxy(|| udp_answers(at(server, port))), "{server} {port}");
        }
        assert_eq!(pod.as_agent(|| call(at(server, 53))), format!("proxy {}", at(server, 53)));
    }
}

#[test]
fn echo_requests_go_out_for_the_proxy_only_and_come_in_for_everybody() {
    let pod = pod();
    sh(&pod.inside, "echo '0 65535' >/proc/sys/net/ipv4/ping_group_range");
    let send = |target: &str, user| {
        // A socket for echo requests needs no rights, so nobody's are given.
        let script = "import socket, sys\n\
            six = ':' in sys.argv[1]\n\
            s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM, 58 if six else 1)\n\
            s.settimeout(0.6)\n\
            s.sendto(bytes([128 if six else 8, 0, 0, 0, 0, 1, 0, 1]), (sys.argv[1], 0))\n\
            s.recv(99)\n";
        let net = if user == 0 { &pod.outside } else { &pod.inside };
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script, target]);
        net.inside((user != 0).then_some(user), || python.output()).unwrap().unwrap().status.success()
    };
    pod.enforce();
    sh(&pod.outside, "echo '0 65535' >/proc/sys/net/ipv4/ping_group_range");
    for (server, own) in SERVER.into_iter().zip(POD) {
        assert!(!send(server, AGENT), "{server}");
        assert!(send(server, 1337), "{server}");
        assert!(send(own, 0), "{own}");
    }
}

#[test]
fn who_asks_from_outside_is_answered() {
    let pod = pod();
    listen_udp(&pod.inside, at(POD[0], 9000));
    listen_udp(&pod.inside, at(POD[1], 9000));
    listen(&pod.inside, "agent", 9001);
    pod.enforce();
    for own in POD {
        assert!(pod.beyond(|| udp_answers(at(own, 9000))));
        assert_eq!(pod.beyond(|| call(at(own, 9001))), format!("agent {}", at(own, 9001)));
    }
}

#[test]
fn a_socket_that_chooses_its_interface_gets_no_further() {
    let pod = pod();
    listen_udp(&pod.outside, at(SERVER[0], 443));
    pod.enforce();
    for interface in ["lo", "eth0"] {
        let answered = pod.as_agent(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind_device(Some(interface.as_bytes())).unwrap();
                let call = socket.connect(at(SERVER[0], 80));
                let tcp = matches!(tokio::time::timeout(Duration::from_millis(600), call).await, Ok(Ok(_)));
                let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
                socket.bind_device(Some(interface.as_bytes())).unwrap();
                let socket = socket.into_std().unwrap();
                socket.set_nonblocking(false).unwrap();
                (tcp, udp_answers_from(&socket, at(SERVER[0], 443)))
            })
        });
        // By loopback it may still be redirected: to the proxy, never out.
        assert!(!answered.1, "{interface}");
        assert!(!answered.0 || interface == "lo", "{interface}");
    }
    let seen = sh(&pod.outside, "cat /proc/net/snmp | grep Udp:");
    assert!(seen.lines().nth(1).unwrap().starts_with("Udp: 0 "), "{seen}");
}

#[test]
fn a_network_within_the_pod_gets_no_further_than_the_pod() {
    let pod = pod();
    let nested = Net::create().unwrap();
    let pair = format!("ip link add inner type veth peer name eth0 netns {}", nested.path());
    sh(&pod.inside, &format!("{pair}; ip addr add 10.78.0.1/24 dev inner; ip link set inner up"));
    sh(&nested, "ip addr add 10.78.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.78.0.1");
    sh(&pod.outside, &format!("ip route add 10.78.0.0/24 via {}", POD[0]));
    listen_udp(&pod.outside, at(SERVER[0], 443));
    let reaches = || {
        let reach = || (call(at(SERVER[0], 80)), udp_answers(at(SERVER[0], 443)));
        nested.inside(None, reach).unwrap()
    };
    assert_eq!(reaches(), (format!("server {}", at(SERVER[0], 80)), true), "before the rules");
    pod.enforce();
    assert_eq!(reaches(), ("timed out".to_owned(), false));
}

#[test]
fn a_connection_or_flow_from_before_the_rules_gets_no_further() {
    for tracked in [false, true] {
        let pod = pod();
        listen_udp(&pod.outside, at(SERVER[0], 443));
        if tracked {
            // Any rule about connections makes the kernel follow them.
            let chain = "'{ type filter hook output priority 0; ct state established accept; }'";
            sh(&pod.inside, &format!("nft add table inet others; nft add chain inet others looks {chain}"));
        }
        let (mut stream, socket) = pod.as_agent(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            assert!(udp_answers_from(&socket, at(SERVER[0], 443)));
            (TcpStream::connect(at(SERVER[1], 80)).unwrap(), socket)
        });
        assert!(line(&mut stream).starts_with("server"));
        stream.write_all(b"echoed\n").unwrap();
        assert_eq!(line(&mut stream), "echoed");
        pod.enforce();
        // What was not followed before looks new: it is redirected, and the proxy's side knows nothing of it.
        let _ = stream.write_all(b"secret\n").and_then(|()| stream.write_all(b"secret\n"));
        assert_eq!(line(&mut stream), "");
        assert!(!udp_answers_from(&socket, at(SERVER[0], 443)));
    }
}

#[test]
fn what_the_proxy_wrote_before_it_closed_a_connection_still_arrives() {
    const BYTES: usize = 4_000_000;
    let pod = pod();
    let listener = pod.beyond(|| std::net::TcpListener::bind(at(SERVER[0], 81)).unwrap());
    pod.enforce();
    let mut stream = pod.as_proxy(|| TcpStream::connect(at(SERVER[0], 81)).unwrap());
    let (mut accepted, _) = listener.accept().unwrap();
    let receiver = std::thread::spawn(move || {
        // So late that the socket is closed, and its owner forgotten, while most is still to be sent.
        std::thread::sleep(Duration::from_millis(300));
        accepted.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut received = Vec::new();
        accepted.read_to_end(&mut received).map(|_| received.len())
    });
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    while written < BYTES {
        match stream.write(&[7; 10_000]) {
            Ok(count) => written += count,
            Err(_) => break,
        }
    }
    drop(stream);
    assert_eq!(receiver.join().unwrap().unwrap(), written);
}

#[test]
fn the_agents_port_is_open_within_the_pod_and_closed_from_outside() {
    let pod = pod();
    listen(&pod.inside, "agent", 8001);
    for own in POD {
        assert_eq!(pod.beyond(|| call(at(own, 8001))), format!("agent {}", at(own, 8001)), "before");
    }
    pod.enforce();
    for own in POD {
        assert_eq!(pod.beyond(|| call(at(own, 8001))), "timed out");
        // Nor is the proxy's own for redirected connections.
        assert_eq!(pod.beyond(|| call(at(own, 8082))), "timed out");
    }
    for address in ["127.0.0.1", "::1", POD[0], POD[1]] {
        let address = at(address, 8001);
        assert_eq!(pod.as_proxy(|| call(address)), format!("agent {address}"));
        assert_eq!(pod.as_agent(|| call(address)), format!("agent {address}"));
    }
}

#[test]
fn a_call_of_the_proxy_from_a_port_that_is_closed_is_answered() {
    let pod = pod();
    listen_at(&pod.outside, "server", at(SERVER[0], 81));
    pod.enforce();
    let answer = pod.as_proxy(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(at(POD[0], 8001)).unwrap();
            socket.connect(at(SERVER[0], 81)).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        line(&mut { stream })
    });
    assert_eq!(answer, format!("server {}", at(SERVER[0], 81)));
}
