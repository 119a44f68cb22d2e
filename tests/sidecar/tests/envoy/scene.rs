//! An agent behind AuthBridge and Envoy, with the settings that docs/envoy.md shows.
//! Where the kernel would redirect connections, the PROXY protocol says where they were going.

use countersign_sidecar_tests::authbridge::{AuthBridge, Options};
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::envoy::Envoy;
use countersign_sidecar_tests::http::{self, Connection, Reply, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{self, SigningKey, ordinary_claims};
use countersign_sidecar_tests::ports;
use countersign_sidecar_tests::scene::{jwt_validation, token_exchange};
use serde_json::{Value, json};
use std::net::SocketAddr;

const DOC: &str = include_str!("../../../../docs/envoy.md");
pub(crate) const ISSUER: &str = "https://id.example/realms/agents";
const REDIRECTED: &str = "envoy.filters.listener.original_dst";
const REDIRECTED_TYPE: &str =
    "{\"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}";

/// The blocks of YAML in the document: AuthBridge's, Envoy's, and the one for mTLS.
pub(crate) fn shown(index: usize) -> &'static str {
    DOC.split("```yaml\n").nth(index + 1).and_then(|rest| rest.split("```").next()).unwrap()
}

/// Changes `text` where `from` stands, which it must.
pub(crate) fn change(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in\n{text}");
    text.replace(from, to)
}

/// Where they listen.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) inbound: u16,
    pub(crate) outbound: u16,
    pub(crate) ext_proc: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) stats: SocketAddr,
    pub(crate) sessions: SocketAddr,
}

/// An agent, its AuthBridge and its Envoy; a server that it calls, and who gives it tokens.
pub(crate) struct Scene {
    pub(crate) key: SigningKey,
    _jwks: JwksServer,
    pub(crate) agent: Backend,
    pub(crate) tool: Backend,
    /// Gives tokens.
    pub(crate) endpoint: Backend,
    pub(crate) bridge: AuthBridge,
    pub(crate) envoy: Envoy,
    pub(crate) at: Ports,
}

/// What differs from the ordinary scene.
#[derive(Default)]
pub(crate) struct Changes<'a> {
    /// In the settings of Envoy.
    pub(crate) envoy: &'a [(&'a str, &'a str)],
    /// Blocks of AuthBridge's settings.
    pub(crate) blocks: &'a str,
}

/// The ordinary one.
pub(crate) fn scene() -> Scene {
    scene_with(&Changes::default())
}

/// One with changes.
pub(crate) fn scene_with(changes: &Changes<'_>) -> Scene {
    let local = || SocketAddr::from(([127, 0, 0, 1], ports::free().unwrap()));
    let at = Ports {
        inbound: ports::free().unwrap(),
        outbound: ports::free().unwrap(),
        ext_proc: local(),
        health: local(),
        stats: local(),
        sessions: local(),
    };
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let endpoint = Backend::start(Answer::json(&json!({
        "access_token": "exchanged", "token_type": "Bearer", "expires_in": 300
    })));
    let endpoint = endpoint.unwrap();
    let settings = authbridge(at, &jwks, &endpoint, changes.blocks);
    Scene {
        key,
        _jwks: jwks,
        agent: Backend::start(Answer::text("the agent")).unwrap(),
        tool: Backend::start(Answer::text("the tool")).unwrap(),
        endpoint,
        bridge: AuthBridge::start(&settings, at.health, &Options::default()).unwrap(),
        envoy: Envoy::start(&envoy(at, changes.envoy)).unwrap(),
        at,
    }
}

fn authbridge(at: Ports, jwks: &JwksServer, endpoint: &Backend, blocks: &str) -> String {
    let routes = ["{host: localhost, target_audience: tool}", "{host: denied.example, action: deny}"];
    let indented = |text: String| format!("      {}\n", text.replace('\n', "\n      "));
    let inbound = indented(jwt_validation(ISSUER, &jwks.url(), "agent-a"));
    let token_url = format!("{}/token", endpoint.url());
    let outbound = indented(token_exchange(&token_url, ("agent", "secret"), &routes));
    let Ports { ext_proc, health, stats, sessions, .. } = at;
    format!(
        "mode: envoy-sidecar\nlistener:\n  ext_proc_addr: \"{ext_proc}\"\n  session_api_addr: \"{sessions}\"\n\
         health: {{address: \"{health}\"}}\nstats: {{address: \"{stats}\"}}\npipeline:\n  inbound:\n    plugins:\n{inbound}  \
         outbound:\n    plugins:\n{outbound}{blocks}\n"
    )
}

/// The document's settings of Envoy, at the ports of a test.
fn envoy(at: Ports, changes: &[(&str, &str)]) -> String {
    let mut settings = shown(1).to_owned();
    let proxy = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
    let ports = [at.inbound, at.outbound, at.ext_proc.port()].map(|port| format!("port_value: {port}"));
    let [inbound, outbound, ext_proc] = &ports;
    let proxy_type =
        format!("{{\"@type\": type.googleapis.com/{proxy}, allow_requests_without_proxy_protocol: true}}");
    for (from, to) in [
        ("address: 0.0.0.0, port_value: 15124", &*format!("address: 127.0.0.1, {inbound}")),
        ("address: \"::\", port_value: 15124", &*format!("address: \"::1\", {inbound}")),
        ("port_value: 15123", outbound),
        ("port_value: 9090", ext_proc),
        (REDIRECTED, "envoy.filters.listener.proxy_protocol"),
        (REDIRECTED_TYPE, &proxy_type),
    ]
    .iter()
    .chain(changes)
    {
        settings = change(&settings, from, to);
    }
    settings
}

impl Scene {
    pub(crate) fn token(&self) -> String {
        self.key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap()
    }

    /// One that ends in so many seconds.
    pub(crate) fn token_for(&self, seconds: i64) -> String {
        let mut claims = ordinary_claims(ISSUER, "agent-a", "alice");
        claims["exp"] = (i64::try_from(jwt::now()).unwrap() + seconds).into();
        self.key.sign(&claims).unwrap()
    }

    /// A connection at the listener `port` that was going to `destination`.
    pub(crate) fn open(port: u16, destination: SocketAddr) -> Connection {
        Self::open_at(SocketAddr::from(([127, 0, 0, 1], port)), destination)
    }

    /// The same at an address of either family.
    pub(crate) fn open_at(listener: SocketAddr, destination: SocketAddr) -> Connection {
        let mut connection = Connection::open(&listener.to_string()).unwrap();
        let line = format!("PROXY TCP4 127.0.0.1 {} 40000 {}\r\n", destination.ip(), destination.port());
        connection.write(line.as_bytes()).unwrap();
        connection
    }

    /// A request to the agent.
    pub(crate) fn call(&self, request: &Request) -> Reply {
        Self::open(self.at.inbound, self.agent.address()).send(request).unwrap()
    }

    /// A request of the agent for `host` over a connection to `destination`.
    pub(crate) fn call_out(&self, host: &str, destination: SocketAddr, request: Request) -> Reply {
        Self::open(self.at.outbound, destination).send(&request.header("Host", host)).unwrap()
    }

    pub(crate) fn tool_host(&self) -> String {
        format!("localhost:{}", self.tool.address().port())
    }

    pub(crate) fn token_calls(&self) -> usize {
        self.endpoint.seen().len()
    }

    pub(crate) fn get(address: SocketAddr, path: &str) -> Value {
        http::get(&format!("http://{address}{path}")).unwrap().json().unwrap()
    }
}

/// The code of an answer of AuthBridge itself.
pub(crate) fn error(reply: &Reply) -> Value {
    reply.json().unwrap()["error"].clone()
}

/// A header of an answer.
pub(crate) fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let of_name = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
    reply.headers.iter().find(of_name).map(|(_, value)| value.as_str())
}
