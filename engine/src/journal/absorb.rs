//! What waited for a journal that was away when its run ended, or died: brought in by the next one who opens it.
//!
//! Neighbours: `spool` is the file; `squall run` and `squall recover` call this before anything else.
//! Invariant: a spool is removed only when the journal has all of it; one of a run that lives is left to that.

use super::{Journal, JournalError, entry::Written, lane::unread, spool::Spool};
use std::path::PathBuf;

/// A spool that was found.
#[derive(Debug)]
pub struct Absorbed {
    /// Its run.
    pub run: String,
    /// Its file.
    pub path: PathBuf,
    /// Events that the journal has now.
    pub events: u64,
    /// Samples that the journal has now.
    pub samples: u64,
}

impl Journal {
    /// Brings in what waits for this journal in its directory of spools: for each what came of it. One that cannot be
    /// brought in stays where it is.
    pub async fn absorb(&self) -> Vec<Result<Absorbed, JournalError>> {
        let Some(choice) = &self.spool else { return Vec::new() };
        let identity = self.place().identity();
        let mut found = Vec::new();
        for path in Spool::all(choice) {
            match Spool::left(&path, choice) {
                Ok(Some((spool, header))) if header.journal == identity => {
                    found.push(self.bring_in(spool, header.run).await);
                }
                // Another journal's, or that of a run that lives.
                Ok(_) => {}
                Err(error) => found.push(Err(unread(&path, &error))),
            }
        }
        found
    }

    async fn bring_in(&self, mut spool: Spool, run: String) -> Result<Absorbed, JournalError> {
        let mut written = Written::default();
        while !spool.is_done() {
            let (entries, up_to) = spool.next().map_err(|error| unread(&spool.path, &error))?;
            let refused = |source| JournalError::Write {
                what: "what waited in a spool",
                place: self.place().to_string(),
                source,
            };
            written.add(&self.store(&run, &entries).await.map_err(refused)?);
            spool.done = up_to;
        }
        let path = spool.path.clone();
        spool.remove().map_err(|error| unread(&path, &error))?;
        Ok(Absorbed { run, path, events: written.events, samples: written.samples })
    }
}
