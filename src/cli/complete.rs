//! Shell completions and manual pages, generated from the argument types.
//! `completions/` and `man/` hold the output; a test fails when they are out of date.

use super::exit::{Done, Unusable};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use countersign_io::files::write_file;
use std::path::PathBuf;

/// Print the completion script of a shell.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Write the manual pages into a directory.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// An existing directory.
    directory: PathBuf,
}

pub(super) fn completions(args: &CompletionsArgs) -> Done {
    let mut output = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "countersign", &mut output);
    Done::data(output)
}

pub(super) fn man(args: &ManArgs) -> Result<Done, Unusable> {
    for (name, page) in pages().map_err(Unusable::new)? {
        write_file(&args.directory.join(name), &page)?;
    }
    Ok(Done::text(""))
}

/// Renders the page of the program and one page for each command, and for each part of one.
fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = super::Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = vec![page("countersign", root.clone())?];
    for command in root.get_subcommands() {
        let name = format!("countersign-{}", command.get_name());
        for part in command.get_subcommands() {
            pages.push(page(&format!("{name}-{}", part.get_name()), part.clone())?);
        }
        pages.push(page(&name, command.clone())?);
    }
    Ok(pages)
}

fn page(name: &str, command: clap::Command) -> std::io::Result<(String, Vec<u8>)> {
    let mut text = Vec::new();
    Man::new(command).title(name).render(&mut text)?;
    Ok((format!("{name}.1"), text))
}
