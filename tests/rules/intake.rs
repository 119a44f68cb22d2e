//! Attacks on the reading of a card (rules 1 and 3 to 11), each on a card that is otherwise honest.

use crate::cards::{World, attach, card, card_bytes, card_with, replaced};
use countersign_core::json::Numbers;
use countersign_core::refusal::Reason;
use serde_json::{Value, json};

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

fn with_params(params: &Value) -> Value {
    card_with("capabilities", json!({"extensions": [{"uri": "urn:x", "params": params}]}))
}

#[test]
fn an_honest_card_is_verified() {
    let world = World::new();
    world.assert_verified(&world.signed(&card()));
}

#[test]
fn rule_01_a_body_above_the_cap_is_refused_and_never_cut() {
    let world = World::new();
    let mut bytes = world.signed(&card());
    // Everything up to the cap is the honest card and white space; a reader that truncates accepts it.
    bytes.resize(256 * 1024, b' ');
    world.assert_verified(&bytes);
    bytes.push(b' ');
    world.assert_refused(Reason::BodyTooLarge, &bytes);
}

#[test]
fn rule_03_broken_text_marks_and_second_documents_are_refused() {
    let world = World::new();
    let good = world.signed(&card());
    let latin1 = [replaced(&good, "Tells", "T\u{1}lls").as_slice(), b""].concat();
    let latin1: Vec<u8> = latin1.into_iter().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
    world.assert_refused(Reason::JsonEncoding, &latin1);
    world.assert_refused(Reason::JsonEncoding, &[b"\xef\xbb\xbf", good.as_slice()].concat());
    world.assert_refused(Reason::JsonTrailing, &[good.as_slice(), b"{\"name\":\"Evil\"}"].concat());
    world.assert_refused(Reason::JsonTrailing, &[good.as_slice(), b"\0"].concat());
    for broken in [
        "{name:1}",
        "{'a':1}",
        "{\"a\":1,}",
        "[1,]",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":NaN}",
        "{\"a\":0x10}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\\x41\"}",
        "/**/{}",
        "{\"a\":1",
        "",
        " ",
        "{\"a\":tru}",
    ] {
        world.assert_refused(Reason::JsonSyntax, broken.as_bytes());
    }
    world.assert_refused(Reason::CardNotObject, b"[]");
    world.assert_refused(Reason::CardNotObject, b"\"card\"");
}

#[test]
fn rule_04_every_dimension_of_the_document_is_bounded() {
    let world = World::new();
    // The card adds four levels around `params`' own value.
    world.assert_verified(&world.signed(&with_params(&json!({"a": nested(27)}))));
    world.assert_refused(Reason::JsonDepth, &world.signed(&with_params(&json!({"a": nested(28)}))));
    world.assert_refused(Reason::JsonDepth, "[".repeat(200_000).as_bytes());
    let many: Vec<_> = (0..20_001).map(|_| 1).collect();
    world.assert_refused(Reason::JsonNodes, &world.signed(&with_params(&json!({"a": many}))));
    let object = |members: usize| -> Value {
        Value::Object((0..members).map(|index| (format!("m{index}"), json!(1))).collect())
    };
    world.assert_verified(&world.signed(&with_params(&object(1024))));
    world.assert_refused(Reason::JsonMembers, &world.signed(&with_params(&object(1025))));
    let key = |length: usize| json!({"k".repeat(length): 1});
    world.assert_verified(&world.signed(&with_params(&key(256))));
    world.assert_refused(Reason::JsonKeyLength, &world.signed(&with_params(&key(257))));
    let text = |length: usize| world.signed(&card_with("description", json!("d".repeat(length))));
    world.assert_verified(&text(64 * 1024));
    world.assert_refused(Reason::JsonStringLength, &text(64 * 1024 + 1));
    let escaped = format!("{{\"a\":\"{}\"}}", "\\n".repeat(64 * 1024 + 1));
    world.assert_refused(Reason::JsonStringLength, escaped.as_bytes());
    world.assert_refused(Reason::JsonStringLength, format!("{{\"a\":1.{}}}", "0".repeat(2000)).as_bytes());
    let five = vec![world.entry(&world.header(), b"{}"); 5];
    world.assert_refused(Reason::SignaturesMalformed, &attach(&card(), &five));
}

#[test]
fn rule_05_a_member_that_occurs_twice_is_refused_at_every_level() {
    let world = World::new();
    let good = world.signed(&card());
    for (from, to) in [
        ("\"name\":\"Weather\"", "\"name\":\"Weather\",\"name\":\"Evil\""),
        ("\"name\":\"Weather\"", "\"name\":\"Weather\",\"n\\u0061me\":\"Evil\""),
        ("\"streaming\":true", "\"streaming\":true,\"streaming\":false"),
        ("\"id\":\"s1\"", "\"id\":\"s1\",\"id\":\"s2\""),
        ("\"protected\":", "\"protected\":\"e30\",\"protected\":"),
    ] {
        world.assert_refused(Reason::JsonDuplicateMember, &replaced(&good, from, to));
    }
    let params = world.signed(&with_params(&json!({"a": {"b": 1}})));
    world.assert_refused(Reason::JsonDuplicateMember, &replaced(&params, "\"b\":1", "\"b\":1,\"b\":2"));
}

#[test]
fn rule_06_other_spellings_of_known_members_are_refused_wherever_they_stand() {
    let world = World::reporting();
    for (member, value) in [
        ("URL", json!("https://evil.example")),
        ("Name", json!("Evil")),
        ("supported_interfaces", json!([])),
        ("security_schemes", json!({})),
        ("\u{17f}kills", json!([])),
        ("Signatures", json!([])),
    ] {
        world.assert_refused(Reason::CardMemberAlias, &world.signed(&card_with(member, value)));
    }
    let interface = json!([{"url": "https://a.example", "URL": "https://evil.example"}]);
    world
        .assert_refused(Reason::CardMemberAlias, &world.signed(&card_with("supportedInterfaces", interface)));
    let scheme = json!({"k": {"http_auth_security_scheme": {"scheme": "Bearer"}}});
    world.assert_refused(Reason::CardMemberAlias, &world.signed(&card_with("securitySchemes", scheme)));
    // Names that the author chooses are not spellings of anything.
    let scheme = json!({"URL": {"httpAuthSecurityScheme": {"scheme": "Bearer"}}});
    world.assert_verified(&world.signed(&card_with("securitySchemes", scheme)));
    world.assert_verified(&world.signed(&with_params(&json!({"URL": 1, "url": 2}))));
}

#[test]
fn rule_07_half_surrogates_and_nul_are_refused_and_text_is_never_normalised() {
    let world = World::new();
    let good = world.signed(&card());
    for half in ["\\ud800", "\\udc00", "\\ud83dx", "\\ud83d\\ud83d", "\\ude00\\ud83d", "\\uD83D\\n"] {
        world.assert_refused(Reason::JsonSurrogate, &replaced(&good, "Tells", half));
    }
    world.assert_refused(Reason::JsonNul, &replaced(&good, "Tells", "T\\u0000"));
    world.assert_refused(Reason::JsonNul, &replaced(&good, "\"streaming\"", "\"stre\\u0000aming\""));
    // é composed and decomposed are two texts, and only one of them was signed.
    let composed = world.signed(&card_with("name", json!("Caf\u{e9}")));
    world.assert_verified(&composed);
    world.assert_refused(Reason::SignatureInvalid, &replaced(&composed, "Caf\u{e9}", "Cafe\u{301}"));
}

#[test]
fn rule_08_numbers_that_cannot_be_kept_exactly_are_refused() {
    let mut world = World::new();
    let number = |literal: &str| {
        let card = with_params(&json!({"n": 0}));
        replaced(&card_bytes(&card), "\"n\":0", &format!("\"n\":{literal}"))
    };
    for literal in [
        "9007199254740992",
        "-9007199254740992",
        "123456789012345678901234567890",
        "1e400",
        "-1e400",
        "1e-400",
    ] {
        world.assert_refused(Reason::JsonNumber, &number(literal));
    }
    for literal in ["9007199254740991", "-9007199254740991", "1.5", "-0", "1e21", "5e-324"] {
        world.assert_refused(Reason::CardUnsigned, &number(literal));
    }
    world.policy.numbers = Numbers::Binary64;
    world.assert_refused(Reason::CardUnsigned, &number("9007199254740993"));
    world.assert_refused(Reason::JsonNumber, &number("1e400"));
}

#[test]
fn rule_08_minus_zero_is_signed_as_zero() {
    let world = World::new();
    let card = with_params(&json!({"n": 0}));
    let signed = world.signed(&card);
    world.assert_verified(&replaced(&signed, "\"n\":0", "\"n\":-0.0"));
    world.assert_refused(Reason::SignatureInvalid, &replaced(&signed, "\"n\":0", "\"n\":1"));
}

#[test]
fn rule_09_a_signature_over_another_member_order_is_refused() {
    let world = World::new();
    // UTF-8 order puts U+FF01 before U+1F600; RFC 8785 wants UTF-16 order.
    let scheme = json!({"httpAuthSecurityScheme": {"scheme": "Bearer"}});
    let card = card_with("securitySchemes", json!({"\u{1f600}": scheme, "\u{ff01}": scheme}));
    world.assert_verified(&world.signed(&card));
    let canonical = String::from_utf8(crate::cards::jcs(&card)).unwrap();
    let body = r#":{"httpAuthSecurityScheme":{"scheme":"Bearer"}}"#;
    let utf16 = format!("{{\"\u{1f600}\"{body},\"\u{ff01}\"{body}}}");
    let utf8 = format!("{{\"\u{ff01}\"{body},\"\u{1f600}\"{body}}}");
    let forged = replaced(canonical.as_bytes(), &utf16, &utf8);
    let entry = world.entry(&world.header(), &forged);
    world.assert_refused(Reason::SignatureInvalid, &attach(&card, &[entry]));
}

#[test]
fn rule_10_invisible_characters_in_addresses_and_identifiers_are_refused() {
    let world = World::reporting();
    let interface = |url: &str| json!([{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]);
    for url in ["https://weather.demo\u{200b}.example/", "https://\u{202e}elpmaxe/", "https://a\n.example/"] {
        let card = card_with("supportedInterfaces", interface(url));
        world.assert_refused(Reason::CardUnsafeText, &world.signed(&card));
    }
    let scheme = json!({"oauth\u{200d}": {"httpAuthSecurityScheme": {"scheme": "Bearer"}}});
    world.assert_refused(Reason::CardUnsafeText, &world.signed(&card_with("securitySchemes", scheme)));
    let skill = json!([{"id": "s\u{feff}", "name": "n", "description": "d", "tags": ["t"]}]);
    world.assert_refused(Reason::CardUnsafeText, &world.signed(&card_with("skills", skill)));
    // In a name they are allowed, because some scripts need them, but flagged.
    let named = card_with("name", json!("Wea\u{202e}ther"));
    world.assert_verified(&world.signed(&named));
    let parsed = countersign_core::card::Card::parse(card_bytes(&named), Numbers::Strict).unwrap();
    assert_eq!(parsed.misleading_names(), ["name"]);
}

#[test]
fn rule_11_signatures_are_a_short_list_of_exactly_shaped_objects() {
    let world = World::new();
    let good = world.entry(&world.header(), &crate::cards::jcs(&card()));
    for odd in [
        json!({}),
        json!("x"),
        json!([good["protected"]]),
        json!([{"protected": good["protected"]}]),
        json!([{"protected": good["protected"], "signature": 1}]),
        json!([{"protected": good["protected"], "signature": good["signature"], "payload": "e30"}]),
        json!([{"protected": good["protected"], "signature": good["signature"], "header": []}]),
    ] {
        world.assert_refused(Reason::SignaturesMalformed, &card_bytes(&card_with("signatures", odd)));
    }
    world.assert_refused(Reason::CardUnsigned, &card_bytes(&card()));
    world.assert_refused(Reason::CardUnsigned, &card_bytes(&card_with("signatures", json!([]))));
    // Null is absent, as in the JSON mapping of Protocol Buffers.
    world.assert_refused(Reason::CardUnsigned, &card_bytes(&card_with("signatures", json!(null))));
    let mut entry = good;
    entry["header"] = json!(null);
    world.assert_verified(&attach(&card(), &[entry]));
}

#[test]
fn rule_11_only_the_top_level_signatures_are_left_out_of_the_signed_bytes() {
    let world = World::reporting();
    let card = with_params(&json!({"signatures": ["inner"]}));
    let signed = world.signed(&card);
    world.assert_verified(&signed);
    world.assert_refused(Reason::SignatureInvalid, &replaced(&signed, "\"inner\"", "\"other\""));
}
