//! Records and marks, as the description of the format lays them out.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::crc::crc;
use super::follow::Trouble;

const RECORD_HEADER: usize = 48;

#[derive(PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) offset: u64,
    pub(crate) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) cause: Option<(String, u64)>,
    pub(crate) payload: Vec<u8>,
    pub(super) checksum: u32,
}

/// Keys and payloads of the chain are text.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { offset, topic, key, cause, payload, checksum: _ } = self;
        let key = key.as_deref().map(String::from_utf8_lossy);
        let payload = String::from_utf8_lossy(payload);
        write!(f, "{{{topic} {offset}, key {key:?}, cause {cause:?}, payload {payload}}}")
    }
}

/// How far a subscription has read a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) next: u64,
    pub(super) epoch: u32,
    pub(super) checksum: u32,
    pub(super) identity: u64,
    pub(super) subscription: String,
    pub(super) journal: String,
}

/// A record's fields, as they are in the file.
#[derive(Debug)]
pub(super) struct Raw<'a> {
    pub(super) length: usize,
    pub(super) checksum: u32,
    pub(super) offset: u64,
    pub(super) time: u64,
    pub(super) cause: u64,
    pub(super) epoch: u32,
    pub(super) topic: u16,
    pub(super) cause_journal: u16,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) codec: u8,
    pub(super) key: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl<'a> Raw<'a> {
    /// `None` if nothing is committed there.
    pub(super) fn at(bytes: &'a [u8], at: usize, seed: u32) -> Result<Option<Self>, String> {
        if bytes.len() < RECORD_HEADER || word(bytes, 0) == 0 {
            return Ok(None);
        }
        let (length, checksum) = (half(bytes, 0), half(bytes, 4));
        let stored = length as usize;
        if stored < RECORD_HEADER || stored.next_multiple_of(8) + 8 > bytes.len() {
            return Err(format!("record at place {at}: length {stored}"));
        }
        let place = u32::try_from(at).map_err(|_| "a place beyond 4 GiB".to_owned())?;
        if crc(seed ^ place ^ length.rotate_left(16), &bytes[8..stored]) != checksum {
            return Err(format!("record at place {at}: the checksum does not hold"));
        }
        let key_end = RECORD_HEADER + usize::from(quarter(bytes, 40));
        let (kind, flags, codec) = (bytes[42], bytes[43], bytes[44]);
        let keyless = flags & 1 == 0 && key_end > RECORD_HEADER;
        let zeros = [&bytes[45..48], &bytes[stored..stored.next_multiple_of(8)]].concat();
        if key_end > stored || keyless || flags > 3 || codec > 2 || zeros.iter().any(|byte| *byte != 0) {
            return Err(format!("record at place {at}: its header makes no sense"));
        }
        Ok(Some(Self {
            length: stored,
            checksum,
            offset: word(bytes, 8),
            time: word(bytes, 16),
            cause: word(bytes, 24),
            epoch: half(bytes, 32),
            topic: quarter(bytes, 36),
            cause_journal: quarter(bytes, 38),
            kind,
            flags,
            codec,
            key: &bytes[RECORD_HEADER..key_end],
            payload: &bytes[key_end..stored],
        }))
    }

    /// An event, with the names that are declared in its segment.
    pub(super) fn event(&self, topics: &[String], journals: &[String]) -> Result<Event, String> {
        let name = |names: &[String], number: u16| {
            let index = usize::from(number).checked_sub(1);
            index
                .and_then(|index| names.get(index).cloned())
                .ok_or_else(|| format!("offset {}: name {number} is not declared", self.offset))
        };
        let cause = match self.cause_journal {
            0 => None,
            number => Some((name(journals, number)?, self.cause)),
        };
        Ok(Event {
            offset: self.offset,
            topic: name(topics, self.topic)?,
            key: (self.flags & 1 == 1).then(|| self.key.to_vec()),
            cause,
            payload: self.payload.to_vec(),
            checksum: self.checksum,
        })
    }
}

pub(super) fn declare(names: &mut Vec<String>, payload: &[u8]) -> Result<(), String> {
    if payload.len() < 3 || usize::from(quarter(payload, 0)) != names.len() + 1 {
        return Err(format!("a name is declared out of turn: {payload:?}"));
    }
    names.push(text(&payload[2..])?);
    Ok(())
}

pub(super) fn ack(payload: &[u8]) -> Result<Ack, String> {
    let names = payload.get(25..).ok_or("a short acknowledgement")?;
    let (subscription, journal) =
        names.split_at_checked(usize::from(payload[24])).ok_or("a short acknowledgement")?;
    Ok(Ack {
        next: word(payload, 0),
        epoch: half(payload, 8),
        checksum: half(payload, 12),
        identity: word(payload, 16),
        subscription: text(subscription)?,
        journal: text(journal)?,
    })
}

pub(super) fn checkpoint(payload: &[u8]) -> Result<(String, Vec<u8>), String> {
    let (length, rest) = payload.split_first().ok_or("a short checkpoint")?;
    let (name, value) = rest.split_at_checked(usize::from(*length)).ok_or("a short checkpoint")?;
    Ok((text(name)?, value.to_vec()))
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("a name that is no text: {bytes:?}"))
}

/// The marks of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) epoch: u64,
    pub(super) committed: u64,
    pub(super) durable: u64,
    pub(super) trimmed: u64,
}

/// Reads the marks; none as long as the journal isn't made.
pub(super) fn read_marks(folder: &Path) -> Result<Option<Marks>, Trouble> {
    let Ok(file) = File::open(folder.join("marks")) else { return Ok(None) };
    let mut bytes = vec![0; 4096];
    if file.read_at(&mut bytes, 0)? < bytes.len() || word(&bytes, 0) == 0 {
        return Ok(None);
    }
    if bytes[..8] != *b"PROCMARK" || word(&bytes, 8) != 1 {
        return Err(Trouble(format!("{}: no marks", folder.display())));
    }
    let checked = |at| {
        let (value, check) = (word(&bytes, at) >> 8, word(&bytes, at).to_le_bytes()[0]);
        let expected = value.to_le_bytes().into_iter().fold(0xa5, |check, byte| check ^ byte);
        if check == expected {
            Ok(value)
        } else {
            Err(Trouble(format!("{}: the mark at {at} does not check", folder.display())))
        }
    };
    let (epoch, committed) = (checked(64)?, checked(1024)?);
    Ok(Some(Marks { epoch, committed, durable: checked(2048)?, trimmed: checked(3072)? }))
}

pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

pub(super) fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn quarter(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
