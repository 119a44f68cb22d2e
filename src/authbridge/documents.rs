//! docs/authbridge.md lists members, answers, endpoints and metrics. The lists are compared with the source, in both
//! directions.

use crate::config::Config;
use crate::denial::Code;
use crate::stats::Stats;
use prometheus_client::encoding::text::encode;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../docs/authbridge.md");

/// The rows of the table below this head: their cells.
fn table(head: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = PAGE.split_once(&format!("\n| {head} |")).unwrap_or_else(|| panic!("no table {head:?}"));
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The texts between backticks.
fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The section of this heading.
fn section(heading: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// A schema with the one that it refers to or wraps.
fn resolved<'s>(all: &'s Value, schema: &'s Value) -> &'s Value {
    let wrapped =
        schema["anyOf"].as_array().and_then(|forms| forms.iter().find(|form| form["type"] != "null"));
    let schema = wrapped.unwrap_or(schema);
    match schema["$ref"].as_str() {
        Some(name) => all.pointer(name.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// The members below a schema that have no members themselves: default, and whether only this program knows them.
fn leaves(all: &Value, schema: &Value) -> BTreeMap<String, (Value, bool)> {
    let mut found = BTreeMap::new();
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let is_ours = below["description"].as_str().is_some_and(|text| text.contains("ours)"));
        let target = resolved(all, below);
        let inner = leaves(all, target);
        if inner.is_empty() {
            found.insert(name.clone(), (below["default"].clone(), is_ours));
        }
        for (path, (default, of_it)) in inner {
            found.insert(format!("{name}.{path}"), (default, of_it || is_ours));
        }
    }
    found
}

#[test]
fn every_member_of_the_configuration_is_listed_with_its_default() {
    let schema = schemars::schema_for!(Config).to_value();
    let of = |name: &str| leaves(&schema, &schema["$defs"][name]);
    for (head, members) in [
        ("member", leaves(&schema, &schema)),
        ("`config` of `jwt-validation`", of("JwtValidation")),
        ("`config` of `token-exchange`", of("TokenExchange")),
        ("member of a route", of("Route")),
    ] {
        let rows = table(head);
        let listed: BTreeSet<&str> = rows.iter().filter_map(|row| spans(row[0]).next()).collect();
        assert_eq!(listed, members.keys().map(String::as_str).collect(), "{head}");
        for row in rows {
            let name = spans(row[0]).next().unwrap();
            let (default, is_ours) = &members[name];
            let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            if !default.is_null() && !default.is_array() && !text.is_empty() {
                assert!(spans(row[1]).any(|shown| shown == text), "{head}: {name} is {text} by default");
            }
            assert_eq!(row[2].contains("ours)"), *is_ours || row[2].contains("` (ours)"), "{name}");
        }
    }
    for parser in ["McpParser", "InferenceParser"] {
        for (member, (default, _)) in of(parser) {
            let named =
                format!("`{member}` of `{}-parser`", parser.trim_end_matches("Parser").to_lowercase());
            let rows = table("`config` of a parser");
            let row = rows.iter().find(|row| row[0] == named).unwrap_or_else(|| panic!("{named}"));
            let expected: Vec<&str> = default.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(spans(row[1]).collect::<Vec<_>>(), expected);
        }
    }
    assert!(of("A2aParser").is_empty());
}

#[test]
fn a_port_alone_of_an_admin_server_is_described_alike_by_schema_and_document() {
    let schema = schemars::schema_for!(Config).to_value();
    for (block, member, port) in [("Stats", "address", "9093"), ("Listener", "session_api_addr", "9094")] {
        let told = schema["$defs"][block]["properties"][member]["description"].as_str().unwrap();
        assert!(told.contains("127.0.0.1, and every interface with `admin.token_file`"), "{told}");
        let rows = table("port");
        let row = rows.iter().find(|row| row[0] == port).unwrap();
        assert_eq!(row[2], "127.0.0.1; every interface with `admin.token_file`");
    }
}

#[test]
fn every_code_of_an_answer_is_listed_with_its_status() {
    let rows = table("`error`");
    let listed: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row[0].trim_matches('`'), row[1])).collect();
    let statuses = Code::ALL.map(|code| code.status().as_u16().to_string());
    let codes = Code::ALL.iter().zip(&statuses).map(|(code, status)| (code.text(), status.as_str()));
    assert_eq!(listed, codes.collect());
}

#[test]
fn every_reason_that_is_listed_is_one() {
    for row in table("`error`") {
        for reason in spans(row[3]) {
            assert!(countersign_core::refusal::Reason::from_code(reason).is_some(), "{reason}");
        }
    }
    let listed: String = table("`error`").iter().map(|row| row[3]).collect();
    let source =
        concat!(include_str!("jwt/verify.rs"), include_str!("jwt/policy.rs"), include_str!("jwt/claims.rs"));
    let (source, _) = source.split_once("#[cfg(test)]").unwrap_or((source, ""));
    for reason in source.split("Reason::").skip(1) {
        let reason = reason.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
        assert!(listed.contains(reason), "{reason}");
    }
}

#[test]
fn every_endpoint_of_the_admin_servers_is_listed() {
    for (port, source) in [
        ("9091", include_str!("admin/health.rs")),
        ("9093", include_str!("admin/statistics.rs")),
        ("9094", include_str!("admin/sessions.rs")),
    ] {
        let served: BTreeSet<&str> =
            source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let rows = table("port");
        let row = rows.iter().find(|row| row[0] == port).unwrap();
        let listed: BTreeSet<&str> = spans(row[1]).filter(|span| span.starts_with('/')).collect();
        assert_eq!(listed, served, "{port}");
    }
}

#[test]
fn every_metric_is_listed_with_the_values_of_its_labels() {
    let mut text = String::new();
    encode(&mut text, &Stats::new().registry()).unwrap();
    let section = section("Metrics");
    let listed: BTreeSet<&str> = table("metric").iter().filter_map(|row| spans(row[0]).next()).collect();
    let mut served = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let name =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        served.insert(name);
        for value in rest.split("result=\"").skip(1).filter_map(|value| value.split('"').next()) {
            assert!(section.contains(&format!("`{value}`")), "{line}");
        }
    }
    assert_eq!(listed, served);
}
