//! What the fuzz targets need to get past the checksums: damage that is signed again.
//!
//! Without it nearly every input would end at the first checksum, and nothing behind one would be tried.

use crate::marks;
use crate::record::{self, Place};
use crate::segment::HEADER_BYTES;

/// Where the marks lie in their file: epoch, committed, durable, trimmed. Each is a [`seal`]ed word.
pub const MARKS: [usize; 4] = [64, 1024, 2048, 3072];
/// Where the marks keep the identity of the boot in which the epoch began.
pub const BOOT: usize = 32;
/// Bytes of a segment's header; the first record follows.
pub const FIRST_RECORD: usize = HEADER_BYTES;

/// A mark as it is stored.
#[must_use]
pub const fn seal(value: u64) -> u64 {
    marks::seal(value)
}

/// The identity of this boot, as it is stored.
#[must_use]
pub fn this_boot() -> [u8; 16] {
    marks::boot_id().to_le_bytes()
}

/// Makes a segment's header hold, whatever it says.
pub fn sign_header(segment: &mut [u8]) {
    if let Some((header, _)) = segment.split_first_chunk_mut::<HEADER_BYTES>() {
        let checksum = crc32c::crc32c(&header[..HEADER_BYTES - 4]);
        header[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Makes the record at `at` hold, whatever it says, with a length of `length` bytes.
pub fn sign_record(segment: &mut [u8], at: usize, length: u32) {
    if segment.len() < HEADER_BYTES || !at.is_multiple_of(record::ALIGN) {
        return;
    }
    let seed = crc32c::crc32c_append(crc32c::crc32c(&segment[16..32]), &segment[32..40]);
    if let Some(word) = record::sign(segment, length, Place { seed, at }) {
        segment[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
}

/// The places and lengths of the records in a segment, as their lengths say.
#[must_use]
pub fn records(segment: &[u8]) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(length) = segment.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
        if (length as usize) < record::HEADER_BYTES {
            break;
        }
        found.push((at, length));
        at += (length as usize).next_multiple_of(record::ALIGN);
    }
    found
}
