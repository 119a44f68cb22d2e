//! `countersign verify-svid`.

use crate::authority::{TRUST, WEATHER, in_seconds, world};
use crate::verify::assert_shape;

#[test]
fn the_chain_rules_alone_give_the_same_members_and_exit_codes() {
    let (folder, _) = world("svid");
    let with = |chain, more: &[&str]| {
        folder.run(&[&["verify-svid", chain][..], &TRUST, &["-o", "json"], more].concat())
    };
    let run = with("svid.pem", &["--expect-id", WEATHER]);
    assert_eq!(run.assert_verified()["spiffeId"], WEATHER);
    assert_shape(&run.stdout);
    with("svid.pem", &["--expect-id", "spiffe://example.org/x"]).assert_refused("IdentityMismatch");
    with("svid.pem", &["--at", &in_seconds(7200)]).assert_refused("CertificateExpired");
    with("svid.pem", &["--max-svid-lifetime", "1m"]).assert_refused("SvidLifetime");
    let run = with("bundle.pem", &[]);
    assert_eq!(run.code, 1, "an authority is no workload");
    assert_shape(&run.stdout);
    with("svid.key", &[])
        .assert_unusable("CHAIN.pem \"svid.key\": the text holds no PEM certificate; name a file with");
    let two_days = with("svid.pem", &["--max-svid-lifetime", "1m"]).stdout;
    assert!(two_days.contains("the limit is 1m and 2m for dating back"), "{two_days}");
    with("absent.pem", &[]).assert_unusable("no such file");
    let text = folder.run(&[&["verify-svid", "svid.pem"][..], &TRUST].concat());
    assert!(text.stdout.starts_with("verified"), "{}", text.stdout);
    text.assert_plain_80_columns();
}
