//! The file of routes while the sidecar runs: it vanishes, is emptied, breaks and names new token endpoints.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http;
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation, token_exchange};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// A sidecar with a file of routes, and a server that the agent calls.
struct Stage {
    scene: Scene,
    tool: Backend,
    endpoint: Backend,
    jwks: JwksServer,
    folder: Folder,
    file: PathBuf,
}

/// Answers with a token of this name.
fn token(name: &str) -> Answer {
    Answer::json(&serde_json::json!({ "access_token": name, "token_type": "Bearer", "expires_in": 300 }))
}

impl Stage {
    fn start(name: &str, routes: &str) -> Self {
        let [tool, endpoint] =
            [Answer::text("tool"), token("first")].map(|answer| Backend::start(answer).unwrap());
        let jwks = JwksServer::start(&[&SigningKey::p256("k1").unwrap()]).unwrap();
        let folder = Folder::new(name).unwrap();
        let file = folder.write("routes.yaml", routes).unwrap();
        let scene = Scene::start(&settings((&jwks, &endpoint), &file, "5m"), &Options::default()).unwrap();
        Self { scene, tool, endpoint, jwks, folder, file }
    }

    /// The status that the agent gets from the tool.
    fn call(&self) -> u16 {
        self.scene.call_out(&format!("{}/x", self.tool.url()), Some("subject")).unwrap().status
    }

    fn notice(&self) -> String {
        let (status, body) = self.scene.readiness().unwrap();
        assert_eq!(status, 200, "{body}");
        body["notices"]["routes"].as_str().unwrap_or_default().to_owned()
    }
}

fn settings((jwks, endpoint): (&JwksServer, &Backend), file: &Path, ttl: &str) -> Settings {
    let inbound = jwt_validation("https://id.example", &jwks.url(), "agent");
    let outbound = token_exchange(&format!("{}/token", endpoint.url()), ("agent", "s"), &[]);
    let outbound = outbound.replace("/nonexistent/routes.yaml", &file.display().to_string());
    Settings { inbound, outbound, blocks: format!("session: {{ttl: {ttl}}}"), ..Settings::default() }
}

#[test]
fn a_file_that_vanishes_or_is_emptied_leaves_its_routes_also_across_a_reload() {
    let stage = Stage::start("routes-gone", "- {host: 127.0.0.1, action: deny}\n");
    assert_eq!(stage.call(), 403);
    let gone = |what: &str| until(what, LIMIT, || Ok(stage.notice().contains("absent or empty"))).unwrap();
    stage.folder.write("routes.yaml", "").unwrap();
    gone("the notice of an empty file");
    assert_eq!(stage.call(), 403);
    std::fs::remove_file(&stage.file).unwrap();
    // Another configuration reads the file anew, and it is not there.
    stage.scene.rewrite(&settings((&stage.jwks, &stage.endpoint), &stage.file, "6m")).unwrap();
    until("the reload", LIMIT, || Ok(stage.scene.stats("/reload/status")?["reloads_ok"] == 1)).unwrap();
    gone("the notice of an absent file");
    assert_eq!(stage.call(), 403);
    // Whoever wants none says so.
    stage.folder.write("routes.yaml", "[]\n").unwrap();
    until("no route", LIMIT, || Ok(stage.call() == 200)).unwrap();
    until("no notice", LIMIT, || Ok(stage.notice().is_empty())).unwrap();
    assert_eq!(stage.tool.last().unwrap().bearer(), Some("subject"));
}

#[test]
fn another_file_that_is_absent_is_refused_until_it_appears() {
    let stage = Stage::start("routes-other", "- {host: 127.0.0.1, action: deny}\n");
    let other = stage.folder.join("other.yaml");
    stage.scene.rewrite(&settings((&stage.jwks, &stage.endpoint), &other, "6m")).unwrap();
    let reloads = |key: &str| stage.scene.stats("/reload/status").unwrap()[key].clone();
    until("the refusal", LIMIT, || Ok(reloads("reloads_failed") == 1)).unwrap();
    assert!(reloads("last_error").as_str().unwrap().contains("other.yaml"), "{}", reloads("last_error"));
    let metrics = http::get(&format!("http://{}/metrics", stage.scene.at.stats)).unwrap().text();
    assert!(metrics.contains("authbridge_config_current 0"), "{metrics}");
    assert_eq!(stage.call(), 403);
    // The refused file took nothing of the one in force.
    std::fs::remove_file(&stage.file).unwrap();
    until("the notice", LIMIT, || Ok(stage.notice().contains("absent or empty"))).unwrap();
    assert_eq!(stage.call(), 403);
    let told = |line: &str| stage.scene.bridge.log().matches(line).count();
    // It is taken over once it is there, without another change of the configuration.
    stage.folder.write("other.yaml", "[]\n").unwrap();
    until("the reload", Duration::from_secs(45), || Ok(reloads("reloads_ok") == 1)).unwrap();
    assert_eq!((stage.call(), reloads("reloads_failed")), (200, 1.into()));
    assert_eq!(told("the configuration stays as it was"), 1);
}

#[test]
fn a_new_token_endpoint_of_the_file_is_asked() {
    let stage = Stage::start("routes-endpoint", "- {host: 127.0.0.1, target_audience: tool}\n");
    assert_eq!((stage.call(), stage.tool.last().unwrap().bearer()), (200, Some("first")));
    let other = Backend::start(token("second")).unwrap();
    let route =
        format!("- {{host: 127.0.0.1, target_audience: tool, token_url: \"{}/token\"}}\n", other.url());
    stage.folder.write("routes.yaml", route).unwrap();
    until("the other endpoint", LIMIT, || {
        assert_eq!(stage.call(), 200, "nothing is refused in between");
        Ok(stage.tool.last().unwrap().bearer() == Some("second"))
    })
    .unwrap();
}

#[test]
fn the_metric_of_a_broken_file_ends_with_the_plugin_that_names_it() {
    let stage = Stage::start("routes-metric", "- {host: 127.0.0.1, action: deny}\n");
    let current = || {
        let metrics = http::get(&format!("http://{}/metrics", stage.scene.at.stats)).unwrap().text();
        metrics.lines().find(|line| line.starts_with("authbridge_routes_current ")).unwrap().to_owned()
    };
    stage.folder.write("routes.yaml", "- {host: 127.0.0.1, action: nothing}\n").unwrap();
    until("the metric", LIMIT, || Ok(current().ends_with(" 0"))).unwrap();
    let inbound = jwt_validation("https://id.example", &stage.jwks.url(), "agent");
    stage.scene.rewrite(&Settings { inbound, ..Settings::default() }).unwrap();
    until("the reload", LIMIT, || Ok(stage.scene.stats("/reload/status")?["reloads_ok"] == 1)).unwrap();
    assert_eq!(stage.notice(), "");
    let found = until("the metric", Duration::from_secs(8), || Ok(current().ends_with(" 1")));
    assert!(found.is_ok(), "no file is followed, and {}", current());
}
