//! All mistakes of a file in one reading, each with its place.

use super::diagnostic::{Diagnostic, Mistake, is_written};
use super::node::YamlNode;
use super::path::{PathStep, ValuePath};
use super::read_error::missing;
use super::reader::{ConfigReader, ReaderContext};
use crate::limits::MISTAKES;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// Mistakes of a file, and which of its values were therefore not read.
#[derive(Debug, Default)]
pub struct Mistakes {
    found: Vec<Mistake>,
    skipped: BTreeSet<ValuePath>,
}

impl Mistakes {
    /// Adds a problem of the value at `steps`, whose indices count what was read of a list. A value of which a part was not
    /// read is passed over: it may lack what it seems to lack only for that.
    pub fn add(&mut self, root: &YamlNode, steps: &[PathStep<'_>], problem: String) {
        let one = Mistake::at(root, &self.placed(steps), problem);
        if !self.skipped.iter().any(|skipped| *skipped == one.path || skipped.is_inside(&one.path)) {
            self.found.push(one);
        }
    }

    /// Adds that the file lacks a key, unless it was not read or is there under a misspelt name.
    pub fn add_missing(&mut self, root: &YamlNode, key: &'static str) {
        if !self.is_unread(&[PathStep::Key(key)]) {
            self.found.push(Mistake::at(root, &[], missing(key)));
        }
    }

    /// True if the value at `steps` is there and was not read: it does not fit, or its key is misspelt.
    pub fn is_unread(&self, steps: &[PathStep<'_>]) -> bool {
        let placed = self.placed(steps);
        let path = ValuePath::new(&placed);
        let is_skipped = self.skipped.iter().any(|skipped| *skipped == path || path.is_inside(skipped));
        is_skipped
            || matches!(placed.split_last(), Some((PathStep::Key(name), map))
                if is_misspelt(&self.found, &ValuePath::new(map), name))
    }

    /// True if the file has a value at `steps`, whose indices count what was read of a list.
    pub fn is_written(&self, root: &YamlNode, steps: &[PathStep<'_>]) -> bool {
        is_written(root, &self.placed(steps))
    }

    /// True if none was found.
    pub const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Up to 32 mistakes, in the order of the file.
    pub fn into_vec(mut self) -> Vec<Diagnostic> {
        self.found.sort();
        self.found.dedup();
        self.found.truncate(MISTAKES);
        self.found.into_iter().map(Mistake::into_diagnostic).collect()
    }

    /// Steps with the indices that elements have in the file.
    fn placed<'s>(&self, steps: &[PathStep<'s>]) -> Vec<PathStep<'s>> {
        let mut placed: Vec<PathStep<'s>> = Vec::with_capacity(steps.len());
        for step in steps {
            placed.push(match step {
                PathStep::Index(index) => PathStep::Index(self.index(&ValuePath::new(&placed), *index)),
                PathStep::Key(name) => PathStep::Key(name),
            });
        }
        placed
    }

    /// Index in the file of an element of the list at `path`, of which some may not have been read.
    fn index(&self, path: &ValuePath, read: usize) -> usize {
        let skipped: BTreeSet<usize> =
            self.skipped.iter().filter_map(|skipped| skipped.index_in(path)).collect();
        skipped.into_iter().fold(read, |index, gap| index.saturating_add(usize::from(gap <= index)))
    }
}

/// Reads what of a file fits a type, for checks beyond the type that are told of in the same run: after each mistake, the
/// file is read again without the value that has it. `None` where nothing is left that fits. What a lenient context passes
/// over is left in it.
pub fn read_partial<T: DeserializeOwned>(
    root: &YamlNode,
    context: &ReaderContext<'_>,
) -> (Option<T>, Mistakes) {
    let (mut found, mut value) = (Vec::new(), None);
    for _ in 0..MISTAKES {
        let error = match T::deserialize(ConfigReader::new(root, context)) {
            Ok(read) => {
                value = Some(read);
                break;
            }
            Err(error) => error,
        };
        let lacks = error.missing;
        let one = error.into_mistake(root.place);
        let mut skipped = context.skipped.borrow_mut();
        // What was passed over may be missing now, which is no mistake of the file.
        let is_new = match lacks {
            Some(field) => {
                !skipped.contains(&one.path.clone().then(PathStep::Key(field)))
                    && !is_misspelt(&context.found.borrow(), &one.path, field)
            }
            None => !skipped.iter().any(|skipped| skipped.is_inside(&one.path)),
        };
        let is_first = !one.path.is_root() && skipped.insert(one.path.clone());
        if is_new {
            found.push(one);
        }
        if !is_first {
            break;
        }
    }
    if !context.lenient {
        found.append(&mut context.found.borrow_mut());
    }
    (value, Mistakes { found, skipped: context.skipped.take() })
}

/// True if a key of the map at `path` is there under a name that was taken for a misspelt `field`.
fn is_misspelt(found: &[Mistake], path: &ValuePath, field: &str) -> bool {
    let meant = format!("did you mean {field}?");
    found.iter().any(|one| one.problem.ends_with(&meant) && one.path.is_member_of(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all<T: DeserializeOwned>(
        root: &YamlNode,
        context: &ReaderContext<'_>,
    ) -> Result<T, Vec<Diagnostic>> {
        let (value, mistakes) = read_partial(root, context);
        let mistakes = mistakes.into_vec();
        match value {
            Some(value) if mistakes.is_empty() => Ok(value),
            _ => Err(mistakes),
        }
    }

    #[test]
    fn an_element_has_the_index_that_it_has_in_the_file() {
        let of = |name, index| ValuePath::new(&[PathStep::Key(name), PathStep::Index(index)]);
        let skipped = [of("a", 0), of("a", 2), of("a", 3), of("a", 1).then(PathStep::Key("b")), of("b", 0)];
        let mistakes = Mistakes { found: Vec::new(), skipped: skipped.into() };
        let [a, c] = ["a", "c"].map(|name| ValuePath::new(&[PathStep::Key(name)]));
        assert_eq!([0, 1, 2].map(|read| mistakes.index(&a, read)), [1, 4, 5]);
        assert_eq!(mistakes.index(&c, 3), 3);
    }

    #[test]
    fn every_mistake_is_found_in_one_reading_with_its_place_and_the_nearest_key() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[expect(dead_code, reason = "only read")]
        struct File {
            version: u8,
            #[serde(default)]
            word: Option<Word>,
            #[serde(default)]
            list: Vec<Entry>,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(dead_code, reason = "only read")]
        enum Word {
            Strict,
            Count(u8),
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only read")]
        struct Entry {
            name: String,
            #[serde(default)]
            size: u8,
        }
        let told =
            |text: &str| match read_all::<File>(&YamlNode::parse(text).unwrap(), &ReaderContext::default()) {
                Ok(_) => Vec::new(),
                Err(all) => all
                    .into_iter()
                    .map(|one| {
                        format!("{}:{} {}: {}", one.place.line, one.place.column, one.key, one.problem)
                    })
                    .collect(),
            };
        assert_eq!(told("version: 1\nword: strict\nlist: [{ name: a }]"), [""; 0]);
        assert_eq!(told("version: 1\nword: { count: 2 }"), [""; 0]);
        for (text, expected) in [
            ("version: 1\nlist: [{}]", "2:8 list[0]: the key name is missing; add it"),
            ("version: 1\nlist: [{ name: 8675309 }]", "it is a number, expected a text; put it into quotes"),
            ("version: 1\nword: { strict: 1, count: 2 }", "it has 2 keys; keep one of strict, count"),
            ("version: 1\nword: count", "the word needs contents"),
        ] {
            let found = told(text).join("; ");
            assert!(found.contains(expected) && !found.contains("8675309"), "{text}: {found}");
        }
        let text = "version: many\nwrd: strict\nword: strct\nlist:\n  - { nam: a }\n  - { name: b, size: x }\n  - { name: [] }\n";
        assert_eq!(
            told(text),
            [
                "1:10 version: it is a text, expected a whole number from 0",
                "2:1 wrd: there is no such key; did you mean word?",
                "3:7 word: \"strct\" is none of strict, count; did you mean strict?",
                "5:7 list[0].nam: there is no such key; did you mean name?",
                "6:22 list[1].size: it is a text, expected a whole number from 0",
                "7:13 list[2].name: it is a list, expected a text",
            ]
        );
        assert_eq!(
            told("version: 1\nword: { count: x }"),
            ["2:16 word.count: it is a text, expected a whole number from 0"]
        );
        let many: Vec<String> = (0..50).map(|number| format!("x{number}: 1\n")).collect();
        assert_eq!(told(&many.concat()).len(), MISTAKES);
    }
}
