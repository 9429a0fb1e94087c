//! The `squall` that is measured: the one beside us, if it is as new as its sources; else it is built first.
//!
//! Cargo's own list of what a program was made of (`squall.d`) says what its sources are. A build is told of with its command and
//! has a limit, for it can take longer than everything that is measured.
//! Invariant: what is measured was built from the sources as they are, in our own profile.

use super::{peer, startup::repository, tell};
use crate::error::{BenchError, Tried};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Bounds a build of the whole workspace.
const BUILD: Duration = Duration::from_secs(30 * 60);

/// The program at `given`, whatever its age, or the one beside us.
pub(super) fn squall(given: Option<&Path>) -> Result<PathBuf, BenchError> {
    if let Some(program) = given {
        let found = program.is_file().then(|| program.to_owned());
        return found.ok_or_else(|| BenchError::NoProgram(format!("{}, named by --squall", program.display())));
    }
    let us = std::env::current_exe().tried("find our own executable")?;
    let directory = us.parent().unwrap_or(Path::new("."));
    let program = directory.join("squall");
    if is_fresh(&program) {
        tell(&format!("measuring {}", program.display()));
        return Ok(program);
    }
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    // With all members, so that dependencies have the features with which `cargo build --workspace` builds them: with `-p` all
    // of them would be built once more.
    let arguments = ["build", "--workspace", "--bin", "squall", "--profile", profile];
    let shown = format!("cargo {}", arguments.join(" "));
    tell(&format!("{} is missing or older than its sources: {shown}, which can take minutes", program.display()));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(repository()?);
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    peer::output("cargo", &mut command, BUILD)?;
    if program.is_file() {
        Ok(program)
    } else {
        Err(BenchError::NoProgram(format!("{}, by {shown}", program.display())))
    }
}

fn is_fresh(program: &Path) -> bool {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|known| known.modified()).ok();
    let (Some(built), Ok(list)) = (changed(program), std::fs::read_to_string(program.with_extension("d"))) else {
        return false;
    };
    sources(&list).iter().all(|source| changed(source).is_some_and(|time| time <= built))
}

/// The paths in Cargo's list, in which a space within a path has a backslash.
fn sources(list: &str) -> Vec<PathBuf> {
    let (_, sources) = list.split_once(": ").unwrap_or_default();
    let apart = sources.trim().replace("\\ ", "\0");
    apart.split(' ').filter(|path| !path.is_empty()).map(|path| PathBuf::from(path.replace('\0', " "))).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_fresh, sources};
    use std::path::PathBuf;

    #[test]
    fn sources_are_read_from_cargos_list() {
        let list = "/t/squall: /w/a.rs /w/with\\ space/b.rs /w/c.sql\n";
        assert_eq!(sources(list), ["/w/a.rs", "/w/with space/b.rs", "/w/c.sql"].map(PathBuf::from));
    }

    #[test]
    fn a_program_is_fresh_while_no_source_is_newer_or_gone() {
        let directory = tempfile::tempdir().unwrap();
        let [source, program, list] = ["a.rs", "squall", "squall.d"].map(|name| directory.path().join(name));
        assert!(!is_fresh(&program), "there is none");
        std::fs::write(&source, "").unwrap();
        std::fs::write(&program, "").unwrap();
        std::fs::write(&list, format!("{}: {}\n", program.display(), source.display())).unwrap();
        assert!(is_fresh(&program));
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        std::fs::File::options().write(true).open(&source).unwrap().set_modified(later).unwrap();
        assert!(!is_fresh(&program));
        std::fs::remove_file(&source).unwrap();
        assert!(!is_fresh(&program));
    }
}
