//! Keeps docs/rules.md, docs/reasons.md, the reasons in the source and the tests in step.
//! With `COUNTERSIGN_UPDATE=1` it writes the generated lines instead of comparing them (`make docs`).

mod source_tree;

use countersign_core::refusal::Reason;
use proc_macro2::{Delimiter, TokenTree};
use source_tree::{File, is_rust, text_files, tokens, walk};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How many rules there are.
const RULES: u8 = 64;

/// Rules that no reason reports, because they are properties of the verifier and not of a card.
const PROPERTIES: [u8; 4] = [18, 46, 59, 60];

/// Reasons from before there is a card to judge: the cluster does not have what the card is about.
const OF_THE_CLUSTER: [Reason; 9] = [
    Reason::WorkloadNotFound,
    Reason::NotAgentWorkload,
    Reason::LabelsConflict,
    Reason::LabelsTooMany,
    Reason::WorkloadNotReady,
    Reason::ProtocolMissing,
    Reason::ServiceEndpointNotOwned,
    Reason::ServiceNotFound,
    Reason::CardPaused,
];

/// Reasons about requests and their tokens, which have no rule because rules are about cards.
const OF_TOKENS: [Reason; 13] = [
    Reason::PathAmbiguous,
    Reason::KeySetMalformed,
    Reason::TokenResponseMalformed,
    Reason::TokenMalformed,
    Reason::TokenKind,
    Reason::TokenKeyUnknown,
    Reason::TokenIssuer,
    Reason::TokenAudience,
    Reason::TokenExpired,
    Reason::TokenNotYetValid,
    Reason::TokenBinding,
    Reason::TokenParty,
    Reason::TokenScope,
];

/// Codes of reasons, or names of tests.
type Names = BTreeSet<String>;

/// What the Rust files of the repository say in test code.
#[derive(Default)]
struct Tested {
    /// Names of test functions that are named after a rule, by rule.
    by_rule: BTreeMap<u8, Names>,
    /// Names of all test functions.
    functions: Names,
    /// Every identifier and every word of a string literal in test code.
    words: Names,
}

/// The rules in a function name such as `rule_05_a_member_occurs_once` or `rule_35_and_41_names_are_exact`.
fn rules_of(name: &str) -> Vec<u8> {
    let mut rules = Vec::new();
    let mut rest = name.strip_prefix("rule_");
    while let Some((digits, after)) = rest.and_then(|rest| rest.split_once('_')) {
        let Some(rule) = (digits.len() == 2).then(|| digits.parse().ok()).flatten() else { break };
        rules.push(rule);
        rest = after.strip_prefix("and_");
    }
    rules
}

/// Adds the identifiers and literal words of `list`, without what its groups hold.
fn add_words(list: &[TokenTree], words: &mut Names) {
    for token in list {
        match token {
            TokenTree::Ident(ident) => {
                words.insert(ident.to_string());
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                words.extend(text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
            }
            _ => {}
        }
    }
}

/// True for `#[cfg(test)]` (the bracket group of it).
fn is_cfg_test(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group)
        if group.delimiter() == Delimiter::Bracket && group.to_string().replace(' ', "") == "[cfg(test)]")
}

/// True for `#[test]` and its kin, such as `#[tokio::test(…)]` (the bracket group of it).
fn is_test_attribute(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let text = group.stream().to_string().replace(' ', "");
    let path = text.split('(').next().unwrap_or_default();
    group.delimiter() == Delimiter::Bracket && (path == "test" || path.ends_with("::test"))
}

/// Collects what the test code of `file` names. A file below `tests/` is test code as a whole, and any other
/// from its first `#[cfg(test)]` item on, item by item.
fn collect(file: &File, tested: &mut Tested) -> Result<(), String> {
    let all_tests = file.path.starts_with("tests/");
    walk(tokens(file)?, &mut |list, _| {
        let mut attributed = false;
        for (at, token) in list.iter().enumerate() {
            attributed |= is_test_attribute(token);
            if let (TokenTree::Ident(word), Some(TokenTree::Ident(name))) =
                (token, list.get(at.saturating_add(1)))
                && *word == "fn"
            {
                let name = name.to_string();
                // A property-test macro takes its functions with the same attribute in front.
                if attributed {
                    for rule in rules_of(&name) {
                        tested.by_rule.entry(rule).or_default().insert(name.clone());
                    }
                    tested.functions.insert(name);
                }
                attributed = false;
            }
        }
        if all_tests {
            add_words(list, &mut tested.words);
            return;
        }
        for (at, _) in list.iter().enumerate().filter(|(_, token)| is_cfg_test(token)) {
            let rest = list.get(at.saturating_add(1)..).unwrap_or_default();
            if let Some(TokenTree::Group(body)) = rest.iter().find(
                |token| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace),
            ) {
                walk(body.stream(), &mut |inner, _| add_words(inner, &mut tested.words));
            }
        }
    });
    Ok(())
}

/// What all test code says, this file excepted: it names no reason of its own accord.
fn tested() -> Result<Tested, String> {
    let mut tested = Tested::default();
    for folder in ["src", "tests", "fuzz"] {
        for file in text_files(folder).map_err(|error| format!("{folder}: {error}"))? {
            if is_rust(&file) && !file.path.ends_with("rules_are_covered.rs") {
                collect(&file, &mut tested)?;
            } else if file.path.starts_with("tests/") && !file.path.contains("/golden/") {
                // Tables of cases beside the tests name the reason they expect; recorded output proves nothing.
                tested.words.extend(file.text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
            }
        }
    }
    Ok(tested)
}

fn reasons_of(rule: u8) -> Vec<&'static str> {
    Reason::ALL.iter().filter(|reason| reason.rules().contains(&rule)).map(|reason| reason.code()).collect()
}

/// docs/rules.md with its generated lines written again.
fn rules_document(text: &str, tested: &Tested) -> String {
    let mut rule = 0;
    let mut written = String::with_capacity(text.len());
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("### Rule ") {
            rule = number.parse().unwrap_or(0);
        }
        let names = match line.split_once(':').map_or(line, |(start, _)| start) {
            "- Reasons" => reasons_of(rule)
                .iter()
                .map(|code| format!("[`{code}`](reasons.md#{})", code.to_lowercase()))
                .collect::<Vec<_>>(),
            "- Tests" => {
                tested.by_rule.get(&rule).into_iter().flatten().map(|name| format!("`{name}`")).collect()
            }
            _ => {
                written.push_str(line);
                written.push('\n');
                continue;
            }
        };
        let start = line.split_once(':').map_or(line, |(start, _)| start);
        let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        written.push_str(start);
        written.push_str(": ");
        written.push_str(&list);
        written.push_str(".\n");
    }
    written
}

/// docs/reasons.md, whole.
fn reasons_document() -> String {
    let mut text = String::from(
        "# Reasons\n\nWhy a card or a request was refused: the fixed list that the command line and its JSON use, in the order of \
         the pipeline. A later reason\nis more specific, because everything before it had passed. `countersign \
         explain CODE` prints one entry.\n\nThis file is written by `make docs` from `src/core/refusal.rs`.\n",
    );
    for reason in Reason::ALL {
        let mut rules: Vec<String> =
            reason.rules().iter().map(|rule| format!("[{rule}](rules.md#rule-{rule})")).collect();
        if rules.is_empty() {
            let why = if OF_TOKENS.contains(reason) {
                "none, it is about a request"
            } else {
                "none, the cluster decides it"
            };
            rules.push(why.to_owned());
        }
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n{}.\n\n- Stops: {}\n- Fix: {}\n- Rules: {}\n",
            reason.code(),
            reason.title(),
            reason.attack(),
            reason.fix(),
            rules.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str) -> String {
        text_files(path).unwrap().pop().unwrap_or_else(|| panic!("{path} is missing")).text
    }

    #[expect(clippy::disallowed_methods, reason = "the switch of `make docs`")]
    fn compare_or_write(path: &str, wanted: &str) {
        if std::env::var_os("COUNTERSIGN_UPDATE").is_some() {
            std::fs::write(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path), wanted).unwrap();
        }
        assert_eq!(document(path), wanted, "{path} is out of date: run `make docs`");
    }

    #[test]
    fn the_rules_document_lists_every_rule_once_and_in_order() {
        let text = document("docs/rules.md");
        let numbers: Vec<u8> = text
            .lines()
            .filter_map(|line| line.strip_prefix("### Rule "))
            .map(|n| n.parse().unwrap())
            .collect();
        assert_eq!(numbers, (1..=RULES).collect::<Vec<_>>());
        assert_eq!(text.matches("\n- Stops: ").count(), usize::from(RULES));
    }

    #[test]
    fn the_rules_document_names_the_reasons_and_tests_of_today() {
        let text = document("docs/rules.md");
        compare_or_write("docs/rules.md", &rules_document(&text, &tested().unwrap()));
    }

    #[test]
    fn the_reasons_document_is_that_of_the_source() {
        compare_or_write("docs/reasons.md", &reasons_document());
    }

    #[test]
    fn every_rule_has_a_reason_or_is_a_known_property() {
        let without: Vec<u8> = (1..=RULES).filter(|rule| reasons_of(*rule).is_empty()).collect();
        assert_eq!(without, PROPERTIES);
        for reason in Reason::ALL {
            let enforces =
                !reason.rules().is_empty() || OF_THE_CLUSTER.contains(reason) || OF_TOKENS.contains(reason);
            assert!(enforces, "{reason} enforces no rule");
            assert!(
                reason.rules().iter().all(|rule| (1..=RULES).contains(rule)),
                "{reason} names an unknown rule"
            );
        }
    }

    #[test]
    fn every_rule_has_a_test_named_after_it() {
        let tested = tested().unwrap();
        let without: Vec<u8> = (1..=RULES).filter(|rule| !tested.by_rule.contains_key(rule)).collect();
        assert!(without.is_empty(), "no test function is named rule_NN_… for the rules {without:?}");
        let unknown: Vec<&u8> = tested.by_rule.keys().filter(|rule| !(1..=RULES).contains(*rule)).collect();
        assert!(unknown.is_empty(), "tests are named after rules that do not exist: {unknown:?}");
    }

    #[test]
    fn every_reason_is_expected_by_a_test() {
        let words = tested().unwrap().words;
        let without: Vec<&str> =
            Reason::ALL.iter().map(|r| r.code()).filter(|code| !words.contains(*code)).collect();
        assert!(without.is_empty(), "no test expects {without:?}");
    }

    #[test]
    fn every_test_that_the_threat_table_names_exists() {
        let tested = tested().unwrap();
        let text = document("SECURITY.md");
        let rows =
            text.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split(" | ").nth(2));
        let named: Vec<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        assert!(named.len() > 30, "the table names only {} tests", named.len());
        let missing: Vec<_> = named.into_iter().filter(|name| !tested.functions.contains(*name)).collect();
        assert!(missing.is_empty(), "no such tests: {missing:?}");
    }

    /// Cells of each row below the header of each Markdown table in `text`.
    fn rows(text: &str) -> Vec<Vec<&str>> {
        let lines: Vec<&str> = text.lines().collect();
        let is_row = |line: &str| line.starts_with('|');
        let tables = lines.split(|line| !is_row(line)).filter(|table| !table.is_empty());
        let rows = tables.flat_map(|table| {
            assert!(table.len() > 2 && table[1].starts_with("|---"), "no table: {table:?}");
            &table[2..]
        });
        rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").collect()).collect()
    }

    #[test]
    fn every_test_that_a_table_of_weaknesses_names_exists() {
        let tested = tested().unwrap();
        let text = document("docs/weaknesses.md");
        let rows = rows(&text);
        // A row that is lost would take the proof of its weakness with it, in silence.
        let operator = (1..=23).filter(|number| *number != 16).chain([38]).chain(41..=46).chain([49, 50]);
        let sidecar =
            ["9.1", "9.2"].into_iter().flat_map(|part| (1..=12).map(move |n| format!("{part}-{n}")));
        let wanted: Vec<String> = operator
            .map(|number| number.to_string())
            .chain(sidecar)
            .chain(vec!["9.3".to_owned(); 4])
            .collect();
        assert_eq!(rows.iter().flat_map(|row| row[0].split(", ")).collect::<Vec<_>>(), wanted);
        for row in rows {
            let [number, weakness, tests] = row[..] else { panic!("{row:?} has not three cells") };
            let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
            assert!(
                !named.is_empty() || tests.starts_with("not here: "),
                "{number} ({weakness}) names no test"
            );
            let missing: Vec<_> =
                named.into_iter().filter(|name| !tested.functions.contains(*name)).collect();
            assert!(missing.is_empty(), "{number} names tests that do not exist: {missing:?}");
        }
    }

    #[test]
    fn test_names_are_found_in_code_and_not_in_text() {
        let mut tested = Tested::default();
        let text = "// fn rule_01_a() {}\nfn rule_02_helper() {}\nconst A: &str = \"#[test] fn rule_03_a() {}\";\n\
                    #[cfg(test)] mod tests { #[test] fn rule_04_a() { assert(Reason::Denied); } #[test] fn rule_5_a() {} }\n\
                    #[tokio::test(flavor = \"x\")] async fn rule_06_and_07_b() {} #[testing] fn rule_08_a() {}\n\
                    fn f() { Reason::FetchFailed }";
        collect(&File { path: "src/x.rs".to_owned(), text: text.to_owned() }, &mut tested).unwrap();
        assert_eq!(tested.by_rule.keys().collect::<Vec<_>>(), [&4, &6, &7]);
        assert!(tested.words.contains("Denied") && !tested.words.contains("FetchFailed"));
    }
}
