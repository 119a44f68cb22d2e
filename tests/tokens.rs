//! Access tokens: what is accepted, and the one reason for each thing that is not.

#[cfg(test)]
mod tests {
    use countersign_authbridge::jwt::{KeySet, TokenPolicy, VerifiedToken, parse_key_set, verify_token};
    use countersign_core::encoding::{Digest, encode_base64url_into};
    use countersign_core::refusal::{Reason, Refusal};
    use countersign_core::spiffe::SpiffeId;
    use countersign_core::time::{Seconds, Timestamp};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::{Value, json};

    const NOW: i64 = 1_795_000_000;

    struct Issuer {
        key: EcdsaKeyPair,
    }

    fn base64(bytes: &[u8]) -> String {
        let mut text = String::new();
        encode_base64url_into(bytes, &mut text);
        text
    }

    impl Issuer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let key =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
            Self { key }
        }

        fn keys(&self) -> KeySet {
            self.keys_named("k1")
        }

        fn keys_named(&self, id: &str) -> KeySet {
            let point = self.key.public_key().as_ref();
            let key = json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256",
            "x": base64(&point[1..33]), "y": base64(&point[33..]) });
            parse_key_set(json!({ "keys": [key] }).to_string().into_bytes()).unwrap()
        }

        fn sign(&self, header: &str, payload: &str) -> String {
            let signed = format!("{}.{}", base64(header.as_bytes()), base64(payload.as_bytes()));
            let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", base64(signature.as_ref()))
        }

        fn token(&self, claims: &Value) -> String {
            self.sign(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#, &claims.to_string())
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://id.example/realms/agents", "sub": "alice", "aud": "agent-a", "typ": "Bearer",
            "exp": NOW + 300, "iat": NOW, "azp": "ui", "scope": "openid read",
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut all = claims();
        all[name] = value;
        all
    }

    fn without(name: &str) -> Value {
        let mut all = claims();
        all.as_object_mut().unwrap().remove(name);
        all
    }

    fn policy() -> TokenPolicy {
        TokenPolicy::new("https://id.example/realms/agents", vec!["agent-a".to_owned()])
    }

    fn verify_at(claims: &Value, now: i64) -> Result<VerifiedToken, Refusal> {
        let issuer = Issuer::new();
        verify_token(&issuer.token(claims), &issuer.keys(), &policy(), Timestamp::from_unix(now))
    }

    fn refused(claims: &Value) -> Reason {
        verify_at(claims, NOW).expect_err(&claims.to_string()).reason()
    }

    #[test]
    fn a_token_of_the_issuer_for_us_is_accepted_and_read() {
        let verified = verify_at(&claims(), NOW).unwrap();
        let read = verified.claims();
        assert_eq!((read.subject.as_deref(), read.client.as_deref()), (Some("alice"), Some("ui")));
        assert_eq!((read.audiences.as_slice(), read.scopes.len()), (&["agent-a".to_owned()][..], 2));
        assert!(verify_at(&with("aud", json!(["x", "agent-a"])), NOW).is_ok());
        assert!(verify_at(&without("typ"), NOW).is_ok());
        assert!(verify_at(&without("azp"), NOW).unwrap().claims().client.is_none());
        let mut rfc_9068 = without("azp");
        rfc_9068["client_id"] = json!("ui2");
        assert_eq!(verify_at(&rfc_9068, NOW).unwrap().claims().client.as_deref(), Some("ui2"));
    }

    #[test]
    fn a_key_id_is_any_text_and_a_time_may_have_a_fraction() {
        let issuer = Issuer::new();
        let ids = ["https://id.example/keys/1?a", "a\\b", "cl\u{e9}"];
        for id in ids.map(str::to_owned).into_iter().chain(["\u{e9}".repeat(256)]) {
            let header = json!({ "alg": "ES256", "kid": id }).to_string();
            let token = issuer.sign(&header, &with("exp", json!(1e15)).to_string());
            let keys = issuer.keys_named(&id);
            assert!(verify_token(&token, &keys, &policy(), Timestamp::from_unix(NOW)).is_ok(), "{id}");
        }
        assert!(verify_at(&with("iat", json!(1_794_999_990.75)), NOW).is_ok());
    }

    #[test]
    fn a_token_without_end_or_of_another_kind_is_refused() {
        assert_eq!(refused(&without("exp")), Reason::TokenExpired);
        for kind in ["ID", "Refresh", "Offline", "Logout", ""] {
            assert_eq!(refused(&with("typ", json!(kind))), Reason::TokenKind, "{kind}");
        }
        assert_eq!(refused(&with("typ", json!(1))), Reason::TokenKind);
        assert_eq!(refused(&with("at_hash", json!("x"))), Reason::TokenKind);
    }

    #[test]
    fn issuer_and_audience_are_compared_exactly() {
        for issuer in ["https://id.example/realms/agents/", "https://ID.example/realms/agents", "x"] {
            assert_eq!(refused(&with("iss", json!(issuer))), Reason::TokenIssuer, "{issuer}");
        }
        assert_eq!(refused(&without("iss")), Reason::TokenIssuer);
        for audience in [json!("agent-A"), json!("agent-a "), json!([]), json!(["b", "c"])] {
            assert_eq!(refused(&with("aud", audience)), Reason::TokenAudience);
        }
        assert_eq!(refused(&without("aud")), Reason::TokenAudience);
    }

    #[test]
    fn clocks_may_differ_by_the_skew_and_no_more() {
        let from_to = with("nbf", json!(NOW));
        for (now, expected) in [
            (NOW + 300 + 29, None),
            (NOW + 300 + 30, Some(Reason::TokenExpired)),
            (NOW - 30, None),
            (NOW - 31, Some(Reason::TokenNotYetValid)),
        ] {
            assert_eq!(
                verify_at(&from_to, now).err().map(|refusal| refusal.reason()),
                expected,
                "{}",
                now - NOW
            );
        }
        // A policy cannot ask for more than a minute.
        let issuer = Issuer::new();
        let lax = TokenPolicy { skew: Seconds::new(3600), ..policy() };
        let at = Timestamp::from_unix(NOW + 300 + 60);
        let late = verify_token(&issuer.token(&claims()), &issuer.keys(), &lax, at).unwrap_err();
        assert_eq!(late.reason(), Reason::TokenExpired);
    }

    #[test]
    fn a_kept_proof_expires_with_its_token() {
        let verified = verify_at(&claims(), NOW).unwrap();
        assert!(verified.check_times(Timestamp::from_unix(NOW + 329)).is_ok());
        let late = verified.check_times(Timestamp::from_unix(NOW + 330)).unwrap_err();
        assert_eq!(late.reason(), Reason::TokenExpired);
    }

    #[test]
    fn clients_and_scopes_are_admitted_by_name() {
        let issuer = Issuer::new();
        let judge = |policy: &TokenPolicy| {
            let verified =
                verify_token(&issuer.token(&claims()), &issuer.keys(), policy, Timestamp::from_unix(NOW));
            verified.err().map(|refusal| refusal.reason())
        };
        assert_eq!(judge(&TokenPolicy { clients: Some(vec!["ui".into()]), ..policy() }), None);
        assert_eq!(
            judge(&TokenPolicy { clients: Some(vec!["x".into()]), ..policy() }),
            Some(Reason::TokenParty)
        );
        assert_eq!(judge(&TokenPolicy { clients: Some(vec![]), ..policy() }), Some(Reason::TokenParty));
        assert_eq!(judge(&TokenPolicy { scopes: vec!["read".into()], ..policy() }), None);
        assert_eq!(judge(&TokenPolicy { scopes: vec!["rea".into()], ..policy() }), Some(Reason::TokenScope));
    }

    #[test]
    fn a_token_bound_to_a_key_or_an_identity_is_of_no_use_to_others() {
        let peer = SpiffeId::parse("spiffe://example.org/ns/a/sa/caller").unwrap();
        let (shown, other) = (Digest::from_bytes([7; 32]), Digest::from_bytes([8; 32]));
        let bound = verify_at(&with("cnf", json!({ "x5t#S256": base64(&[7; 32]) })), NOW).unwrap();
        assert!(bound.check_caller(Some((&peer, shown))).is_ok());
        for caller in [None, Some((&peer, other))] {
            assert_eq!(bound.check_caller(caller).unwrap_err().reason(), Reason::TokenBinding);
        }
        for confirmation in
            [json!({ "jkt": "x" }), json!({}), json!({ "jkt": "x", "x5t#S256": base64(&[7; 32]) })]
        {
            let bound = verify_at(&with("cnf", confirmation), NOW).unwrap();
            assert_eq!(bound.check_caller(Some((&peer, shown))).unwrap_err().reason(), Reason::TokenBinding);
        }
        let made_for = |party: &str| verify_at(&with("azp", json!(party)), NOW).unwrap();
        assert!(made_for(peer.as_str()).check_caller(Some((&peer, shown))).is_ok());
        assert!(made_for("ui").check_caller(Some((&peer, shown))).is_ok());
        assert!(
            made_for("spiffe://example.org/ns/a/sa/other").check_caller(None).is_ok(),
            "nobody proved anything"
        );
        let other = made_for("spiffe://example.org/ns/a/sa/other").check_caller(Some((&peer, shown)));
        assert_eq!(other.unwrap_err().reason(), Reason::TokenBinding);
    }

    #[test]
    fn only_the_compact_form_is_a_token() {
        let issuer = Issuer::new();
        let good = issuer.token(&claims());
        let (head, tail) = good.split_once('.').unwrap();
        let judge = |token: &str| {
            let verified = verify_token(token, &issuer.keys(), &policy(), Timestamp::from_unix(NOW));
            verified.err().map(|refusal| refusal.reason())
        };
        assert_eq!(judge(&good), None);
        for (token, expected) in [
            (String::new(), Reason::TokenMalformed),
            ("a".repeat(20_000), Reason::TokenMalformed),
            (head.to_owned(), Reason::TokenMalformed),
            (format!("{good}.x"), Reason::TokenMalformed),
            (format!("x.{good}"), Reason::TokenMalformed),
            (format!("{head}=.{tail}"), Reason::Base64Malformed),
            (format!("{good}="), Reason::Base64Malformed),
            (format!(" {good}"), Reason::Base64Malformed),
            (good.replacen(head, &base64(br#"{"alg":"none"}"#), 1), Reason::AlgorithmNotAllowed),
            (good.replacen(head, &base64(br#"{"alg":"HS256","kid":"k1"}"#), 1), Reason::AlgorithmNotAllowed),
            (good.replacen(head, &base64(br#"{"alg":"ES256","kid":"k2"}"#), 1), Reason::TokenKeyUnknown),
            (good.replacen(head, &base64(br#"{"alg":"ES384","kid":"k1"}"#), 1), Reason::TokenKeyUnknown),
            (
                good.replacen(head, &base64(br#"{"alg":"ES256","kid":"k1","crit":["x"]}"#), 1),
                Reason::HeaderCritical,
            ),
            (good.replacen(head, &base64(br#"{"alg":"ES256","jwk":{},"kid":"k1"}"#), 1), Reason::KeyInHeader),
            (
                good.replacen(head, &base64(br#"{"alg":"ES256","kid":"k1","typ":"secevent+jwt"}"#), 1),
                Reason::HeaderType,
            ),
            (Issuer::new().token(&claims()), Reason::SignatureInvalid),
            (issuer.sign(r#"{"alg":"ES256","kid":"k1"}"#, "[]"), Reason::TokenMalformed),
            (
                issuer.sign(r#"{"alg":"ES256","kid":"k1"}"#, r#"{"exp":1,"exp":9999999999}"#),
                Reason::JsonDuplicateMember,
            ),
        ] {
            assert_eq!(judge(&token), Some(expected), "{token}");
        }
    }

    #[test]
    fn a_claim_of_the_wrong_kind_refuses_the_token() {
        for (name, value) in [
            ("exp", json!("1")),
            ("exp", json!(-1)),
            ("nbf", json!(true)),
            ("iat", json!(1e99)),
            ("sub", json!(1)),
            ("azp", json!(["a"])),
            ("aud", json!({})),
            ("aud", json!(["agent-a", 1])),
            ("scope", json!(["read"])),
            ("cnf", json!("x")),
            ("cnf", json!({ "x5t#S256": 1 })),
        ] {
            assert_eq!(refused(&with(name, value)), Reason::TokenMalformed, "{name}");
        }
    }
}
