//! AuthBridge, the data plane beside an agent: it authenticates requests to the agent, and exchanges the tokens of
//! requests of the agent. The listener decides the direction; nothing in a request changes which rules apply to it.

// Parsers and verifiers of untrusted input. They do no I/O, so the fuzz targets build them without the proxy.
pub mod client_hello;
pub mod glob;
pub mod jwt;
pub mod limits;
pub mod request_path;
pub mod token_response;

#[cfg(feature = "proxy")]
mod admin;
#[cfg(feature = "proxy")]
mod auth;
#[cfg(feature = "proxy")]
mod body;
#[cfg(feature = "proxy")]
mod calls;
#[cfg(feature = "proxy")]
mod command;
#[cfg(feature = "proxy")]
pub mod config;
#[cfg(feature = "proxy")]
mod config_log;
#[cfg(feature = "proxy")]
mod connection_header;
#[cfg(feature = "proxy")]
mod denial;
#[cfg(test)]
#[cfg(feature = "proxy")]
mod documents;
#[cfg(feature = "proxy")]
mod events;
#[cfg(feature = "proxy")]
mod ext_proc;
#[cfg(feature = "proxy")]
mod forward;
#[cfg(feature = "proxy")]
mod host;
#[cfg(feature = "proxy")]
mod identity;
#[cfg(feature = "proxy")]
mod inbound;
#[cfg(feature = "proxy")]
mod netinit;
#[cfg(feature = "proxy")]
mod outbound;
#[cfg(feature = "proxy")]
mod outcome;
#[cfg(feature = "proxy")]
pub mod peers;
#[cfg(feature = "proxy")]
mod pending;
#[cfg(feature = "proxy")]
mod process;
#[cfg(feature = "proxy")]
mod process_state;
#[cfg(feature = "proxy")]
mod quiet;
#[cfg(feature = "proxy")]
mod reload;
#[cfg(feature = "proxy")]
mod runtime_config;
#[cfg(feature = "proxy")]
mod serve;
#[cfg(feature = "proxy")]
mod stats;
#[cfg(feature = "proxy")]
mod tls;
#[cfg(feature = "proxy")]
mod upgrade;

#[cfg(feature = "proxy")]
pub use command::run;
