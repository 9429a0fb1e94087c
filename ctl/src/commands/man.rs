//! `squall man`: manual pages, made from the same types as the help.

use super::Outcome;
use crate::{
    cli::{Cli, Man as Args},
    exit::Failure,
    output,
};
use clap::{Command, CommandFactory as _};
use std::path::Path;

/// The page of one command on stdout, or every page into a directory.
pub fn man(args: &Args) -> Outcome {
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    match &args.directory {
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .map_err(|e| Failure::failed(format!("failed to make the directory {}: {e}", directory.display())))?;
            let count = pages(&whole, &[], directory)?;
            output::progress(&format!("{count} pages in {}", directory.display()));
        }
        None => {
            let page = page(&named(&whole, &args.command)?, &args.command)?;
            output::result(String::from_utf8_lossy(&page).trim_end());
        }
    }
    Ok(0)
}

/// The command with this path: none is `squall` itself.
fn named(whole: &Command, path: &[String]) -> Result<Command, Failure> {
    let mut command = whole;
    for word in path {
        let known: Vec<&str> = visible(command).map(Command::get_name).collect();
        command = command.find_subcommand(word).ok_or_else(|| {
            Failure::usage(format!("there is no command `{}`: use one of {}", path.join(" "), known.join(", ")))
        })?;
    }
    Ok(command.clone())
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// Writes the page of this command and those of all under it: `squall-fault-set.1`.
fn pages(command: &Command, path: &[String], directory: &Path) -> Result<usize, Failure> {
    let file = directory.join(format!("{}.1", title(path)));
    std::fs::write(&file, page(command, path)?)
        .map_err(|e| Failure::failed(format!("failed to write {}: {e}", file.display())))?;
    let mut count = 1;
    for sub in visible(command) {
        let path = [path, &[sub.get_name().to_owned()]].concat();
        count += pages(sub, &path, directory)?;
    }
    Ok(count)
}

fn page(command: &Command, path: &[String]) -> Result<Vec<u8>, Failure> {
    // Built, it has its whole name: each subcommand has a page of its own.
    let command = command.clone();
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command)
        .title(title(path).to_uppercase())
        .source(concat!("squall ", env!("CARGO_PKG_VERSION")));
    man.render(&mut page).map_err(|e| Failure::failed(format!("failed to write the manual: {e}")))?;
    Ok(page)
}

fn title(path: &[String]) -> String {
    std::iter::once("squall").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("-")
}
