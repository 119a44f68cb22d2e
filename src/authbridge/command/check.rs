//! `authbridge check`: prints a configuration as it would run, or its errors with their lines.

use super::absent_files::absent_files;
use super::{UNUSABLE, line};
use crate::config::{Checked, Diagnostic, Reading};
use crate::outbound::check_routes_files;
use crate::reload::read_config;
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Prints the configuration at `path` with all defaults and without secrets.
pub(super) fn check(path: &Path, reading: Reading) -> ExitCode {
    match read_config(path, reading) {
        Err(diagnostics) => refuse(path, &diagnostics),
        Ok((Checked { config, addresses, notices, .. }, digest)) => {
            let of_files = match check_routes_files(&config, reading) {
                Ok(notices) => notices,
                Err(problem) => {
                    // A write to a closed terminal fails, and there is nobody to tell.
                    let _ = writeln!(std::io::stderr(), "{problem}");
                    return ExitCode::from(UNUSABLE);
                }
            };
            let listens = json!({
                "inbound": addresses.inbound.as_ref().map(|(address, _)| address.address.to_string()),
                "agent": addresses.inbound.as_ref().map(|(_, backend)| &backend.authority),
                "transparent_inbound": addresses.transparent_inbound.map(|address| address.address.to_string()),
                "outbound": addresses.outbound.map(|address| address.address.to_string()),
                "transparent": addresses.transparent.map(|address| address.address.to_string()),
                "ext_proc": addresses.ext_proc.map(|address| address.address.to_string()),
                "health": addresses.health.address.to_string(),
                "stats": addresses.stats.address.to_string(),
                "sessions": addresses.session.address.to_string(),
            });
            let notices = notices.iter().map(|notice| line(path, notice));
            let notices: Vec<String> = notices.chain(of_files).chain(absent_files(&config)).collect();
            print(&json!({
                "sha256": digest.to_string(), "listens": listens, "notices": notices, "effective": config,
            }))
        }
    }
}

/// Prints diagnostics, one per line.
pub(super) fn refuse(path: &Path, diagnostics: &[Diagnostic]) -> ExitCode {
    let mut to = std::io::stderr().lock();
    for diagnostic in diagnostics {
        // A write to a closed terminal fails, and there is nobody to tell.
        let _ = writeln!(to, "{}", line(path, diagnostic));
    }
    ExitCode::from(UNUSABLE)
}

/// Prints a document as JSON.
pub(super) fn print(document: &impl Serialize) -> ExitCode {
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
