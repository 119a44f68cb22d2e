//! AuthBridge, the data plane beside an agent: it lets in who proves itself, and gives what goes out the right token.
//! Directions are decided by the listener; nothing that a request says changes which rules apply to it.

mod admin;
mod auth;
mod body;
mod command;
pub mod config;
mod denial;
mod events;
mod ext_proc;
mod forward;
mod identity;
mod inbound;
mod netinit;
mod outbound;
pub mod peers;
mod plane;
mod process;
mod quiet;
mod reload;
mod serve;
mod stats;
mod tls;
mod upgrade;

pub use command::run;
