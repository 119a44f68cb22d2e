//! Three agents in a row, each behind an AuthBridge of its own user with an SVID from SPIRE: A calls B, and B calls C.
//! A user logs in at Keycloak; at each hop the token is exchanged for one that only the next agent accepts.

use crate::{KEYCLOAK, keycloak};
use countersign_sidecar_tests::admin::Admin;
use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Seen};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::{self, Reply, Request, Tls};
use countersign_sidecar_tests::jwt;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use countersign_sidecar_tests::spire::Spire;
use countersign_sidecar_tests::tokens::access_token;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// The client by which users log in, and its secret.
const FRONT: (&str, &str) = ("front", "front-secret");

static SPIRE: OnceLock<Spire> = OnceLock::new();
static BY_SVID: OnceLock<Mutex<Chain>> = OnceLock::new();
static BY_SECRET: OnceLock<Mutex<Chain>> = OnceLock::new();

fn spire() -> &'static Spire {
    SPIRE.get_or_init(|| Spire::start("example.org").unwrap())
}

/// The three agents, and what belongs to them.
struct Chain {
    realm: &'static str,
    agents: [Scene; 3],
    /// Files with the clients' IDs and secrets.
    files: Folder,
}

fn spiffe_id(realm: &str, name: &str) -> String {
    format!("spiffe://example.org/ns/{realm}/sa/{realm}-{name}")
}

impl Chain {
    /// Starts the three as the users from `first` on; `clients` are their clients in the realm, and `identity` says
    /// how the one with this name proves to be its client.
    fn start(
        realm: &'static str,
        first: u32,
        clients: &[String; 3],
        files: Folder,
        identity: impl Fn(&str) -> String,
    ) -> Self {
        let issuer = KEYCLOAK.issuer(realm);
        let mut next: Option<SocketAddr> = None;
        let start = |index: usize| {
            let (name, user) = (NAMES[index], first + u32::try_from(index).unwrap());
            spire().register(&spiffe_id(realm, name), user).unwrap();
            let outbound = next.map(|_| {
                let (client, scope) = (&clients[index + 1], NAMES[index + 1]);
                let server = spiffe_id(realm, scope);
                format!(
                    "- name: token-exchange\n  config:\n    token_url: \"{}\"\n    identity: {}\n    routes:\n      \
                     file: /nonexistent/routes.yaml\n      rules:\n        - {{host: 127.0.0.1, target_audience: \
                     \"{client}\", token_scopes: \"to-{scope} read\", server_spiffe_id: \"{server}\"}}",
                    KEYCLOAK.token_url(realm),
                    identity(name),
                )
            });
            let settings = Settings {
                inbound: jwt_validation(&issuer, &KEYCLOAK.jwks_url(realm), &clients[index]),
                outbound: outbound.unwrap_or_default(),
                blocks: format!(
                    "mtls: {{mode: strict, allowed_peers: [\"spiffe://example.org/ns/{realm}/*\"]}}\nspiffe: \
                     {{socket: \"{}\"}}",
                    spire().address()
                ),
                ..Settings::default()
            };
            let scene = Scene::start(&settings, &Options { user: Some(user), ..Options::default() }).unwrap();
            if let Some(next) = next {
                scene.agent.answer_with(hand_on(scene.at.outbound, next));
            }
            next = Some(scene.at.inbound);
            scene
        };
        // The last one first, because each must know where the next one is.
        let mut agents = [2, 1, 0].map(start);
        agents.reverse();
        Self { realm, agents, files }
    }

    /// A token of a new user, for the first agent; and the user's ID.
    fn log_in(&self, user: &str) -> (String, String) {
        let id = KEYCLOAK.admin().create_user(self.realm, user, "password").unwrap();
        let form = [
            ("grant_type", "password"),
            ("client_id", FRONT.0),
            ("client_secret", FRONT.1),
            ("username", user),
            ("password", "password"),
            ("scope", "read write"),
        ];
        (access_token(KEYCLOAK.token(self.realm, &form).unwrap()).unwrap(), id)
    }

    /// Sends a token to one of the agents, with the SVID of the peer of this name.
    fn send(&self, peer: &str, to: usize, token: &str) -> Reply {
        let files = spire().mint_x509(&spiffe_id(self.realm, peer), "10m").unwrap();
        let tls = Tls::with_certificate(&files.bundle, &files.chain, &files.key).unwrap();
        let address = self.agents[to].at.inbound.to_string();
        Request::new("GET", "/question").bearer(token).send_tls(&address, &tls).unwrap()
    }

    /// The claims of the latest token that an agent got.
    fn claims(&self, agent: usize) -> Value {
        jwt::claims(self.agents[agent].agent.last().unwrap().bearer().unwrap()).unwrap()
    }

    /// How often an agent's sidecar has asked the token endpoint.
    fn exchanges(&self, agent: usize) -> u64 {
        let metrics = http::get(&format!("http://{}/metrics", self.agents[agent].at.stats)).unwrap().text();
        let count = metrics.lines().find_map(|line| line.strip_prefix("authbridge_token_calls_total "));
        count.unwrap().parse().unwrap()
    }
}

/// What agents A and B do: they ask the next one with the token that they got.
fn hand_on(proxy: SocketAddr, next: SocketAddr) -> impl Fn(&Seen) -> Answer {
    move |seen| {
        let request = Request::new("GET", &format!("http://{next}/question"))
            .header("Host", &next.to_string())
            .bearer(seen.bearer().unwrap_or_default());
        match request.send(&proxy.to_string()) {
            Ok(reply) => Answer::text(&reply.text()).with_status(reply.status),
            Err(error) => Answer::text(&format!("{error:#}")).with_status(500),
        }
    }
}

/// Makes a realm where clients have no scopes but these: `to-NAME` for each audience, `read`, and `write`.
fn make_realm(admin: &Admin<'_>, realm: &str, audiences: &[String; 3]) -> Scopes {
    admin.create_realm(realm).unwrap();
    let defaults = format!("/{realm}/default-default-client-scopes");
    for scope in admin.call("GET", &defaults, None).unwrap().json().unwrap().as_array().unwrap() {
        if scope["name"] != "basic" {
            let path = format!("{defaults}/{}", scope["id"].as_str().unwrap());
            admin.call("DELETE", &path, None).unwrap();
        }
    }
    let plain = |name: &str| {
        let attributes = json!({"include.in.token.scope": "true"});
        let scope = json!({"name": name, "protocol": "openid-connect", "attributes": attributes});
        let made = admin.call("POST", &format!("/{realm}/client-scopes"), Some(&scope)).unwrap();
        made.header("location").unwrap().rsplit('/').next().unwrap().to_owned()
    };
    let to = std::array::from_fn(|index| {
        let name = format!("to-{}", NAMES[index]);
        admin.create_audience_scope(realm, &name, &audiences[index]).unwrap()
    });
    let scopes = Scopes { to, read: plain("read"), write: plain("write") };
    let front = admin.create_confidential(realm, FRONT.0, FRONT.1).unwrap();
    admin.attach_default_scope(realm, &front, &scopes.to[0]).unwrap();
    for scope in [&scopes.read, &scopes.write] {
        admin.attach_optional_scope(realm, &front, scope).unwrap();
    }
    scopes
}

/// The IDs of a realm's scopes.
struct Scopes {
    to: [String; 3],
    read: String,
    write: String,
}

impl Scopes {
    /// What the client of an agent may ask for: the next agent, and more than its sidecar asks for.
    fn allow_next(&self, admin: &Admin<'_>, realm: &str, uuid: &str, agent: usize) {
        for scope in self.to.get(agent + 1).into_iter().chain([&self.read, &self.write]) {
            admin.attach_optional_scope(realm, uuid, scope).unwrap();
        }
    }
}

/// Whoever holds a chain is the only one to use it.
fn alone(chain: &'static Mutex<Chain>) -> MutexGuard<'static, Chain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Agents whose clients are their SPIFFE IDs, and which prove that by JWT-SVIDs.
fn by_svid() -> MutexGuard<'static, Chain> {
    alone(BY_SVID.get_or_init(|| {
        let (realm, admin) = ("by-svid", KEYCLOAK.admin());
        let clients = NAMES.map(|name| spiffe_id(realm, name));
        let scopes = make_realm(&admin, realm, &clients);
        admin.trust_spiffe(realm, "spire", "example.org", &spire().bundle_url().unwrap()).unwrap();
        for (agent, client) in clients.iter().enumerate() {
            let uuid = admin.create_spiffe_client(realm, client, "spire", client).unwrap();
            scopes.allow_next(&admin, realm, &uuid, agent);
        }
        let identity = |name: &str| {
            let (client, audience) = (spiffe_id(realm, name), KEYCLOAK.issuer(realm));
            format!("{{type: spiffe, client_id: \"{client}\", jwt_audience: \"{audience}\"}}")
        };
        Mutex::new(Chain::start(realm, 11_001, &clients, Folder::new("none").unwrap(), identity))
    }))
}

/// Agents whose clients have secrets, which stand in files.
fn by_secret() -> MutexGuard<'static, Chain> {
    alone(BY_SECRET.get_or_init(|| {
        let (realm, admin) = ("by-secret", KEYCLOAK.admin());
        let clients = NAMES.map(|name| format!("team/{name}"));
        let scopes = make_realm(&admin, realm, &clients);
        let files = Folder::new("clients").unwrap();
        for (agent, (client, name)) in clients.iter().zip(NAMES).enumerate() {
            let secret = format!("first-secret-of-{name}");
            let uuid = admin.create_confidential(realm, client, &secret).unwrap();
            scopes.allow_next(&admin, realm, &uuid, agent);
            files.write(&format!("{name}-id.txt"), format!("{client}\n")).unwrap();
            files.write(&format!("{name}-secret.txt"), secret).unwrap();
        }
        let folder = files.path().display().to_string();
        let identity = |name: &str| {
            format!(
                "{{type: client-secret, client_id_file: \"{folder}/{name}-id.txt\", client_secret_file: \
                 \"{folder}/{name}-secret.txt\"}}"
            )
        };
        Mutex::new(Chain::start(realm, 11_011, &clients, files, identity))
    }))
}

fn words(value: &Value) -> BTreeSet<&str> {
    value.as_str().unwrap().split(' ').collect()
}

/// The inbound events of an agent's sidecar for one user.
fn events_of(scene: &Scene, subject: &str) -> Vec<Value> {
    let get = |path: &str| http::get(&format!("http://{}{path}", scene.at.sessions)).unwrap().json().unwrap();
    let sessions = get("/v1/sessions");
    let ids = sessions["sessions"].as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap());
    let events = ids.flat_map(|id| get(&format!("/v1/sessions/{id}"))["events"].as_array().unwrap().clone());
    events
        .filter(|event| event["direction"] == "inbound" && event["identity"]["subject"] == subject)
        .collect()
}

#[test]
fn the_last_agent_learns_who_the_user_is_by_a_token_that_is_good_for_nothing_else() {
    let (_keycloak, _shared) = keycloak();
    let chain = by_svid();
    let (token, alice) = chain.log_in("alice");
    let reply = chain.send("front", 0, &token);
    assert_eq!((reply.status, reply.text().as_str()), (200, "the agent"));

    let [a, b, c] = NAMES.map(|name| spiffe_id(chain.realm, name));
    assert_eq!(chain.agents[0].agent.last().unwrap().bearer(), Some(token.as_str()));
    for (agent, azp, aud, scopes) in [
        (0, FRONT.0, &a, ["to-a", "read", "write"].as_slice()),
        (1, &a, &b, &["to-b", "read"]),
        (2, &b, &c, &["to-c", "read"]),
    ] {
        let claims = chain.claims(agent);
        assert_eq!(claims["sub"], alice.as_str(), "{claims}");
        assert_eq!((&claims["azp"], &claims["aud"]), (&json!(azp), &json!(aud)), "{claims}");
        assert_eq!(words(&claims["scope"]), scopes.iter().copied().collect(), "{claims}");
    }

    for (scene, caller) in chain.agents.iter().zip(["front", "a", "b"]) {
        let events = events_of(scene, &alice);
        assert!(!events.is_empty());
        for event in events {
            assert_eq!(event["tls"]["peerSpiffeId"], spiffe_id(chain.realm, caller), "{event}");
        }
    }
}

#[test]
fn a_token_for_one_agent_is_refused_by_the_next_and_in_other_hands() {
    let (_keycloak, _shared) = keycloak();
    let chain = by_svid();
    let (token, _) = chain.log_in("mallory");
    assert_eq!(chain.send("front", 0, &token).status, 200);
    let received = |agent: usize| chain.agents[agent].agent.last().unwrap().bearer().unwrap().to_owned();
    let (for_b, for_c) = (received(1), received(2));
    let seen = chain.agents[2].agent.seen().len();

    let reply = chain.send("b", 2, &for_b);
    assert_eq!((reply.status, &reply.json().unwrap()["error"]), (401, &json!("auth.audience-mismatch")));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    // The token that B got for C names B's client, a SPIFFE ID: nobody else can use it.
    let reply = chain.send("a", 2, &for_c);
    assert_eq!((reply.status, &reply.json().unwrap()["reason"]), (401, &json!("TokenBinding")));
    assert_eq!(chain.agents[2].agent.seen().len(), seen, "the agent saw a request that was refused");
    assert_eq!(chain.send("b", 2, &for_c).status, 200);
}

#[test]
fn many_requests_of_one_user_cost_one_exchange_at_each_hop() {
    let (_keycloak, _shared) = keycloak();
    let chain = by_secret();
    let (token, id) = chain.log_in("bob");
    chain.agents[2].agent.forget();
    let before = [0, 1, 2].map(|agent| chain.exchanges(agent));
    for _ in 0..20 {
        assert_eq!(chain.send("front", 0, &token).status, 200);
    }
    assert_eq!(chain.agents[2].agent.seen().len(), 20);
    assert_eq!([0, 1, 2].map(|agent| chain.exchanges(agent) - before[agent]), [1, 1, 0]);
    let claims = chain.claims(2);
    assert_eq!(
        [&claims["sub"], &claims["azp"], &claims["aud"]],
        [&json!(id), &json!("team/b"), &json!("team/c")]
    );

    let (another, _) = chain.log_in("carol");
    assert_eq!(chain.send("front", 0, &another).status, 200);
    assert_eq!([0, 1, 2].map(|agent| chain.exchanges(agent) - before[agent]), [2, 2, 0]);
}

#[test]
fn a_new_client_secret_is_taken_from_its_file_while_the_sidecar_runs() {
    let (_keycloak, _shared) = keycloak();
    let chain = by_secret();
    let admin = KEYCLOAK.admin();
    let (token, _) = chain.log_in("dave");
    assert_eq!(chain.send("front", 0, &token).status, 200);
    let running = chain.agents[1].bridge.pid();

    let uuid = admin.client_uuid(chain.realm, "team/b").unwrap();
    let secret = admin.rotate_client_secret(chain.realm, &uuid).unwrap();
    // Tokens that B's sidecar has are good still; new ones it cannot get.
    assert_eq!(chain.send("front", 0, &token).status, 200);
    let (another, _) = chain.log_in("erin");
    let reply = chain.send("front", 0, &another);
    let refusal = reply.json().unwrap();
    assert_eq!((reply.status, &refusal["error"]), (503, &json!("upstream.token-exchange-failed")));
    assert!(refusal["message"].as_str().unwrap().contains("unauthorized_client"), "{refusal}");

    chain.files.write("b-secret.txt", &secret).unwrap();
    until("a token by the new secret", Duration::from_secs(10), || {
        Ok(chain.send("front", 0, &another).status == 200)
    })
    .unwrap();
    assert_eq!(chain.agents[1].bridge.pid(), running);
    assert!(!chain.agents[1].bridge.log().contains(&secret));
}
