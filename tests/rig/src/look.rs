//! A quick way to ask the API server many times a second, which a kubectl for each question is not: one `kubectl
//! proxy` inside the rig, and plain HTTP to it. It goes beside every proxy of faults.

use crate::relay::Relay;
use crate::rig::Rig;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where the way begins inside the rig.
const INSIDE: &str = "127.0.0.1:18089";
/// How long an answer to a question may take on a busy machine: what waits longer asks again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a write may take.
const WRITE: Duration = Duration::from_secs(30);

/// The way, as the administrator.
pub(crate) struct Look {
    proxy: Child,
    api: Api,
    /// Where objects go, by API version and kind, as far as it was asked for.
    places: Mutex<BTreeMap<(String, String), Place>>,
    _way: Relay,
}

/// Where the objects of a kind go.
#[derive(Clone)]
struct Place {
    /// Such as `/apis/apps/v1`.
    group: String,
    /// Such as `deployments`.
    plural: String,
    namespaced: bool,
}

/// The API server of a rig, asked as quickly as it answers. It does not keep the rig.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    address: SocketAddr,
    /// Whom it acts as, if not as the administrator.
    user: Option<&'static str>,
}

impl Look {
    /// Opens the way.
    pub(crate) fn open(rig: &Rig) -> Result<Self> {
        let (address, port) = INSIDE.split_once(':').context("a port")?;
        let proxy = rig
            .command(rig.kubectl_program())
            .arg("proxy")
            .arg("--kubeconfig")
            .arg(rig.kubeconfig_inside())
            .args(["--address", address, "--port", port])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let way = rig.relay(INSIDE.parse()?)?;
        let look = Self {
            proxy,
            api: Api { address: way.address(), user: None },
            places: Mutex::default(),
            _way: way,
        };
        rig.wait("the direct way", || Ok(look.api.answers("/version")))?;
        Ok(look)
    }

    /// Makes an object be as it is given (server-side apply); lists are taken apart, and one refusal does not keep the
    /// rest from being tried.
    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        let Some(items) = object["items"].as_array() else { return self.apply_one(object) };
        // A Pod that comes before its service account is refused, and tried again later and later.
        let accounts = |item: &&Value| item["kind"] == "ServiceAccount";
        let (first, rest): (Vec<&Value>, Vec<&Value>) = items.iter().partition(accounts);
        let failed: Vec<String> = first
            .into_iter()
            .chain(rest)
            .filter_map(|item| self.apply(item).err())
            .map(|error| format!("{error:#}"))
            .collect();
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
    }

    fn apply_one(&self, object: &Value) -> Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        let place = self.place(&version, &kind)?;
        let namespace = match namespace.as_str() {
            _ if !place.namespaced => String::new(),
            "" => "/namespaces/default".to_owned(),
            namespace => format!("/namespaces/{namespace}"),
        };
        let Place { group, plural, .. } = place;
        let flags = "fieldManager=rig&force=true&fieldValidation=Strict";
        let path = format!("{group}{namespace}/{plural}/{name}?{flags}");
        let applied = self.api.send(&format!("PATCH {path}"), "application/apply-patch+yaml", object);
        let applied = applied.with_context(|| format!("{kind} {name} was not applied"))?;
        applied.map(drop).with_context(|| format!("{kind} {name} was not applied: nothing is at {path}"))
    }

    fn place(&self, version: &str, kind: &str) -> Result<Place> {
        let key = (version.to_owned(), kind.to_owned());
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(&key) {
            return Ok(place.clone());
        }
        let group = format!("/{}/{version}", if version.contains('/') { "apis" } else { "api" });
        let known = self.api.get(&group)?.unwrap_or_default();
        // Subresources have a slash in their name and the kind of what they are part of.
        let resource = known["resources"].as_array().into_iter().flatten().find(|resource| {
            resource["kind"] == kind && resource["name"].as_str().is_some_and(|name| !name.contains('/'))
        });
        let resource = resource.with_context(|| format!("no kind {kind} in {version}"))?;
        let plural = resource["name"].as_str().unwrap_or_default().to_owned();
        let place = Place { group, plural, namespaced: resource["namespaced"] == true };
        places.insert(key, place.clone());
        Ok(place)
    }

    /// The API server.
    pub(crate) const fn api(&self) -> Api {
        self.api
    }
}

impl Api {
    /// The same with the rights of a user, for what an administrator may pass by.
    #[must_use]
    pub const fn acting_as(self, user: &'static str) -> Self {
        Self { user: Some(user), ..self }
    }

    /// What is at `path`; `None` if nothing is.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        self.ask(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"), PATIENCE)
    }

    /// Creates an object in the collection at `path`.
    pub fn create(&self, path: &str, object: &Value) -> Result<()> {
        self.send(&format!("POST {path}"), "application/json", object)?
            .map(drop)
            .with_context(|| format!("nothing at {path}"))
    }

    /// Changes the object at `path` by a merge patch; false if there is none.
    pub fn patch(&self, path: &str, change: &Value) -> Result<bool> {
        Ok(self.send(&format!("PATCH {path}"), "application/merge-patch+json", change)?.is_some())
    }

    /// Deletes the object at `path`, which may take longer than this; false if there is none.
    pub fn delete(&self, path: &str) -> Result<bool> {
        let request = format!("DELETE {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        Ok(self.ask(&request, WRITE)?.is_some())
    }

    /// Whether a question about `path` is answered with success, whatever the answer is.
    pub fn answers(&self, path: &str) -> bool {
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        self.exchange(&request, PATIENCE).is_ok_and(|(status, _)| status == "200")
    }

    fn send(&self, what: &str, content_type: &str, body: &Value) -> Result<Option<Value>> {
        let body = body.to_string();
        let head = format!("Content-Type: {content_type}\r\nContent-Length: {}", body.len());
        self.ask(&format!("{what} HTTP/1.0\r\nHost: localhost\r\n{head}\r\n\r\n{body}"), WRITE)
    }

    fn ask(&self, request: &str, patience: Duration) -> Result<Option<Value>> {
        let (status, body) = self.exchange(request, patience)?;
        match status.as_str() {
            "200" | "201" | "202" => Ok(Some(serde_json::from_str(&body)?)),
            "404" => Ok(None),
            _ => {
                let said: Value = serde_json::from_str(&body).unwrap_or_default();
                bail!("{status}: {}", said["message"].as_str().unwrap_or(body.trim()))
            }
        }
    }

    /// Status and body of the answer to a request.
    fn exchange(&self, request: &str, patience: Duration) -> Result<(String, String)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(patience))?;
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        let (line, rest) = request.split_once("\r\n").context("a request")?;
        let user = self.user.map_or(String::new(), |user| format!("Impersonate-User: {user}\r\n"));
        stream.write_all(format!("{line}\r\n{user}{rest}").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        Ok((head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned()))
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}
