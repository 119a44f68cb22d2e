//! Transparent inbound: what comes to the pod's ports from outside, or by a mesh from within, reaches the agent by the gate
//! of a real AuthBridge alone, at whatever port the agent listens.

use crate::pod::{POD, PROXY, Pod, at, call, listen, sh};
use countersign_sidecar_tests::authbridge::{AuthBridge, Options};
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::certificates::Authority;
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::{Connection, Reply, Request, Tls};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::process::Signal;
use countersign_sidecar_tests::scene::{Addresses, Settings, jwt_validation};
use std::net::SocketAddr;
use std::time::Duration;

const ENFORCE: [&str; 5] =
    ["--mode", "enforce-redirect", "--agent-port", "8001", "--inbound-transparent-port=8083"];
const ISSUER: &str = "https://id.example";

/// A pod whose agent listens at ports of its own choice, beside a sidecar.
struct Agent {
    pod: Pod,
    side: Side,
}

/// What runs in the pod.
struct Side {
    /// At a port that netinit was told of, at one that it was not, at one for the pod alone, and behind the reverse proxy.
    declared: Backend,
    undeclared: Backend,
    private: Backend,
    behind: Backend,
    bridge: AuthBridge,
    file: String,
    token: String,
    _jwks: JwksServer,
}

fn addresses() -> Addresses {
    Addresses {
        inbound: at("::", 8080),
        outbound: at("127.0.0.1", 8081),
        health: at("::", 9091),
        stats: at("127.0.0.1", 9093),
        sessions: at("127.0.0.1", 9094),
    }
}

impl Agent {
    fn start(blocks: &str) -> Self {
        let pod = Pod::new();
        pod.mark_mesh();
        let side = pod.inside.inside(None, || Side::start(blocks)).unwrap();
        Self { pod, side }
    }
}

impl Side {
    fn start(blocks: &str) -> Self {
        let serve = |address, text| Backend::start_at(address, Answer::text(text)).unwrap();
        let key = SigningKey::p256("k1").unwrap();
        let jwks = JwksServer::start(&[&key]).unwrap();
        let settings = Settings {
            inbound: jwt_validation(ISSUER, &jwks.url(), "agent"),
            listener: "transparent_inbound_addr: \":8083\"".to_owned(),
            blocks: blocks.to_owned(),
            ..Settings::default()
        };
        let behind = serve(at("127.0.0.1", 8000), "behind");
        let options = Options { user: Some(PROXY), ..Options::default() };
        let file = settings.yaml(&addresses(), &behind.url());
        let bridge = AuthBridge::start(&file, addresses().health, &options).unwrap();
        Self {
            declared: serve(at("::", 8001), "declared"),
            undeclared: serve(at("::", 8002), "undeclared"),
            private: serve(at("127.0.0.1", 8003), "private"),
            behind,
            bridge,
            file,
            token: key.sign(&ordinary_claims(ISSUER, "agent", "caller")).unwrap(),
            _jwks: jwks,
        }
    }

    fn agents(&self) -> [&Backend; 4] {
        [&self.declared, &self.undeclared, &self.private, &self.behind]
    }

    /// How many requests reached an agent.
    fn reached(&self) -> usize {
        self.agents().iter().map(|agent| agent.seen().len()).sum()
    }
}

/// A request with a token or without.
fn ask(address: SocketAddr, token: Option<&str>) -> anyhow::Result<Reply> {
    let request = Request::new("GET", "/x").header("Host", "agent.team1");
    token.map_or(request.clone(), |token| request.bearer(token)).send(&address.to_string())
}

fn answer(reply: anyhow::Result<Reply>) -> String {
    reply.map_or_else(
        |_| "closed".to_owned(),
        |reply| match reply.status {
            200 => reply.text(),
            status => status.to_string(),
        },
    )
}

#[test]
fn a_peer_reaches_each_port_of_the_agent_by_the_gate_alone() {
    let Agent { pod, side } = Agent::start("");
    for own in POD {
        assert_eq!(answer(pod.beyond(|| ask(at(own, 8001), None))), "declared", "before the rules");
    }
    pod.netinit(&ENFORCE);
    for own in POD {
        for (port, name) in [(8001, "declared"), (8002, "undeclared"), (8080, "behind")] {
            for way in ["outside", "mesh"] {
                let ask = |token| {
                    let ask = || answer(ask(at(own, port), token));
                    if way == "mesh" { pod.as_mesh(ask) } else { pod.beyond(ask) }
                };
                let before = side.reached();
                assert_eq!(ask(None), "401", "{way} {own} {port}: {}", side.bridge.log());
                assert_eq!(ask(Some("forged")), "401", "{way} {own} {port}");
                assert_eq!(side.reached(), before, "{way} {own} {port}");
                assert_eq!(ask(Some(&side.token)), name, "{way} {own} {port}: {}", side.bridge.log());
            }
        }
    }
    let seen = side.declared.last().unwrap();
    assert_eq!((seen.target.as_str(), seen.bearer()), ("/x", Some(side.token.as_str())));
    let sessions = pod.inside.inside(None, || {
        Request::new("GET", "/v1/sessions").send(&addresses().sessions.to_string()).unwrap().json().unwrap()
    });
    assert!(!sessions.unwrap()["sessions"].as_array().unwrap().is_empty(), "a redirected call is an event");
}

#[test]
fn mutual_tls_holds_for_redirected_connections_as_for_others() {
    let authority = Authority::new().unwrap();
    let files = Folder::new("svid").unwrap();
    let own = authority.workload("me", "spiffe://example.org/me").unwrap();
    for (name, from) in
        [("svid.pem", &own.chain), ("svid_key.pem", &own.key), ("svid_bundle.pem", &authority.root())]
    {
        files.write(name, std::fs::read(from).unwrap()).unwrap();
    }
    let blocks = format!(
        "mtls: {{mode: strict, allowed_peers: [\"spiffe://example.org/friend\"]}}\nspiffe: {{files_dir: \"{}\"}}",
        files.path().display()
    );
    let Agent { pod, side } = Agent::start(&blocks);
    pod.netinit(&ENFORCE);
    let client = |name: &str| {
        let svid = authority.workload(name, &format!("spiffe://example.org/{name}")).unwrap();
        Tls::with_certificate(&authority.root(), &svid.chain, &svid.key).unwrap()
    };
    let (friend, stranger) = (client("friend"), client("stranger"));
    for own in POD {
        let address = at(own, 8001).to_string();
        let ask_with = |tls: &Tls, token: &str| {
            let request = Request::new("GET", "/x").header("Host", "agent.team1").bearer(token);
            answer(pod.beyond(|| request.send_tls(&address, tls)))
        };
        assert_eq!(answer(pod.beyond(|| ask(at(own, 8001), Some(&side.token)))), "closed");
        assert_eq!(ask_with(&stranger, &side.token), "closed", "{own}");
        assert_eq!(ask_with(&friend, "forged"), "401", "{own}");
        assert_eq!(side.declared.seen().len(), usize::from(own == POD[1]));
        assert_eq!(ask_with(&friend, &side.token), "declared", "{own}: {}", side.bridge.log());
    }
}

#[test]
fn the_reverse_proxy_may_be_left_out_and_the_agent_may_still_call_until_it_is_gone() {
    let pod = Pod::new();
    let start = || {
        let mut side = Side::start("");
        side.bridge.stop().unwrap();
        let file =
            side.file.replace("transparent_inbound_addr: \":8083\"", "inbound_interception: transparent");
        let file = file.lines().filter(|line| !line.contains("reverse_proxy")).collect::<Vec<_>>().join("\n");
        side.bridge.rewrite_config(&file).unwrap();
        side.bridge.start_again(addresses().health).unwrap();
        side
    };
    let mut side = pod.inside.inside(None, start).unwrap();
    pod.netinit(&ENFORCE);
    assert_eq!(answer(pod.beyond(|| ask(at(POD[0], 8002), Some(&side.token)))), "undeclared");
    side.bridge.signal(Signal::TERM).unwrap();
    let proxy = || Connection::open(&addresses().outbound.to_string()).is_ok();
    std::thread::sleep(Duration::from_secs(4));
    assert!(pod.as_agent(proxy), "the agent still listens, and may call");
    drop(side.undeclared);
    let status = side.bridge.wait_end(Duration::from_secs(10)).unwrap();
    assert!(status.success(), "{}", side.bridge.log());
}

#[test]
fn nothing_reaches_the_agent_or_the_sidecar_past_the_redirection() {
    let Agent { pod, side } = Agent::start("");
    pod.netinit(&ENFORCE);
    let token = Some(side.token.as_str());
    for own in POD {
        let closed = |way: &str, reply| {
            assert_eq!(answer(reply), "closed", "{way} {own}: {}", side.bridge.log());
        };
        // The listener itself, by which nobody may reach anything, and the sidecar's other ports.
        closed("outside", pod.beyond(|| ask(at(own, 8083), token)));
        closed("mesh", pod.as_mesh(|| ask(at(own, 8083), token)));
        closed("agent", pod.as_agent(|| ask(at(own, 8083), token)));
        for port in [8081, 9093, 9094] {
            closed("outside", pod.beyond(|| ask(at(own, port), token)));
        }
        // What the agent keeps to loopback stays there: the destination is not changed.
        assert_eq!(answer(pod.beyond(|| ask(at(own, 8003), token))), "503", "{own}");
        // Probes of the sidecar need no token.
        let health = pod.beyond(|| Request::new("GET", "/readyz").send(&at(own, 9091).to_string()));
        assert_eq!(health.unwrap().status, 200, "{own}");
    }
    for own in ["127.0.0.1", "::1"] {
        assert_eq!(answer(pod.as_agent(|| ask(at(own, 8083), token))), "closed", "{own}");
    }
    let log = side.bridge.log();
    assert!(log.contains("made to the transparent inbound listener itself"), "{log}");

    // A neighbour that routes by this pod does not make the proxy call for it.
    for (own, (there, via)) in POD.iter().zip([("198.51.100.9", "ip"), ("2001:db8:9::9", "ip -6")]) {
        sh(&pod.outside, &format!("{via} route add {there} via {own} dev eth0"));
        assert_eq!(pod.beyond(|| call(at(there, 80))), "timed out", "{there}");
    }
    assert_eq!(side.reached(), 0, "{}", side.bridge.log());

    // Within the pod nothing has changed.
    for own in ["127.0.0.1", "::1", POD[0], POD[1]] {
        assert_eq!(answer(pod.as_agent(|| ask(at(own, 8001), None))), "declared", "{own}");
    }
    pod.netinit(&ENFORCE);
    assert_eq!(answer(pod.beyond(|| ask(at(POD[0], 8001), token))), "declared", "after a second run");
}

#[test]
fn without_the_sidecar_no_port_of_the_agent_is_open() {
    let pod = Pod::new();
    pod.mark_mesh();
    for port in [8001, 8002] {
        listen(&pod.inside, "agent", port);
    }
    pod.netinit(&ENFORCE);
    for own in POD {
        for port in [8001, 8002] {
            assert_eq!(pod.beyond(|| call(at(own, port))), "connection refused", "{own}");
            assert_eq!(pod.as_mesh(|| call(at(own, port))), "connection refused", "{own}");
        }
    }
}

/// Who answers at a port: from outside, by a mesh, and from within the pod.
#[test]
fn incoming_tcp_is_led_to_the_proxy_in_the_mode_that_says_so() {
    let to_pod = ["--pod-ip", "10.77.0.2,fd77::2"];
    let excluded = ["--inbound-ports-exclude", "8002"];
    let no_mesh = ["--ztunnel-mark", "none"];
    for (mode, arguments, [declared, undeclared, sidecar], [by_mesh, undeclared_by_mesh]) in [
        ("redirect", to_pod.to_vec(), ["envoy", "envoy", "envoy"], ["envoy", "envoy"]),
        ("enforce", ENFORCE[..4].to_vec(), ["timed out", "agent", "health"], ["timed out", "agent"]),
        ("inbound", ENFORCE.to_vec(), ["proxy", "proxy", "health"], ["proxy", "proxy"]),
        (
            "inbound, excluded",
            [&ENFORCE[..], &excluded].concat(),
            ["proxy", "agent", "health"],
            ["proxy", "agent"],
        ),
        (
            "inbound, own ports",
            [&ENFORCE[..], &["--sidecar-ports-exclude", "9191"]].concat(),
            ["proxy", "proxy", "proxy"],
            ["proxy", "proxy"],
        ),
        (
            "inbound, no mesh",
            [&ENFORCE[..], &no_mesh].concat(),
            ["proxy", "proxy", "health"],
            ["agent", "agent"],
        ),
    ] {
        let pod = Pod::new();
        pod.mark_mesh();
        for (port, name) in
            [(8001, "agent"), (8002, "agent"), (8083, "proxy"), (15_124, "envoy"), (9091, "health")]
        {
            listen(&pod.inside, name, port);
        }
        pod.netinit(&arguments);
        let name = |said: String| match said.split_once(' ') {
            Some((name, _)) if said != "timed out" => name.to_owned(),
            _ => said,
        };
        for own in POD {
            for (port, expected) in [(8001, declared), (8002, undeclared), (9091, sidecar)] {
                assert_eq!(name(pod.beyond(|| call(at(own, port)))), expected, "{mode} {own} {port}");
            }
            for (port, expected) in [(8001, by_mesh), (8002, undeclared_by_mesh)] {
                assert_eq!(name(pod.as_mesh(|| call(at(own, port)))), expected, "{mode} {own} {port}, mesh");
            }
            for port in [8001, 8002] {
                assert_eq!(
                    name(pod.as_proxy(|| call(at(own, port)))),
                    "agent",
                    "{mode} {own} {port}, within"
                );
            }
        }
        for own in ["127.0.0.1", "::1"] {
            assert_eq!(name(pod.as_agent(|| call(at(own, 8001)))), "agent", "{mode} {own}, within");
        }
        if declared == "proxy" {
            // The proxy learns the port that the caller meant.
            assert_eq!(pod.beyond(|| call(at(POD[1], 8001))), format!("proxy {}", at(POD[1], 8001)));
        }
    }
}
