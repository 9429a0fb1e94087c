//! Tells the program which commit it is built from: `SQUALL_COMMIT` where that is set, else what git says.
//!
//! Only release builds ask git: each commit would rebuild everything that depends on the agent.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-env-changed=SQUALL_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("SQUALL_COMMIT").is_some() || env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    let Some(package) = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from) else { return };
    if let Some(commit) = commit_of(&package) {
        println!("cargo::rustc-env=SQUALL_COMMIT={commit}");
    }
}

/// The commit of the checkout that this package is in; none when it was copied into somebody else's.
fn commit_of(package: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(package).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != package.parent()?.canonicalize().ok()? {
        return None;
    }
    // It is written to at each commit and checkout.
    println!("cargo::rerun-if-changed={}", package.join(git(&["rev-parse", "--git-path", "logs/HEAD"])?).display());
    git(&["rev-parse", "HEAD"])
}
