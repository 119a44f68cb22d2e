//! Many requests of an agent at once, none of which has a kept token.

use crate::stage::{Kind, Stage};
use countersign_rig::record::Table;
use countersign_sidecar_tests::http::Request;

const HERD: usize = 100;

/// How often the token endpoint is asked for all of them.
pub(crate) fn measure(stage: &Stage, table: &mut Table) {
    let bridge = stage.start(Kind::AuthBridge);
    let before = stage.token_calls();
    let host = stage.backend.address.to_string();
    let request =
        Request::new("GET", &format!("http://{host}/x")).header("Host", &host).bearer("another-subject");
    let address = bridge.others.unwrap().outbound.to_string();
    std::thread::scope(|threads| {
        for _ in 0..HERD {
            threads.spawn(|| assert_eq!(request.send(&address).unwrap().status, 200));
        }
    });
    let calls = stage.token_calls() - before;
    table.row(
        &format!("AuthBridge: {HERD} requests at once without a kept token: token calls"),
        "1",
        &calls.to_string(),
    );
}
