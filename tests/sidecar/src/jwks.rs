//! A server that publishes a JWKS, which can be replaced, withheld or spoilt while it runs.
//! It counts how often it was asked.

use crate::backend::{Answer, Backend};
use crate::jwt::{SigningKey, jwks};
use anyhow::Result;
use serde_json::Value;

/// A JWKS at a URL.
pub struct JwksServer {
    backend: Backend,
}

impl JwksServer {
    /// Publishes the public halves of these keys.
    pub fn start(keys: &[&SigningKey]) -> Result<Self> {
        Ok(Self { backend: Backend::start(Answer::json(&jwks(keys)))? })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("{}/jwks", self.backend.url())
    }

    /// Publishes these keys instead.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.publish_document(&jwks(keys));
    }

    /// Publishes this document instead, whatever it says.
    pub fn publish_document(&self, document: &Value) {
        self.answer(Answer::json(document));
    }

    /// Answers like this instead: an error, late, too much.
    pub fn answer(&self, answer: Answer) {
        self.backend.answer(answer);
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.backend.seen().len()
    }
}
