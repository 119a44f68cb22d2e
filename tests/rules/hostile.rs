//! Cards that anybody makes from an honest one without a key: what they add is unsigned, and as large as is read.
//! Each kind aims at one thing that a verifier might do once per value instead of once per card.

use countersign_core::canon::Profile;
use countersign_core::limits::{JSON_DEPTH, JSON_KEY_BYTES, JSON_MEMBERS, JSON_NODES, JSON_STRING_BYTES};

/// Where something is added to an honest card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Members of the card.
    Card,
    /// Members of its capabilities.
    Capabilities,
    /// Elements of its extensions.
    Extensions,
    /// Members of the free parameters of its extension.
    Params,
    /// Elements of its skills.
    Skills,
    /// Members of its skill.
    Skill,
}

/// One kind of addition.
#[derive(Clone, Debug)]
pub(crate) struct Addition {
    pub(crate) name: String,
    place: Place,
    text: String,
}

/// Values that a stripping form drops.
const EMPTIES: [&str; 5] = [r#""""#, "null", "[]", "{}", r#"["",{"a":[]}]"#];

/// Values left for one addition: the honest card and the way to it have some.
const VALUES: usize = JSON_NODES - 200;

/// All kinds, each about `bytes` long unless another limit of the reader comes first.
pub(crate) fn additions(bytes: usize) -> Vec<Addition> {
    let mut all = Vec::new();
    let mut add = |name: String, place, text| all.push(Addition { name, place, text });
    let long = [("plain", "n".repeat(JSON_KEY_BYTES)), ("slashes", "/".repeat(JSON_KEY_BYTES))];
    for (kind, name) in &long {
        for empty in EMPTIES {
            let deep = deep(name, &list(empty, bytes - DEEPEST * (JSON_KEY_BYTES + 5)));
            add(format!("deep {kind} names around many {empty}"), Place::Params, deep.clone());
            add(format!("deep {kind} names around many {empty} outside"), Place::Card, deep);
        }
        let wide = members(bytes, |index| format!(r#""{}":0"#, cut(name, index)));
        for place in [Place::Card, Place::Capabilities, Place::Params, Place::Skill] {
            add(format!("many {kind} names"), place, wide.clone());
        }
        let inside = |inner: &str| elements(bytes, |index| format!(r#"{{"{}":{inner}}}"#, cut(name, index)));
        add(format!("skills of {kind} names"), Place::Skills, inside("1"));
        add(format!("extensions of {kind} names"), Place::Extensions, inside("1"));
        add(
            format!("requirements of {kind} names"),
            Place::Card,
            format!(r#""security":[{}]"#, inside("[]")),
        );
        let interfaces = format!(r#""additionalInterfaces":[{}]"#, inside("1"));
        add(format!("interfaces of {kind} names"), Place::Card, interfaces);
        let schemes = members(bytes, |index| {
            format!(r#""{}":{{"type":"none","scheme":"b","more":1}}"#, cut(name, index))
        });
        add(format!("schemes of {kind} names"), Place::Card, format!(r#""securitySchemes":{{{schemes}}}"#));
    }
    for empty in EMPTIES {
        add(format!("many {empty} as skills"), Place::Skills, elements(bytes, |_| empty.to_owned()));
        add(format!("many {empty} as extensions"), Place::Extensions, elements(bytes, |_| empty.to_owned()));
        let wide = (0..18).map(|part| {
            let inside = members(bytes / 18, |index| format!(r#""{index}":{empty}"#));
            format!(r#""w{part}":{{{inside}}}"#)
        });
        add(format!("wide objects of {empty}"), Place::Params, wide.collect::<Vec<_>>().join(","));
    }
    add(
        "deciding members of skills".to_owned(),
        Place::Skills,
        elements(bytes, |_| r#"{"security":[{}]}"#.into()),
    );
    let interfaces = elements(bytes, |_| r#"{"url":""}"#.into());
    add("interfaces of nothing".to_owned(), Place::Card, format!(r#""supportedInterfaces":[{interfaces}]"#));
    let requirements = elements(bytes, |_| r#"{"":[]}"#.into());
    add("short requirements".to_owned(), Place::Card, format!(r#""security":[{requirements}]"#));
    let version = JSON_STRING_BYTES.min(bytes / 2);
    for (kind, version) in [("text", "v".repeat(version)), ("Cyrillic", "я".repeat(version / 2))] {
        let interfaces = elements(bytes - version.len() - 64, |_| "{}".to_owned());
        let text = format!(r#""protocolVersion":"{version}","additionalInterfaces":[{interfaces}]"#);
        add(format!("a version of much {kind} for many interfaces"), Place::Card, text);
    }
    let listed = format!("[{}]", list(r#""""#, bytes / 2));
    let interfaces = elements(bytes / 2, |_| "{}".to_owned());
    let text = format!(r#""protocolVersion":{listed},"additionalInterfaces":[{interfaces}]"#);
    add("a version of many values for many interfaces".to_owned(), Place::Card, text);
    let digits = format!("0.{}", "1".repeat(1000));
    for number in ["1e20", "1E15", "-0", "0.1", "-1e-300", digits.as_str()] {
        add(format!("many {number:.12}"), Place::Params, format!(r#""numbers":[{}]"#, list(number, bytes)));
    }
    for text in ["\u{1f600}", "<", r"\u00e9", r"\u0001", r"\ud83d\ude00"] {
        let string = |bytes: usize| format!(r#""{}""#, text.repeat(bytes / text.len()));
        let part = JSON_STRING_BYTES / 2;
        let parts = vec![string(part); bytes / part].join(",");
        let short = list(&string(text.len()), bytes);
        add(format!("long texts of {text}"), Place::Params, format!(r#""texts":[{parts}]"#));
        add(format!("short texts of {text}"), Place::Params, format!(r#""texts":[{short}]"#));
        let names = members(bytes, |index| format!(r#""{index}{}":[]"#, text.repeat(200 / text.len())));
        add(format!("names of {text}"), Place::Card, names);
    }
    all
}

/// Documents that the reader refuses, each late.
pub(crate) fn unreadable(bytes: usize) -> Vec<(String, String)> {
    let long = "n".repeat(JSON_KEY_BYTES);
    [
        ("brackets", "[".repeat(bytes)),
        ("names around names", format!(r#"{{"{long}":"#).repeat(bytes / (long.len() + 4))),
        ("a name that occurs twice", {
            format!(
                "{{{},\"0\":1}}",
                (0..JSON_MEMBERS - 1).map(|n| format!(r#""{n}":1"#)).collect::<Vec<_>>().join(",")
            )
        }),
        ("too many values", format!("[{}1]", "1,".repeat(bytes / 2 - 2))),
        ("a text without an end", format!(r#"{{"a":"{}"#, r"\n".repeat(JSON_STRING_BYTES / 2))),
        ("an endless text", format!(r#"{{"a":"{}"}}"#, r"\n".repeat(bytes / 2 - 6))),
        ("white space", " ".repeat(bytes)),
        ("more than is read", "x".repeat(4 * bytes)),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

/// The honest card of a kind of signers, with an addition and these `signatures`.
pub(crate) fn card(profile: Profile, addition: Option<&Addition>, signatures: &str) -> String {
    let at = |place: Place| match addition {
        Some(addition) if addition.place == place => format!(",{}", addition.text),
        _ => String::new(),
    };
    let connection = match profile {
        Profile::KagentiGo | Profile::PyLegacy | Profile::Py03 | Profile::ProtoFoldedJcs => {
            r#""url":"https://weather.demo.svc.cluster.local/a2a""#
        }
        Profile::Spec841 | Profile::JcsRaw | Profile::ProtoCleanJcs => {
            r#""supportedInterfaces":[{"url":"https://weather.demo.svc.cluster.local/a2a","protocolBinding":"JSONRPC","protocolVersion":"1.0"}]"#
        }
        profile => panic!("{profile} has no card here"),
    };
    // The names begin with what nothing that is added has.
    let params = at(Place::Params);
    let params = if params.is_empty() { params } else { format!(r#","params":{{{}}}"#, &params[1..]) };
    format!(
        r#"{{"name":"Weather","description":"Tells the weather","version":"1.0.0",{connection},"defaultInputModes":["text/plain"],"defaultOutputModes":["text/plain"],"capabilities":{{"streaming":true,"extensions":[{{"uri":"https://weather.example/e"{params}}}{}]{}}},"skills":[{{"id":"s1","name":"Forecast","description":"tomorrow","tags":["weather"]{}}}{}]{},"signatures":[{signatures}]}}"#,
        at(Place::Extensions),
        at(Place::Capabilities),
        at(Place::Skill),
        at(Place::Skills),
        at(Place::Card),
    )
}

/// Levels that one addition may have.
const DEEPEST: usize = JSON_DEPTH - 9;

/// A list as deep as it may stand, with the longest names on the way.
fn deep(name: &str, list: &str) -> String {
    let before = format!(r#"{{"{name}":"#).repeat(DEEPEST);
    format!(r#""deep":{before}[{list}]{}"#, "}".repeat(DEEPEST))
}

/// The name with a number in place of its last characters.
fn cut(name: &str, index: usize) -> String {
    format!("{}{index:05}", &name[..name.len() - 5])
}

fn list(item: &str, bytes: usize) -> String {
    elements(bytes, |_| item.to_owned())
}

/// As many elements as fit, and as the reader takes.
fn elements(bytes: usize, element: impl Fn(usize) -> String) -> String {
    fill(bytes, usize::MAX, element)
}

/// As many members as fit, and as the reader takes in one object that has a few already.
fn members(bytes: usize, member: impl Fn(usize) -> String) -> String {
    fill(bytes, JSON_MEMBERS - 24, member)
}

fn fill(bytes: usize, most: usize, part: impl Fn(usize) -> String) -> String {
    let one = part(0);
    // Each value but the first of its container follows one of these.
    let values = one.chars().filter(|c| matches!(c, ':' | ',' | '[' | '{')).count().max(1);
    let count = (bytes / (one.len() + 1)).min(most).min(VALUES / values).max(1);
    (0..count).map(part).collect::<Vec<_>>().join(",")
}
