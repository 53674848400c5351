//! A recording: NDJSON, plain or gzip, one block a line, in `block_api` form or in the condenser's, or
//! with the operations alone (`transactions` and `timestamp` are the only fields a line must have).
//!
//! Played as one chain, its blocks are numbered from 1 in file order, and number, `previous` and
//! `block_id` are rewritten to fit; served as recorded, it has its own numbers, and holes.
//! Transactions, their operations and their ids are kept in both. What a line lacks is made up:
//!
//! - `block_id`: the number, then 32 hex digits from a digest of the line and its place in the file;
//! - a transaction's id, where neither the block's `transaction_ids` nor the transaction says it: 40
//!   hex digits from a digest of the transaction's text and its place, so the same file always gives
//!   the same ids (a real one is a hash of the chain's binary form, which a recording doesn't have);
//! - the rest of the header: a witness `unknown`, a signature of zeros, no extensions, and a merkle
//!   root that is zero only where there are no transactions.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::block::{self, Transaction, ZERO_ID};
use crate::draw::{self, Draw};
use crate::json::{self, Fields, Raw, Shape};

/// The blocks of one file, as text: a block is parsed again each time it is served.
#[derive(Debug)]
pub(crate) struct Recording {
    entries: Vec<Entry>,
    as_recorded: bool,
    digest: u64,
}

#[derive(Debug)]
struct Entry {
    line: Box<str>,
    /// The recorded number; 0 where it isn't told and isn't needed.
    number: u32,
    /// What follows the number in the block's id.
    tail: u128,
}

/// What a line holds, apart from its links.
pub(crate) struct Recorded {
    pub(crate) header: Fields,
    pub(crate) transactions: Vec<Transaction>,
    /// The recorded id of the block before.
    pub(crate) previous: Option<String>,
}

impl Recording {
    pub(crate) fn open(path: &Path, as_recorded: bool) -> Result<Self> {
        let named = || format!("recording {}", path.display());
        let mut file = BufReader::new(File::open(path).with_context(named)?);
        let gzip = file.fill_buf().with_context(named)?.starts_with(&[0x1f, 0x8b]);
        if gzip {
            Self::read(BufReader::new(flate2::bufread::MultiGzDecoder::new(file)), as_recorded)
        } else {
            Self::read(file, as_recorded)
        }
        .with_context(named)
    }

    fn read(input: impl BufRead, as_recorded: bool) -> Result<Self> {
        let mut entries = Vec::new();
        let mut digest = 0;
        for (index, line) in input.lines().enumerate() {
            let line = line.with_context(|| format!("line {}", index + 1))?;
            if line.trim().is_empty() {
                continue;
            }
            digest = draw::mix(digest ^ draw::digest(line.as_bytes()));
            let entry =
                Entry::new(line, index, as_recorded).with_context(|| format!("line {}", index + 1))?;
            entries.push(entry);
        }
        ensure!(!entries.is_empty(), "there are no blocks in it");
        ensure!(u32::try_from(entries.len()).is_ok(), "there are more blocks in it than a chain can number");
        if as_recorded {
            entries.sort_by_key(|entry| entry.number);
            if let Some(twice) = entries.windows(2).find(|pair| pair[0].number == pair[1].number) {
                bail!("block {} is in it twice; without as-recorded that doesn't matter", twice[0].number);
            }
        }
        Ok(Self { entries, as_recorded, digest })
    }

    pub(crate) fn length(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("checked when it was read")
    }

    /// Stands for the file's content and for the way it is numbered.
    pub(crate) fn digest(&self) -> u64 {
        draw::mix(self.digest ^ u64::from(self.as_recorded))
    }

    pub(crate) fn as_recorded(&self) -> bool {
        self.as_recorded
    }

    pub(crate) fn number(&self, position: u32) -> u32 {
        if self.as_recorded { self.entry(position).number } else { position }
    }

    /// Where the newest block not above this number is; 0 if there is none.
    pub(crate) fn position_up_to(&self, number: u32) -> u32 {
        if !self.as_recorded {
            return number.min(self.length());
        }
        let count = self.entries.partition_point(|entry| entry.number <= number);
        u32::try_from(count).expect("no more than there are entries")
    }

    pub(crate) fn tail(&self, position: u32) -> u128 {
        self.entry(position).tail
    }

    pub(crate) fn block(&self, position: u32) -> Recorded {
        let entry = self.entry(position);
        recorded(&entry.line, entry.tail).expect("the line was checked when the recording was read")
    }

    fn entry(&self, position: u32) -> &Entry {
        &self.entries[position as usize - 1]
    }
}

impl Entry {
    fn new(line: String, index: usize, as_recorded: bool) -> Result<Self> {
        let fields = Fields::parse(&line).context("it is not a JSON object")?;
        let tail = match fields.text("block_id").as_deref().and_then(block::id_tail) {
            Some(tail) => tail,
            None => draw::tail(draw::digest(line.as_bytes()), index as u64),
        };
        recorded(&line, tail)?;
        let number = match number(&fields) {
            Some(number) => number,
            None if as_recorded => bail!("neither block_num nor block_id nor previous tells its number"),
            None => 0,
        };
        Ok(Self { line: line.into(), number, tail })
    }
}

/// `block_num`, else what the ids say.
fn number(fields: &Fields) -> Option<u32> {
    let from_id = |key| {
        let id: String = fields.text(key).filter(|id| block::id_tail(id).is_some())?;
        u32::from_str_radix(&id[..8], 16).ok()
    };
    (fields.number("block_num"))
        .or_else(|| from_id("block_id"))
        .or_else(|| from_id("previous")?.checked_add(1))
        .filter(|number| *number > 0)
}

fn recorded(line: &str, tail: u128) -> Result<Recorded> {
    let mut header = Fields::parse(line).context("it is not a JSON object")?;
    let transactions = header.remove("transactions").context("it has no transactions")?;
    let transactions = json::items(&transactions).context("transactions is not a list")?;
    let ids = match header.remove("transaction_ids") {
        Some(ids) => serde_json::from_str(ids.get()).context("transaction_ids is not a list of strings")?,
        None => Vec::new(),
    };
    ensure!(header.text("timestamp").is_some(), "it has no timestamp");
    ensure!(
        ids.is_empty() || ids.len() == transactions.len(),
        "it has {} transactions and {} transaction ids",
        transactions.len(),
        ids.len()
    );
    let previous = header.remove("previous").and_then(|id| json::text(&id));
    for key in ["block_num", "block_id", "partial"] {
        header.remove(key);
    }
    complete(&mut header, tail, transactions.is_empty());
    let transactions = (transactions.iter().enumerate())
        .map(|(index, text)| {
            transaction(text, ids.get(index), tail, index).with_context(|| format!("transaction {index}"))
        })
        .collect::<Result<_>>()?;
    Ok(Recorded { header, transactions, previous })
}

fn complete(header: &mut Fields, tail: u128, empty: bool) {
    header.set_if_absent("witness", || json::raw("unknown"));
    header.set_if_absent("transaction_merkle_root", || json::raw(&merkle_root(tail, empty)));
    header.set_if_absent("extensions", || json::raw(&[(); 0]));
    header.set_if_absent("witness_signature", || json::raw(&"0".repeat(130)));
}

/// A merkle root that is zero where there are no transactions, and never otherwise.
pub(crate) fn merkle_root(tail: u128, empty: bool) -> String {
    if empty { ZERO_ID.to_owned() } else { format!("ff{tail:032x}ffffff") }
}

fn transaction(text: &Raw, id: Option<&String>, tail: u128, index: usize) -> Result<Transaction> {
    let fields = Fields::parse(text.get()).context("it is not a JSON object")?;
    let operations =
        fields.get("operations").and_then(json::items).context("it has no list of operations")?;
    let is_operation = |op: &Raw| matches!(json::shape(op), Shape::Object | Shape::Array);
    ensure!(operations.iter().all(is_operation), "an operation is neither an object nor a pair");
    let id = id.cloned().or_else(|| fields.text("transaction_id")).unwrap_or_else(|| {
        let keys = [draw::digest(text.get().as_bytes()), draw::digest(&tail.to_be_bytes()), index as u64];
        Draw::keyed(&keys).hex(40)
    });
    Ok(Transaction { id, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, as_recorded: bool) -> Result<Recording> {
        Recording::read(text.as_bytes(), as_recorded)
    }

    fn error(text: &str, as_recorded: bool) -> String {
        format!("{:#}", read(text, as_recorded).unwrap_err())
    }

    const EMPTY: &str = r#"{"timestamp":"2016-03-24T16:05:00","transactions":[]}"#;

    #[test]
    fn bad_lines_are_named() {
        assert_eq!(error("", false), "there are no blocks in it");
        assert!(error("{\n", false).starts_with("line 1: it is not a JSON object: "));
        assert!(error(&format!("{EMPTY}\n[]\n"), false).starts_with("line 2: it is not a JSON object"));
        assert_eq!(error(r#"{"timestamp":"x"}"#, false), "line 1: it has no transactions");
        assert_eq!(error(r#"{"transactions":[]}"#, false), "line 1: it has no timestamp");
        assert_eq!(
            error(
                r#"{"timestamp":"x","transactions":[{"operations":[]}],"transaction_ids":["a","b"]}"#,
                false
            ),
            "line 1: it has 1 transactions and 2 transaction ids"
        );
        assert_eq!(
            error(r#"{"timestamp":"x","transactions":[{"operations":["vote"]}]}"#, false),
            "line 1: transaction 0: an operation is neither an object nor a pair"
        );
    }

    #[test]
    fn recorded_numbers_must_be_known_and_unique() {
        assert!(error(EMPTY, true).contains("tells its number"));
        let twice = r#"{"block_num":7,"timestamp":"x","transactions":[]}"#;
        assert!(error(&format!("{twice}\n{twice}\n"), true).starts_with("block 7 is in it twice"));
        assert_eq!(read(&format!("{twice}\n\n{twice}\n"), false).unwrap().length(), 2);
    }

    #[test]
    fn numbers_come_from_wherever_they_are() {
        let lines = [
            r#"{"previous":"0000000800000000000000000000000000000000","timestamp":"x","transactions":[]}"#,
            r#"{"block_id":"0000000500000000000000000000000000000000","timestamp":"x","transactions":[]}"#,
            r#"{"block_num":7,"timestamp":"x","transactions":[]}"#,
        ];
        let recording = read(&lines.join("\n"), true).unwrap();
        assert_eq!((1..=3).map(|p| recording.number(p)).collect::<Vec<_>>(), [5, 7, 9]);
        assert_eq!([4, 5, 6, 9, 99].map(|n| recording.position_up_to(n)), [0, 1, 1, 3, 3]);
    }

    #[test]
    fn missing_ids_are_made_up_and_stay_the_same() {
        let line =
            r#"{"timestamp":"x","transactions":[{"operations":[["vote",{}]]},{"operations":[["vote",{}]]}]}"#;
        let text = format!("{line}\n{line}\n");
        let ids = |recording: &Recording| -> Vec<String> {
            (1..=2).flat_map(|p| recording.block(p).transactions).map(|t| t.id).collect()
        };
        let first = ids(&read(&text, false).unwrap());
        assert_eq!(first, ids(&read(&text, false).unwrap()));
        let mut unique = first.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 4);
        assert!(first.iter().all(|id| id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
