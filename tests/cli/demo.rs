//! `countersign demo`: no arguments, no environment, no network, in no time.

use crate::run::Folder;
use std::time::{Duration, Instant};

#[test]
#[expect(clippy::disallowed_methods, reason = "the time that a person waits is what is tested")]
fn the_demonstration_is_quick_and_fits_80_columns() {
    let folder = Folder::new("demo");
    let start = Instant::now();
    // Even with a proxy that leads nowhere: nothing leaves the machine.
    let run = folder
        .run_with(&[("HTTP_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "http://127.0.0.1:9")], &["demo"]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    run.assert_plain_80_columns();
    for row in [
        ["weather", "verified", "spec841"],
        ["maps", "verified", "proto-clean-jcs"],
        ["news", "refused", "SignatureInvalid"],
        ["notes", "refused", "IdentityMismatch"],
        ["archive", "refused", "CertificateExpired"],
        ["shop", "refused", "UncoveredSecurityMember"],
    ] {
        let line =
            run.stdout.lines().find(|line| line.starts_with(row[0])).unwrap_or_else(|| panic!("{row:?}"));
        let mut words = line.split_whitespace().rev();
        assert_eq!([words.next(), words.next()], [Some(row[2]), Some(row[1])], "{line}");
    }
    assert!(run.stdout.contains("verdict  refused UncoveredSecurityMember"));
    assert_eq!(run.stdout.matches("kind: NetworkPolicy").count(), 2);
    assert!(folder.files().is_empty(), "it writes no files");
}
