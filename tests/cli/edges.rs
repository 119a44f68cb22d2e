//! Input that nothing can be said about: exit code 2 and one line that says what to do.

use crate::authority::{TRUST, WEATHER, verify, world};
use crate::run::{Folder, binary};

#[test]
fn every_wrong_flag_is_one_line_with_exit_code_2() {
    let (folder, _) = world("flags");
    for (arguments, says) in [
        (verify("signed.json", &["--bogus"]), "'--bogus'"),
        (verify("signed.json", &["--at", "yesterday"]), "write a moment as in"),
        (verify("signed.json", &["--skew", "5"]), "write a duration such as"),
        (verify("signed.json", &["--skew", "5m"]), "clocks may differ by 60s at most"),
        (verify("signed.json", &["--max-svid-lifetime", "1500ms"]), "whole seconds"),
        (verify("signed.json", &["--coverage", "none"]), "strict, report"),
        (verify("signed.json", &["--numbers", "big"]), "strict, binary64"),
        (verify("signed.json", &["--freshness", "ever"]), "live, witnessed"),
        // Without a memory nobody has witnessed anything.
        (verify("signed.json", &["--expect-id", WEATHER, "--freshness", "witnessed"]), "--memory <FILE>"),
        (vec!["explain", "signed.json", "--freshness", "witnessed"], "--memory <FILE>"),
        (verify("signed.json", &["--expect-id", "https://example.org/a"]), "spiffe://"),
        (vec!["verify", "signed.json"], "--bundle"),
        (vec!["verify", "signed.json", "--bundle", "bundle.pem"], "--any-workload"),
        (
            vec![
                "verify",
                "signed.json",
                "--any-workload",
                "--bundle",
                "bundle.pem",
                "--trust-domain",
                "Example.org",
            ],
            "trust domain",
        ),
        (
            vec![
                "verify",
                "signed.json",
                "--any-workload",
                "--bundle",
                "example.org=",
                "--trust-domain",
                "example.org",
            ],
            "name a file",
        ),
        (vec!["verfy"], "verify"),
        (vec!["explain"], "REASON"),
        (vec!["plan"], "--filename"),
        (vec!["canonicalize", "card.json"], "--profile"),
    ] {
        let run = folder.run(&arguments);
        run.assert_unusable(says);
        assert!(run.stderr.contains("--help`"), "{}", run.stderr);
    }
}

#[test]
fn every_file_that_cannot_be_used_is_named_with_what_to_do() {
    let (folder, _) = world("files");
    folder.write("empty", "");
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    for (card, says) in [
        ("absent.json", "\"absent.json\": no such file or directory; check the path"),
        ("empty", "\"empty\" is empty"),
        ("folder", "\"folder\": it is a directory; name a file"),
    ] {
        // `verify` takes directories, and this one is empty.
        let of_verify = if card == "folder" { "\"folder\" holds no cards" } else { says };
        folder.run(&verify(card, &[])).assert_unusable(of_verify);
        folder.run(&["canonicalize", card, "--profile", "jcs-raw"]).assert_unusable(says);
        folder.run(&["sign", card, "--key", "svid.key", "--chain", "svid.pem"]).assert_unusable(says);
        folder.run(&["sign", "card.json", "--key", card, "--chain", "svid.pem"]).assert_unusable(says);
        folder.run(&["sign", "card.json", "--key", "svid.key", "--chain", card]).assert_unusable(says);
        folder
            .run(&[
                "verify",
                "signed.json",
                "--any-workload",
                "--bundle",
                card,
                "--trust-domain",
                "example.org",
            ])
            .assert_unusable(says);
        folder.run(&[&["verify-svid", card][..], &TRUST].concat()).assert_unusable(says);
    }
}

#[test]
fn a_directory_without_manifests_is_an_error() {
    let folder = Folder::new("empty-directory");
    folder.run(&["plan", "-f", "."]).assert_unusable("holds no manifests; name a directory");
    folder.write("notes.txt", "nothing");
    folder.run(&["plan", "-f", "."]).assert_unusable("holds no manifests");
    folder.run(&["plan", "-f", "absent"]).assert_unusable("check the path");
}

#[test]
fn hostile_names_and_bytes_stay_on_one_line() {
    let folder = Folder::new("hostile");
    folder.write("bundle.pem", "x");
    let name = "card\n\u{1b}[31merror: forged\u{202e}";
    let run = folder.run(&verify(name, &[]));
    assert_eq!(run.code, 2);
    assert_eq!(run.stderr.matches('\n').count(), 1, "{}", run.stderr);
    assert!(!run.stderr.contains('\u{1b}') && !run.stderr.contains('\u{202e}'), "{}", run.stderr);
}

#[test]
fn help_and_version_succeed_and_no_command_does_not() {
    let folder = Folder::new("help");
    assert_eq!(folder.run(&["--help"]).code, 0);
    assert_eq!(folder.run(&["verify", "--help"]).code, 0);
    let version = folder.run(&["--version"]);
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (0, concat!("countersign ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    let none = folder.run(&[]);
    assert_eq!((none.code, none.stdout.as_str()), (2, ""));
    assert!(none.stderr.contains("Usage: countersign"), "{}", none.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_not() {
    let (folder, _) = world("pipes");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output =
        binary().args(verify("signed.json", &[])).current_dir(folder.path()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: cannot write to standard output"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        binary().args(verify("signed.json", &[])).current_dir(folder.path()).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(feature = "operator")]
#[test]
fn a_probe_says_what_it_asked_and_found() {
    let folder = Folder::new("probe");
    let file = folder.path().join("card.json");
    let url = format!("file://{}", file.display());
    for (content, code, found) in
        [(None, 1, "is absent"), (Some(""), 1, "empty"), (Some("{}"), 0, "is written")]
    {
        if let Some(content) = content {
            folder.write("card.json", content);
        }
        let run = folder.run(&["probe", &url]);
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stdout.contains("card.json") && run.stdout.contains(found), "{}", run.stdout);
    }
}
