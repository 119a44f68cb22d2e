//! The same request through the sidecar's own proxies and through Envoy: decided alike, and told alike in the events.

use crate::scene::{Changes, ISSUER, Scene as Enveloped, change, scene_with};
use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::Answer;
use countersign_sidecar_tests::http::{self, Request};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::ordinary_claims;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

const UNGATED: &str = "  dangerously_allow_unauthenticated: true\n";
const ROUTES: [&str; 3] = [
    "{host: localhost, target_audience: tool}",
    "{host: denied.example, action: deny}",
    "{host: 127.0.0.1, action: passthrough}",
];

/// What the events tell about the request for `path`: its phase, its error and what each plugin did.
fn told(sessions: SocketAddr, path: &str) -> Value {
    let get = |path: &str| http::get(&format!("http://{sessions}{path}")).unwrap().json().unwrap();
    let list = get("/v1/sessions");
    let ids = list["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    let events: Vec<Value> =
        ids.flat_map(|id| get(&format!("/v1/sessions/{id}"))["events"].as_array().unwrap().clone()).collect();
    let of_path = |event: &&Value| event["path"] == path && event["phase"] != "response";
    let event = events.iter().find(of_path).unwrap_or_else(|| panic!("{path} is not in {events:?}"));
    json!([event["phase"], event["error"]["code"], event["invocations"]])
}

/// What makes a request of a table's row whole.
type Finish<'a> = &'a dyn Fn(Request) -> Request;

/// One way through the sidecar: by Envoy or by its own proxies.
struct Way<'a> {
    sessions: SocketAddr,
    inward: &'a dyn Fn(&Request) -> u16,
    outward: &'a dyn Fn(&str, Request) -> u16,
}

/// Sends all requests one way; for each its name, its status and what the events tell.
fn outcomes(way: &Way<'_>, tool: SocketAddr, token: &str, round: &str) -> Vec<(String, u16, Value)> {
    let websocket = |request: Request| {
        let request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
        let key = request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        key.header("Sec-WebSocket-Version", "13")
    };
    let mut all = Vec::new();
    let inward: [(&str, Finish<'_>); 4] = [
        ("no-token", &|request| request),
        ("bad-token", &|request| request.bearer("bad")),
        ("good-token", &|request| request.bearer(token)),
        ("websocket-without-token", &websocket),
    ];
    for (name, finish) in inward {
        let path = format!("/{round}-{name}");
        let status = (way.inward)(&finish(Request::new("GET", &path)));
        all.push((path.clone(), status, told(way.sessions, &path)));
    }
    let (localhost, address) = (format!("localhost:{}", tool.port()), tool.to_string());
    let outward: [(&str, &str, Finish<'_>); 6] = [
        ("exchanged", &localhost, &|request| request.bearer("subject")),
        ("exchange-fails", &localhost, &|request| request.bearer("unlucky")),
        ("websocket-exchange-fails", &localhost, &|request| websocket(request.bearer("unlucky"))),
        ("nothing-to-exchange", &localhost, &|request| request),
        ("denied-by-route", "denied.example", &|request| request.bearer("subject")),
        ("passed-through", &address, &|request| request.bearer("subject")),
    ];
    for (name, host, finish) in outward {
        // The proxy would look for a server of that name if it only observed.
        if name == "denied-by-route" && round == "observed" {
            continue;
        }
        let path = format!("/{round}-{name}");
        let status = (way.outward)(host, finish(Request::new("GET", &path)));
        all.push((path.clone(), status, told(way.sessions, &path)));
    }
    all
}

/// One of the first plugin of each direction that observes.
fn observing(settings: &str) -> String {
    let observes = |text: &str, name: &str| {
        change(text, &format!("- name: {name}\n"), &format!("- name: {name}\n        on_error: observe\n"))
    };
    let settings = change(settings, "pipeline:\n", &format!("pipeline:\n{UNGATED}"));
    observes(&observes(&settings, "jwt-validation"), "token-exchange")
}

#[test]
fn a_request_is_decided_and_told_the_same_by_the_proxies_and_by_envoy() {
    let enveloped = scene_with(&Changes::default());
    let unlucky = |seen: &countersign_sidecar_tests::backend::Seen| {
        if seen.text().contains("unlucky") {
            return Answer::text("down").with_status(500);
        }
        Answer::json(&json!({ "access_token": "exchanged", "token_type": "Bearer", "expires_in": 300 }))
    };
    enveloped.endpoint.answer_with(unlucky);
    let jwks = JwksServer::start(&[&enveloped.key]).unwrap();
    let token_url = format!("{}/token", enveloped.endpoint.url());
    let proxied = Settings {
        inbound: jwt_validation(ISSUER, &jwks.url(), "agent-a"),
        outbound: token_exchange(&token_url, ("agent", "secret"), &ROUTES),
        ..Settings::default()
    };
    let scene = Scene::start(&proxied, &Options::default()).unwrap();
    let tool = enveloped.tool.address();
    let token = enveloped.key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();

    let routes = change(
        &std::fs::read_to_string(enveloped.bridge.folder().join("authbridge.yaml")).unwrap(),
        ROUTES[1],
        &format!("{}\n              - {}", ROUTES[1], ROUTES[2]),
    );
    let reload = |bridge: &dyn Fn(), stats: SocketAddr| {
        let reloads = || Enveloped::get(stats, "/reload/status")["reloads_ok"].as_u64();
        let before = reloads();
        bridge();
        until("reload", Duration::from_secs(15), || Ok(reloads() > before)).unwrap();
    };
    reload(&|| enveloped.bridge.rewrite_config(&routes).unwrap(), enveloped.at.stats);

    let by_envoy = Way {
        sessions: enveloped.at.sessions,
        inward: &|request| enveloped.call(request).status,
        outward: &|host, request| enveloped.call_out(host, tool, request).status,
    };
    let by_proxy = Way {
        sessions: scene.at.sessions,
        inward: &|request| scene.call(request).unwrap().status,
        outward: &|host, request| {
            let path = String::from_utf8(request.bytes(host)).unwrap();
            let path = path.split(' ').nth(1).unwrap_or_default().to_owned();
            let whole = request.with_target(&format!("http://{host}{path}")).header("Host", host);
            whole.send(&scene.at.outbound.to_string()).unwrap().status
        },
    };
    let compare = |round: &str| {
        let (envoy, proxy) =
            (outcomes(&by_envoy, tool, &token, round), outcomes(&by_proxy, tool, &token, round));
        for (envoy, proxy) in envoy.iter().zip(&proxy) {
            assert_eq!(envoy, proxy);
        }
        let name = |(path, status, told): &(String, u16, Value)| {
            let last = &told[2][0];
            let did = format!("{}/{}", last["action"], last["reason"]).replace('"', "");
            (path.trim_start_matches(&format!("/{round}-")).to_owned(), *status, did, last["shadow"] == true)
        };
        proxy.iter().map(name).collect::<Vec<_>>()
    };
    let row =
        |name: &str, status: u16, did: &str, shadow: bool| (name.to_owned(), status, did.to_owned(), shadow);
    assert_eq!(
        compare("enforced"),
        [
            row("no-token", 401, "deny/auth.missing-token", false),
            row("bad-token", 401, "deny/TokenMalformed", false),
            row("good-token", 200, "allow/authorized", false),
            row("websocket-without-token", 401, "deny/auth.missing-token", false),
            row("exchanged", 200, "modify/token_replaced", false),
            row("exchange-fails", 503, "deny/upstream.token-exchange-failed", false),
            row("websocket-exchange-fails", 503, "deny/upstream.token-exchange-failed", false),
            row("nothing-to-exchange", 401, "deny/auth.missing-token", false),
            row("denied-by-route", 403, "deny/policy.forbidden", false),
            row("passed-through", 200, "allow/passthrough", false),
        ]
    );
    reload(&|| enveloped.bridge.rewrite_config(&observing(&routes)).unwrap(), enveloped.at.stats);
    let yaml = observing(&proxied.yaml(&scene.at, &scene.agent.url()));
    reload(&|| scene.bridge.rewrite_config(&yaml).unwrap(), scene.at.stats);
    let expected = [
        row("no-token", 200, "observe/denied", true),
        row("bad-token", 200, "observe/denied", true),
        row("good-token", 200, "allow/authorized", false),
        row("websocket-without-token", 401, "deny/auth.missing-token", false),
        row("exchanged", 200, "modify/token_replaced", false),
        row("exchange-fails", 200, "observe/denied", true),
        row("websocket-exchange-fails", 503, "deny/upstream.token-exchange-failed", false),
        row("nothing-to-exchange", 200, "observe/denied", true),
        row("passed-through", 200, "allow/passthrough", false),
    ];
    assert_eq!(compare("observed"), expected);
}
