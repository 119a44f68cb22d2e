//! The configuration of AuthBridge: every mistake is named with its line, its key and the nearest thing that exists.

#[cfg(test)]
mod tests {
    use countersign_authbridge::config::{
        Checked, Diagnostic, OnError, Plugin, Reading, SidecarMode, parse_config, parse_routes,
    };
    use serde_json::json;

    const GOOD: &str = r#"
mode: proxy-sidecar
listener:
  reverse_proxy_addr: ":8000"
  reverse_proxy_backend: "http://127.0.0.1:8001"
pipeline:
  inbound:
    plugins:
      - name: jwt-validation
        config: {issuer: "https://id.example/realms/agents", audience: agent-a}
      - a2a-parser
  outbound:
    plugins:
      - name: token-exchange
        config:
          keycloak_url: http://keycloak:8080
          keycloak_realm: agents
          identity: {type: client-secret, client_id: agent-a, client_secret: "${SECRET}"}
          routes:
            rules:
              - {host: tool.team1, target_audience: tool}
"#;

    fn variable(name: &str) -> Option<String> {
        (name == "SECRET").then(|| "hunter2$x".to_owned())
    }

    fn read(text: &str, reading: Reading) -> Result<Checked, Vec<Diagnostic>> {
        parse_config(text, &variable, reading)
    }

    /// The diagnostics of a file that is refused, as `LINE KEY: PROBLEM`.
    fn refused(text: &str) -> Vec<String> {
        let diagnostics = read(text, Reading::Strict).expect_err("it is accepted");
        diagnostics
            .iter()
            .map(|diagnostic| format!("{} {}: {}", diagnostic.place.line, diagnostic.key, diagnostic.problem))
            .collect()
    }

    fn with(old: &str, new: &str) -> String {
        assert!(GOOD.contains(old), "{old}");
        GOOD.replacen(old, new, 1)
    }

    fn only(text: &str) -> String {
        let all = refused(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().unwrap()
    }

    #[test]
    fn a_file_of_the_existing_sidecar_is_read_with_its_defaults() {
        let checked = read(GOOD, Reading::Strict).unwrap();
        let (inbound, backend) = checked.addresses.inbound.clone().unwrap();
        assert_eq!(
            (inbound.address.to_string().as_str(), backend.authority.as_str()),
            ("[::]:8000", "127.0.0.1:8001")
        );
        assert_eq!(checked.addresses.outbound.unwrap().address.to_string(), "127.0.0.1:8081");
        assert_eq!(checked.addresses.stats.address.to_string(), "127.0.0.1:9093");
        assert_eq!(checked.addresses.session.address.to_string(), "127.0.0.1:9094");
        assert_eq!(checked.addresses.health.address.to_string(), "[::]:9091");
        let shown = serde_json::to_value(&checked.config).unwrap();
        assert_eq!(shown["session"]["max_events"], 100);
        let exchange = &shown["pipeline"]["outbound"]["plugins"][0]["config"];
        assert_eq!(exchange["identity"]["client_secret"], "[redacted]");
        assert!(
            !shown.to_string().contains("hunter2") && !format!("{:?}", checked.config).contains("hunter2")
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
        let text = format!("{GOOD}mlts:\n  mode: strict\n");
        assert_eq!(only(&text), "22 mlts: there is no such key; did you mean mtls?");
        let text = with("reverse_proxy_addr", "reverse_proxy_adr");
        assert!(only(&text).starts_with(
            "4 listener.reverse_proxy_adr: there is no such key; did you mean reverse_proxy_addr?"
        ));
        let text = with("target_audience", "target_audiance");
        assert!(only(&text).contains("plugins[0].config.routes.rules[0].target_audiance"), "{}", only(&text));
        let several = format!("{}xyzzy: 1\nstat: {{}}\n", with("audience: agent-a", "audiense: agent-a"));
        assert_eq!(refused(&several).len(), 3);
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_its_place() {
        for (old, new, expected) in [
            ("mode: proxy-sidecar", "mode: proxy", "2 mode: \"proxy\" is none of"),
            ("\":8000\"", "\"8000\"", "4 listener.reverse_proxy_addr: \"8000\" is not an address"),
            (
                "audience: agent-a",
                "audience: agent-a, clock_skew: 30",
                "clock_skew: it is a number without a unit; write a duration such as \"30s\"",
            ),
            (
                "audience: agent-a",
                "audience: agent-a, clock_skew: true",
                "clock_skew: it is a boolean, expected a duration such as \"30s\"",
            ),
            ("\":8000\"", "[1]", "4 listener.reverse_proxy_addr: it is a list, expected a text"),
            ("client-secret", "clientsecret", "identity.type: \"clientsecret\" is none of"),
            ("- a2a-parser", "- a2a-parsr", "there is no such plugin; did you mean a2a-parser?"),
            ("- a2a-parser", "- ibac", "ibac is not part of this AuthBridge"),
            ("- a2a-parser", "- {id: x}", "the plugin has no name"),
            ("${SECRET}", "${SECRTE}", "the environment variable \"SECRTE\" is not set"),
        ] {
            let found = only(&with(old, new));
            assert!(found.contains(expected), "{new}: {found}");
        }
        assert!(only("a: 1\na: 2\n").starts_with('2'));
        assert!(refused("")[0].contains("the key mode is missing; add it"));
    }

    #[test]
    fn one_run_names_every_problem_and_none_that_follows_from_another() {
        let text = r#"
mode: proxy-sidecar
listener:
  reverse_proxy_addr: "8000"
  reverse_proxy_backend: "127.0.0.1:8001"
  forward_proxy_addr: "0.0.0.0:8081"
stats: {address: "0.0.0.0:9093"}
health: {adress: ":8082"}
limits: {idle_timeout: 300, keepalive: 0s}
pipeline:
  inbound:
    plugins:
      - a2a-parsr
      - name: jwt-validation
        config: {isuer: "https://id.example", clock_skew: 5m, jwks_url: ftp}
  outbound:
    plugins:
      - name: token-exchange
        config:
          keycloak_url: 8080
          keycloak_realm: agents
          identity: {type: secret}
          routes: {rules: [{host: "a[1]"}, {hots: b}]}
"#;
        let jwt = "pipeline.inbound.plugins[1].config";
        let exchange = "pipeline.outbound.plugins[0].config";
        let expected = [
            "4 listener.reverse_proxy_addr: \"8000\" is not an address".to_owned(),
            "5 listener.reverse_proxy_backend: \"127.0.0.1:8001\"".to_owned(),
            "6 listener.forward_proxy_addr: it must be a loopback address".to_owned(),
            "7 stats.address: it listens beyond loopback".to_owned(),
            "8 health.adress: there is no such key; did you mean address?".to_owned(),
            "9 limits.idle_timeout: it is a number without a unit".to_owned(),
            "9 limits.keepalive: 0s is out of range".to_owned(),
            "13 pipeline.inbound.plugins[0]: there is no such plugin; did you mean a2a-parser?".to_owned(),
            format!("15 {jwt}.isuer: there is no such key; did you mean issuer?"),
            format!("15 {jwt}.clock_skew: it is longer than one minute"),
            format!("15 {jwt}.jwks_url: \"ftp\""),
            format!("20 {exchange}.keycloak_url: it is a number, expected a text"),
            format!("22 {exchange}.identity.type: \"secret\" is none of"),
            format!("23 {exchange}.routes.rules[0].host: the pattern"),
            format!("23 {exchange}.routes.rules[1].hots: there is no such key; did you mean host?"),
        ];
        let found = refused(text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.starts_with(expected), "{expected}\n{found}");
        }
    }

    #[test]
    fn a_problem_that_a_lenient_reading_would_let_pass_names_the_flag_for_it() {
        const FLAG: &str = "; --compat lets it pass, as the existing AuthBridge does";
        for (text, is_lifted) in [
            (format!("{GOOD}waypoint_defaults: {{}}\n"), true),
            (with("audience: agent-a", "jwks_url: ''"), true),
            (format!("{GOOD}session: {{ttl: ''}}\n"), true),
            (with("${SECRET}", "${OTHER}"), true),
            (with("\":8000\"", "\"8000\""), false),
            // What may be misspelt is to be corrected.
            (format!("{GOOD}mlts: {{}}\n"), false),
            (with("target_audience: tool", "server_spiffe_id: ''"), false),
        ] {
            let found = read(&text, Reading::Strict).err().map(|_| only(&text));
            let Some(found) = found else { panic!("{text} is accepted") };
            assert_eq!(found.ends_with(FLAG), is_lifted, "{found}");
        }
        let routes = parse_routes("- {host: a, waypoint_only: 1}\n", &|_| None, Reading::Strict);
        assert!(routes.unwrap_err()[0].problem.ends_with(FLAG));
    }

    #[test]
    fn a_lenient_reading_passes_over_what_it_does_not_know_and_tells() {
        let text = format!("{}mlts: {{}}\n", with("${SECRET}", "${OTHER}"));
        let checked = read(&text, Reading::Lenient).unwrap();
        let told: Vec<String> = checked.notices.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|notice| notice.contains("mlts")), "{told:?}");
        assert!(told.iter().any(|notice| notice.contains("OTHER")), "{told:?}");
        // Leniency is for keys, not for rules.
        assert!(read(&with("issuer:", "isuer:"), Reading::Lenient).is_err());
    }

    /// The notices of a file that is read leniently.
    fn noticed(text: &str) -> (Checked, Vec<String>) {
        let checked = read(text, Reading::Lenient).unwrap_or_else(|problems| panic!("{problems:?}"));
        let notices = checked.notices.iter().map(ToString::to_string).collect();
        (checked, notices)
    }

    #[test]
    fn a_lenient_reading_takes_empty_for_absent_where_the_existing_sidecar_does() {
        let text =
            with("audience: agent-a", "audience: '', audience_file: '', bypass_paths: [], jwks_url: ''");
        let text = format!("{text}session: {{ttl: '', max_sessions: 0}}\n");
        let text = text.replacen("listener:\n", "listener:\n  session_api_addr: \"\"\n", 1);
        let (checked, notices) = noticed(&text);
        let shown = serde_json::to_value(&checked.config).unwrap();
        let jwt = &shown["pipeline"]["inbound"]["plugins"][0]["config"];
        assert_eq!((jwt.get("audience"), jwt["bypass_paths"].as_array().unwrap().len()), (None, 4));
        assert_eq!(
            (&shown["session"]["ttl"], &shown["session"]["max_sessions"]),
            (&"1800s".into(), &100.into())
        );
        assert_eq!(checked.addresses.session.address.to_string(), "127.0.0.1:9094");
        assert_eq!(
            notices.iter().filter(|notice| notice.contains("counts as absent")).count(),
            7,
            "{notices:?}"
        );
        assert!(read(&text, Reading::Strict).is_err());
        // Where only this program has the key, nothing is taken for absent: it could widen a rule.
        let text = with("target_audience: tool", "server_spiffe_id: ''");
        assert!(read(&text, Reading::Lenient).is_err());
    }

    #[test]
    fn a_lenient_reading_takes_sizes_of_sessions_that_the_existing_sidecar_takes() {
        for (session, key, shown, told) in [
            (
                "max_events: 200000",
                "max_events",
                json!(100_000),
                "200000 is out of range, and 100000 counts: ",
            ),
            ("max_sessions: 1000000", "max_sessions", json!(100_000), "1000000 is out of range"),
            ("max_events: -1", "max_events", json!(100_000), "-1 means no limit, and 100000 counts: "),
            ("ttl: 8760h", "ttl", json!("2592000s"), "8760h is out of range, and 720h counts: "),
            ("ttl: 500ms", "ttl", json!("1s"), "500ms is out of range, and 1s counts: "),
            ("ttl: 0s", "ttl", json!("1s"), "0s is out of range, and 1s counts: "),
            ("ttl: 0", "ttl", json!("1s"), "\"0\" is no time to live, and 1s counts: "),
            ("ttl: -5m", "ttl", json!("1s"), "\"-5m\" is no time to live, and 1s counts: "),
        ] {
            let text = format!("{GOOD}session: {{{session}}}\n");
            let (checked, notices) = noticed(&text);
            assert_eq!(serde_json::to_value(&checked.config).unwrap()["session"][key], shown, "{session}");
            let notice = notices.iter().find(|notice| notice.contains(&format!("session.{key}: {told}")));
            assert!(notice.is_some_and(|notice| notice.contains("line ")), "{session}: {notices:?}");
            assert!(only(&text).contains("; --compat lets it pass"), "{session}");
        }
        // A key without a value is one that is not there.
        let (checked, notices) = noticed(&format!("{GOOD}session: {{max_events: , ttl: ~}}\n"));
        let usual = read(GOOD, Reading::Strict).unwrap().config.session;
        assert_eq!(checked.config.session, usual);
        assert_eq!(
            notices.iter().filter(|notice| notice.contains("counts as absent")).count(),
            2,
            "{notices:?}"
        );
        // Nothing is lost where no session is kept, and what only this program has is as strict as without.
        let (_, notices) =
            noticed(&format!("{GOOD}session: {{enabled: false, max_events: 200000, ttl: 0s}}\n"));
        assert!(!notices.iter().any(|notice| notice.contains("session.")), "{notices:?}");
        for ours in ["session: {max_bytes: 1}", "limits: {connections: 0}", "session: {max_events: 1.5}"] {
            assert!(read(&format!("{GOOD}{ours}\n"), Reading::Lenient).is_err(), "{ours}");
        }
    }

    #[test]
    fn a_lenient_reading_passes_over_plugins_that_gate_nothing_and_over_no_other() {
        let text = with(
            "- a2a-parser",
            "- contextguru\n      - {name: lineage, config: {a: {b: 1}}}\n      - a2a-parser",
        );
        let (checked, notices) = noticed(&text);
        assert_eq!(checked.config.pipeline.inbound.plugins.len(), 2);
        for (line, name) in [(11, "contextguru"), (12, "lineage")] {
            let index = line - 10;
            let notice =
                format!("line {line}: pipeline.inbound.plugins[{index}]: the plugin {name} is passed over");
            assert!(notices.iter().any(|found| found.starts_with(&notice)), "{notices:?}");
        }
        assert!(refused(&text)[0].contains("pass over it with --compat"), "{:?}", refused(&text));
        for gate in ["ibac", "opa", "cpex", "sparc", "token-broker", "staticinject"] {
            let text = with("- a2a-parser", &format!("- {gate}"));
            let problems = read(&text, Reading::Lenient).unwrap_err();
            assert!(problems[0].problem.contains("requests would pass without it"), "{problems:?}");
        }
    }

    #[test]
    fn a_notice_of_a_lenient_reading_says_what_is_lost_and_what_to_write() {
        let mtls = "mtls:\n  mode: strict\n  cert_file: /opt/svid.pem\n  key_file: /opt/svid_key.pem\n  bundle_file: /opt/svid_bundle.pem\n";
        let elsewhere = mtls.replace("/opt/svid.pem", "/opt/tls.crt");
        for (text, notice) in [
            (
                format!("{GOOD}mlts: {{}}\n"),
                "line 22: mlts: there is no such key; did you mean mtls? It is passed over, and what it says does not hold: \
                 correct it or take it out",
            ),
            (
                with("${SECRET}", "${OTHER}"),
                "identity.client_secret: ${OTHER} is not set, and stays in the value as it is: set the variable, or write \
                 the value here",
            ),
            (
                with("audience: agent-a", "audience: ''"),
                "line 10: pipeline.inbound.plugins[0].config.audience: it is empty, which counts as absent, so its default \
                 holds: take it out, or write a value",
            ),
            (
                with("- a2a-parser", "- a2a-parser\n      - toolprune"),
                "line 12: pipeline.inbound.plugins[2]: the plugin toolprune is passed over: no tool is taken out of lists of \
                 tools; there is nothing in its place here, so take it out",
            ),
            (
                format!("{GOOD}{mtls}"),
                "line 24: mtls.cert_file: the identity is read from \"/opt\"; write `spiffe: {files_dir: \"/opt\"}` instead of \
                 this key",
            ),
            (
                format!("{GOOD}{mtls}spiffe: {{}}\n"),
                "line 24: mtls.cert_file: it is passed over, because the block `spiffe` says where identities come from; take \
                 it out, or write `spiffe.files_dir` for files",
            ),
            (
                format!("{GOOD}{elsewhere}spiffe: {{}}\n"),
                "line 24: mtls.cert_file: it is passed over, because the block `spiffe`",
            ),
        ] {
            let (_, notices) = noticed(&text);
            assert!(notices.iter().any(|one| one.contains(notice)), "{notice}\n{notices:#?}");
        }
    }

    #[test]
    fn two_sources_of_the_audience_are_refused_and_neither_widens_the_other() {
        let both = with("audience: agent-a", "audience: agent-a, audience_file: /shared/client-id.txt");
        for reading in [Reading::Strict, Reading::Lenient] {
            let problems = read(&both, reading).expect_err("it is accepted");
            let [one] = problems.as_slice() else { panic!("{problems:?}") };
            let told = format!("{}: {}", one.key, one.problem);
            assert!(told.contains("audience_file: ") && told.contains("`audience`"), "{told}");
        }
        for one in
            ["audience_file: /a", "allowed_audiences: [b], audience_file: /a", "allowed_audiences: [b]"]
        {
            read(&with("audience: agent-a", one), Reading::Strict)
                .unwrap_or_else(|found| panic!("{found:?}"));
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        for (old, new) in [
            ("keycloak_url: http://keycloak:8080", "token_url: \"http://user:geheim@keycloak/t\""),
            ("http://127.0.0.1:8001", "http://user:geheim@127.0.0.1:8001"),
        ] {
            let problem = only(&with(old, new));
            assert!(!problem.contains("geheim"), "{problem}");
        }
    }

    #[test]
    fn variables_that_stay_as_they_are_are_told_and_no_part_of_a_secret_is() {
        for reading in [Reading::Strict, Reading::Lenient] {
            let notices = |old: &str, new: &str| {
                let checked =
                    read(&with(old, new), reading).unwrap_or_else(|problems| panic!("{problems:?}"));
                checked.notices.iter().map(ToString::to_string).collect::<Vec<_>>()
            };
            let told = notices("keycloak_realm: agents", "keycloak_realm: \"$REALM\"");
            let [one] =
                told.iter().filter(|notice| notice.contains("$REALM stays as it is")).collect::<Vec<_>>()[..]
            else {
                panic!("{told:?}")
            };
            assert!(one.contains("keycloak_realm"), "{one}");
            // A dollar sign of a secret is none, and what follows one is not repeated.
            let told = notices("keycloak_realm: agents", "keycloak_realm: \"a$1$$\"");
            assert!(told.iter().all(|notice| !notice.contains("stays as it is")), "{told:?}");
            let told = notices("\"${SECRET}\"", "\"pa$geheim\"");
            assert!(told.iter().any(|notice| notice.contains("stays as it is")), "{told:?}");
            assert!(told.iter().all(|notice| !notice.contains("geheim")), "{told:?}");
        }
    }

    #[test]
    fn a_lenient_reading_takes_the_identity_from_the_files_that_mtls_names() {
        let named = |folder: &str, certificate: &str, more: &str| {
            format!(
                "{GOOD}mtls:\n  mode: strict\n  cert_file: {folder}/{certificate}\n  key_file: {folder}/svid_key.pem\n  \
                 bundle_file: {folder}/svid_bundle.pem\n{more}"
            )
        };
        let folder =
            |checked: &Checked| checked.config.spiffe.as_ref().and_then(|spiffe| spiffe.files_dir.clone());
        let (checked, notices) = noticed(&named("/opt", "svid.pem", ""));
        assert_eq!(folder(&checked).as_deref(), Some("/opt"));
        for (line, key) in [(24, "cert_file"), (25, "key_file"), (26, "bundle_file")] {
            let notice = format!("line {line}: mtls.{key}: the identity is read from \"/opt\"");
            assert!(notices.iter().any(|found| found.starts_with(&notice)), "{notices:?}");
        }
        let (checked, notices) = noticed(&named("/opt", "svid.pem", "spiffe: {}\n"));
        assert_eq!(folder(&checked), None);
        assert_eq!(
            notices.iter().filter(|notice| notice.contains("it is passed over")).count(),
            3,
            "{notices:?}"
        );
        // Files that are no such set are not guessed at.
        for text in [
            named("/opt", "tls.crt", ""),
            named("/opt", "svid.pem", "").replacen("/opt/svid_k", "/etc/svid_k", 1),
        ] {
            let problems = read(&text, Reading::Lenient).expect_err("it is accepted");
            assert!(
                problems.iter().any(|found| found.problem.contains("needs the block `spiffe`")),
                "{problems:?}"
            );
        }
        let (_, notices) = noticed(&format!("{}spiffe: {{}}\n", named("/opt", "tls.crt", "")));
        assert!(notices.iter().any(|notice| notice.contains("mtls.cert_file")), "{notices:?}");
        assert_eq!(refused(&named("/opt", "svid.pem", "spiffe: {}\n")).len(), 3);
    }

    #[test]
    fn a_gate_that_is_missing_or_only_observes_is_refused_without_the_frightening_key() {
        let observed = with("- name: jwt-validation", "- name: jwt-validation\n        on_error: observe");
        assert!(only(&observed).contains("jwt-validation must enforce"), "{}", only(&observed));
        let off = with("- name: token-exchange", "- name: token-exchange\n        on_error: \"off\"");
        assert!(only(&off).contains("token-exchange must enforce"));
        let none = "mode: proxy-sidecar\nlistener: {reverse_proxy_backend: \"http://127.0.0.1:1\"}\n";
        assert!(only(none).contains("jwt-validation is missing"));
        for text in [observed, off, none.to_owned()] {
            let text = if text.contains("pipeline:\n") {
                text.replacen("pipeline:\n", "pipeline:\n  dangerously_allow_unauthenticated: true\n", 1)
            } else {
                format!("{text}pipeline: {{dangerously_allow_unauthenticated: true}}\n")
            };
            let checked = read(&text, Reading::Strict).unwrap();
            assert!(checked.notices.iter().any(|notice| notice.problem.contains("without authentication")));
        }
    }

    #[test]
    fn doors_that_others_could_use_are_closed() {
        let open =
            with("  reverse_proxy_addr", "  forward_proxy_addr: \"0.0.0.0:8081\"\n  reverse_proxy_addr");
        assert!(only(&open).contains("it must be a loopback address"), "{}", only(&open));
        let stats = format!("{GOOD}stats: {{address: \"0.0.0.0:9093\"}}\n");
        assert!(only(&stats).contains("set admin.token_file"));
        let guarded = format!("{stats}admin: {{token_file: /t}}\n");
        assert!(read(&guarded, Reading::Strict).is_ok());
        let port = with("  reverse_proxy_addr", "  forward_proxy_addr: \":8081\"\n  reverse_proxy_addr");
        let checked = read(&port, Reading::Strict).unwrap();
        assert!(checked.addresses.outbound.unwrap().address.ip().is_loopback());
        assert!(checked.notices.iter().any(|notice| notice.key == "listener.forward_proxy_addr"));
    }

    #[test]
    fn a_token_that_opens_ports_alone_to_others_is_told() {
        let told = |text: &str| -> Vec<String> {
            let checked = read(text, Reading::Strict).unwrap_or_else(|problems| panic!("{problems:?}"));
            let about = checked.notices.iter().filter(|one| one.key == "admin.token_file");
            about.map(ToString::to_string).collect()
        };
        let guarded = format!("{GOOD}admin: {{token_file: /t}}\n");
        assert_eq!(
            told(&guarded),
            [
                "line 22: admin.token_file: with it stats.address (the default :9093) and listener.session_api_addr (the \
              default :9094) listen on every interface, for whoever has the token; write 127.0.0.1:9093 and \
              127.0.0.1:9094 there to keep them within the Pod"
            ]
        );
        let one = format!("{guarded}stats: {{address: \"127.0.0.1:9093\"}}\n");
        let one = one.replacen("listener:\n", "listener:\n  session_api_addr: \":9999\"\n", 1);
        assert_eq!(
            told(&one),
            [
                "line 23: admin.token_file: with it listener.session_api_addr (:9999) listens on every interface, for whoever \
              has the token; write 127.0.0.1:9999 there to keep it within the Pod"
            ]
        );
        // Whoever names every interface knows.
        let both = format!("{guarded}stats: {{address: \"0.0.0.0:9093\"}}\n");
        let both = both.replacen("listener:\n", "listener:\n  session_api_addr: \"[::]:9094\"\n", 1);
        assert_eq!(told(&both), [""; 0]);
        assert_eq!(told(GOOD), [""; 0]);
    }

    #[test]
    fn a_mistake_is_named_by_what_the_file_has_and_a_default_as_one() {
        for (text, expected) in [
            (
                with("https://id.example/realms/agents", "id.example"),
                "10 pipeline.inbound.plugins[0].config.issuer: \"id.example/protocol/openid-connect/certs\", which follows \
                 from it, is not an http(s) URL",
            ),
            (
                with("audience: agent-a", "audience: agent-a, jwks_url: id.example"),
                "10 pipeline.inbound.plugins[0].config.jwks_url: \"id.example\" is not an http(s) URL",
            ),
            (
                with("http://keycloak:8080", "keycloak:8080"),
                "16 pipeline.outbound.plugins[0].config.keycloak_url: \"keycloak:8080/realms/agents/protocol/openid-connect/token\", \
                 which follows from it, is not an http(s) URL",
            ),
            (
                with("\":8000\"", "\":9093\""),
                "4 listener.reverse_proxy_addr: port 9093 is the default of stats.address as well",
            ),
        ] {
            assert!(only(&text).starts_with(expected), "{expected}\n{}", only(&text));
        }
        let checked = read(GOOD, Reading::Strict).unwrap();
        let note = checked.notices.iter().find(|one| one.key == "listener.forward_proxy_addr").unwrap();
        assert!(note.problem.starts_with("the default :8081 listens on 127.0.0.1"), "{note}");
    }

    #[test]
    fn modes_and_blocks_that_exclude_or_need_each_other_are_told_apart() {
        for (text, expected) in [
            (with("proxy-sidecar", "waypoint"), "there is no program for waypoint"),
            (with("proxy-sidecar", "envoy-sidecar"), "Envoy does this in envoy-sidecar"),
            (
                with("  reverse_proxy_addr", "  ext_proc_addr: \":9090\"\n  reverse_proxy_addr"),
                "it belongs to the mode envoy-sidecar",
            ),
            (format!("{GOOD}mtls:\n"), "it needs the block `spiffe`"),
            (format!("{GOOD}spiffe:\nmtls: {{allowed_peers: [example.org]}}\n"), "is no rule for peers"),
            (with("keycloak_realm: agents", ""), "set it, or keycloak_url and keycloak_realm"),
            (with("type: client-secret", "type: spiffe"), "jwt_audience: it is missing"),
            (with("host: tool.team1", "host: \"tool[1]\""), "uses [ ] or \\"),
            (with("audience: agent-a", "bypass_paths: [\"/a/../b\"]"), "contains a dot segment"),
            (with("audience: agent-a", "audience_mode: per-host"), "per-host belongs to the mode waypoint"),
            (
                with(
                    "host: tool.team1,",
                    "host: tool.team1, server_spiffe_id: \"spiffe://a/b\", tls: plain,",
                ),
                "it needs `tls: mtls`",
            ),
            (
                with("host: tool.team1,", "host: tool.team1, action: exchange, passthrough: true,"),
                "it contradicts `action`",
            ),
        ] {
            let all = refused(&text);
            assert!(all.iter().any(|found| found.contains(expected)), "{expected}: {all:?}");
        }
    }

    #[test]
    fn a_number_or_duration_with_which_nothing_would_work_is_refused_with_its_range() {
        const COUNT: &str = "1 to 1048576";
        for (block, key, value, range) in [
            ("limits", "connections", "0", COUNT),
            ("limits", "connections", "5000000", COUNT),
            ("limits", "connections_per_peer", "0", COUNT),
            ("limits", "memory", "5", "1048576 to 68719476736"),
            ("limits", "header_timeout", "0s", "100ms to 1h"),
            ("limits", "header_timeout", "999999h", "100ms to 1h"),
            ("limits", "response_timeout", "0s", "100ms to 168h"),
            ("limits", "idle_timeout", "0s", "1s to 168h"),
            ("limits", "tunnel_idle_timeout", "1ms", "1s to 168h"),
            ("limits", "half_close_timeout", "169h", "1s to 168h"),
            ("limits", "keepalive", "0s", "1s to 9h"),
            ("session", "max_sessions", "0", "1 to 100000"),
            ("session", "max_events", "0", "1 to 100000"),
            ("session", "max_bytes", "1", "65536 to 1073741824"),
            ("session", "ttl", "0s", "1s to 720h"),
        ] {
            let told = only(&format!("{GOOD}{block}: {{{key}: {value}}}\n"));
            let start = format!("22 {block}.{key}: {value} is out of range: write {range}, or take it out");
            assert!(told.starts_with(&start), "{start}\n{told}");
            // Editors tell of it, too.
            let schema = include_str!("../schemas/authbridge.schema.json");
            let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
            let name = if block == "limits" { "Limits" } else { "Session" };
            let about = &schema["$defs"][name]["properties"][key];
            let shown = match (&about["minimum"], &about["maximum"]) {
                (serde_json::Value::Null, _) => about["description"].to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            assert!(shown.contains(range), "{key}: {range} is not in {shown}");
        }
        let told = only(&with("audience: agent-a", "audience: agent-a, jwks_max_age: 5m"));
        assert!(told.contains("jwks_max_age: 5m is out of range: write 6m to 720h"), "{told}");
        let told = only(&format!("{GOOD}limits: {{connections: 10, connections_per_peer: 20000}}\n"));
        assert!(
            told.starts_with("22 limits.connections_per_peer: 20000 of one peer are more than"),
            "{told}"
        );
        let told = only(&format!("{GOOD}limits: {{connections_per_peer: 20000}}\n"));
        assert!(told.contains("16384 by the default of limits.connections"), "{told}");
        let checked = read(&format!("{GOOD}limits: {{connections: 100}}\n"), Reading::Strict).unwrap();
        let told = "line 22: limits.connections: one peer may have all 100, since connections_per_peer is 8192 by default; write \
                    connections_per_peer as well";
        assert!(checked.notices.iter().any(|one| one.to_string() == told), "{:?}", checked.notices);
        let both =
            "limits: {connections: 0, connections_per_peer: 0, memory: 5, idle_timeout: 0s, keepalive: 0s}";
        assert_eq!(refused(&format!("{GOOD}{both}\n")).len(), 5);
        for fine in [
            "limits: {connections: 1, connections_per_peer: 1, memory: 1048576}",
            "limits: {connections: 64}",
            "limits: {header_timeout: 1h, idle_timeout: 1s, tunnel_idle_timeout: 168h, keepalive: 90s}",
            "session: {max_events: 5, ttl: 7m}",
            "session: {enabled: false, max_events: 0, ttl: 0s}",
        ] {
            read(&format!("{GOOD}{fine}\n"), Reading::Strict).unwrap_or_else(|found| panic!("{found:?}"));
        }
    }

    /// A YAML block of a document, by what it contains.
    fn shown<'d>(document: &'d str, contains: &str) -> &'d str {
        let blocks = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        blocks.into_iter().find(|block| block.contains(contains)).unwrap_or_else(|| panic!("{contains}"))
    }

    #[test]
    fn the_configurations_that_documents_show_are_accepted_as_they_stand() {
        let [authbridge, envoy] = [include_str!("../docs/authbridge.md"), include_str!("../docs/envoy.md")];
        for text in [shown(authbridge, "mode: proxy-sidecar"), shown(envoy, "mode: envoy-sidecar")] {
            read(text, Reading::Strict).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        }
    }

    #[test]
    fn the_pod_of_the_document_fits_its_configuration() {
        let objects = shown(include_str!("../docs/netinit.md"), "kind: Pod");
        let [_, settings, pod] = objects.split("---\n").collect::<Vec<_>>()[..] else { panic!("{objects}") };
        let (_, indented) = settings.split_once("config.yaml: |\n").unwrap();
        let text: String =
            indented.split_inclusive('\n').map(|line| line.strip_prefix("    ").unwrap()).collect();
        let Checked { config, addresses, .. } =
            read(&text, Reading::Strict).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));

        let has = |told: String| assert!(pod.contains(&told), "{told} is not in\n{pod}");
        let port =
            |address: Option<countersign_authbridge::config::ListenAddress>| address.unwrap().address.port();
        has(format!("{{name: TRANSPARENT_PORT, value: \"{}\"}}", port(addresses.transparent)));
        has(format!(
            "{{name: INBOUND_TRANSPARENT_PORT, value: \"{}\"}}",
            port(addresses.transparent_inbound)
        ));
        has(format!("{{path: /readyz, port: {}}}", port(Some(addresses.health))));
        assert!(addresses.inbound.is_none(), "no port leads past the one that is redirected to");
        let socket = config.spiffe.unwrap().socket;
        let folder = socket.strip_prefix("unix://").unwrap().rsplit_once('/').unwrap().0;
        has(format!("mountPath: {folder},"));
        // No file is needed that the Pod does not have.
        assert!(text.contains("audience: ") && text.contains("client_id: "));
        let (_, name) = settings.split_once("metadata: {name: ").unwrap();
        has(format!("configMap: {{name: {}}}", name.split(',').next().unwrap()));
    }

    #[test]
    fn routes_are_read_from_a_file_by_the_same_rules() {
        let read = |text: &str| parse_routes(text, &|_| None, Reading::Strict);
        let (routes, _) =
            read("- host: a\n  passthrough: true\n- host: \"*.b\"\n  target_audience: b\n").unwrap();
        assert_eq!(routes.len(), 2);
        assert!(read("# nothing yet\n\n").unwrap().0.is_empty());
        let found = read("- host: a\n  action: denied\n").unwrap_err();
        assert_eq!((found[0].place.line, found[0].key.as_str()), (2, "[0].action"));
        assert!(read("- host: a\n  pasthrough: true\n").unwrap_err()[0].problem.contains("passthrough"));
        assert!(read("host: a\n").is_err());
    }

    #[test]
    fn plugins_are_known_by_the_names_that_files_have() {
        for (name, loss) in [
            ("context-guru", "prompts are not compacted"),
            ("lineage-telemetry", "no lineage of calls is recorded"),
            ("tool-prune", "no tool is taken out of lists of tools"),
        ] {
            let text = with("- a2a-parser", &format!("- {{name: {name}, config: {{a: b}}}}"));
            let (checked, notices) = noticed(&text);
            assert_eq!(checked.config.pipeline.inbound.plugins.len(), 1, "{name}");
            let notice = format!("the plugin {name} is passed over: {loss}");
            assert!(notices.iter().any(|found| found.contains(&notice)), "{notices:?}");
            assert!(only(&text).contains("pass over it with --compat"), "{}", only(&text));
        }
        for (name, instead) in [
            ("static-inject", "token-exchange with action client-credentials"),
            ("litellm-budget-track", "hold the budget where the model is served"),
            ("session-budget", "hold the budget where the model is served"),
            ("token-budget", "hold the budget where the model is served"),
            ("placeholder-resolve", "give tokens by token-exchange"),
        ] {
            let text = with("- a2a-parser", &format!("- {name}"));
            for reading in [Reading::Strict, Reading::Lenient] {
                let problems = read(&text, reading).unwrap_err();
                let [one] = problems.as_slice() else { panic!("{problems:?}") };
                let told = ["requests would pass without it", instead];
                assert!(told.iter().all(|part| one.problem.contains(part)), "{name}: {one}");
            }
        }
    }

    #[test]
    fn a_route_that_no_host_could_match_is_refused_in_both_readings() {
        let expected = [
            ("api.team1:8000", "names a port, and a rule holds for every port; write \"api.team1\""),
            ("127.0.0.1:28001", "write \"127.0.0.1\""),
            ("*.team1:*", "write \"*.team1\""),
            ("**:443", "write \"**\""),
            ("[::1]:8080", "write \"::1\""),
            ("[::1]", "write \"::1\""),
            ("http://api.team1:8000/", "is a URL, and a rule has the host alone; write \"api.team1\""),
            ("https://api.team1", "write \"api.team1\""),
            ("api.team1/v1/*", "has a path, and a rule has the host alone; write \"api.team1\""),
            ("10.0.0.0/8", "is a network; write its addresses with *, such as 10.1.**"),
            ("fd00::/8", "is a network"),
            (".team1", "has an empty label, which no host has; write \"**.team1\" for every host below it"),
            ("*.team1.", "has an empty label"),
            ("a..b", "has an empty label"),
            ("256.1.1.1", "is no host: the host is not an IPv4 address"),
            ("${HOST}", "has $, which no host has"),
            ("user@api.team1", "has @, which no host has"),
            ("{api.team1:80,b}", "names a port"),
            ("{a,0xA9FEA9FE}", "write \"169.254.169.254\""),
        ];
        for reading in [Reading::Strict, Reading::Lenient] {
            for (host, problem) in expected {
                if host == "${HOST}" && reading == Reading::Strict {
                    continue;
                }
                let rule =
                    with("host: tool.team1, target_audience: tool", &format!("host: '{host}', action: deny"));
                let problems = read(&rule, reading).expect_err(host);
                let found = problems.last().unwrap();
                assert!(found.key.ends_with("routes.rules[0].host") && found.place.line == 21, "{found}");
                assert!(found.problem.contains(problem), "{host}: {found}");
                assert!(!found.problem.contains("--compat"), "{host}: {found}");
                let problems = parse_routes(
                    &format!("- host: a\n- host: '{host}'\n  action: deny\n"),
                    &|_| None,
                    reading,
                )
                .expect_err(host);
                let found = problems.last().unwrap();
                assert_eq!((found.key.as_str(), found.place.line), ("[1].host", 2), "{found}");
                assert!(found.problem.contains(problem), "{host}: {found}");
            }
        }
        for host in [
            "api.team1",
            "API.Team1.",
            "*",
            "**",
            "**.team1",
            "a_b-*.c",
            "{a,b}.c?",
            "::1",
            "fd00:**",
            "::ffff:10.0.0.1",
            "10.*.*.*",
            "10.{1,2}.**",
            "0xA9FEA9FE",
            "fd??::*",
            "*tool*.x",
            "{::1,fe80:*}",
            "xn--bcher-kva.example",
        ] {
            let rule = with("host: tool.team1", &format!("host: '{host}'"));
            read(&rule, Reading::Strict).unwrap_or_else(|problems| panic!("{host}: {problems:?}"));
        }
        // Hosts that are skipped are written in the same way.
        for host in ["http://a.team1/", "a.team1:80", ".team1", "10.0.0.0/8"] {
            let text = GOOD.replacen("listener:\n", &format!("listener:\n  skip_hosts: ['{host}']\n"), 1);
            assert!(only(&text).contains("listener.skip_hosts: "), "{}", only(&text));
        }
    }

    #[test]
    fn the_word_off_needs_no_quotes_where_a_plugin_has_on_error() {
        // Go's yaml.v3 takes the scalar of a text as it is written, also where YAML 1.1 has a boolean.
        for reading in [Reading::Strict, Reading::Lenient] {
            for value in ["off", "\"off\"", "'off'"] {
                let text = with("- a2a-parser", &format!("- name: a2a-parser\n        on_error: {value}"));
                let checked = read(&text, reading).unwrap_or_else(|problems| panic!("{value}: {problems:?}"));
                assert_eq!(checked.config.pipeline.inbound.plugins[1].on_error, OnError::Off, "{value}");
                let text = with("- a2a-parser", &format!("- {{on_error: {value}, name: a2a-parser}}"));
                assert!(read(&text, reading).is_ok(), "{value}");
            }
            for value in ["no", "false", "Off", "on", "true"] {
                let text = with("- a2a-parser", &format!("- name: a2a-parser\n        on_error: {value}"));
                let problems = read(&text, reading).expect_err(value);
                assert_eq!(
                    (problems[0].place.line, problems[0].problem.as_str()),
                    (
                        12,
                        &*format!(
                            "\"{value}\" is none of enforce, observe, off{}",
                            match value {
                                "Off" | "on" => "; did you mean off?",
                                _ => "",
                            }
                        )
                    ),
                );
            }
            // Nowhere else.
            assert!(read(&format!("{GOOD}session: {{enabled: off}}\n"), reading).is_ok());
            assert!(read(&with("audience: agent-a", "audience: off"), reading).is_err());
        }
        let off = with("- name: jwt-validation", "- name: jwt-validation\n        on_error: off");
        for reading in [Reading::Strict, Reading::Lenient] {
            let problems = read(&off, reading).expect_err("it is accepted");
            assert!(
                problems.iter().any(|one| one.problem.contains("jwt-validation must enforce")),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn plugins_that_are_switched_off_are_passed_over_and_no_gate_is() {
        for name in ["ibac", "token-broker", "sparc", "context-guru", "mine"] {
            let text = with(
                "- name: token-exchange",
                &format!(
                    "- {{name: {name}, on_error: off, config: {{judge: '${{NOWHERE}}'}}}}\n      - name: token-exchange"
                ),
            );
            let (checked, notices) = noticed(&text);
            assert_eq!(checked.config.pipeline.outbound.plugins.len(), 1, "{name}");
            let notice = format!(
                "line 14: pipeline.outbound.plugins[0]: the plugin \"{name}\" is switched off by `on_error: off`, and does not run in the existing AuthBridge either: it is passed over; take it out"
            );
            assert!(notices.contains(&notice), "{notices:#?}");
            let told = only(&text);
            assert!(!told.contains("requests would pass without it"), "{told}");
            assert!(told.contains("and it is switched off; take it out of the pipeline"), "{told}");
            assert!(told.ends_with("; --compat lets it pass, as the existing AuthBridge does"), "{told}");
        }
        let text = with("- name: token-exchange", "- name: token-exchange\n        on_error: off");
        let (checked, notices) = noticed(&text);
        assert!(checked.config.pipeline.outbound.plugins.is_empty());
        let notice = "line 14: pipeline.outbound.plugins[0]: the plugin token-exchange is switched off by `on_error: off`: it is \
                      passed over, no token is exchanged, and no route counts; take it out, or take out `on_error`";
        assert!(notices.iter().any(|found| found == notice), "{notices:#?}");
        assert!(only(&text).contains("token-exchange must enforce"), "{}", only(&text));
        // The existing one denies nothing by routes: such a file is one of this program.
        let text = text.replacen("target_audience: tool", "action: deny", 1);
        assert!(read(&text, Reading::Lenient).is_err());
        for gate in ["ibac", "{name: opa, on_error: observe}", "{name: opa, on_error: enforce}"] {
            let text = with("- name: token-exchange", &format!("- {gate}\n      - name: token-exchange"));
            let problems = read(&text, Reading::Lenient).expect_err(gate);
            assert!(problems[0].problem.contains("requests would pass without it"), "{problems:?}");
        }
    }

    #[test]
    fn a_parser_reads_one_direction_and_a_lenient_reading_passes_over_it_in_the_other() {
        let both = with("- a2a-parser", "- a2a-parser\n      - mcp-parser\n      - name: inference-parser");
        let both = format!("{both}      - a2a-parser\n      - mcp-parser\n");
        let (checked, notices) = noticed(&both);
        let names = |plugins: &[Plugin]| plugins.iter().map(|one| one.settings.name()).collect::<Vec<_>>();
        assert_eq!(names(&checked.config.pipeline.inbound.plugins), ["jwt-validation", "a2a-parser"]);
        assert_eq!(names(&checked.config.pipeline.outbound.plugins), ["token-exchange", "mcp-parser"]);
        for (line, place, name) in
            [(12, "inbound.plugins[2]", "mcp-parser"), (13, "inbound.plugins[3]", "inference-parser")]
        {
            let notice = format!(
                "line {line}: pipeline.{place}: {name} reads nothing of inbound requests here: it is passed over; take it out"
            );
            assert!(notices.contains(&notice), "{notices:#?}");
        }
        assert!(notices.iter().any(|one| one.contains("a2a-parser reads nothing of outbound requests here")));
        let told = refused(&both);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("mcp-parser does not work on inbound requests, and stands in pipeline.outbound as well; take it out here"), "{told:?}");
        assert!(
            told[1]
                .contains("inference-parser does not work on inbound requests; move it to pipeline.outbound"),
            "{told:?}"
        );
        assert!(told[2].contains("a2a-parser does not work on outbound requests, and stands in pipeline.inbound as well; take it out here"), "{told:?}");
        // A gate is never passed over.
        let text = with(
            "- a2a-parser",
            "- {name: token-exchange, config: {token_url: 'https://i/t', identity: {type: client-secret}}}",
        );
        assert!(read(&text, Reading::Lenient).is_err());
    }

    const FLAT: &str = r#"mode: proxy-sidecar
listener: {reverse_proxy_backend: "http://127.0.0.1:8001"}
bypass:
  inbound_paths: ["/.well-known/*"]
identity:
  type: client-secret
  client_id_file: /shared/client-id.txt
  jwt_svid_path: /opt/jwt_svid.token
inbound:
  issuer: https://id.example/realms/agents
  expected_audience: agent-a
outbound:
  keycloak_url: https://id.example
  keycloak_realm: agents
routes:
  file: /etc/authproxy/routes.yaml
"#;

    #[test]
    fn the_old_flat_form_is_refused_with_the_place_of_each_key() {
        let jwt = "pipeline.inbound.plugins[jwt-validation].config";
        let exchange = "pipeline.outbound.plugins[token-exchange].config";
        let expected = [
            format!("4 bypass.inbound_paths: this is the form of files before there were plugins; write it as {jwt}.bypass_paths"),
            format!("6 identity.type: this is the form of files before there were plugins; write it as {exchange}.identity.type"),
            format!("7 identity.client_id_file: this is the form of files before there were plugins; write it as {exchange}.identity.client_id_file"),
            "8 identity.jwt_svid_path: this is the form of files before there were plugins; it has no place here; take it out".to_owned(),
            format!("10 inbound.issuer: this is the form of files before there were plugins; write it as {jwt}.issuer"),
            format!("11 inbound.expected_audience: this is the form of files before there were plugins; write it as {jwt}.audience"),
            format!("13 outbound.keycloak_url: this is the form of files before there were plugins; write it as {exchange}.keycloak_url"),
            format!("14 outbound.keycloak_realm: this is the form of files before there were plugins; write it as {exchange}.keycloak_realm"),
            format!("16 routes.file: this is the form of files before there were plugins; write it as {exchange}.routes.file"),
        ];
        let told = refused(FLAT);
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (found, expected) in told.iter().zip(&expected) {
            assert!(found.starts_with(expected), "{expected}\n{found}");
        }
        assert!(
            told.iter().all(|one| one.ends_with("; --compat lets it pass, as the existing AuthBridge does")),
            "{told:#?}"
        );
    }

    #[test]
    fn a_lenient_reading_translates_the_flat_form_and_checks_what_comes_of_it() {
        let (checked, notices) = noticed(&format!("{FLAT}egressEnforcement: none\nsession: {{ttl: ''}}\n"));
        let shown = serde_json::to_value(&checked.config).unwrap();
        let of = |direction: &str| shown["pipeline"][direction]["plugins"].clone();
        assert_eq!(of("inbound").as_array().map(Vec::len), Some(1));
        let jwt = &of("inbound")[0]["config"];
        assert_eq!(
            (&of("inbound")[0]["name"], &jwt["issuer"], &jwt["audience"], &jwt["bypass_paths"]),
            (
                &json!("jwt-validation"),
                &json!("https://id.example/realms/agents"),
                &json!("agent-a"),
                &json!(["/.well-known/*"])
            )
        );
        let exchange = &of("outbound")[0]["config"];
        assert_eq!(exchange["keycloak_url"], "https://id.example");
        assert_eq!(exchange["identity"]["type"], "client-secret");
        assert_eq!(exchange["identity"]["client_id_file"], "/shared/client-id.txt");
        assert_eq!(exchange["routes"]["file"], "/etc/authproxy/routes.yaml");
        for notice in [
            "line 10: inbound.issuer: this is the form of files before there were plugins; it is read as \
             pipeline.inbound.plugins[jwt-validation].config.issuer: write it there",
            "line 8: identity.jwt_svid_path: it has no place here, and is passed over: take it out",
            "line 17: egressEnforcement: there is no such key",
            "line 18: session.ttl: it is empty",
        ] {
            assert!(notices.iter().any(|one| one.starts_with(notice)), "{notice}\n{notices:#?}");
        }
        // A gate that is not whole is refused, and what was passed over is told with it.
        for (old, new, problem) in [
            ("  issuer: https://id.example/realms/agents\n", "", "config.issuer: it is missing"),
            ("type: client-secret", "type: spiffe", "jwt_audience: it is missing"),
            ("\"/.well-known/*\"", "\"/a/../b\"", "contains a dot segment"),
        ] {
            let text = FLAT.replacen(old, new, 1);
            let problems = read(&text, Reading::Lenient).expect_err(problem);
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert!(told.iter().any(|one| one.contains(problem)), "{problem}: {told:#?}");
            assert!(told.iter().any(|one| one.contains("jwt_svid_path: it has no place here")), "{told:#?}");
        }
        // The pipeline counts where there is one, and only that.
        let with_pipeline = format!("{FLAT}pipeline: {{inbound: {{plugins: [a2a-parser]}}}}\n");
        let problems = read(&with_pipeline, Reading::Lenient).expect_err("it is accepted");
        assert!(problems.iter().any(|one| one.problem.contains("jwt-validation is missing")), "{problems:?}");
        assert_eq!(refused(&with_pipeline).len(), 9);
    }

    #[test]
    fn a_refusal_of_a_lenient_reading_tells_what_was_passed_over_as_well() {
        let text = "mode: proxy-sidecar\ninboundInterception: transparent\nlistener: {reverse_proxy_backend: 'http://127.0.0.1:1'}\n\
                    pipeline: {outbound: {plugins: [tool-prune]}}\n";
        let problems: Vec<String> = read(text, Reading::Lenient)
            .expect_err("it is accepted")
            .iter()
            .map(ToString::to_string)
            .collect();
        for part in [
            "inboundInterception: there is no such key",
            "the plugin tool-prune is passed over",
            "jwt-validation is missing",
        ] {
            assert!(problems.iter().any(|one| one.contains(part)), "{part}: {problems:#?}");
        }
    }

    #[test]
    fn roles_decide_which_sides_there_are() {
        let forward =
            "mode: proxy-sidecar\nlistener:\n  roles: [forward]\n  forward_proxy_addr: localhost:8081\n";
        let egress = format!("{forward}pipeline: {{outbound: {{plugins: [inference-parser]}}}}\n");
        for reading in [Reading::Strict, Reading::Lenient] {
            let checked = read(&egress, reading).unwrap_or_else(|problems| panic!("{problems:?}"));
            assert!(checked.addresses.inbound.is_none() && checked.addresses.transparent_inbound.is_none());
            assert_eq!(checked.addresses.outbound.unwrap().address.to_string(), "127.0.0.1:8081");
            let reverse = GOOD.replacen("listener:\n", "listener:\n  roles: [reverse]\n", 1);
            let checked = read(&reverse, reading).unwrap_or_else(|problems| panic!("{problems:?}"));
            assert!(checked.addresses.inbound.is_some() && checked.addresses.outbound.is_none());
            for both in ["[]", "[forward, reverse]"] {
                let text = GOOD.replacen("listener:\n", &format!("listener:\n  roles: {both}\n"), 1);
                let addresses =
                    read(&text, reading).unwrap_or_else(|problems| panic!("{problems:?}")).addresses;
                assert!(addresses.inbound.is_some() && addresses.outbound.is_some(), "{both}");
            }
            let of_no_side = [
                (
                    GOOD.replacen("listener:\n", "listener:\n  roles: [forward]\n", 1),
                    "listener.reverse_proxy_addr: `roles` does not name reverse, so nothing comes in; take it out",
                ),
                (
                    egress.replacen(
                        "  roles: [forward]\n",
                        "  roles: [forward]\n  inbound_interception: transparent\n",
                        1,
                    ),
                    "listener.inbound_interception: `roles` does not name reverse",
                ),
                (
                    egress.replacen(
                        "roles: [forward]",
                        "roles: [reverse]\n  reverse_proxy_backend: 'http://127.0.0.1:1'",
                        1,
                    ),
                    "listener.forward_proxy_addr: `roles` does not name forward, so nothing goes out; take it out",
                ),
            ];
            for (text, problem) in of_no_side {
                let told = read(&text, reading);
                let told = if reading == Reading::Strict {
                    told.expect_err(problem)
                } else {
                    told.map_or_else(|problems| problems, |checked| checked.notices)
                };
                let problem = if reading == Reading::Strict {
                    problem.to_owned()
                } else {
                    problem.replace("; take", ", and it is passed over: take")
                };
                assert!(
                    told.iter().any(|one| format!("{}: {}", one.key, one.problem).contains(&problem)),
                    "{problem}: {told:?}"
                );
            }
            for (text, problem) in [
                (egress.replacen("[forward]", "[reverse]", 1), "jwt-validation is missing"),
                (
                    egress.replacen("[forward]", "[forwrad]", 1),
                    "listener.roles[0]: \"forwrad\" is none of reverse, forward",
                ),
            ] {
                let problems = read(&text, reading).expect_err(problem);
                assert!(
                    problems.iter().any(|one| format!("{}: {}", one.key, one.problem).contains(problem)),
                    "{problem}: {problems:?}"
                );
            }
        }
        // What is written for requests that cannot come is told.
        let text = format!("{forward}pipeline: {{inbound: {{plugins: [a2a-parser]}}}}\n");
        let (_, notices) = noticed(&text);
        assert!(
            notices
                .iter()
                .any(|one| one.contains("pipeline.inbound.plugins: nothing comes in by `listener.roles`")),
            "{notices:?}"
        );
    }

    #[test]
    fn the_health_address_of_the_existing_sidecar_is_taken_over() {
        let text = GOOD.replacen("listener:\n", "listener:\n  health_addr: 127.0.0.1:47604\n", 1);
        let (checked, notices) = noticed(&text);
        assert_eq!(checked.addresses.health.address.to_string(), "127.0.0.1:47604");
        assert!(
            notices
                .iter()
                .any(|one| one.starts_with("line 4: listener.health_addr: it is taken as health.address")),
            "{notices:?}"
        );
        assert!(
            only(&text)
                .starts_with("4 listener.health_addr: there is no such key; write it as health.address"),
            "{}",
            only(&text)
        );
        let both = format!("{text}health: {{address: ':9091'}}\n");
        let (checked, notices) = noticed(&both);
        assert_eq!(checked.addresses.health.address.to_string(), "[::]:9091");
        assert!(
            notices.iter().any(|one| one
                .contains("listener.health_addr: it is passed over, because health.address is there")),
            "{notices:?}"
        );
    }

    #[test]
    fn a_disabled_block_of_mtls_is_one_that_is_not_there() {
        let text = format!("{GOOD}mtls:\n  mode: disabled\n");
        let (checked, notices) = noticed(&text);
        assert!(checked.config.mtls.is_none());
        assert!(notices.iter().any(|one| one == "line 23: mtls.mode: disabled means that there is no mTLS: the block is passed over; take it out"), "{notices:?}");
        let told = refused(&text);
        assert!(told.iter().any(|one| one.starts_with("23 mtls.mode: \"disabled\" is none of permissive, strict; take the block out to have no mTLS; --compat")), "{told:?}");
        let ours = format!("{GOOD}mtls: {{mode: disabled, allowed_peers: ['spiffe://a/b']}}\n");
        assert!(read(&ours, Reading::Lenient).is_err());
    }

    #[test]
    fn a_token_exchange_that_exchanges_nothing_is_passed_over() {
        let exchange = |config: &str| {
            let (before, _) = GOOD.split_once("      - name: token-exchange").unwrap();
            format!("{before}      - {{config: {config}, name: token-exchange}}\n")
        };
        for config in [
            "{default_policy: passthrough}",
            "{default_policy: passthrough, no_token_policy: deny}",
            "{default_policy: passthrough, routes: {rules: [{host: a, action: passthrough}, {host: b, passthrough: true}]}}",
        ] {
            let (checked, notices) = noticed(&exchange(config));
            assert!(checked.config.pipeline.outbound.plugins.is_empty(), "{config}");
            let notice = "line 14: pipeline.outbound.plugins[0]: token-exchange exchanges nothing by `default_policy: passthrough` and has \
                          no token endpoint: it is passed over, and a file of routes does not count; take it out, or set token_url and \
                          identity";
            assert!(notices.iter().any(|one| one == notice), "{notices:#?}");
            assert!(read(&exchange(config), Reading::Strict).is_err());
        }
        for config in [
            "{}",
            "{default_policy: exchange}",
            "{default_policy: passthrough, audience_from_host: true}",
            "{default_policy: passthrough, routes: {file: /r.yaml}}",
            "{default_policy: passthrough, routes: {rules: [{host: a}]}}",
            "{default_policy: passthrough, routes: {rules: [{host: a, action: deny}]}}",
            "{default_policy: passthrough, routes: {rules: [{host: a, action: passthrough, tls: mtls}]}}",
            "{default_policy: passthrough, identity: {type: client-secret}}",
        ] {
            assert!(read(&exchange(config), Reading::Lenient).is_err(), "{config}");
        }
    }

    #[test]
    fn an_address_of_every_interface_becomes_loopback_with_a_notice() {
        for (key, address) in [
            ("forward_proxy_addr", "0.0.0.0:3130"),
            ("forward_proxy_addr", "[::]:3130"),
            ("transparent_proxy_addr", "0.0.0.0:3130"),
            ("session_api_addr", "0.0.0.0:3130"),
        ] {
            let text = GOOD.replacen("listener:\n", &format!("listener:\n  {key}: '{address}'\n"), 1);
            let (checked, notices) = noticed(&text);
            let addresses = &checked.addresses;
            let all = [addresses.outbound, addresses.transparent, Some(addresses.session)];
            assert!(
                all.into_iter().flatten().any(|one| one.address.to_string() == "127.0.0.1:3130"),
                "{key}"
            );
            let notice = format!(
                "line 4: listener.{key}: {address} is every interface, and it listens on 127.0.0.1:3130"
            );
            assert!(notices.iter().any(|one| one.starts_with(&notice)), "{notices:?}");
            assert!(only(&text).contains("; --compat lets it pass"), "{}", only(&text));
        }
        let text = format!("{GOOD}stats: {{address: '0.0.0.0:9093'}}\n");
        assert_eq!(noticed(&text).0.addresses.stats.address.to_string(), "127.0.0.1:9093");
        let guarded = format!("{text}admin: {{token_file: /t}}\n");
        assert_eq!(noticed(&guarded).0.addresses.stats.address.to_string(), "0.0.0.0:9093");
        // A port alone is told as well, in both readings.
        for key in ["forward_proxy_addr", "transparent_proxy_addr", "session_api_addr"] {
            let text = GOOD.replacen("listener:\n", &format!("listener:\n  {key}: ':3130'\n"), 1);
            let checked = read(&text, Reading::Strict).unwrap();
            let notice = format!("line 4: listener.{key}: it listens on 127.0.0.1, not on every interface");
            assert!(
                checked.notices.iter().any(|one| one.to_string().starts_with(&notice)),
                "{:?}",
                checked.notices
            );
        }
        // One interface that is named is no accident.
        let text = GOOD.replacen("listener:\n", "listener:\n  forward_proxy_addr: '10.0.0.1:3130'\n", 1);
        assert!(read(&text, Reading::Lenient).is_err());
    }

    #[test]
    fn a_file_that_binds_loopback_alone_is_kept_there() {
        let text = GOOD.replacen("listener:\n", "listener:\n  bind_loopback_only: true\n", 1);
        let (checked, notices) = noticed(&text);
        assert_eq!(checked.addresses.inbound.unwrap().0.address.to_string(), "127.0.0.1:8000");
        assert_eq!(checked.addresses.health.address.to_string(), "127.0.0.1:9091");
        let notice = "line 4: listener.bind_loopback_only: it is read as listener.reverse_proxy_addr as 127.0.0.1:8000 and \
                      health.address as 127.0.0.1:9091: write that there";
        assert!(notices.iter().any(|one| one == notice), "{notices:#?}");
        let (checked, _) = noticed(&text.replacen("only: true", "only: false", 1));
        assert_eq!(checked.addresses.health.address.to_string(), "[::]:9091");
        let (checked, _) = noticed(&text.replacen("  reverse_proxy_addr: \":8000\"\n", "", 1));
        assert_eq!(checked.addresses.inbound.unwrap().0.address.to_string(), "127.0.0.1:8080");
        assert!(only(&text).contains("; --compat lets it pass"), "{}", only(&text));
        let (_, notices) = noticed(&text.replacen("only: true", "only: 1", 1));
        assert!(
            notices.iter().any(|one| one.contains("bind_loopback_only: there is no such key")),
            "{notices:?}"
        );
    }

    #[test]
    fn lite_is_the_same_program_with_a_notice() {
        let text = with("proxy-sidecar", "lite");
        let (checked, notices) = noticed(&text);
        assert_eq!(checked.config.mode, SidecarMode::ProxySidecar);
        let notice =
            "line 2: mode: lite is the same program here, and is read as proxy-sidecar: write proxy-sidecar";
        assert!(notices.iter().any(|one| one == notice), "{notices:?}");
        let told = only(&text);
        assert!(told.contains("; write proxy-sidecar, which is the same program; --compat"), "{told}");
    }
}
