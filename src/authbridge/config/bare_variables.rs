//! Notices of `$NAME` without braces, which the existing AuthBridge replaces by a variable and this program does not.

use countersign_api::yaml::{Diagnostic, YamlNode, YamlValue};

/// Keys whose values are secrets: of those not even a part is repeated.
const SECRETS: [&str; 1] = ["client_secret"];

/// Adds a notice for each text of the file with a bare `$NAME`.
pub(super) fn tell(root: &YamlNode, notices: &mut Vec<Diagnostic>) {
    walk(root, "", false, notices);
}

fn walk(node: &YamlNode, path: &str, is_secret: bool, notices: &mut Vec<Diagnostic>) {
    match &node.value {
        YamlValue::Map(members) => {
            for (key, value) in members {
                let name = key.name.as_str();
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                walk(value, &path, SECRETS.contains(&name), notices);
            }
        }
        YamlValue::List(nodes) => {
            for (index, one) in nodes.iter().enumerate() {
                walk(one, &format!("{path}[{index}]"), is_secret, notices);
            }
        }
        YamlValue::Text(text) => {
            let Some(name) = bare_variable(text) else { return };
            let problem = if is_secret {
                "a `$` in it stays as it is; write `${NAME}` if a variable is meant".to_owned()
            } else {
                format!("${name} stays as it is; write ${{{name}}} if the variable is meant")
            };
            notices.push(Diagnostic { place: node.place, key: path.to_owned(), problem });
        }
        YamlValue::Null | YamlValue::Bool(_) | YamlValue::Integer(_) | YamlValue::Float(_) => {}
    }
}

/// The first `$NAME` of a text.
fn bare_variable(text: &str) -> Option<&str> {
    text.split('$').skip(1).find_map(|after| {
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        after.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
    })
}
