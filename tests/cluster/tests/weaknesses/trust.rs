//! Who may speak for an agent: the workload itself, now, with a signature over what it serves.

use crate::{scene, witnessed};
use countersign_cluster_tests::{
    Agents, Authority, Svid, TRUST_DOMAIN, bundle_json, card_of, holds, user_card,
};
use countersign_core::encoding::{encode_base64_standard_into, encode_base64url_into};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

#[test]
fn a_card_signed_by_another_workload_of_the_domain_is_refused() {
    let (scene, team) = (scene("foreign-signer"), "foreign-signer");
    let foreign = scene.signed(&card_of("weather", team), team, "other");
    scene.agent(team, "weather", &foreign).unwrap();
    let card = scene.refused(team, "weather", "weather", "IdentityMismatch").unwrap();
    let named = |card: &Value, signer: &str| {
        card["status"]["verdict"]["message"].as_str().unwrap().contains(&format!("signed by {signer};"))
    };
    assert!(named(&card, &format!("spiffe://rig.example/ns/{team}/sa/other")), "{card:#}");
    // The same service account of another namespace is somebody else, too.
    let foreign = scene.signed(&card_of("weather", team), "default", "weather");
    scene.agents.serve(team, "weather", &foreign).unwrap();
    scene
        .operator
        .wait_card(team, "weather", "the next look", |card| {
            named(card, "spiffe://rig.example/ns/default/sa/weather")
        })
        .unwrap();
    scene.refused(team, "weather", "weather", "IdentityMismatch").unwrap();
}

#[test]
fn a_card_replayed_by_another_workload_is_refused() {
    let (scene, team) = (scene("replayed"), "replayed");
    let honest = scene.honest(team, "weather");
    scene.agent(team, "weather", &honest).unwrap();
    scene.agent(team, "thief", &honest).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    scene.refused(team, "thief", "thief", "IdentityMismatch").unwrap();
}

#[test]
fn an_allow_list_narrows_and_never_widens() {
    let (scene, team) = (scene("allow-list"), "allow-list");
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    let foreign = scene.signed(&card_of("stocks", team), team, "other");
    scene.agents.serve(team, "stocks", &foreign).unwrap();
    let mut items = Vec::new();
    for name in ["weather", "stocks"] {
        let mut card = user_card(team, name, name);
        // Of `weather` the list leaves out the workload itself; of `stocks` it names the foreign signer.
        card["spec"]["identityBinding"] = json!({ "allowedSpiffeIDs": [format!("spiffe://rig.example/ns/{team}/sa/other")], "strict": true });
        items.push(card);
        items.extend(Agents::manifests(team, name));
    }
    scene.apply_all(&items).unwrap();
    for name in ["weather", "stocks"] {
        scene.refused(team, name, name, "IdentityMismatch").unwrap();
    }
}

#[test]
fn a_card_signed_with_an_expired_or_future_certificate_is_refused() {
    let (scene, team) = (scene("expired"), "expired");
    for (name, from, until) in [("past", -7200, -3600), ("future", 3600, 7200)] {
        let svid = scene.authority.issue(team, name, from, until);
        scene.agent(team, name, &Agents::sign_at(&card_of(name, team), &svid, from + 60)).unwrap();
    }
    scene.refused(team, "past", "past", "CertificateExpired").unwrap();
    scene.refused(team, "future", "future", "CertificateNotYetValid").unwrap();
}

#[test]
fn trust_ends_with_the_certificate_and_not_with_the_next_evaluation() {
    let (scene, team) = (scene("ending"), "ending");
    // The clock may be a minute off on either side, so a leaf counts that long beyond its end.
    let svid = scene.authority.issue(team, "weather", -600, -35);
    let mut card = user_card(team, "weather", "weather");
    card["spec"]["syncPeriod"] = json!("30m");
    scene.agents.serve(team, "weather", &Agents::sign_at(&card_of("weather", team), &svid, -300)).unwrap();
    let mut items = vec![card];
    items.extend(Agents::manifests(team, "weather"));
    scene.apply_all(&items).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    scene.refused(team, "weather", "weather", "CertificateExpired").unwrap();
}

/// A signature that names no end of its own, as other signers make it.
fn signed_without_end(card: &Value, svid: &Svid) -> Vec<u8> {
    let url = |bytes: &[u8]| {
        let mut text = String::new();
        encode_base64url_into(bytes, &mut text);
        text
    };
    let mut leaf = String::new();
    encode_base64_standard_into(&svid.chain[0], &mut leaf);
    let header =
        url(json!({ "alg": "ES256", "kid": "one", "typ": "JOSE", "x5c": [leaf] }).to_string().as_bytes());
    // Members in the order of their names, all of them ASCII and not empty: the canonical form (RFC 8785).
    let signed = format!("{header}.{}", url(card.to_string().as_bytes()));
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &svid.key, &random).unwrap();
    let signature = url(key.sign(&random, signed.as_bytes()).unwrap().as_ref());
    let mut card = card.clone();
    card["signatures"] = json!([{ "protected": header, "signature": signature }]);
    card.to_string().into_bytes()
}

#[test]
fn a_witnessed_card_is_not_refused_because_an_authority_is_added() {
    let (scene, team) = (witnessed("witnessed"), "witnessed");
    // The clock may be a minute off on either side, so a leaf counts that long beyond its end.
    let svid = scene.authority.issue(team, "weather", -600, -35);
    let issued = std::time::Instant::now();
    scene.agent(team, "weather", &signed_without_end(&card_of("weather", team), &svid)).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    // Time itself is waited for: the leaf has ended, and the minute after it is over.
    std::thread::sleep(std::time::Duration::from_secs(27).saturating_sub(issued.elapsed()));
    scene.looked(team, "weather", 1).unwrap();
    // From here on only its witness speaks for it.
    scene.verified(team, "weather", "weather").unwrap();
    let mut audit = scene.audit(team).unwrap();
    let other = Authority::new(TRUST_DOMAIN);
    scene.agents.publish(&bundle_json(&[&scene.authority, &other], 2)).unwrap();
    // Another card is judged by the new authority, so the change has arrived.
    let by_the_new = Agents::sign(&card_of("new", team), &other.issue(team, "new", -60, 3600));
    scene.agent(team, "new", &by_the_new).unwrap();
    scene.verified(team, "new", "new").unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    let writes = audit.writes().unwrap();
    let about: Vec<_> = writes.iter().filter(|write| write.place.1.starts_with("weather")).collect();
    assert!(about.is_empty(), "{about:#?}");
}

#[test]
fn an_older_card_is_refused_after_a_newer_one() {
    let (scene, team) = (scene("older"), "older");
    let svid = scene.authority.issue(team, "weather", -3000, 3600);
    let mut card = card_of("weather", team);
    let newer = Agents::sign(&card, &svid);
    card["version"] = json!("0.9.0");
    let older = Agents::sign_at(&card, &svid, -30);
    scene.agent(team, "weather", &newer).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    scene.agents.serve(team, "weather", &older).unwrap();
    scene.refused(team, "weather", "weather", "ReplayOlderCard").unwrap();
}

#[test]
fn a_second_signature_alone_does_not_replace_the_card_and_locks_nobody_out() {
    let (scene, team) = (scene("downgrade"), "downgrade");
    let svid = scene.authority.issue(team, "weather", -60, 3600);
    let mut card = card_of("weather", team);
    let mut signed = |version: &str, vendor: Option<&str>, ahead| -> Value {
        card["version"] = json!(version);
        match vendor {
            Some(text) => card["x-vendor"] = json!(text),
            None => drop(card.as_object_mut().unwrap().remove("x-vendor")),
        }
        serde_json::from_slice(&Agents::sign_at(&card, &svid, ahead)).unwrap()
    };
    let serve = |card: &Value| scene.agents.serve(team, "weather", card.to_string().as_bytes()).unwrap();
    // One signature is over the whole card, one over the form of the SDKs, without the member of the vendor.
    let first = signed("1.0.0", Some("own"), 0);
    assert_eq!(first["signatures"].as_array().unwrap().len(), 2);
    scene.agent(team, "weather", first.to_string().as_bytes()).unwrap();
    let card = scene.verified(team, "weather", "weather").unwrap();
    assert_eq!(card["status"]["verdict"]["coverage"], "full");
    // Somebody on the way sees the next card first, and shows its second signature alone.
    let next = signed("2.0.0", Some("own"), 2);
    let mut early = next.clone();
    early.as_object_mut().unwrap().remove("x-vendor");
    early["signatures"].as_array_mut().unwrap().remove(0);
    serve(&early);
    scene.refused(team, "weather", "weather", "ReplayWeaker").unwrap();
    // That lasts as long as it is shown.
    for honest in [next, signed("3.0.0", None, 3), signed("4.0.0", Some(""), 4)] {
        serve(&honest);
        let read = |card: &Value| {
            card["status"]["verdict"]["outcome"] == "verified"
                && card["status"]["card"]["version"] == honest["version"]
        };
        scene.operator.wait_card(team, "weather", "the honest card", read).unwrap();
    }
    scene.verified(team, "weather", "weather").unwrap();
}

#[test]
fn a_bad_first_signature_does_not_veto_a_good_second_one() {
    let (scene, team) = (scene("veto"), "veto");
    let card = card_of("weather", team);
    let read = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
    let mut good = read(scene.signed(&card, team, "weather"));
    let foreign = read(scene.signed(&card, team, "other"));
    let both = [foreign["signatures"][0].clone(), good["signatures"][0].clone()];
    good["signatures"] = json!(both);
    scene.agent(team, "weather", good.to_string().as_bytes()).unwrap();
    scene.verified(team, "weather", "weather").unwrap();
    good["signatures"] = json!([both[0]]);
    scene.agents.serve(team, "weather", good.to_string().as_bytes()).unwrap();
    scene.refused(team, "weather", "weather", "IdentityMismatch").unwrap();
}

#[test]
fn a_member_added_after_signing_is_refused_or_shown_as_not_covered() {
    let (scene, team) = (scene("added"), "added");
    for (name, member) in [("known", "documentationUrl"), ("unknown", "x-something")] {
        let mut card: Value = serde_json::from_slice(&scene.honest(team, name)).unwrap();
        card[member] = json!("https://attacker.example/");
        scene.agent(team, name, card.to_string().as_bytes()).unwrap();
    }
    scene.refused(team, "known", "known", "SignatureInvalid").unwrap();
    // The signed form leaves out what A2A does not know: it is listed, and no part of what is shown of the card.
    let card = scene.verified(team, "unknown", "unknown").unwrap();
    assert_eq!(card["status"]["verdict"]["uncovered"], json!(["/x-something"]));
    assert_eq!(card["status"]["verdict"]["coverage"], "partial");
    assert!(!card["status"]["card"].to_string().contains("attacker"), "{card:#}");
}

#[test]
fn an_endpoint_of_somebody_else_is_refused_although_it_is_signed() {
    let (scene, team) = (scene("endpoint"), "endpoint");
    let mut card = card_of("weather", team);
    card["supportedInterfaces"][0]["url"] = json!("https://attacker.example/");
    scene.agent(team, "weather", &scene.signed(&card, team, "weather")).unwrap();
    scene.refused(team, "weather", "weather", "EndpointNotOwned").unwrap();
}

#[test]
fn audit_mode_keeps_the_verdict_and_writes_no_policy() {
    let (scene, team) = (scene("audited"), "audited");
    scene.namespace(team, &json!({ "countersign.dev/mode": "audit" })).unwrap();
    let mut tampered: Value = serde_json::from_slice(&scene.honest(team, "bad")).unwrap();
    tampered["description"] = json!("Another one");
    let foreign = scene.signed(&card_of("foreign", team), team, "other");
    scene.agent(team, "good", &scene.honest(team, "good")).unwrap();
    scene.agent(team, "bad", tampered.to_string().as_bytes()).unwrap();
    scene.agent(team, "foreign", &foreign).unwrap();
    let wait = |name: &str, reason: &'static str| {
        let done = move |card: &Value| countersign_cluster_tests::outcome(card) == reason;
        scene.operator.wait_card(team, name, reason, done).unwrap()
    };
    assert!(holds(&wait("good", "Verified"), "Verified"));
    for (name, reason) in [("bad", "SignatureInvalid"), ("foreign", "IdentityMismatch")] {
        let card = wait(name, reason);
        // The verdict is that of enforcement; only its consequence is left out.
        assert!(!holds(&card, "Verified") && !holds(&card, "Bound"), "{card:#}");
        assert!(holds(&card, "Ready") && holds(&card, "Synced"), "{card:#}");
        let ready = countersign_cluster_tests::condition(&card, "Ready")["message"].as_str().unwrap();
        assert!(ready.contains("would be refused") && ready.contains(reason), "{ready}");
    }
    for name in ["good", "bad", "foreign"] {
        scene.looked(team, name, 1).unwrap();
    }
    assert_eq!(scene.list("networkpolicies", team).unwrap(), Vec::<Value>::new());
    // Enforcing needs nothing but the label.
    scene.namespace(team, &json!({ "countersign.dev/mode": "enforce" })).unwrap();
    scene.verified(team, "good", "good").unwrap();
    for (name, reason) in [("bad", "SignatureInvalid"), ("foreign", "IdentityMismatch")] {
        // The verdict is the same, so that only readiness says that the new mode is shown.
        scene.operator.wait_card(team, name, "the new mode", |card| !holds(card, "Ready")).unwrap();
        scene.refused(team, name, name, reason).unwrap();
    }
}
