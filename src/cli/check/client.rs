//! The API server as whoever runs the check may read it. Requests are GET alone: nothing is ever written.

use super::limits::{CONNECT, OBJECTS, PAGE};
use super::unread::{Answer, Unread, told};
use crate::args::parse_seconds;
use crate::exit::{Unusable, shown};
use countersign_core::time::{Seconds, Timestamp};
use countersign_io::clock;
use http::header::{DATE, HeaderValue, USER_AGENT};
use kube::api::{GetParams, ListParams};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ObjectList, Request};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Which cluster to check, and as whom.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    /// Kubeconfig file; the usual files, or the Pod's own service account, if absent.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; the current one, if absent.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// How long one request may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_timeout)]
    timeout: Seconds,
}

fn parse_timeout(text: &str) -> Result<Seconds, String> {
    let timeout = parse_seconds(text)?;
    if timeout.is_zero() { Err("a request needs at least 1s".to_owned()) } else { Ok(timeout) }
}

/// Version of the API server, with its clock and ours before and after its answer.
#[derive(Clone, Debug)]
pub(super) struct ServerFacts {
    pub(super) major: String,
    pub(super) minor: String,
    pub(super) version: String,
    pub(super) clock: Clock,
}

/// Clock of the API server; `None` if it did not tell the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) theirs: Option<Timestamp>,
    pub(super) before: Timestamp,
    pub(super) after: Timestamp,
}

/// Reader of objects.
pub(super) struct Reader {
    client: Client,
    timeout: Duration,
    /// Address of the API server.
    pub(super) address: String,
}

impl Reader {
    /// Makes the client of the flags. Nothing is asked yet.
    pub(super) async fn new(args: &ClientArgs) -> Result<Self, Unusable> {
        let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let found = match (&args.kubeconfig, &args.context) {
            (Some(path), _) => match Kubeconfig::read_from(path) {
                Ok(file) => kube::Config::from_custom_kubeconfig(file, &options).await,
                Err(error) => Err(error),
            }
            .map_err(|error| {
                Unusable::new(format!("{}: {error}; name a kubeconfig with --kubeconfig", shown(path)))
            }),
            (None, Some(_)) => kube::Config::from_kubeconfig(&options).await.map_err(unusable),
            (None, None) => kube::Config::infer().await.map_err(unusable),
        };
        let mut config = found?;
        config.connect_timeout = Some(CONNECT);
        // A check that repeats its requests would say late what it could say at once.
        config.default_retry = false;
        let agent = HeaderValue::from_static(concat!("countersign-check/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, agent));
        let address = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(unusable)?;
        Ok(Self { client, timeout: Duration::from_secs(args.timeout.get().into()), address })
    }

    /// Asks for version and time. The code is that of an answer that is no success.
    pub(super) async fn server(&self) -> Result<ServerFacts, (Option<u16>, String)> {
        let failed = |error: kube::Error| match &error {
            kube::Error::Api(status) => (Some(status.code), told(&error)),
            _ => (None, told(&error)),
        };
        let late = || (None, late(self.timeout));
        let version =
            self.limited(self.client.apiserver_version()).await.ok_or_else(late)?.map_err(failed)?;
        let request = http::Request::get("/version").body(Body::empty());
        let request = request.map_err(|error| (None, error.to_string()))?;
        let before = clock::now();
        let answer = self.limited(self.client.send(request)).await.ok_or_else(late)?.map_err(failed)?;
        let theirs = answer.headers().get(DATE).and_then(|date| parse_date(date.to_str().ok()?));
        let clock = Clock { theirs, before, after: clock::now() };
        Ok(ServerFacts { major: version.major, minor: version.minor, version: version.git_version, clock })
    }

    /// Reads one object; without a namespace, one of the cluster.
    pub(super) async fn get<K>(&self, namespace: Option<&str>, name: &str) -> Answer<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let right = right::<K>("get", namespace);
        let request = Request::new(K::url_path(&(), namespace)).get(name, &GetParams::default());
        let request = request.map_err(|error| Unread::Failed(error.to_string()))?;
        self.ask(request, &right).await
    }

    /// Reads all objects of a kind with these labels, of one namespace or of all.
    pub(super) async fn list<K>(&self, namespace: Option<&str>, labels: &str) -> Answer<Vec<K>>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone,
    {
        let right = right::<K>("list", namespace);
        let mut all = Vec::new();
        let mut parameters = ListParams::default().limit(PAGE).labels(labels);
        loop {
            let request = Request::new(K::url_path(&(), namespace)).list(&parameters);
            let request = request.map_err(|error| Unread::Failed(error.to_string()))?;
            let page: ObjectList<K> = self.ask(request, &right).await?;
            all.extend(page.items);
            if all.len() > OBJECTS {
                return Err(Unread::Failed(format!(
                    "there are more than {OBJECTS}, which is the most that is read"
                )));
            }
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => parameters = parameters.continue_token(&next),
                None => return Ok(all),
            }
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: http::Request<Vec<u8>>, right: &str) -> Answer<T> {
        match self.limited(self.client.request(request)).await {
            Some(answer) => answer.map_err(|error| Unread::of(&error, right)),
            None => Err(Unread::Failed(late(self.timeout))),
        }
    }

    /// `None` if there is no answer in time.
    async fn limited<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.timeout, asked).await.ok()
    }
}

fn unusable(error: impl std::fmt::Display) -> Unusable {
    Unusable::new(format!("no cluster is configured: {error}; name a kubeconfig with --kubeconfig"))
}

fn late(timeout: Duration) -> String {
    format!("no answer within {} s", timeout.as_secs())
}

/// A right in words, as an administrator grants it.
fn right<K: Resource<DynamicType = ()>>(verb: &str, namespace: Option<&str>) -> String {
    let (group, plural) = (K::group(&()), K::plural(&()));
    let resource = if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") };
    match namespace {
        Some(namespace) => format!("{verb} {resource} in the namespace {namespace}"),
        None => format!("{verb} {resource}"),
    }
}

/// Time of an HTTP header (RFC 9110 section 5.6.7), in the form that servers send.
fn parse_date(text: &str) -> Option<Timestamp> {
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Timestamp::from_unix(at.unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::Namespace;

    #[test]
    fn the_time_of_an_answer_is_read() {
        let at = parse_date("Mon, 30 Nov 2026 08:27:05 GMT").map(Timestamp::as_unix);
        assert_eq!(at, Some(1_796_027_225));
        assert_eq!(parse_date("yesterday"), None);
    }

    #[test]
    fn a_right_is_named_as_it_is_granted() {
        assert_eq!(right::<Namespace>("list", None), "list namespaces");
        assert_eq!(right::<Deployment>("get", Some("team")), "get deployments.apps in the namespace team");
    }

    #[test]
    fn a_request_needs_time() {
        assert!(parse_timeout("0").is_err());
        assert_eq!(parse_timeout("1m").map(Seconds::get), Ok(60));
    }
}
