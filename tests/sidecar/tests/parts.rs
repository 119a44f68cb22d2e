//! The real parts do what the scenarios count on; Keycloak is asked in `keycloak/exchange.rs`.

use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::envoy::Envoy;
use countersign_sidecar_tests::http::{self, Connection, Tls};
use countersign_sidecar_tests::jwt;
use countersign_sidecar_tests::ports;
use countersign_sidecar_tests::spire::Spire;

#[test]
fn two_users_get_two_identities_from_spire() {
    let mut spire = Spire::start("example.org").unwrap();
    let (first, second) = ("spiffe://example.org/first", "spiffe://example.org/second");
    spire.register(first, 10_001).unwrap();
    spire.register(second, 10_002).unwrap();
    for (user, id) in [(10_001, first), (10_002, second)] {
        let claims = jwt::claims(&spire.fetch_jwt(user, "test").unwrap()).unwrap();
        assert_eq!(claims["sub"], id);
    }
    let files = spire.fetch_x509(10_001).unwrap();
    Tls::with_certificate(&files.bundle, &files.chain, &files.key).unwrap();
    spire.mint_x509("spiffe://example.org/minted", "5s").unwrap();

    // What has the agent learnt is still there after a restart, and a new authority signs once it is active.
    spire.restart_agent().unwrap();
    let old = jwt::header(&spire.fetch_jwt(10_001, "test").unwrap()).unwrap()["kid"].clone();
    let authority = spire.jwt_authority();
    let replaced = authority.show().unwrap().active.unwrap();
    let id = authority.prepare().unwrap();
    authority.activate(&id).unwrap();
    let new = jwt::header(&spire.fetch_jwt(10_001, "another").unwrap()).unwrap()["kid"].clone();
    assert_ne!(old, new);
    authority.taint(&replaced).unwrap();
    authority.revoke(&replaced).unwrap();
    let kids = spire.bundle().unwrap().to_string();
    assert!(kids.contains(new.as_str().unwrap()) && !kids.contains(old.as_str().unwrap()));
    let authority = spire.x509_authority();
    authority.activate(&authority.prepare().unwrap()).unwrap();
}

#[test]
fn envoy_serves_a_static_response_and_passes_on_to_a_backend() {
    let backend = Backend::start(Answer::text("from the backend")).unwrap();
    let port = ports::free().unwrap();
    let settings = format!(
        r#"
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: test
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{path: /static}}
                direct_response: {{status: 418, body: {{inline_string: "by itself"}}}}
              - match: {{prefix: /}}
                route: {{cluster: backend}}
  clusters:
  - name: backend
    type: STATIC
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}
"#,
        backend.address().port()
    );
    let envoy = Envoy::start(&settings).unwrap();
    let mut connection = Connection::open(&format!("127.0.0.1:{port}")).unwrap();
    let own = connection.send(&http::Request::new("GET", "/static")).unwrap();
    assert_eq!((own.status, own.text().as_str()), (418, "by itself"));
    let passed = connection.send(&http::Request::new("POST", "/a%2Fb?c=d").body("question")).unwrap();
    assert_eq!(passed.text(), "from the backend");
    let seen = backend.last().unwrap();
    assert_eq!((seen.target.as_str(), seen.text().as_str(), seen.complete), ("/a%2Fb?c=d", "question", true));
    assert_eq!(envoy.admin("/server_info").unwrap().json().unwrap()["state"], "LIVE");
}
