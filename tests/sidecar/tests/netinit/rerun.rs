//! A second run, and runs that fail: the rules are those of the last run that succeeded, whole.

use crate::pod::{Pod, SERVER, at, call, line, listen};
use std::io::Write;
use std::net::TcpStream;

const ENFORCE: [&str; 2] = ["--mode", "enforce-redirect"];

#[test]
fn a_second_run_leaves_the_same_rules_and_the_connections() {
    let pod = Pod::new();
    listen(&pod.inside, "proxy", 8082);
    listen(&pod.outside, "server", 80);
    pod.enforce();
    let first = pod.rules();
    let connect = |address: std::net::SocketAddr| {
        let mut stream = TcpStream::connect(address).unwrap();
        assert!(line(&mut stream).ends_with(&address.to_string()));
        stream
    };
    let mut streams: Vec<_> = SERVER.map(|server| pod.as_agent(|| connect(at(server, 80)))).into();
    streams.extend(SERVER.map(|server| pod.as_proxy(|| connect(at(server, 80)))));
    for _ in 0..3 {
        pod.enforce();
        assert_eq!(pod.rules(), first);
        for stream in &mut streams {
            stream.write_all(b"still here\n").unwrap();
            assert_eq!(line(stream), "still here");
        }
    }
}

#[test]
fn another_mode_replaces_the_rules_and_rules_of_others_stay() {
    let pod = Pod::new();
    crate::pod::sh(&pod.inside, "nft add table inet others; nft add chain inet others kept");
    pod.enforce();
    let enforced = pod.rules();
    pod.netinit(&["--pod-ip", "10.77.0.2"]);
    assert!(!pod.rules().contains("8082") && pod.rules().contains("15123"), "{}", pod.rules());
    pod.enforce();
    assert_eq!(pod.rules(), enforced);
    assert!(enforced.contains("chain kept"));
}

#[test]
fn showing_the_transaction_changes_nothing_and_it_is_the_one_that_is_installed() {
    let pod = Pod::new();
    let shown = pod.try_netinit(&[&ENFORCE[..], &["--print"]].concat(), false);
    assert!(shown.status.success());
    assert_eq!(pod.rules(), "");
    pod.netinit(&ENFORCE);
    let installed = pod.rules();
    let file = pod.write("shown.nft", &String::from_utf8(shown.stdout).unwrap());
    crate::pod::sh(&pod.inside, &format!("nft flush ruleset; nft -f {file}"));
    assert_eq!(pod.rules(), installed);
}

#[test]
fn a_run_that_fails_leaves_the_rules_as_they_were() {
    let pod = Pod::new();
    listen(&pod.inside, "proxy", 8082);
    listen(&pod.outside, "server", 80);
    pod.enforce();
    let before = pod.rules();
    let empty = pod.write("empty.conf", "search example\n");
    let broken = pod.write("broken.conf", "nameserver 10.77.0.53\nnameserver dns.example\n");
    // The kernel refuses the last of many rules.
    let refused =
        pod.write("refused", "#!/bin/sh\n{ cat; echo add rule inet authbridge missing drop; } | nft -f -\n");
    // It takes none of it.
    let deaf = pod.write("deaf", "#!/bin/sh\nexit 4\n");
    crate::pod::sh(&pod.inside, &format!("chmod +x {refused} {deaf}"));
    let failing: &[(&[&str], bool, &str)] = &[
        (&["--resolv-conf", &empty], true, "no nameserver"),
        (&["--resolv-conf", &broken], true, "dns.example"),
        (&["--resolv-conf", "/nonexistent"], true, "/nonexistent"),
        (&["--transparent-port", "0"], true, "--transparent-port cannot be port 0"),
        (&["--nft", &refused], true, "missing"),
        (&["--nft", &deaf], true, "exit status: 4"),
        (&["--nft", "/nonexistent/nft"], true, "/nonexistent/nft"),
        (&["--transparent-port", "9999"], false, "not permitted"),
    ];
    for (flags, rights, reason) in failing {
        let mut arguments = ENFORCE.to_vec();
        // Given twice, a flag would be refused by the command line itself.
        let done = if flags[0] == "--resolv-conf" {
            pod.try_netinit_with(flags[1], &arguments, *rights)
        } else {
            arguments.extend(*flags);
            pod.try_netinit(&arguments, *rights)
        };
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && said.contains(reason), "{flags:?}: {said}");
        assert_eq!(pod.rules(), before, "{flags:?}");
        assert_eq!(pod.as_agent(|| call(at(SERVER[0], 80))), format!("proxy {}", at(SERVER[0], 80)));
    }
}

#[test]
fn a_first_run_that_fails_leaves_no_rules() {
    let pod = Pod::new();
    let empty = pod.write("empty.conf", "\n");
    assert!(!pod.try_netinit_with(&empty, &ENFORCE, true).status.success());
    assert!(
        !pod.try_netinit(&["--mode", "redirect"], true).status.success(),
        "without an address of the pod"
    );
    assert!(!pod.try_netinit(&ENFORCE, false).status.success(), "without the right");
    assert_eq!(pod.rules(), "");
}
