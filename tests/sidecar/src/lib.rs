//! The harness of AuthBridge's scenarios: real Keycloak, SPIRE, Envoy, Hypercorn, PostgreSQL, OpenTelemetry and A2A SDK, and
//! what plays their peers.
//! It starts programs and speaks to them; it knows nothing of how AuthBridge is made.

pub mod a2a;
pub mod admin;
mod asgi;
pub mod attack;
pub mod authbridge;
pub mod backend;
pub mod certificates;
pub mod envoy;
pub mod folder;
pub mod frames;
pub mod http;
pub mod http2;
pub mod hypercorn;
pub mod jwks;
pub mod jwt;
pub mod keycloak;
pub mod opentelemetry;
pub mod ports;
pub mod postgres;
pub mod process;
mod reaper;
pub mod scene;
pub mod spire;
pub mod tokens;
