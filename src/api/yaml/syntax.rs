//! What is told of a text that is no YAML.

use super::diagnostic::Diagnostic;
use super::node::Place;
use countersign_core::text::Quoted;

/// Problem of a text that is no YAML, without an excerpt of it, which may hold secrets.
pub fn syntax_problem(error: &serde_saphyr::Error) -> Diagnostic {
    let place = error.location().map_or(Place::START, Place::from);
    let error = error.without_snippet();
    let problem = if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = error {
        let key = key.as_deref().map_or_else(|| "a key".to_owned(), |key| Quoted(key).to_string());
        format!("{key} is there twice, and only one of them could count; keep one")
    } else if let serde_saphyr::Error::MultipleDocuments { .. } = error {
        "there are two documents, divided by ---, and one is read; keep one".to_owned()
    } else {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        format!("it is not YAML: {}", Quoted(first.strip_prefix("error: ").unwrap_or(first)))
    };
    Diagnostic { place, key: String::new(), problem }
}

#[cfg(test)]
mod tests {
    use super::super::YamlNode;
    use super::*;

    #[test]
    fn a_problem_is_told_in_words_of_yaml() {
        for (text, line, problem) in [
            ("a: 1\na: 2\n", 2, "\"a\" is there twice, and only one of them could count; keep one"),
            ("a: 1\n---\na: 2\n", 3, "there are two documents, divided by ---, and one is read; keep one"),
        ] {
            let found = syntax_problem(&YamlNode::parse(text).unwrap_err());
            assert_eq!((found.place.line, found.problem.as_str()), (line, problem));
        }
        assert!(YamlNode::parse("---\na: 1\n").is_ok());
    }
}
