//! `countersign check` without a cluster: what it says of one that is not there. `tests/cluster/tests/check.rs` asks a real
//! one.

use crate::run::Folder;

/// A kubeconfig of an API server at this address.
fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{name: here, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: me, user: {{token: none}}}}]\n\
         contexts: [{{name: here, context: {{cluster: here, user: me}}}}]\n"
    )
}

#[test]
fn an_api_server_that_does_not_answer_is_no_verdict_about_the_cluster() {
    let folder = Folder::new("check-unreachable");
    folder.write("kubeconfig", kubeconfig("http://127.0.0.1:1"));
    for command in [
        &["check"][..],
        &["check", "agent", "weather", "-n", "team"],
        &["explain", "pod", "weather-7d", "-n", "team"],
    ] {
        let arguments = [command, &["--kubeconfig", "kubeconfig", "--timeout", "2s"]].concat();
        let run = folder.run(&arguments);
        assert_eq!(run.code, 3, "{}{}", run.stdout, run.stderr);
        assert!(
            run.stdout.starts_with("fail  api-server  the API server at http://127.0.0.1:1"),
            "{}",
            run.stdout
        );
        assert!(run.stdout.contains("does not answer") && run.stdout.contains("fix: "), "{}", run.stdout);
        assert!(!run.stdout.contains('\u{1b}'));
        let run = folder.run(&[&arguments[..], &["-o", "json"]].concat());
        assert_eq!((run.code, &run.json()["firstFailure"]), (3, &"api-server".into()));
        let schema = jsonschema::draft202012::new(&folder.run(&["schema", "check"]).json()).unwrap();
        let problems: Vec<String> =
            schema.iter_errors(&run.json()).map(|problem| problem.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?}");
    }
}

#[cfg(feature = "operator")]
#[test]
fn what_the_operators_arguments_leave_out_is_taken_as_the_operator_takes_it() {
    let help = Folder::new("check-defaults").run(&["operator", "--help"]).stdout;
    for (flag, default) in [
        ("mode", "(default audit)"),
        ("enforce-network-policies", "(default false)"),
        ("leader-elect", "(default false)"),
        ("trust-bundle-source", "(default configmap)"),
        ("spire-trust-bundle-configmap", "(default spire-bundle)"),
        ("spire-trust-bundle-configmap-key", "(default bundle.spiffe)"),
        ("spire-trust-bundle-configmap-namespace", "else zero-trust-workload-identity-manager]"),
        ("spire-trust-domain", "[KAGENTI_SPIRE_TRUST_DOMAIN]"),
        ("webhook-bind-address", "0 turns it off, as ENABLE_WEBHOOKS=false does"),
    ] {
        let mut lines = help.lines();
        assert!(lines.any(|line| line.trim() == format!("--{flag}")), "{flag}: {help}");
        assert!(lines.next().is_some_and(|line| line.contains(default)), "{flag}: {help}");
    }
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_one_line() {
    let folder = Folder::new("check-unusable");
    folder.write("kubeconfig", kubeconfig("http://127.0.0.1:1"));
    folder.write("broken", "clusters: [");
    folder.run(&["check", "--kubeconfig", "absent"]).assert_unusable("absent");
    folder.run(&["check", "--kubeconfig", "broken"]).assert_unusable("broken");
    folder.run(&["check", "--kubeconfig", "kubeconfig", "--context", "other"]).assert_unusable("other");
    folder.run(&["check", "--namespace", "A B"]).assert_unusable("--namespace");
    folder
        .run(&["check", "agent", "pod/weather", "-n", "team"])
        .assert_unusable("deployment and statefulset");
    folder.run(&["check", "agent", "weather"]).assert_unusable("--namespace");
    folder.run(&["explain", "pod", "weather"]).assert_unusable("--namespace");
    folder.run(&["explain", "pod", "../x", "-n", "team"]).assert_unusable("the name of a Pod");
    folder.run(&["check", "--timeout", "0"]).assert_unusable("at least 1s");
}
