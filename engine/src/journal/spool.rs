//! Where entries wait for a journal that is away: one file a run, read back by this process or a later one.
//!
//! ```text
//! 8f2c01aa {"squall_spool":1,"journal":"postgres://db:5432/squall","run":"0197…","made":"2026-…Z"}
//! 12ab34cd {"event":{"seq":14,"at_us":8123456,"kind":"intent","body":"{…}"}}
//! 77ef0a10 {"samples":{"series":"traffic.browse","first":4211,"rows":[[8123001,1893,true,200,null,null],…]}}
//! ```
//!
//! Each line is its CRC-32 (ISO-HDLC, in hexadecimal), a space, JSON, a newline. What a crash left of the last line does not
//! match and is not read. Neighbours: `lane` fills and empties it, `absorb` reads what dead runs have left.
//! Invariants: an event or an end is on disk (fdatasync) when `append` returns, samples are with the next of those. A
//! file is locked as long as its run lives. Samples never take the room that is kept for events.

use super::entry::Entry;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, TryLockError},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The format of the file.
const FORMAT: u32 = 1;

/// Files in a directory for spools that are spools.
const EXTENSION: &str = "spool";

/// So much is read at a time, and written to the journal in one transaction.
const BATCH: u64 = 1 << 20;

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Where spools are, and how large one may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolChoice {
    /// The directory; made when the first is needed.
    pub directory: PathBuf,
    /// A spool takes so many bytes at most; a sixteenth of it is kept for events.
    pub capacity: u64,
}

impl SpoolChoice {
    /// How large a spool may get: 256 MiB are some three million samples.
    pub const CAPACITY: u64 = 256 << 20;

    /// Spools in this directory, of the usual size.
    #[must_use]
    pub const fn within(directory: PathBuf) -> Self {
        Self { directory, capacity: Self::CAPACITY }
    }

    /// A spool without samples may get this large.
    const fn for_samples(&self) -> u64 {
        self.capacity - self.capacity / 16
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    squall_spool: u32,
    /// Whose entries wait: [`super::JournalPlace::identity`].
    pub journal: String,
    /// The run.
    pub run: String,
    made: String,
}

/// A spool that this process holds.
#[derive(Debug)]
pub(super) struct Spool {
    /// Its file.
    pub path: PathBuf,
    file: Arc<File>,
    len: u64,
    /// Up to here the journal has it.
    pub done: u64,
    choice: SpoolChoice,
}

impl Spool {
    /// Makes the file for a run.
    pub(super) async fn create(choice: &SpoolChoice, journal: String, run: &str) -> io::Result<Self> {
        std::fs::create_dir_all(&choice.directory)?;
        let path = choice.directory.join(format!("{run}.{EXTENSION}"));
        let file = options().create_new(true).open(&path)?;
        lock(&file)?;
        // The name must survive as well.
        File::open(&choice.directory)?.sync_all()?;
        let mut spool = Self { path, file: Arc::new(file), len: 0, done: 0, choice: choice.clone() };
        let header =
            Header { squall_spool: FORMAT, journal, run: run.to_owned(), made: jiff::Timestamp::now().to_string() };
        spool.write(line(&header)?, true).await?;
        spool.done = spool.len;
        Ok(spool)
    }

    /// Opens what a process has left; none when that process lives.
    pub(super) fn left(path: &Path, choice: &SpoolChoice) -> io::Result<Option<(Self, Header)>> {
        let file = options().open(path)?;
        if lock(&file).is_err() {
            return Ok(None);
        }
        let mut first = String::new();
        BufReader::new(&file).read_line(&mut first)?;
        let header: Header = parse(&first).ok_or_else(|| invalid("it does not begin as a spool of squall's does"))?;
        if header.squall_spool != FORMAT {
            return Err(invalid("it was written by another version of squall"));
        }
        let (len, done) = (file.metadata()?.len(), first.len() as u64);
        Ok(Some((Self { path: path.to_owned(), file: Arc::new(file), len, done, choice: choice.clone() }, header)))
    }

    /// Every spool in the directory.
    pub(super) fn all(choice: &SpoolChoice) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&choice.directory) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut spools: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == EXTENSION)).collect();
        spools.sort();
        spools
    }

    /// Keeps an entry; false when there is no room for it, which never is so for an event while there is room for any.
    pub(super) async fn append(&mut self, entry: &Entry) -> io::Result<bool> {
        let bytes = line(entry)?;
        let is_samples = matches!(entry, Entry::Samples { .. });
        let limit = if is_samples { self.choice.for_samples() } else { self.choice.capacity };
        if self.len + bytes.len() as u64 > limit {
            return if is_samples { Ok(false) } else { Err(invalid("it is full")) };
        }
        self.write(bytes, !is_samples).await.map(|()| true)
    }

    async fn write(&mut self, bytes: Vec<u8>, durably: bool) -> io::Result<()> {
        let (file, before, length) = (Arc::clone(&self.file), self.len, bytes.len() as u64);
        let written = tokio::task::spawn_blocking(move || {
            let written = (&*file).write_all(&bytes).and_then(|()| if durably { file.sync_data() } else { Ok(()) });
            // What was half written would hide what comes after it.
            if written.is_err() { file.set_len(before).and(written) } else { written }
        });
        written.await.map_err(io::Error::other)??;
        self.len += length;
        Ok(())
    }

    /// What comes next, and up to where that goes; nothing when all is done.
    pub(super) fn next(&self) -> io::Result<(Vec<Entry>, u64)> {
        let mut reader = BufReader::new(File::open(&self.path)?);
        reader.seek(SeekFrom::Start(self.done))?;
        let (mut entries, mut at, mut text) = (Vec::new(), self.done, Vec::new());
        while at < self.len && at - self.done < BATCH {
            text.clear();
            let length = reader.read_until(b'\n', &mut text)? as u64;
            match std::str::from_utf8(&text).ok().and_then(parse) {
                Some(entry) => entries.push(entry),
                // The last line, cut off by a crash; one in the middle must not be passed over in silence.
                None if at + length >= self.len => return Ok((entries, self.len)),
                None => return Err(invalid(&format!("its line at byte {at} is damaged"))),
            }
            at += length;
        }
        Ok((entries, at))
    }

    /// Whether the journal has everything.
    pub(super) const fn is_done(&self) -> bool {
        self.done >= self.len
    }

    /// Takes the file away.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

fn options() -> std::fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    // What was measured is its owner's affair.
    options.read(true).append(true).mode(0o600);
    options
}

fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(value)?;
    Ok(format!("{:08x} {json}\n", CRC.checksum(json.as_bytes())).into_bytes())
}

fn parse<T: serde::de::DeserializeOwned>(line: &str) -> Option<T> {
    let (sum, json) = line.strip_suffix('\n')?.split_once(' ')?;
    (u32::from_str_radix(sum, 16).ok()? == CRC.checksum(json.as_bytes())).then_some(())?;
    serde_json::from_str(json).ok()
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Entry, Spool, SpoolChoice};
    use std::io::Write as _;

    fn event(seq: i64) -> Entry {
        Entry::Event { seq, at_us: seq * 10, kind: "note".into(), body: "{}".into() }
    }

    fn samples(first: i64) -> Entry {
        Entry::Samples { series: "probe".into(), first, rows: vec![(1, 2, true, Some(200), Some(0.1), None); 20] }
    }

    #[tokio::test]
    async fn what_was_kept_is_read_back_by_the_next_process_without_the_torn_last_line() {
        let directory = tempfile::tempdir().unwrap();
        let choice = SpoolChoice::within(directory.path().join("spool"));
        let mut spool = Spool::create(&choice, "here".into(), "one").await.unwrap();
        for entry in [event(1), samples(1), event(2)] {
            assert!(spool.append(&entry).await.unwrap());
        }
        let path = spool.path.clone();
        assert_eq!(Spool::all(&choice), std::slice::from_ref(&path));
        assert!(Spool::left(&path, &choice).unwrap().is_none(), "its process lives");
        drop(spool);
        std::fs::File::options().append(true).open(&path).unwrap().write_all(b"12345678 {\"event\":{\"se").unwrap();
        let (mut left, header) = Spool::left(&path, &choice).unwrap().unwrap();
        assert_eq!((&*header.journal, &*header.run), ("here", "one"));
        let (entries, up_to) = left.next().unwrap();
        assert_eq!(entries, [event(1), samples(1), event(2)]);
        left.done = up_to;
        assert!(left.is_done());
        left.remove().unwrap();
        assert!(Spool::all(&choice).is_empty());
    }

    #[tokio::test]
    async fn a_damaged_line_in_the_middle_is_not_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let choice = SpoolChoice::within(directory.path().into());
        let mut spool = Spool::create(&choice, "here".into(), "one").await.unwrap();
        for seq in 1..=3 {
            spool.append(&event(seq)).await.unwrap();
        }
        let text = std::fs::read_to_string(&spool.path).unwrap().replace("\"seq\":2", "\"seq\":9");
        std::fs::write(&spool.path, text).unwrap();
        assert!(spool.next().unwrap_err().to_string().contains("damaged"));
    }

    #[tokio::test]
    async fn samples_never_take_the_room_that_is_kept_for_events() {
        let directory = tempfile::tempdir().unwrap();
        let choice = SpoolChoice { directory: directory.path().into(), capacity: 64 << 10 };
        let mut spool = Spool::create(&choice, "here".into(), "one").await.unwrap();
        let mut first = 1;
        while spool.append(&samples(first)).await.unwrap() {
            first += 20;
        }
        for seq in 1..=20 {
            assert!(spool.append(&event(seq)).await.unwrap(), "event {seq}");
        }
        let mut seq = 21;
        let full = loop {
            match spool.append(&event(seq)).await {
                Ok(_) => seq += 1,
                Err(full) => break full,
            }
        };
        assert_eq!(full.to_string(), "it is full");
        assert!(std::fs::metadata(&spool.path).unwrap().len() <= choice.capacity);
        let mut kept = 0;
        while !spool.is_done() {
            let (entries, up_to) = spool.next().unwrap();
            kept += entries.iter().filter(|entry| matches!(entry, Entry::Event { .. })).count();
            spool.done = up_to;
        }
        assert_eq!(kept, usize::try_from(seq - 1).unwrap());
    }
}
