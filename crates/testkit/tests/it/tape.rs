//! What `procession tail --json` gives.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// One line.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Line {
    Gap { gap: Gap },
    Record(Record),
}

/// A record, without what these tests don't look at.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Record {
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
    pub(crate) topic: String,
    pub(crate) payload: Value,
}

/// A range of offsets that can't be given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Gap {
    pub(crate) journal: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) reason: String,
}

/// A tail in a file.
#[derive(Debug)]
pub(crate) struct Tape {
    pub(crate) path: PathBuf,
}

impl Tape {
    pub(crate) fn lines(&self) -> Vec<Line> {
        read(&self.path)
    }

    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let gap = |line| if let Line::Gap { gap } = line { Some(gap) } else { None };
        self.lines().into_iter().filter_map(gap).collect()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let record = |line| if let Line::Record(record) = line { Some(record) } else { None };
        self.lines().into_iter().filter_map(record).collect()
    }

    /// Every offset from 0 on is in exactly one line, in order.
    #[track_caller]
    pub(crate) fn assert_contiguous(&self) {
        let mut next = 0;
        for line in self.lines() {
            let (from, to) = match &line {
                Line::Gap { gap } => (gap.from, gap.to),
                Line::Record(record) => (record.offset, record.offset + 1),
            };
            assert_eq!(from, next, "{} goes on with {line:?}", self.path.display());
            next = to;
        }
    }
}

fn read(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// The place of an operation in the chain: block, transaction and index.
pub(crate) fn place(payload: &Value) -> [u64; 3] {
    ["block", "trx_in_block", "op_in_trx"].map(|field| payload[field].as_u64().unwrap())
}
