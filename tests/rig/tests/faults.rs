//! The proxy of faults passes requests on, and does to them what it was told.

use countersign_rig::{Fault, Rig, Rule};
use std::time::{Duration, Instant};

#[test]
fn each_fault_meets_the_requests_it_names_and_no_others() {
    let rig = Rig::control_plane().unwrap();
    let proxy = rig.fault_proxy("rig:tester", Some("system:masters")).unwrap();
    let kubeconfig = proxy.kubeconfig();
    let kubectl = |arguments: &[&str]| {
        let through = ["--kubeconfig", kubeconfig.to_str().unwrap()];
        rig.kubectl(&[&through, arguments].concat())
    };
    assert!(kubectl(&["auth", "whoami"]).unwrap().contains("rig:tester"));

    let creation = |fault| Rule::new(fault).method("POST").path("/namespaces").times(1);
    proxy.inject(creation(Fault::Status(409)));
    let refused = kubectl(&["create", "namespace", "a"]).unwrap_err().to_string();
    assert!(refused.contains("a fault of the rig: 409"), "{refused}");
    kubectl(&["create", "namespace", "a"]).unwrap();

    proxy.inject(creation(Fault::Status(429)));
    // The client obeys `Retry-After` by itself.
    kubectl(&["create", "namespace", "b"]).unwrap();
    assert_eq!(proxy.injected(), 2);

    proxy.inject(creation(Fault::HangUp));
    kubectl(&["create", "namespace", "c"]).unwrap_err();
    rig.kubectl(&["get", "namespace", "c"]).unwrap_err();

    // The API server acts, and its client never learns it.
    proxy.inject(creation(Fault::Truncate(20)));
    kubectl(&["create", "namespace", "d"]).unwrap_err();
    rig.kubectl(&["get", "namespace", "d"]).unwrap();

    proxy.inject(Rule::new(Fault::Delay(Duration::from_secs(2))).path("/namespaces/d"));
    let begin = Instant::now();
    kubectl(&["get", "namespace", "d"]).unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(2));
    proxy.clear();

    proxy.inject(Rule::new(Fault::WatchError(410)).watch(true).times(1));
    let expired = kubectl(&["get", "namespaces", "--watch"]).unwrap();
    assert!(expired.contains("a fault of the rig: 410"), "{expired}");
    assert_eq!(proxy.injected(), 6);
    drop(proxy);
    rig.down().unwrap();
}

#[test]
fn a_watch_breaks_when_it_is_told_to() {
    let rig = Rig::control_plane().unwrap();
    let proxy = rig.fault_proxy("rig:tester", Some("system:masters")).unwrap();
    let kubeconfig = proxy.kubeconfig();
    std::thread::scope(|scope| {
        let begin = Instant::now();
        let watch = scope.spawn(|| {
            let through = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--request-timeout=100s"];
            let _ = rig.kubectl(&[through.as_slice(), &["get", "namespaces", "--watch-only"]].concat());
        });
        rig.wait("the watch", || Ok(proxy.open_watches() == 1)).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        assert!(!watch.is_finished());
        proxy.drop_watches();
        watch.join().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(90));
    });
    assert_eq!(proxy.open_watches(), 0);
    drop(proxy);
    rig.down().unwrap();
}
