//! A cursor table of one's own, written by the description of the format: whoever keeps one takes part in retention.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: &[u8; 8] = b"PROCCURS";
const HEADER_BYTES: usize = 64;
const SLOT_BYTES: usize = 384;
const SLOTS: usize = 64;
const USED: u64 = 0x5553_4544;

/// One slot for each journal; nothing that isn't passed may be dropped.
#[derive(Debug)]
pub(super) struct Claims {
    file: File,
    selectors: Vec<u64>,
}

impl Claims {
    /// Makes the table, at the beginning of each journal.
    pub(super) fn new(instance: &Path, journals: &[&str]) -> io::Result<Self> {
        fs::create_dir_all(instance)?;
        let path = instance.join("cursors");
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let mut table = vec![0; HEADER_BYTES + SLOTS * SLOT_BYTES];
        for (index, journal) in journals.iter().enumerate() {
            let slot = &mut table[HEADER_BYTES + index * SLOT_BYTES..];
            slot[..8].copy_from_slice(&USED.to_le_bytes());
            for (at, name) in [(8, "audit"), (129, *journal)] {
                slot[at] = u8::try_from(name.len()).map_err(io::Error::other)?;
                slot[at + 1..at + 1 + name.len()].copy_from_slice(name.as_bytes());
            }
        }
        table[..8].copy_from_slice(MAGIC);
        table[8..12].copy_from_slice(&1_u32.to_le_bytes());
        file.write_all_at(&table, 0)?;
        let mut claims = Self { file, selectors: vec![0; journals.len()] };
        for index in 0..journals.len() {
            claims.pass(index, (0, 0, 0, 0))?;
        }
        Ok(claims)
    }

    /// Everything before `next` has been read. `position` is (next offset, epoch and checksum of the record before
    /// it, low half of the journal's identity).
    pub(super) fn pass(&mut self, index: usize, position: (u64, u32, u32, u64)) -> io::Result<()> {
        let (next, epoch, checksum, identity) = position;
        let start = (HEADER_BYTES + index * SLOT_BYTES) as u64;
        let selector = self.selectors[index] + 1;
        let words = [next, u64::from(epoch) << 32 | u64::from(checksum), identity, selector];
        let check = words.iter().fold(u64::from_le_bytes(*MAGIC), |state, word| {
            (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        });
        let copy = if selector.is_multiple_of(2) { 280 } else { 312 };
        let bytes: Vec<u8> =
            [words[0], words[1], words[2], check].iter().flat_map(|word| word.to_le_bytes()).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.file.write_all_at(&bytes, start + copy)?;
        self.file.write_all_at(&now.to_le_bytes(), start + 256)?;
        self.file.write_all_at(&selector.to_le_bytes(), start + 272)?;
        self.selectors[index] = selector;
        Ok(())
    }
}
