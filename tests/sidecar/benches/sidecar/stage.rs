//! Everything around the proxies, and how each of them is started.

use crate::backend::Server;
use crate::contender::Contender;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::Tls;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{self, SigningKey, ordinary_claims};
use countersign_sidecar_tests::scene::{Settings, jwt_validation, token_exchange};
use countersign_sidecar_tests::spire::{Spire, X509Files};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ISSUER: &str = "https://id.example/realms/agents";
const AUDIENCE: &str = "agent-a";
const ENVOY: &str = include_str!("envoy.yaml");

/// The proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    AuthBridge,
    Envoy,
}

impl Kind {
    /// What it is called in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper proxy",
            Self::AuthBridge => "AuthBridge",
            Self::Envoy => "Envoy",
        }
    }
}

/// Everything around the proxies.
pub(crate) struct Stage {
    pub(crate) backend: Server,
    /// A token of the issuer, signed with RS256.
    pub(crate) token: String,
    /// What a caller with an SVID trusts and shows.
    pub(crate) tls: Tls,
    settings: Settings,
    files: Folder,
    token_calls: Arc<AtomicUsize>,
    _endpoint: Backend,
    _jwks: JwksServer,
    _spire: Spire,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let token_calls = Arc::new(AtomicUsize::new(0));
        let endpoint = token_endpoint(&token_calls);
        let key = SigningKey::rsa("k1").unwrap();
        let jwks = JwksServer::start(&[&key]).unwrap();
        let mut claims = ordinary_claims(ISSUER, AUDIENCE, "alice");
        claims["exp"] = (jwt::now() + 3600).into();
        let spire = Spire::start("example.org").unwrap();
        let svid = spire.mint_x509("spiffe://example.org/ns/team1/sa/agent-a", "1h").unwrap();
        let X509Files { chain, key: svid_key, bundle } = &svid;
        let files = Folder::new("svid").unwrap();
        for (name, from) in [("svid.pem", chain), ("svid_key.pem", svid_key), ("svid_bundle.pem", bundle)] {
            files.write(name, std::fs::read_to_string(from).unwrap()).unwrap();
        }
        files.write("jwks.json", jwt::jwks(&[&key]).to_string()).unwrap();
        let routes = ["{host: 127.0.0.1, target_audience: tool}"];
        // Everything else is as the program has it by itself, sessions above all.
        let settings = Settings {
            inbound: jwt_validation(ISSUER, &jwks.url(), AUDIENCE),
            outbound: token_exchange(&format!("{}/token", endpoint.url()), ("agent", "s"), &routes),
            blocks: format!(
                "spiffe: {{files_dir: \"{}\"}}\nmtls: {{mode: permissive}}",
                files.path().display()
            ),
            ..Settings::default()
        };
        Self {
            backend: Server::start(),
            token: key.sign(&claims).unwrap(),
            tls: Tls::with_certificate(bundle, chain, svid_key).unwrap(),
            settings,
            files,
            token_calls,
            _endpoint: endpoint,
            _jwks: jwks,
            _spire: spire,
        }
    }

    /// Starts a proxy.
    pub(crate) fn start(&self, kind: Kind) -> Contender {
        match kind {
            Kind::Bare => Contender::bare(self.backend.address),
            Kind::AuthBridge => Contender::authbridge(&self.settings, self.backend.address),
            Kind::Envoy => Contender::envoy(|plain, tls| self.envoy(plain, tls)),
        }
    }

    /// How often the token endpoint was asked.
    pub(crate) fn token_calls(&self) -> usize {
        self.token_calls.load(Ordering::Relaxed)
    }

    fn envoy(&self, plain: u16, tls: u16) -> String {
        let files = self.files.path().display().to_string();
        [
            ("PLAIN_PORT", plain.to_string()),
            ("TLS_PORT", tls.to_string()),
            ("AGENT_PORT", self.backend.address.port().to_string()),
            ("ISSUER", ISSUER.to_owned()),
            ("AUDIENCE", AUDIENCE.to_owned()),
            ("JWKS_FILE", format!("{files}/jwks.json")),
            ("SVID_DIR", files),
        ]
        .iter()
        .fold(ENVOY.to_owned(), |text, (word, value)| text.replace(word, value))
    }
}

/// Gives tokens of an ordinary length after 20 ms.
fn token_endpoint(calls: &Arc<AtomicUsize>) -> Backend {
    let counted = Arc::clone(calls);
    let answer = move |_: &_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::json!({ "access_token": "t".repeat(900), "token_type": "Bearer", "expires_in": 3600 });
        Answer::json(&body).after(Duration::from_millis(20))
    };
    Backend::start_with(answer).unwrap()
}
