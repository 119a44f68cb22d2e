//! The operator as a process without a cluster: it answers probes, says why it is not ready, and ends when asked.
#![cfg(feature = "operator")]

#[cfg(test)]
mod tests {
    use countersign_io::clock::instant;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Output, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    /// A process that is not left behind by a failed test.
    struct Operator(Option<Child>);

    impl Drop for Operator {
        fn drop(&mut self) {
            if let Some(mut child) = self.0.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    impl Operator {
        fn start(arguments: &[String]) -> Self {
            let child = Command::new(env!("CARGO_BIN_EXE_countersign"))
                .arg("operator")
                .args(arguments)
                .env_remove("RUST_LOG")
                .stderr(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            Self(Some(child))
        }

        /// Asks it to end, and returns what it came to.
        fn terminate(mut self) -> (Output, Duration) {
            let child = self.0.take().unwrap();
            let started = instant();
            let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
            assert!(killed.success());
            (child.wait_with_output().unwrap(), started.elapsed())
        }
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// The answer to a GET, or nothing if nobody listens.
    fn get(port: u16, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Asks until `wanted` is in the answer; 20 s, because the machine may be busy.
    fn wait_for(port: u16, path: &str, wanted: &str) -> String {
        let mut last = None;
        for _ in 0..200 {
            last = get(port, path);
            if let Some(answer) = last.as_ref().filter(|answer| answer.contains(wanted)) {
                return answer.clone();
            }
            sleep(Duration::from_millis(100));
        }
        panic!("{path} does not answer with {wanted:?} but {last:?}");
    }

    /// A kubeconfig for an API server that is not there.
    fn kubeconfig(name: &str) -> String {
        let path = std::env::temp_dir().join(format!("countersign-{}-{name}.kubeconfig", std::process::id()));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n",
            free_port()
        );
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn without_an_api_server_it_is_healthy_but_not_ready_and_ends_when_asked() {
        let (health, metrics) = (free_port(), free_port());
        let file = kubeconfig("lease");
        let operator = Operator::start(&[
            format!("--health-probe-bind-address=127.0.0.1:{health}"),
            format!("--metrics-bind-address=127.0.0.1:{metrics}"),
            "--metrics-secure=false".to_owned(),
            "--leader-elect".to_owned(),
            "--enable-client-registration=true".to_owned(),
            format!("--kubeconfig={file}"),
        ]);
        assert!(wait_for(health, "/healthz", "ok").starts_with("HTTP/1.1 200"));
        let ready = wait_for(health, "/readyz", "does not answer");
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("[-]api failed"), "{ready}");
        let served = wait_for(metrics, "/metrics", "# EOF");
        assert!(served.contains("countersign_leader 0"), "{served}");

        let (output, took) = operator.terminate();
        std::fs::remove_file(file).unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(took < Duration::from_secs(8), "{took:?}");
        let log = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
        for said in [
            "Serving metrics server",
            "flag --enable-client-registration has no effect",
            "SIGTERM",
            "stopped",
        ] {
            assert!(
                lines.iter().any(|line| line["msg"].as_str().unwrap().contains(said)),
                "{said} is not in {log}"
            );
        }
        assert!(lines.iter().all(|line| line["level"].is_string() && line["ts"].is_string()), "{log}");
    }

    #[test]
    fn secure_metrics_are_not_served_to_plain_or_unknown_callers() {
        let metrics = free_port();
        let file = kubeconfig("secure");
        let operator = Operator::start(&[
            "--health-probe-bind-address=0".to_owned(),
            format!("--metrics-bind-address=127.0.0.1:{metrics}"),
            format!("--kubeconfig={file}"),
        ]);
        let listens = || TcpStream::connect(("127.0.0.1", metrics)).is_ok();
        assert!(
            (0..200).any(|_| listens() || {
                sleep(Duration::from_millis(100));
                false
            }),
            "nothing listens"
        );
        let plain = get(metrics, "/metrics").unwrap_or_default();
        assert!(!plain.contains("countersign") && !plain.starts_with("HTTP/1.1 200"), "{plain}");
        assert!(operator.terminate().0.status.success());
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn an_unknown_flag_ends_with_2_and_names_the_nearest() {
        let mut as_manager = Command::new(env!("CARGO_BIN_EXE_countersign"));
        std::os::unix::process::CommandExt::arg0(&mut as_manager, "/manager");
        let mut as_command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        as_command.arg("operator");
        for mut command in [as_manager, as_command] {
            let output = command.arg("--leader-election=true").output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("did you mean --leader-elect?") && said.lines().count() == 1, "{said}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_use() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let flag = format!("--health-probe-bind-address={address}");
        let output =
            Command::new(env!("CARGO_BIN_EXE_countersign")).args(["operator", &flag]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("cannot listen on {address} for probes")), "{said}");
    }

    #[test]
    fn probe_succeeds_only_if_the_address_answers_200() {
        let probe = |scheme: &str, port: u16, path: &str| {
            let url = format!("{scheme}://127.0.0.1:{port}{path}");
            let output =
                Command::new(env!("CARGO_BIN_EXE_countersign")).args(["probe", &url]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            (output.status.code(), said)
        };
        let (health, file) = (free_port(), kubeconfig("probe"));
        assert_eq!(probe("http", health, "/healthz").0, Some(2));
        let operator = Operator::start(&[
            format!("--health-probe-bind-address=127.0.0.1:{health}"),
            format!("--kubeconfig={file}"),
        ]);
        wait_for(health, "/healthz", "ok");
        for (scheme, path, code) in [
            ("http", "/healthz", 0),
            ("http", "/nothing", 1),
            // As the environment of a Pod names a Service.
            ("tcp", "/healthz", 0),
            ("tcp", "/nothing", 1),
            ("ftp", "/healthz", 2),
        ] {
            let (found, said) = probe(scheme, health, path);
            assert_eq!(found, Some(code), "{scheme} {path}");
            let status = if code == 0 { "200" } else { "404" };
            let told = format!("\"http://127.0.0.1:{health}{path}\" answered {status}\n");
            assert!(code == 2 || said == told, "{said}");
        }
        assert!(operator.terminate().0.status.success());
        std::fs::remove_file(file).unwrap();
    }
}
