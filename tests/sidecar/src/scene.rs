//! One agent with its AuthBridge: a backend in the agent's place, and the sidecar on ports of its own.

use crate::authbridge::{AuthBridge, Options};
use crate::backend::{Answer, Backend};
use crate::http::{self, Reply, Request};
use crate::ports;
use anyhow::Result;
use serde_json::Value;
use std::net::SocketAddr;

/// What the configuration of a scene says beside its addresses, as YAML without indentation.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The list of inbound plugins, one line or more, such as `- name: jwt-validation`.
    pub inbound: String,
    /// The list of outbound plugins.
    pub outbound: String,
    /// Members of `listener` besides those of the scene.
    pub listener: String,
    /// Whole blocks, such as `mtls: {mode: strict}`.
    pub blocks: String,
}

/// Where the sidecar listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The reverse proxy.
    pub inbound: SocketAddr,
    /// The forward proxy.
    pub outbound: SocketAddr,
    /// Health checks.
    pub health: SocketAddr,
    /// Statistics.
    pub stats: SocketAddr,
    /// The session API.
    pub sessions: SocketAddr,
}

impl Addresses {
    /// Free ones.
    pub fn free() -> Result<Self> {
        let next = || -> Result<SocketAddr> { Ok(SocketAddr::from(([127, 0, 0, 1], ports::free()?))) };
        Ok(Self { inbound: next()?, outbound: next()?, health: next()?, stats: next()?, sessions: next()? })
    }
}

/// An agent with its sidecar.
pub struct Scene {
    /// What stands in the agent's place.
    pub agent: Backend,
    /// The sidecar.
    pub bridge: AuthBridge,
    /// Where it listens.
    pub at: Addresses,
}

impl Scene {
    /// Starts both and waits until the sidecar is ready.
    pub fn start(settings: &Settings, options: &Options) -> Result<Self> {
        let mut scene = Self::start_unready(settings, options)?;
        scene.bridge.wait_ready(scene.at.health)?;
        Ok(scene)
    }

    /// Starts both and does not wait.
    pub fn start_unready(settings: &Settings, options: &Options) -> Result<Self> {
        let agent = Backend::start(Answer::text("the agent"))?;
        let at = Addresses::free()?;
        let bridge = AuthBridge::start_unready(&settings.yaml(&at, &agent.url()), options)?;
        Ok(Self { agent, bridge, at })
    }

    /// Replaces the settings of the sidecar.
    pub fn rewrite(&self, settings: &Settings) -> Result<()> {
        self.bridge.rewrite_config(&settings.yaml(&self.at, &self.agent.url()))
    }

    /// Sends a request to the agent, through its sidecar.
    pub fn call(&self, request: &Request) -> Result<Reply> {
        request.send(&self.at.inbound.to_string())
    }

    /// Sends a request of the agent to `url`, through its sidecar.
    pub fn call_out(&self, url: &str, token: Option<&str>) -> Result<Reply> {
        let mut request = Request::new("GET", url);
        let authority = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        request = request.header("Host", authority);
        if let Some(token) = token {
            request = request.bearer(token);
        }
        request.send(&self.at.outbound.to_string())
    }

    /// A document of the statistics server.
    pub fn stats(&self, path: &str) -> Result<Value> {
        http::get(&format!("http://{}{path}", self.at.stats))?.json()
    }

    /// The status of `/readyz` and what it says.
    pub fn readiness(&self) -> Result<(u16, Value)> {
        let reply = http::get(&format!("http://{}/readyz", self.at.health))?;
        Ok((reply.status, reply.json()?))
    }
}

impl Settings {
    /// The whole file.
    pub fn yaml(&self, at: &Addresses, agent: &str) -> String {
        let Addresses { inbound, outbound, health, stats, sessions } = at;
        let plugins = |list: &str| match list.trim() {
            "" => " []".to_owned(),
            list => format!("\n{}", indent(list, 6)),
        };
        let listener = indent(&self.listener, 2);
        format!(
            "mode: proxy-sidecar\nlistener:\n  reverse_proxy_addr: \"{inbound}\"\n  \
             reverse_proxy_backend: \"{agent}\"\n  forward_proxy_addr: \"{outbound}\"\n  \
             session_api_addr: \"{sessions}\"\n{listener}\nhealth:\n  address: \"{health}\"\nstats:\n  address: \
             \"{stats}\"\npipeline:\n  inbound:\n    plugins:{}\n  outbound:\n    plugins:{}\n{}\n",
            plugins(&self.inbound),
            plugins(&self.outbound),
            self.blocks,
        )
    }
}

fn indent(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    text.lines().map(|line| format!("{margin}{line}")).collect::<Vec<_>>().join("\n")
}

/// The entry of `jwt-validation` for tokens of `issuer` with these keys, for one audience.
pub fn jwt_validation(issuer: &str, jwks_url: &str, audience: &str) -> String {
    format!(
        "- name: jwt-validation\n  config:\n    issuer: \"{issuer}\"\n    jwks_url: \"{jwks_url}\"\n    audience: \"{audience}\""
    )
}

/// The entry of `token-exchange` for a client with a secret, and its routes in YAML flow form.
pub fn token_exchange(token_url: &str, client: (&str, &str), routes: &[&str]) -> String {
    let rules: Vec<String> = routes.iter().map(|route| format!("\n        - {route}")).collect();
    let (id, secret) = client;
    format!(
        "- name: token-exchange\n  config:\n    token_url: \"{token_url}\"\n    identity:\n      type: client-secret\n      \
         client_id: \"{id}\"\n      client_secret: \"{secret}\"\n    routes:\n      file: /nonexistent/routes.yaml\n      \
         rules:{}",
        if rules.is_empty() { " []".to_owned() } else { rules.concat() },
    )
}
