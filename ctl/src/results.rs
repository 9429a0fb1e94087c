//! Files that results are written to.
//!
//! Invariant: where results go is known to be writable before anything is run for them.

use crate::exit::Failure;
use std::path::Path;

/// Proves that a file can be written, making its directory, and leaves it as it is.
pub fn writable(path: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("failed to open {} for results: {e}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let was_there = path.exists();
    std::fs::File::options().create(true).append(true).open(path).map_err(failed)?;
    if !was_there {
        // An empty file would be no results at all.
        std::fs::remove_file(path).map_err(failed)?;
    }
    Ok(())
}

/// Writes a file of results.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::failed(format!("failed to write {}: {e}", path.display())))
}
