//! A model's state in a file, so that a restart need not read all of its inputs again. The journals hold
//! everything that it does, for as long as their publishers keep what is final.
//!
//! Lines of JSON: a header, one line for each key, one for each conclusion that is not final, and a hash of all before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Epoch, Marks, Offset, Position, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::fold::Fold;
use super::hash::Hash;
use super::model::Model;
use super::order::Derivation;
use super::recall::{Recall, Recalled};
use super::time::EventTime;
use crate::files::SNAPSHOT;
use crate::letters::Letter;

const FORMAT: u32 = 1;

/// What a snapshot says beside the states.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    model: String,
    /// Nothing before it changes any more.
    pub(super) settled: EventTime,
    /// Offset in the own journal: what follows is not in here.
    pub(super) own: u64,
    /// The own journal's identity; unknown in snapshots of older programs.
    #[serde(default)]
    own_journal: Option<String>,
    /// Dead letters whose events were delivered once more and are not in the states yet, by their offset in the own
    /// journal.
    #[serde(default)]
    pub(super) retried: Vec<u64>,
    /// The same letters, as far as they were there: the own journal may drop them.
    #[serde(default)]
    pub(super) letters: Vec<KeptLetter>,
    /// What is to be read again of each journal that is heard.
    pub(super) journals: BTreeMap<String, Heeded>,
    keys: usize,
    conclusions: usize,
}

/// What was heard of a journal, and how far that is in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heeded {
    /// Nothing before it is needed again.
    pub(super) from: u64,
    /// Everything before it was dealt with.
    pub(super) low: u64,
    /// Epoch and checksum of the record before `low`, and the journal's identity, as a [`Position`] has them; 0 in
    /// snapshots of older programs.
    #[serde(default)]
    pub(super) last: (u32, u32, u64),
    /// Inputs that are not in the states yet; what else lies before `low` is, or was not taken into account.
    pub(super) inputs: Vec<u64>,
    /// It will not say anything earlier.
    pub(super) bound: EventTime,
    /// If it is a model: it will not change anything earlier.
    pub(super) settled: Option<EventTime>,
}

impl Heeded {
    /// How far it was dealt with.
    pub(super) const fn position(&self) -> Position {
        let (epoch, checksum, journal) = self.last;
        Position { next: Offset(self.low), epoch: Epoch(epoch), checksum, journal }
    }

    /// Whether all that was heard of the journal, up to there, is in the states.
    pub(super) fn holds_all(&self, heard: Position) -> bool {
        self.inputs.is_empty() && self.low >= heard.next.0 && self.last.2 == heard.journal
    }
}

/// What is needed again, beside the states.
#[derive(Debug)]
pub(super) struct Needed {
    pub(super) journals: BTreeMap<String, Heeded>,
    pub(super) retried: Vec<u64>,
    pub(super) letters: Vec<KeptLetter>,
}

/// A dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptLetter {
    at: u64,
    time: u64,
    /// In base64.
    key: Option<String>,
    letter: Box<RawValue>,
}

impl KeptLetter {
    pub(super) fn of(letter: &Letter) -> Option<Self> {
        let Letter { at, time, key, letter } = letter;
        let key = key.as_ref().map(|key| STANDARD.encode(key));
        Some(Self { at: at.0, time: time.0, key, letter: to_raw_value(letter).ok()? })
    }

    pub(super) fn to_letter(&self) -> Option<Letter> {
        let key = match &self.key {
            Some(key) => Some(STANDARD.decode(key).ok()?.into()),
            None => None,
        };
        let letter = serde_json::from_str(self.letter.get()).ok()?;
        Some(Letter { at: Offset(self.at), time: Time(self.time), key, letter })
    }
}

impl Header {
    /// Whether it tells of this journal, which ends there.
    pub(super) fn is_of(&self, own: &Marks) -> bool {
        self.own <= own.committed.0
            && self.own_journal.as_ref().is_none_or(|journal| *journal == own.journal.to_string())
    }
}

/// A snapshot that was read.
#[derive(Debug)]
pub(super) struct Snapshot<M> {
    pub(super) header: Header,
    pub(super) bases: Vec<(Vec<u8>, M)>,
    pub(super) recall: Recall,
}

/// Where an instance keeps it.
pub(super) fn path(instance: &Path, model: &str) -> PathBuf {
    SNAPSHOT.path(instance, &[model])
}

/// Writes a snapshot into the instance's folder, and returns when it is safe from power loss.
///
/// # Errors
/// I/O errors.
pub(super) fn write<M: Model>(
    instance: &Path,
    model: &str,
    fold: &Fold<M>,
    own: &Marks,
    needed: Needed,
) -> io::Result<()> {
    let mut text = Vec::new();
    let ledger: Vec<_> = fold.ledger().collect();
    let (Needed { journals, retried, letters }, conclusions) = (needed, ledger.len());
    let (path, new) = (path(instance, model), SNAPSHOT.unfinished_path(instance, &[model]));
    let (model, settled, keys) = (model.to_owned(), fold.settled(), fold.bases().count());
    let (own, own_journal) = (own.committed.0, Some(own.journal.to_string()));
    let format = FORMAT;
    let header =
        Header { format, model, settled, own, own_journal, retried, letters, journals, keys, conclusions };
    line(&mut text, &header)?;
    for (key, base) in fold.bases() {
        line(&mut text, &(STANDARD.encode(key), base))?;
    }
    for conclusion in &ledger {
        line(&mut text, conclusion)?;
    }
    let sum = Derivation(Hash::new().bytes(&text).value());
    line(&mut text, &sum)?;
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(instance)?.sync_all()
}

fn line<T: Serialize>(text: &mut Vec<u8>, value: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *text, value)?;
    text.push(b'\n');
    Ok(())
}

/// Reads a snapshot; `None` if there is none.
///
/// # Errors
/// In words: it cannot be read, or is not what was written.
pub(super) fn read<M: Model>(path: &Path, model: &str) -> Result<Option<Snapshot<M>>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut lines = Lines { file: BufReader::new(file), line: Vec::new(), sum: Vec::new() };
    let header: Header = lines.next()?;
    if header.format != FORMAT || header.model != model {
        return Err(format!("it is of format {} and model {:?}", header.format, header.model));
    }
    let mut bases = Vec::new();
    for _ in 0..header.keys {
        let (key, base): (String, M) = lines.next()?;
        bases.push((STANDARD.decode(key).map_err(|error| error.to_string())?, base));
    }
    let mut recall = Recall::default();
    for _ in 0..header.conclusions {
        let (id, recalled): (Derivation, Recalled) = lines.next()?;
        recall.insert(id, recalled);
    }
    let expected = Derivation(Hash::new().bytes(&lines.sum).value());
    if lines.next::<Derivation>()? != expected {
        return Err("it was changed since it was written".to_owned());
    }
    Ok(Some(Snapshot { header, bases, recall }))
}

struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    /// All lines so far.
    sum: Vec<u8>,
}

impl Lines {
    fn next<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        self.line.clear();
        self.file.read_until(b'\n', &mut self.line).map_err(|error| error.to_string())?;
        self.sum.extend_from_slice(&self.line);
        serde_json::from_slice(&self.line).map_err(|error| error.to_string())
    }
}
