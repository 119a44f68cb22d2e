//! The command blocks of documents. The info string of each says how it is held: `sh run`, `sh serve ADDRESS`,
//! `sh cluster` or `sh not-run: REASON`. A block `text` after it is what it prints: these lines, in this order, perhaps
//! with others between them; `…` stands for anything.

/// How a block is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How<'t> {
    /// It ends with exit code 0.
    Run,
    /// It runs until it is ended, and answers at this address.
    Serve(&'t str),
    /// It ends with exit code 0 on a node of the rig.
    Cluster,
    /// Nothing here can run it.
    NotRun(&'t str),
}

/// A command block.
#[derive(Debug)]
pub(crate) struct Block<'t> {
    /// The line of the document that its commands begin below.
    pub(crate) line: usize,
    /// How it is held.
    pub(crate) how: How<'t>,
    /// Its commands.
    pub(crate) script: String,
    /// The lines that it prints.
    pub(crate) prints: Vec<&'t str>,
}

/// The command blocks of a Markdown document, in its order.
pub(crate) fn blocks(document: &str) -> Result<Vec<Block<'_>>, String> {
    let (mut found, mut lines): (Vec<Block<'_>>, _) = (Vec::new(), (1..).zip(document.lines()));
    // A block of what is printed belongs to the commands right before it.
    let (mut was_commands, mut is_blank) = (false, true);
    while let Some((line, text)) = lines.next() {
        let Some(info) = text.strip_prefix("```") else {
            // Indented code has no info string.
            if text.starts_with("    ") && is_blank {
                return Err(format!("line {line}: code stands in a fenced block"));
            }
            (was_commands, is_blank) = (was_commands && text.is_empty(), text.is_empty());
            continue;
        };
        let body: Vec<&str> =
            lines.by_ref().map(|(_, text)| text).take_while(|text| !text.starts_with("```")).collect();
        match info.split_once(' ').unwrap_or((info, "")) {
            ("sh" | "bash" | "shell" | "console", how) => {
                let how =
                    parse_how(how).ok_or(format!("line {line}: {info:?} does not say how it is held"))?;
                found.push(Block { line, how, script: body.join("\n"), prints: Vec::new() });
                was_commands = true;
            }
            ("text", _) if was_commands => {
                found.last_mut().ok_or("commands come first")?.prints = body;
                was_commands = false;
            }
            _ => was_commands = false,
        }
    }
    Ok(found)
}

fn parse_how(text: &str) -> Option<How<'_>> {
    match text.split_once(' ') {
        None if text == "run" => Some(How::Run),
        None if text == "cluster" => Some(How::Cluster),
        Some(("serve", address)) => Some(How::Serve(address)),
        Some(("not-run:", reason)) if !reason.trim().is_empty() => Some(How::NotRun(reason)),
        _ => None,
    }
}

/// The first of `expected` that `printed` does not have below those before it.
pub(crate) fn missing<'t>(expected: &[&'t str], printed: &str) -> Option<&'t str> {
    let mut rest = printed.lines();
    expected.iter().find(|line| !rest.any(|printed| matches(line, printed))).copied()
}

/// Whether a line is as a pattern says. Columns are as wide as their content, so blanks count as one.
fn matches(pattern: &str, line: &str) -> bool {
    let one_blank = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, line) = (one_blank(pattern), one_blank(line));
    let mut parts = pattern.split('…').map(str::trim);
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.is_empty() || pattern.ends_with('…')
}

#[test]
fn what_is_printed_is_compared_line_by_line_with_gaps_where_they_are_allowed() {
    let printed = "NAME   AGE  REASON\nweather  12s\ntampered 13s SignatureInvalid\n";
    assert_eq!(missing(&["NAME AGE REASON", "tampered … SignatureInvalid"], printed), None);
    assert_eq!(missing(&["weather …"], printed), None);
    assert_eq!(missing(&["tampered …", "weather …"], printed), Some("weather …"), "the order counts");
    assert_eq!(missing(&["NAME AGE"], printed), Some("NAME AGE"), "the whole line counts");
    assert_eq!(missing(&["weather … SignatureInvalid"], printed), Some("weather … SignatureInvalid"));
}

#[test]
fn a_block_of_commands_says_how_it_is_held() {
    let document =
        "```sh run\nls\n```\n\n```text\na\n```\nprose\n```text\nb\n```\n```sh not-run: why\nrm\n```\n";
    let found = blocks(document).unwrap();
    assert_eq!(
        found.iter().map(|block| (block.line, block.how)).collect::<Vec<_>>(),
        [(1, How::Run), (12, How::NotRun("why"))]
    );
    assert_eq!((found[0].prints.as_slice(), found[1].prints.len()), (&["a"][..], 0));
    for unmarked in
        ["```sh\nls\n```\n", "```sh ran\nls\n```\n", "```bash\nls\n```\n", "```sh not-run: \nls\n```\n"]
    {
        assert!(blocks(unmarked).is_err(), "{unmarked}");
    }
}
