//! The end of the sidecar: requests to the agent first, those of the agent last.

use countersign_sidecar_tests::authbridge::{Options, readiness};
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::http::{Request, get};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::process::{Signal, until};
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use std::time::Duration;

const ISSUER: &str = "https://id.example";
const SOON: Duration = Duration::from_secs(20);

#[test]
fn an_agent_that_finishes_its_work_can_still_call_tools() {
    let key = SigningKey::p256("k1").unwrap();
    let jwks = JwksServer::start(&[&key]).unwrap();
    let inbound = jwt_validation(ISSUER, &jwks.url(), "agent");
    let scene = Scene::start(&Settings { inbound, ..Settings::default() }, &Options::default()).unwrap();
    let tool = Backend::start(Answer::text("tool")).unwrap();
    scene.agent.answer(Answer::text("done").after(Duration::from_secs(3)));
    let token = key.sign(&ordinary_claims(ISSUER, "agent", "alice")).unwrap();
    let call_out =
        |scene: &Scene| scene.call_out(&format!("{}/x", tool.url()), None).map(|reply| reply.status);
    std::thread::scope(|threads| {
        let (scene, token) = (&scene, &token);
        let working = threads.spawn(move || scene.call(&Request::new("GET", "/x").bearer(token)).unwrap());
        until("the request", SOON, || Ok(!scene.agent.seen().is_empty())).unwrap();
        scene.bridge.signal(Signal::TERM).unwrap();
        let is_closed = || Ok(scene.call(&Request::new("GET", "/y").bearer(token)).is_err());
        until("no more requests to the agent", SOON, is_closed).unwrap();
        assert_eq!(call_out(scene).unwrap(), 200, "the agent is not done yet");
        assert_eq!(readiness(scene.at.health).unwrap(), 503, "whoever asks is told");
        let done = working.join().unwrap();
        assert_eq!((done.status, done.text().as_str()), (200, "done"));
    });
    // It was answered and still runs: it may have more to do.
    assert_eq!(call_out(&scene).unwrap(), 200);
    assert!(get(&format!("http://{}/stats", scene.at.stats)).is_ok());
    let Scene { agent, mut bridge, .. } = scene;
    drop(agent);
    assert!(bridge.wait_end(SOON).unwrap().success());
}
