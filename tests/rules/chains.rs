//! Attacks on certificate chains and bundles, one named test per rule, each with the honest chain beside it.

use crate::pki::{
    Authority, Ca, Key, Leaf, NOW, OID_BASIC_CONSTRAINTS, OID_KEY_USAGE, OID_PRIVATE, OID_SUBJECT_ALT_NAME,
    WORKLOAD, bundle_of, domain, element, extension, pem, split, take,
};
use countersign_core::budget::WorkBudget;
use countersign_core::bundle::{Bundle, parse_bundle};
use countersign_core::jws::{Algorithm, KeyKind, PublicKey, verify_signature};
use countersign_core::limits::cost;
use countersign_core::refusal::Reason;
use countersign_core::spiffe::TrustDomain;
use countersign_core::time::{Seconds, Timestamp};
use countersign_core::x509::{ChainPolicy, Moments, VerifiedChain, parse_pem_chain, verify_chain};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};

fn at(unix: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(unix).unwrap())
}

fn verify_at(chain: &[Vec<u8>], bundle: &Bundle, moments: Moments) -> Result<VerifiedChain, Reason> {
    let policy = ChainPolicy::default();
    verify_chain(chain, &domain(), bundle, &policy, moments, &mut WorkBudget::default())
        .map_err(|refusal| refusal.reason())
}

fn verify(chain: &[Vec<u8>], bundle: &Bundle) -> Result<VerifiedChain, Reason> {
    verify_at(chain, bundle, Moments::live(at(NOW)))
}

/// What verifying costs in the unit of the budget, whatever its outcome.
fn spent(chain: &[Vec<u8>], bundle: &Bundle) -> (Result<(), Reason>, u32) {
    let mut budget = WorkBudget::new(10_000);
    let policy = ChainPolicy::default();
    let outcome = verify_chain(chain, &domain(), bundle, &policy, Moments::live(at(NOW)), &mut budget);
    (outcome.map(|_| ()).map_err(|refusal| refusal.reason()), 10_000 - budget.left())
}

#[track_caller]
fn assert_refused(reason: Reason, chain: &[Vec<u8>], bundle: &Bundle) {
    assert_eq!(verify(chain, bundle).map(|proof| proof.spiffe_id().to_string()), Err(reason));
}

#[track_caller]
fn assert_verified(chain: &[Vec<u8>], bundle: &Bundle) -> VerifiedChain {
    let proof = verify(chain, bundle).expect("an honest chain");
    assert_eq!(proof.spiffe_id().as_str(), WORKLOAD);
    proof
}

/// The outcome for one leaf directly below a root, the usual shape of SPIRE.
fn verify_leaf(leaf: &Leaf) -> Result<(), Reason> {
    let root = Authority::root(&Ca::default());
    verify(&root.issue(leaf).chain, &root.bundle()).map(|_| ())
}

/// The outcome for an intermediate with everything else in order.
fn verify_below(intermediate: &Ca) -> Result<(), Reason> {
    let root = Authority::root(&Ca::default());
    let chain = root.intermediate(intermediate).issue(&Leaf::default()).chain;
    verify(&chain, &root.bundle()).map(|_| ())
}

mod honest {
    use super::*;

    #[test]
    fn a_leaf_directly_below_a_root_verifies_and_tells_what_it_is() {
        let root = Authority::root(&Ca::default());
        let svid = root.issue(&Leaf::default());
        let proof = assert_verified(&svid.chain, &root.bundle());
        assert_eq!(proof.leaf_key(), &PublicKey::from_spki(&svid.spki()).unwrap());
        assert_eq!(proof.leaf_sha256(), countersign_core::encoding::sha256(&svid.chain[0]));
        assert_eq!(proof.anchor_sha256(), countersign_core::encoding::sha256(root.der()));
        assert_eq!((proof.not_before(), proof.not_after()), (at(NOW - 10), at(NOW + 3590)));
        assert_eq!(proof.valid_until(), at(NOW + 3590));
        assert!(proof.subject_key_id().is_some());
        assert_eq!(proof.issuer_key_ids().count(), 1);
    }

    #[test]
    fn every_supported_pair_of_authority_and_leaf_key_verifies_and_signs() {
        for ca in [Key::P256, Key::P384, Key::Rsa2048] {
            let root = Authority::root(&Ca { key: ca, ..Ca::default() });
            for (leaf, algorithm) in [
                (Key::P256, Algorithm::Es256),
                (Key::P384, Algorithm::Es384),
                (Key::Rsa2048, Algorithm::Rs256),
                (Key::Rsa2048, Algorithm::Rs384),
                (Key::Rsa2048, Algorithm::Rs512),
                (Key::Rsa2048, Algorithm::Ps256),
                (Key::Rsa2048, Algorithm::Ps384),
                (Key::Rsa2048, Algorithm::Ps512),
            ] {
                let svid = root.issue(&Leaf { key: leaf, ..Leaf::default() });
                let proof = assert_verified(&svid.chain, &root.bundle());
                let signature = svid.sign(algorithm, b"signed");
                assert_eq!(verify_signature(algorithm, proof.leaf_key(), b"signed", &signature), Ok(()));
                let refusal =
                    verify_signature(algorithm, proof.leaf_key(), b"Signed", &signature).unwrap_err();
                assert_eq!(refusal.reason(), Reason::SignatureInvalid, "{ca:?} {leaf:?} {algorithm}");
            }
        }
    }

    #[test]
    fn chains_of_up_to_five_certificates_verify_with_and_without_their_root() {
        let root = Authority::root(&Ca::default());
        for depth in 1..=4 {
            let mut chain = root.nested(depth).issue(&Leaf::default()).chain;
            assert_eq!(chain.len(), depth + 1);
            let proof = assert_verified(&chain, &root.bundle());
            assert_eq!(proof.issuer_key_ids().count(), depth + 1);
            chain.push(root.der().to_vec());
            if depth < 4 {
                assert_verified(&chain, &root.bundle());
            } else {
                assert_refused(Reason::ChainTooLarge, &chain, &root.bundle());
            }
        }
    }

    #[test]
    fn authorities_that_all_share_one_name_cost_one_check_per_link() {
        let root = Authority::root(&Ca::default());
        let nested = (0..4).fold(root.intermediate(&Ca::default()), |above, depth| {
            if depth == 0 { above } else { above.intermediate(&Ca::default()) }
        });
        let chain = nested.issue(&Leaf { subject: "SPIRE", ..Leaf::default() }).chain;
        assert_eq!(chain.len(), 5);
        assert_eq!(spent(&chain, &root.bundle()), (Ok(()), 5 * cost::P256));
    }

    #[test]
    fn an_authority_without_identifiers_or_spiffe_id_verifies_by_name() {
        let root = Authority::root(&Ca {
            spiffe_ids: Vec::new(),
            authority_key_id: false,
            ..Ca::default().without_key_id()
        });
        let proof = assert_verified(&root.issue(&Leaf::default()).chain, &root.bundle());
        assert_eq!(proof.issuer_key_ids().count(), 0);
        let without = Leaf { authority_key_id: false, ..Leaf::default() };
        assert_verified(&root.issue(&without).chain, &root.bundle());
    }

    #[test]
    fn either_authority_verifies_while_they_rotate() {
        let (old, new) = (Authority::root(&Ca::default()), Authority::root(&Ca::default()));
        let bundle = bundle_of(&[old.der(), new.der()]);
        for root in [&old, &new] {
            let chain = root.issue(&Leaf::default()).chain;
            assert_eq!(spent(&chain, &bundle), (Ok(()), cost::P256));
        }
    }

    #[test]
    fn an_authority_issued_again_with_its_key_counts_while_one_of_both_is_valid() {
        let ca = |not_after, serial, key_pem| Ca { key_pem, not_after, serial, ..Ca::default() };
        let expired = Authority::root(&ca(NOW - 100, 1, None));
        let renewed = Authority::root(&ca(NOW + 9000, 2, Some(expired.key_pem())));
        let chain = expired.issue(&Leaf::default()).chain;
        let proof = assert_verified(&chain, &bundle_of(&[expired.der(), renewed.der()]));
        assert_eq!(proof.anchor_sha256(), countersign_core::encoding::sha256(renewed.der()));
        assert_refused(Reason::AnchorNotValid, &chain, &bundle_of(&[expired.der()]));
    }
}

mod structure {
    use super::*;

    #[test]
    fn rule_29_an_empty_or_oversized_chain_is_refused_before_it_is_parsed() {
        let root = Authority::root(&Ca::default());
        assert_refused(Reason::ChainEncoding, &[], &root.bundle());
        let leaf = root.issue(&Leaf::default()).chain[0].clone();
        assert_refused(Reason::ChainTooLarge, &vec![leaf; 6], &root.bundle());
        assert_refused(Reason::ChainTooLarge, &[vec![0; 8193]], &root.bundle());
        assert_refused(Reason::ChainTooLarge, &[vec![0; 8192], vec![0; 8192], vec![0]], &root.bundle());
    }

    #[test]
    fn rule_30_bytes_behind_a_certificate_are_refused() {
        let root = Authority::root(&Ca::default());
        let mut chain = root.issue(&Leaf::default()).chain;
        chain[0].push(0);
        assert_refused(Reason::CertificateMalformed, &chain, &root.bundle());
    }

    #[test]
    fn rule_30_every_cut_of_a_certificate_is_refused() {
        let root = Authority::root(&Ca::default());
        let leaf = root.issue(&Leaf::default()).chain.remove(0);
        for end in 0..leaf.len() {
            assert_refused(Reason::CertificateMalformed, &[leaf[..end].to_vec()], &root.bundle());
        }
    }

    #[test]
    fn rule_30_no_changed_byte_leaves_a_certificate_valid() {
        let root = Authority::root(&Ca::default());
        let leaf = root.issue(&Leaf::default()).chain.remove(0);
        for index in 0..leaf.len() {
            for bit in [0x01, 0x80] {
                let mut changed = leaf.clone();
                changed[index] ^= bit;
                assert!(verify(&[changed], &root.bundle()).is_err(), "byte {index} bit {bit:#x}");
            }
        }
    }

    #[test]
    fn rule_30_a_repeated_extension_is_refused() {
        let root = Authority::root(&Ca::default());
        let id = element(0x86, b"spiffe://example.org/other");
        for repeated in [
            extension(OID_SUBJECT_ALT_NAME, &element(0x30, &id), false),
            extension(OID_BASIC_CONSTRAINTS, &[0x30, 0], true),
            extension(OID_KEY_USAGE, &[3, 2, 7, 0x80], true),
        ] {
            let leaf = Leaf { extensions: vec![repeated], ..Leaf::default() };
            assert_refused(Reason::CertificateMalformed, &root.issue(&leaf).chain, &root.bundle());
        }
        let twice = vec![extension(OID_PRIVATE, &[5, 0], false), extension(OID_PRIVATE, &[5, 0], false)];
        let leaf = Leaf { extensions: twice, ..Leaf::default() };
        assert_refused(Reason::CertificateMalformed, &root.issue(&leaf).chain, &root.bundle());
    }

    #[test]
    fn rule_30_too_many_extensions_are_refused() {
        let extensions = |count: u64| {
            let oid = |number| [OID_PRIVATE, &[number]].concat();
            (0..count).map(|number| extension(&oid(number), &[5, 0], false)).collect::<Vec<_>>()
        };
        assert_eq!(verify_leaf(&Leaf { extensions: extensions(20), ..Leaf::default() }), Ok(()));
        let many = Leaf { extensions: extensions(33), ..Leaf::default() };
        assert_eq!(verify_leaf(&many), Err(Reason::CertificateMalformed));
    }

    #[test]
    fn rule_30_an_unknown_critical_extension_is_refused_and_an_uncritical_one_is_not() {
        let leaf = |critical| Leaf {
            extensions: vec![extension(OID_PRIVATE, &[5, 0], critical)],
            ..Leaf::default()
        };
        assert_eq!(verify_leaf(&leaf(false)), Ok(()));
        assert_eq!(verify_leaf(&leaf(true)), Err(Reason::CertificateCriticalExtension));
        let policies = extension(&[2, 5, 29, 32], &[0x30, 6, 0x30, 4, 6, 2, 0x2a, 3], true);
        let leaf = Leaf { extensions: vec![policies], ..Leaf::default() };
        assert_eq!(verify_leaf(&leaf), Err(Reason::CertificateCriticalExtension));
        let points = extension(&[2, 5, 29, 31], &[0x30, 0], true);
        let leaf = Leaf { extensions: vec![points], ..Leaf::default() };
        assert_eq!(verify_leaf(&leaf), Err(Reason::CertificateCriticalExtension));
    }

    #[test]
    fn rule_30_bytes_behind_an_extension_value_are_refused() {
        for value in [&[3, 2, 7, 0x80, 0][..], &[3, 2, 7, 0x80, 5, 0], &[0x30, 0], &[]] {
            let leaf = Leaf {
                key_usages: Vec::new(),
                extensions: vec![extension(OID_KEY_USAGE, value, true)],
                ..Leaf::default()
            };
            assert_eq!(verify_leaf(&leaf), Err(Reason::CertificateMalformed), "{value:?}");
        }
    }

    #[test]
    fn rule_30_an_extension_value_holds_nothing_but_the_elements_of_its_type() {
        const SERVER: [u8; 10] = [6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
        const CLIENT: [u8; 10] = [6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];
        let purposes = |more: &[u8]| {
            let contents = [&SERVER[..], &CLIENT, more].concat();
            let value = [&[0x30, u8::try_from(contents.len()).unwrap()], contents.as_slice()].concat();
            let extensions = vec![extension(&[2, 5, 29, 37], &value, false)];
            verify_leaf(&Leaf { extended_key_usages: Vec::new(), extensions, ..Leaf::default() })
        };
        assert_eq!(purposes(&[]), Ok(()));
        for more in [&[0, 0][..], &[5, 0], &[6], &[6, 9, 0x2b]] {
            assert_eq!(purposes(more), Err(Reason::CertificateMalformed), "{more:?}");
        }
        for value in [&[0x30, 3, 0x80, 9, 1][..], &[0x30, 2, 5, 0], &[0x30, 4, 0x82, 0, 0xa1, 0]] {
            let extensions = vec![extension(&[2, 5, 29, 35], value, false)];
            let leaf = Leaf { authority_key_id: false, extensions, ..Leaf::default() };
            assert_eq!(verify_leaf(&leaf), Err(Reason::CertificateMalformed), "{value:?}");
        }
    }

    #[test]
    fn rule_30_a_truth_value_has_one_encoding() {
        let with = |contents: &[u8]| {
            let extensions = vec![extension(OID_BASIC_CONSTRAINTS, contents, true)];
            let key_usages = vec![KeyUsagePurpose::KeyCertSign];
            verify_below(&Ca { authority: IsCa::NoCa, key_usages, extensions, ..Ca::named("intermediate") })
        };
        assert_eq!(with(&[0x30, 3, 1, 1, 0xff]), Ok(()));
        assert_eq!(with(&[0x30, 3, 1, 1, 0x01]), Err(Reason::CertificateMalformed));
    }

    #[test]
    fn rule_30_the_algorithm_outside_must_be_the_one_inside() {
        let root = Authority::root(&Ca::default());
        let leaf = root.issue(&Leaf::default()).chain.remove(0);
        let (_, contents, _) = split(&leaf);
        let (signed, rest) = take(contents);
        let (algorithm, signature) = take(rest);
        // ecdsa-with-SHA256 becomes ecdsa-with-SHA384: the last byte of the identifier.
        let mut other = algorithm.clone();
        *other.last_mut().unwrap() = 3;
        let rebuilt = |algorithm: &[u8]| element(0x30, &[&signed, algorithm, signature].concat());
        assert_verified(&[rebuilt(&algorithm)], &root.bundle());
        assert_refused(Reason::CertificateMalformed, &[rebuilt(&other)], &root.bundle());
    }

    #[test]
    fn rule_30_a_length_in_a_longer_form_is_refused() {
        let root = Authority::root(&Ca::default());
        let leaf = root.issue(&Leaf::default()).chain.remove(0);
        let (header, contents, _) = split(&leaf);
        let longer = [&[0x30, 0x83, 0][..], &header[2..], contents].concat();
        assert_refused(Reason::CertificateMalformed, &[longer], &root.bundle());
        let indefinite = [&[0x30, 0x80][..], contents, &[0, 0]].concat();
        assert_refused(Reason::CertificateMalformed, &[indefinite], &root.bundle());
    }

    #[test]
    fn rule_30_other_versions_than_3_are_refused_although_signed() {
        let root = Authority::root(&Ca::default());
        let leaf = root.issue(&Leaf::default()).chain.remove(0);
        let with_version = |version| {
            root.sign_again(&leaf, |signed| {
                let place = signed.windows(5).position(|at| at == [0xa0, 3, 2, 1, 2]).unwrap();
                signed[place + 4] = version;
            })
        };
        assert_verified(&[with_version(2)], &root.bundle());
        for version in [0, 1, 3] {
            assert_refused(Reason::CertificateMalformed, &[with_version(version)], &root.bundle());
        }
    }

    #[test]
    fn rule_30_a_validity_that_ends_before_it_begins_is_refused() {
        let leaf = Leaf { not_before: NOW + 20, not_after: NOW - 20, ..Leaf::default() };
        assert_eq!(verify_leaf(&leaf), Err(Reason::CertificateMalformed));
    }
}

mod order {
    use super::*;

    #[test]
    fn rule_31_the_chain_is_taken_in_the_order_it_has() {
        let root = Authority::root(&Ca::default());
        let chain = root.nested(2).issue(&Leaf::default()).chain;
        assert_verified(&chain, &root.bundle());
        let swapped = [chain[0].clone(), chain[2].clone(), chain[1].clone()];
        assert_refused(Reason::ChainOrder, &swapped, &root.bundle());
        let root_first = [chain[2].clone(), chain[1].clone(), chain[0].clone()];
        assert!(verify(&root_first, &root.bundle()).is_err());
    }

    #[test]
    fn rule_31_a_gap_in_the_chain_is_refused() {
        let root = Authority::root(&Ca::default());
        let chain = root.nested(2).issue(&Leaf::default()).chain;
        assert_refused(Reason::ChainOrder, &[chain[0].clone(), chain[2].clone()], &root.bundle());
        assert_refused(Reason::AnchorUnknown, &chain[..1], &root.bundle());
    }

    #[test]
    fn rule_31_unrelated_and_repeated_certificates_are_refused() {
        let root = Authority::root(&Ca::default());
        let direct = root.issue(&Leaf::default()).chain;
        let chain = root.nested(1).issue(&Leaf::default()).chain;
        let stranger = Authority::root(&Ca::named("stranger")).nested(1);
        for extra in [stranger.der(), direct[0].as_slice(), chain[1].as_slice()] {
            let with_extra = [direct[0].clone(), extra.to_vec()];
            assert_refused(Reason::ChainExtraCertificate, &with_extra, &root.bundle());
        }
        let repeated = [chain[0].clone(), chain[1].clone(), chain[1].clone()];
        assert_refused(Reason::ChainExtraCertificate, &repeated, &root.bundle());
        let behind = [chain[0].clone(), chain[1].clone(), stranger.der().to_vec()];
        assert_refused(Reason::ChainExtraCertificate, &behind, &root.bundle());
    }

    #[test]
    fn rule_31_a_root_may_follow_only_if_the_bundle_has_its_bytes() {
        let ca = Ca::default();
        let root = Authority::root(&ca);
        let again = Authority::root(&Ca { serial: 8, key_pem: Some(root.key_pem()), ..Ca::default() });
        let leaf = root.issue(&Leaf::default()).chain.remove(0);
        assert_verified(&[leaf.clone(), root.der().to_vec()], &root.bundle());
        // The same name and key, but other bytes.
        assert_refused(Reason::ChainExtraCertificate, &[leaf.clone(), again.der().to_vec()], &root.bundle());
        let twice = [leaf, root.der().to_vec(), root.der().to_vec()];
        assert_refused(Reason::ChainExtraCertificate, &twice, &root.bundle());
    }

    #[test]
    fn rule_31_a_foreign_root_does_not_ride_along() {
        let root = Authority::root(&Ca::default());
        let foreign = Authority::root(&Ca::named("foreign"));
        let leaf = foreign.issue(&Leaf::default()).chain.remove(0);
        assert_refused(Reason::ChainExtraCertificate, &[leaf, foreign.der().to_vec()], &root.bundle());
    }

    #[test]
    fn rule_31_equal_names_with_different_key_identifiers_do_not_link() {
        let root = Authority::root(&Ca::default());
        let (one, two) = (root.nested(1), root.nested(1));
        let leaf = one.issue(&Leaf::default()).chain.remove(0);
        assert_verified(&[leaf.clone(), one.der().to_vec()], &root.bundle());
        assert_refused(Reason::ChainOrder, &[leaf, two.der().to_vec()], &root.bundle());
    }

    #[test]
    fn rule_32_the_key_is_the_one_of_the_leaf_that_was_verified() {
        let root = Authority::root(&Ca::default());
        let (mine, other) = (root.issue(&Leaf::default()), root.issue(&Leaf::default()));
        let proof = assert_verified(&mine.chain, &root.bundle());
        let signature = other.sign(Algorithm::Es256, b"card");
        let refusal = verify_signature(Algorithm::Es256, proof.leaf_key(), b"card", &signature).unwrap_err();
        assert_eq!(refusal.reason(), Reason::SignatureInvalid);
        // A leaf whose key was exchanged after it was issued.
        let (mine_spki, other_spki) = (mine.spki(), other.spki());
        let place = mine.chain[0].windows(mine_spki.len()).position(|at| at == mine_spki).unwrap();
        let mut exchanged = mine.chain[0].clone();
        exchanged[place..place + other_spki.len()].copy_from_slice(&other_spki);
        assert_refused(Reason::ChainSignature, &[exchanged], &root.bundle());
    }
}

mod leaf {
    use super::*;

    #[test]
    fn rule_33_a_ca_certificate_cannot_sign_a_card() {
        let authority = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = Leaf { authority, ..Leaf::default() };
        assert_eq!(verify_leaf(&ca), Err(Reason::LeafIsCa));
        let pathless = Leaf { authority, uris: vec!["spiffe://example.org"], ..Leaf::default() };
        assert_eq!(verify_leaf(&pathless), Err(Reason::LeafIsCa));
        let root = Authority::root(&Ca::default());
        assert_refused(Reason::LeafIsCa, &[root.der().to_vec()], &root.bundle());
    }

    #[test]
    fn rule_33_key_usage_is_digital_signature_without_signing_certificates_or_lists() {
        use KeyUsagePurpose as U;
        let with = |key_usages| verify_leaf(&Leaf { key_usages, ..Leaf::default() });
        assert_eq!(with(vec![U::DigitalSignature]), Ok(()));
        assert_eq!(with(vec![U::DigitalSignature, U::KeyEncipherment, U::KeyAgreement]), Ok(()));
        for refused in [
            Vec::new(),
            vec![U::KeyAgreement],
            vec![U::ContentCommitment],
            vec![U::DigitalSignature, U::KeyCertSign],
            vec![U::DigitalSignature, U::CrlSign],
        ] {
            assert_eq!(with(refused.clone()), Err(Reason::LeafKeyUsage), "{refused:?}");
        }
    }

    #[test]
    fn rule_33_key_usage_must_be_critical() {
        let with = |critical| Leaf {
            key_usages: Vec::new(),
            extensions: vec![extension(OID_KEY_USAGE, &[3, 2, 7, 0x80], critical)],
            ..Leaf::default()
        };
        assert_eq!(verify_leaf(&with(true)), Ok(()));
        assert_eq!(verify_leaf(&with(false)), Err(Reason::LeafKeyUsage));
    }

    #[test]
    fn rule_34_an_extended_key_usage_allows_both_ends_of_tls_or_is_absent() {
        use ExtendedKeyUsagePurpose as E;
        let with = |extended_key_usages| verify_leaf(&Leaf { extended_key_usages, ..Leaf::default() });
        assert_eq!(with(Vec::new()), Ok(()));
        assert_eq!(with(vec![E::ServerAuth, E::ClientAuth]), Ok(()));
        assert_eq!(with(vec![E::ServerAuth, E::ClientAuth, E::CodeSigning]), Ok(()));
        for refused in [vec![E::ServerAuth], vec![E::ClientAuth], vec![E::CodeSigning], vec![E::Any]] {
            assert_eq!(with(refused.clone()), Err(Reason::LeafExtendedKeyUsage), "{refused:?}");
        }
    }

    #[test]
    fn rule_35_a_leaf_carries_exactly_one_uri_of_any_scheme() {
        let with = |uris| verify_leaf(&Leaf { uris, ..Leaf::default() });
        assert_eq!(with(vec![WORKLOAD]), Ok(()));
        assert_eq!(with(Vec::new()), Err(Reason::LeafSan));
        assert_eq!(with(vec![WORKLOAD, "spiffe://example.org/admin"]), Err(Reason::LeafSan));
        assert_eq!(with(vec![WORKLOAD, "https://example.org/a"]), Err(Reason::LeafSan));
        assert_eq!(with(vec!["https://example.org/a", WORKLOAD]), Err(Reason::LeafSan));
        assert_eq!(with(vec![WORKLOAD, WORKLOAD]), Err(Reason::LeafSan));
    }

    #[test]
    fn rule_35_other_names_are_neither_identity_nor_obstacle() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let leaf = Leaf { other_names: vec![dns("a.example.org"), dns("b")], ..Leaf::default() };
        assert_eq!(verify_leaf(&leaf), Ok(()));
        let only_dns = Leaf { uris: Vec::new(), other_names: vec![dns("a.example.org")], ..Leaf::default() };
        assert_eq!(verify_leaf(&only_dns), Err(Reason::LeafSan));
    }

    #[test]
    fn rule_35_and_41_the_uri_is_a_workload_id_in_its_exact_form() {
        for uri in [
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://Example.org/ns/a/sa/b",
            "SPIFFE://example.org/ns/a/sa/b",
            "spiffe://example.org/ns/a/../sa/b",
            "spiffe://example.org:8443/ns/a/sa/b",
            "https://example.org/ns/a/sa/b",
        ] {
            let leaf = Leaf { uris: vec![uri], ..Leaf::default() };
            assert_eq!(verify_leaf(&leaf), Err(Reason::SpiffeIdMalformed), "{uri}");
        }
    }
}

mod issuers {
    use super::*;

    #[test]
    fn rule_36_a_workload_cannot_issue_another() {
        assert_eq!(verify_below(&Ca::named("below")), Ok(()));
        for authority in [IsCa::NoCa, IsCa::ExplicitNoCa] {
            assert_eq!(verify_below(&Ca { authority, ..Ca::named("below") }), Err(Reason::IssuerNotCa));
        }
    }

    #[test]
    fn rule_36_an_issuer_needs_key_cert_sign() {
        for key_usages in
            [Vec::new(), vec![KeyUsagePurpose::CrlSign], vec![KeyUsagePurpose::DigitalSignature]]
        {
            let ca = Ca { key_usages: key_usages.clone(), ..Ca::named("below") };
            assert_eq!(verify_below(&ca), Err(Reason::IssuerKeyUsage), "{key_usages:?}");
        }
    }

    #[test]
    fn rule_36_a_path_length_counts_every_issuer_below() {
        let limited = |limit| IsCa::Ca(BasicConstraints::Constrained(limit));
        for (limit, expected) in [(0, Err(Reason::IssuerPathLength)), (1, Ok(())), (2, Ok(()))] {
            let root = Authority::root(&Ca::default());
            let upper = root.intermediate(&Ca { authority: limited(limit), ..Ca::named("upper") });
            // The lower one shares the upper one's name, which does not make it free.
            let chain = upper.intermediate(&Ca::named("upper")).issue(&Leaf::default()).chain;
            assert_eq!(verify(&chain, &root.bundle()).map(|_| ()), expected, "intermediate limit {limit}");

            let root = Authority::root(&Ca { authority: limited(limit), ..Ca::default() });
            let chain = root.nested(2).issue(&Leaf::default()).chain;
            let expected = if limit == 2 { Ok(()) } else { Err(Reason::IssuerPathLength) };
            assert_eq!(verify(&chain, &root.bundle()).map(|_| ()), expected, "root limit {limit}");
        }
    }

    #[test]
    fn rule_36_an_issuer_names_the_trust_domain_or_nothing() {
        let with = |spiffe_ids| verify_below(&Ca { spiffe_ids, ..Ca::named("below") });
        assert_eq!(with(vec!["spiffe://example.org"]), Ok(()));
        assert_eq!(with(Vec::new()), Ok(()));
        for ids in [
            vec!["spiffe://other.org"],
            vec!["spiffe://example.org/ns/a/sa/b"],
            vec!["spiffe://EXAMPLE.org"],
            vec!["https://example.org"],
            vec!["spiffe://example.org", "spiffe://example.org"],
        ] {
            assert_eq!(with(ids.clone()), Err(Reason::IssuerSpiffeId), "{ids:?}");
        }
    }
}

mod time {
    use super::*;

    #[test]
    fn rule_38_a_leaf_counts_from_its_first_to_its_last_second_give_or_take_the_skew() {
        let root = Authority::root(&Ca::default());
        let chain = root.issue(&Leaf::default()).chain;
        let judge = |moment| verify_at(&chain, &root.bundle(), Moments::live(at(moment))).map(|_| ());
        assert_eq!(judge(NOW - 10 - 60), Ok(()));
        assert_eq!(judge(NOW - 10 - 61), Err(Reason::CertificateNotYetValid));
        assert_eq!(judge(NOW + 3590 + 60), Ok(()));
        assert_eq!(judge(NOW + 3590 + 61), Err(Reason::CertificateExpired));
    }

    #[test]
    fn rule_38_intermediates_are_judged_like_the_leaf() {
        let expired = Ca { not_after: NOW - 100, ..Ca::named("below") };
        assert_eq!(verify_below(&expired), Err(Reason::CertificateExpired));
        let future = Ca { not_before: NOW + 100, ..Ca::named("below") };
        assert_eq!(verify_below(&future), Err(Reason::CertificateNotYetValid));
    }

    #[test]
    fn rule_38_an_expired_or_future_authority_validates_nothing() {
        for ca in [Ca { not_after: NOW - 61, ..Ca::default() }, Ca { not_before: NOW + 61, ..Ca::default() }]
        {
            let root = Authority::root(&ca);
            assert_eq!(root.bundle().anchors().len(), 1);
            assert_refused(Reason::AnchorNotValid, &root.issue(&Leaf::default()).chain, &root.bundle());
        }
    }

    #[test]
    fn rule_38_the_proof_ends_with_the_first_certificate_that_ends() {
        let root = Authority::root(&Ca { not_after: NOW + 500, ..Ca::default() });
        let below = root.intermediate(&Ca { not_after: NOW + 1000, ..Ca::named("below") });
        assert_eq!(
            assert_verified(&below.issue(&Leaf::default()).chain, &root.bundle()).valid_until(),
            at(NOW + 500)
        );
        let root = Authority::root(&Ca::default());
        let below = root.intermediate(&Ca { not_after: NOW + 1000, ..Ca::named("below") });
        let proof = assert_verified(&below.issue(&Leaf::default()).chain, &root.bundle());
        assert_eq!((proof.valid_until(), proof.not_after()), (at(NOW + 1000), at(NOW + 3590)));
    }

    #[test]
    fn rule_38_a_long_lived_leaf_is_refused_unless_the_policy_allows_it() {
        let root = Authority::root(&Ca { not_after: NOW + 1_000_000, ..Ca::default() });
        let judge = |lifetime: u64, max_svid_lifetime| {
            let leaf = Leaf { not_after: NOW - 10 + lifetime, ..Leaf::default() };
            let mut policy = ChainPolicy::default();
            policy.max_svid_lifetime = max_svid_lifetime;
            let chain = root.issue(&leaf).chain;
            let moments = Moments::live(at(NOW));
            verify_chain(&chain, &domain(), &root.bundle(), &policy, moments, &mut WorkBudget::default())
                .map(|proof| proof.not_after().since(proof.not_before()))
                .map_err(|refusal| refusal.reason())
        };
        let day = Some(Seconds::new(86_400));
        assert_eq!(judge(86_400, day), Ok(86_400));
        assert_eq!(judge(86_410, day), Ok(86_410), "SPIRE dates back by ten seconds");
        assert_eq!(judge(86_520, day), Ok(86_520), "Istio dates back by two minutes");
        assert_eq!(judge(86_521, day), Err(Reason::SvidLifetime));
        assert_eq!(judge(900_000, None), Ok(900_000));
    }

    #[test]
    fn rule_57_a_witnessed_leaf_is_judged_when_it_was_seen_and_its_authority_also_now() {
        let root = Authority::root(&Ca::default());
        let chain = root.issue(&Leaf::default()).chain;
        let later = NOW + 40_000;
        let witnessed = |now, leaf_at| {
            let moments = Moments { now: at(now), leaf_at: at(leaf_at) };
            verify_at(&chain, &root.bundle(), moments).map(|_| ())
        };
        assert_eq!(witnessed(later, later), Err(Reason::CertificateExpired));
        assert_eq!(witnessed(later, NOW), Ok(()));
        assert_eq!(witnessed(NOW + 90_000, NOW), Err(Reason::AnchorNotValid));
    }
}

mod algorithms {
    use super::*;

    #[test]
    fn rule_39_a_weak_leaf_key_is_refused() {
        let modulus = [&[0][..], &[0xff; 128]].concat();
        let weak = element(0x30, &[element(2, &modulus), element(2, &[1, 0, 1])].concat());
        let leaf = Leaf { rsa_key: Some(weak), ..Leaf::default() };
        assert_eq!(verify_leaf(&leaf), Err(Reason::ChainAlgorithm));
    }

    #[test]
    fn rule_39_an_exponent_of_three_is_refused() {
        let modulus = [&[0][..], &[0xff; 256]].concat();
        let key = |exponent: &[u8]| element(0x30, &[element(2, &modulus), element(2, exponent)].concat());
        assert_eq!(verify_leaf(&Leaf { rsa_key: Some(key(&[1, 0, 1])), ..Leaf::default() }), Ok(()));
        let leaf = Leaf { rsa_key: Some(key(&[3])), ..Leaf::default() };
        assert_eq!(verify_leaf(&leaf), Err(Reason::ChainAlgorithm));
    }

    #[test]
    fn rule_39_ed25519_is_for_pinned_keys_only() {
        let leaf = Leaf { key: Key::Ed25519, ..Leaf::default() };
        assert_eq!(verify_leaf(&leaf), Err(Reason::ChainAlgorithm));
        assert_eq!(
            verify_below(&Ca { key: Key::Ed25519, ..Ca::named("below") }),
            Err(Reason::ChainAlgorithm)
        );
    }

    #[test]
    fn rule_39_a_sha_1_signature_is_refused() {
        let root = Authority::root(&Ca::default());
        let leaf = root.issue(&Leaf::default()).chain.remove(0);
        // ecdsa-with-SHA256 (1.2.840.10045.4.3.2) becomes ecdsa-with-SHA1 (1.2.840.10045.4.1), inside and outside.
        let sha256 = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let sha1 = element(0x30, &element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]));
        let (_, contents, _) = split(&leaf);
        let (signed, rest) = take(contents);
        let (_, signature) = take(rest);
        let (_, inner, _) = split(&signed);
        let place = inner.windows(sha256.len()).position(|at| at == sha256).unwrap();
        let inner = [&inner[..place], &sha1, &inner[place + sha256.len()..]].concat();
        let forged = element(0x30, &[&element(0x30, &inner), &sha1[..], signature].concat());
        assert_refused(Reason::ChainAlgorithm, &[forged], &root.bundle());
    }
}

mod budget {
    use super::*;

    #[test]
    fn rule_40_120_authorities_of_one_name_cost_one_check() {
        let roots: Vec<_> = (0..120).map(|_| Authority::root(&Ca::default())).collect();
        let bundle = bundle_of(&roots.iter().map(Authority::der).collect::<Vec<_>>());
        assert_eq!(bundle.anchors().len(), 120);
        for root in roots.iter().step_by(40) {
            let chain = root.issue(&Leaf::default()).chain;
            assert_eq!(spent(&chain, &bundle), (Ok(()), cost::P256));
        }
    }

    #[test]
    fn rule_40_authorities_without_identifiers_are_tried_within_the_budget() {
        let roots: Vec<_> = (0..5).map(|_| Authority::root(&Ca::default().without_key_id())).collect();
        let bundle = bundle_of(&roots.iter().map(Authority::der).collect::<Vec<_>>());
        let mut costs: Vec<_> = roots
            .iter()
            .map(|root| spent(&root.issue(&Leaf::default()).chain, &bundle))
            .map(|(outcome, units)| outcome.map(|()| units / cost::P256).unwrap())
            .collect();
        costs.sort_unstable();
        assert_eq!(costs, [1, 2, 3, 4, 5]);

        let stranger = Authority::root(&Ca::default().without_key_id());
        let foreign = stranger.issue(&Leaf::default()).chain;
        assert_eq!(spent(&foreign, &bundle), (Err(Reason::ChainSignature), 5 * cost::P256));
        let policy = ChainPolicy::default();
        let mut budget = WorkBudget::new(3 * cost::P256);
        let refusal =
            verify_chain(&foreign, &domain(), &bundle, &policy, Moments::live(at(NOW)), &mut budget);
        assert_eq!(refusal.unwrap_err().reason(), Reason::WorkBudget);
    }

    #[test]
    fn rule_40_each_check_costs_what_the_issuers_key_costs() {
        for (key, units) in [(Key::P256, cost::P256), (Key::P384, cost::P384), (Key::Rsa2048, cost::RSA_2048)]
        {
            let root = Authority::root(&Ca { key, ..Ca::default() });
            assert_eq!(
                spent(&root.issue(&Leaf::default()).chain, &root.bundle()),
                (Ok(()), units),
                "{key:?}"
            );
            let below = root.intermediate(&Ca::named("below")).issue(&Leaf::default()).chain;
            assert_eq!(spent(&below, &root.bundle()), (Ok(()), units + cost::P256), "{key:?} over P-256");
        }
    }

    #[test]
    fn rule_40_keys_of_the_senders_choice_cost_nothing_before_they_are_vouched_for() {
        let root = Authority::root(&Ca::default());
        let mut chain =
            root.intermediate(&Ca { key: Key::P384, ..Ca::named("below") }).issue(&Leaf::default()).chain;
        let last = chain[1].len() - 1;
        chain[1][last] ^= 1;
        assert_eq!(spent(&chain, &root.bundle()), (Err(Reason::ChainSignature), cost::P256));
    }

    #[test]
    fn rule_40_nothing_is_spent_on_a_chain_that_is_refused_for_its_form() {
        let root = Authority::root(&Ca::default());
        let leaf = Leaf { key_usages: Vec::new(), ..Leaf::default() };
        assert_eq!(spent(&root.issue(&leaf).chain, &root.bundle()), (Err(Reason::LeafKeyUsage), 0));
        let foreign = Authority::root(&Ca::default()).issue(&Leaf::default()).chain;
        assert_eq!(spent(&foreign, &root.bundle()), (Err(Reason::AnchorUnknown), 0));
    }
}

mod domains {
    use super::*;

    fn other() -> TrustDomain {
        TrustDomain::parse("other.org").unwrap()
    }

    #[test]
    fn rule_42_a_workload_of_another_domain_is_refused_although_its_chain_is_good() {
        let leaf = Leaf { uris: vec!["spiffe://other.org/ns/a/sa/b"], ..Leaf::default() };
        assert_eq!(verify_leaf(&leaf), Err(Reason::TrustDomainMismatch));
        let look_alike = Leaf { uris: vec!["spiffe://example.org.evil/ns/a/sa/b"], ..Leaf::default() };
        assert_eq!(verify_leaf(&look_alike), Err(Reason::TrustDomainMismatch));
    }

    #[test]
    fn rule_42_an_authority_of_another_domain_cannot_mint_our_names() {
        let ours = Authority::root(&Ca::default());
        let theirs = Authority::root(&Ca { spiffe_ids: vec!["spiffe://other.org"], ..Ca::named("OTHER") });
        let minted = theirs.issue(&Leaf::default()).chain;
        assert_refused(Reason::AnchorUnknown, &minted, &ours.bundle());
        let their_bundle = parse_bundle(&other(), pem(theirs.der()).into_bytes()).unwrap();
        assert_refused(Reason::TrustDomainUnknown, &minted, &their_bundle);
        let policy = ChainPolicy::default();
        let moments = Moments::live(at(NOW));
        let refusal =
            verify_chain(&minted, &other(), &their_bundle, &policy, moments, &mut WorkBudget::default());
        assert_eq!(refusal.unwrap_err().reason(), Reason::TrustDomainMismatch);
    }

    #[test]
    fn rule_42_a_forged_leaf_under_our_authoritys_name_is_refused() {
        let ours = Authority::root(&Ca::default());
        let forger = Authority::root(&Ca::default());
        // The same name, but another key identifier.
        assert_refused(Reason::AnchorUnknown, &forger.issue(&Leaf::default()).chain, &ours.bundle());
        // The same name and no key identifier to tell them apart.
        let leaf = Leaf { authority_key_id: false, ..Leaf::default() };
        assert_refused(Reason::ChainSignature, &forger.issue(&leaf).chain, &ours.bundle());
    }

    #[test]
    fn rule_42_a_forged_link_below_a_genuine_authority_is_refused() {
        let root = Authority::root(&Ca::default());
        let genuine = root.intermediate(&Ca { authority_key_id: false, ..Ca::named("below") });
        let forger = Authority::root(&Ca::named("below"));
        let leaf = forger.issue(&Leaf { authority_key_id: false, ..Leaf::default() }).chain.remove(0);
        assert_refused(Reason::ChainSignature, &[leaf, genuine.der().to_vec()], &root.bundle());
    }
}

mod fixtures {
    use super::*;

    fn judge(chain: &str, bundle: &str) -> (Result<String, Reason>, u32) {
        let chain = parse_pem_chain(chain).unwrap();
        let bundle = parse_bundle(&domain(), bundle.as_bytes().to_vec()).unwrap();
        let mut policy = ChainPolicy::default();
        policy.max_svid_lifetime = None;
        let mut budget = WorkBudget::new(1000);
        let outcome = verify_chain(&chain, &domain(), &bundle, &policy, Moments::live(at(NOW)), &mut budget);
        let outcome = outcome.map(|proof| proof.spiffe_id().to_string()).map_err(|refusal| refusal.reason());
        (outcome, 1000 - budget.left())
    }

    macro_rules! chain {
        ($name:literal) => {
            judge(
                include_str!(concat!("../fixtures/chains/", $name, "-chain.pem")),
                include_str!(concat!("../fixtures/chains/", $name, "-root.pem")),
            )
        };
    }

    #[test]
    fn chains_that_a_path_validator_alone_accepts_are_refused_for_their_reason() {
        assert_eq!(chain!("int-no-keycertsign"), (Err(Reason::IssuerKeyUsage), 0));
        assert_eq!(chain!("two-uri-san"), (Err(Reason::LeafSan), 0));
        assert_eq!(chain!("wrong-order"), (Err(Reason::ChainOrder), 0));
        assert_eq!(chain!("leaf-expired"), (Err(Reason::CertificateExpired), cost::P256));
    }

    #[test]
    fn a_chain_under_a_constraint_that_permits_its_trust_domain_verifies() {
        assert_eq!(chain!("uri-nc-match"), (Ok(WORKLOAD.to_owned()), cost::P256));
    }

    #[test]
    fn a_good_chain_under_120_authorities_of_one_name_verifies_with_one_check() {
        assert_eq!(chain!("same120"), (Ok(WORKLOAD.to_owned()), cost::P256));
    }

    #[test]
    fn without_key_identifiers_the_newest_authority_is_tried_first_and_the_budget_ends_the_rest() {
        let chain = parse_pem_chain(include_str!("../fixtures/chains/same120-chain.pem")).unwrap();
        let roots = include_str!("../fixtures/chains/same120-root.pem");
        let oldest_last: String = roots
            .split_inclusive("-----END CERTIFICATE-----\n")
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        let bundle = parse_bundle(&domain(), oldest_last.into_bytes()).unwrap();
        assert_eq!(bundle.anchors().len(), 120);
        let mut policy = ChainPolicy::default();
        policy.max_svid_lifetime = None;
        let moments = Moments::live(at(NOW));
        let judge = |mut budget| {
            verify_chain(&chain, &domain(), &bundle, &policy, moments, &mut budget)
                .map(|_| budget.left())
                .map_err(|refusal| refusal.reason())
        };
        assert_eq!(judge(WorkBudget::default()), Err(Reason::WorkBudget));
        assert_eq!(judge(WorkBudget::new(120 * cost::P256)), Ok(0));
    }

    #[test]
    fn leaves_of_two_domains_meet_one_and_both_authorities() {
        let (root, both) = (
            include_str!("../fixtures/pki/root.pem"),
            include_str!("../fixtures/pki/root-and-foreign-root.pem"),
        );
        let leaf = include_str!("../fixtures/pki/leaf.crt");
        assert_eq!(judge(leaf, root), (Ok(WORKLOAD.to_owned()), cost::P256));
        assert_eq!(judge(leaf, both), (Ok(WORKLOAD.to_owned()), cost::P256));
        let expired = include_str!("../fixtures/pki/leaf-expired.crt");
        assert_eq!(judge(expired, root), (Err(Reason::CertificateExpired), cost::P256));
        // Issued by other.org for a name of example.org; its authority is in the file, but not ours.
        let foreign = include_str!("../fixtures/pki/leaf-foreign-ca.crt");
        assert_eq!(judge(foreign, root), (Err(Reason::AnchorUnknown), 0));
        assert_eq!(judge(foreign, both), (Err(Reason::AnchorUnknown), 0));
    }
}

#[test]
fn key_kinds_are_read_from_certificates() {
    let root = Authority::root(&Ca { key: Key::Rsa2048, ..Ca::default() });
    let proof = assert_verified(&root.issue(&Leaf::default()).chain, &root.bundle());
    assert_eq!(proof.leaf_key().kind(), KeyKind::P256);
    assert_eq!(root.bundle().anchors()[0].key().kind(), KeyKind::Rsa { bits: 2048 });
}
