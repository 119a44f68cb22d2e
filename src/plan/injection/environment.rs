//! Environment of the containers beside the sidecar: variables that lead their requests through it.
//! Programs read the variables in lower case, in upper case or both, so that both are written (there is no standard; curl
//! ignores `HTTP_PROXY`).

use super::changes::Changes;
use super::json::{list, text};
use json_patch::jsonptr::Pointer;
use serde_json::{Value, json};

const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Hosts that are in the Pod itself.
const OWN_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// Environment of a container, with what is to be written into it.
pub(super) struct Environment<'p> {
    container: &'p Value,
    known: Option<&'p [Value]>,
    replaced: Vec<(usize, Value)>,
    added: Vec<Value>,
}

impl<'p> Environment<'p> {
    /// Environment of a container; nothing is to be written yet.
    pub(super) fn of(container: &'p Value) -> Self {
        Self { container, known: list(container, "env"), replaced: Vec::new(), added: Vec::new() }
    }

    /// Leads requests through the forward proxy at this port, and says what stays otherwise: a proxy that the Pod names itself
    /// may be the only way out.
    pub(super) fn lead_through_proxy(&mut self, port: u16) -> Option<String> {
        let url = format!("http://127.0.0.1:{port}");
        let is_own = |variable: &Value| text(Some(variable), "value") != Some(url.as_str());
        if PROXIES.iter().any(|name| self.find(name).is_some_and(|(_, variable)| is_own(variable))) {
            let name = text(Some(self.container), "name").unwrap_or_default();
            return Some(format!(
                "the container {name} names a proxy of its own, which stays: its requests do not pass the sidecar"
            ));
        }
        for name in PROXIES {
            self.write(name, &url);
        }
        self.write_no_proxy();
        None
    }

    /// Writes the hosts that need no proxy, in both cases: those that the Pod lists, and the Pod's own.
    fn write_no_proxy(&mut self) {
        let known = NO_PROXY.map(|name| self.find(name).map(|(_, variable)| variable));
        if let Some(from) = known.iter().flatten().find(|variable| variable.get("valueFrom").is_some()) {
            // Its value is not known here. The other case of the name says the same by reference, which is resolved in order.
            let from = text(Some(from), "name").unwrap_or_default();
            if let Some(other) = NO_PROXY.into_iter().find(|name| *name != from && self.find(name).is_none())
            {
                self.write(other, &format!("$({from})"));
            }
            return;
        }
        let listed = known.into_iter().flatten().filter_map(|variable| text(Some(variable), "value"));
        let mut hosts: Vec<&str> = Vec::new();
        for host in listed.flat_map(|list| list.split([',', ' '])).map(str::trim).chain(OWN_HOSTS) {
            if !host.is_empty() && !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        for name in NO_PROXY {
            self.write(name, &hosts.join(","));
        }
    }

    /// Writes a variable, in the place of the one that counts if there is one.
    pub(super) fn write(&mut self, name: &str, value: &str) {
        let written = json!({ "name": name, "value": value });
        match self.find(name) {
            Some((_, known)) if *known == written => {}
            Some((at, _)) => self.replaced.push((at, written)),
            None => self.added.push(written),
        }
    }

    /// Plans what was written, for the container at `path`.
    pub(super) fn plan(self, changes: &mut Changes, path: &Pointer) {
        let path = path.with_trailing_token("env");
        for (at, variable) in self.replaced {
            changes.replace(path.with_trailing_token(at), variable);
        }
        changes.append(&path, self.known.is_some(), self.added);
    }

    /// Variable with its place. Of two with one name the last counts.
    fn find(&self, name: &str) -> Option<(usize, &'p Value)> {
        let known = self.known.unwrap_or_default();
        let at = known.iter().rposition(|variable| text(Some(variable), "name") == Some(name))?;
        Some((at, known.get(at)?))
    }
}
