//! The trust bundle at a URL, where Keycloak looks for it.
//! Each question is passed on to the server, so the answer is never old.

use super::{Spire, run_server};
use crate::backend::{Answer, Backend};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::sync::PoisonError;

impl Spire {
    /// The trust bundle in SPIFFE's format.
    pub fn bundle(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.server(&["bundle", "show", "-format", "spiffe"])?)?)
    }

    /// The URL of the trust bundle; the first call opens it.
    pub fn bundle_url(&self) -> Result<String> {
        let mut opened = self.bundle.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.is_none() {
            let socket = self.folder.join("server.sock");
            *opened = Some(Backend::start_with(move |_| answer(&socket))?);
        }
        let backend = opened.as_ref().context("it was opened")?;
        Ok(format!("{}/bundle", backend.url()))
    }
}

fn answer(socket: &Path) -> Answer {
    match run_server(socket, &["bundle", "show", "-format", "spiffe"]) {
        Ok(bundle) => Answer::status(200).header("content-type", "application/json").body(bundle),
        Err(error) => Answer::text(&format!("{error:#}")).with_status(503),
    }
}
