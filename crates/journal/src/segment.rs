//! Segment files: names, headers, making one ready ahead of time.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::disk;
use crate::error::{At, Error, Result};
use crate::layout;
use crate::types::{Epoch, JournalId, OFFSET_MAX, Offset};

/// Version of the format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"PROCSEG\0";
/// Bytes of the segment header; the first record starts here.
pub(crate) const HEADER_BYTES: usize = 128;
const PAGE_BYTES: u64 = 4096;
/// Largest segment, so that a place in it fits 32 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The first 128 bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) journal: JournalId,
    pub(crate) base: Offset,
    pub(crate) epoch: Epoch,
    pub(crate) segment_bytes: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.journal.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.segment_bytes.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// # Errors
    /// [`Error::ForeignVersion`] for another version of the format, [`Error::Corrupt`] for anything
    /// that is no header.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let corrupt = |reason: &str| Error::Corrupt {
            path: path.to_owned(),
            offset: base_in_name(path).unwrap_or_default(),
            reason: reason.to_owned(),
        };
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(corrupt("shorter than a segment header"));
        };
        let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let small = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        if header[..8] != MAGIC {
            return Err(corrupt("not a journal segment"));
        }
        let holds = |header: &[u8; HEADER_BYTES]| {
            small(HEADER_BYTES - 4) == crc32c::crc32c(&header[..HEADER_BYTES - 4])
        };
        // The version comes first: only it and the magic have the same place in every version.
        if small(8) != FORMAT_VERSION {
            let mut of_this_version = *header;
            of_this_version[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
            if holds(&of_this_version) {
                return Err(corrupt(
                    "the version in the segment header is damaged: without it the rest holds",
                ));
            }
            let (found, supported) = (small(8), FORMAT_VERSION);
            return Err(Error::ForeignVersion { path: path.to_owned(), found, supported });
        }
        if !holds(header) {
            return Err(corrupt("segment header does not match its checksum"));
        }
        let (base, segment_bytes) = (field(32), field(40));
        if base > OFFSET_MAX {
            return Err(corrupt("segment begins beyond the last possible offset"));
        }
        if !(PAGE_BYTES..=SEGMENT_BYTES_MAX).contains(&segment_bytes)
            || !segment_bytes.is_multiple_of(PAGE_BYTES)
        {
            return Err(corrupt("segment of an impossible size"));
        }
        Ok(Self {
            journal: JournalId(u128::from(field(16)) | u128::from(field(24)) << 64),
            base: Offset(base),
            epoch: Epoch(small(12)),
            segment_bytes,
        })
    }

    /// Where the checksums of this segment's records start, so that no record of another
    /// segment or journal holds in this one.
    pub(crate) fn seed(&self) -> u32 {
        let seed = crc32c::crc32c(&self.journal.0.to_le_bytes());
        crc32c::crc32c_append(seed, &self.base.0.to_le_bytes())
    }
}

/// A segment file as found in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) base: Offset,
    pub(crate) path: PathBuf,
}

/// The path of the segment that begins at `base`.
pub(crate) fn path(folder: &Path, base: Offset) -> PathBuf {
    folder.join(layout::SEGMENT.file_name(&[&format!("{:020}", base.0)]))
}

/// The first offset that a segment's file name states.
pub(crate) fn base_in_name(path: &Path) -> Option<Offset> {
    let number = *layout::SEGMENT.parts(path.file_name()?.to_str()?)?.first()?;
    (number.len() == 20).then(|| number.parse().ok().filter(|base| *base <= OFFSET_MAX).map(Offset)).flatten()
}

/// Whether a file with a segment's name may be one: also a damaged one, or one that power loss has left without a byte.
/// Not a file that begins with something else, nor what is no file at all.
pub(crate) fn may_be(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    match disk::open_to_read(path) {
        Ok(file) => match file.read_at(&mut start, 0) {
            Ok(count) => {
                count < start.len() || differing_bits(start, MAGIC) <= 8 || start == [0; MAGIC.len()]
            }
            Err(error) => error.kind() != io::ErrorKind::IsADirectory,
        },
        // Nobody can tell.
        Err(_) => !path.is_dir(),
    }
}

fn differing_bits(bytes: [u8; 8], others: [u8; 8]) -> u32 {
    (u64::from_ne_bytes(bytes) ^ u64::from_ne_bytes(others)).count_ones()
}

/// The segments of a folder by first offset. A missing folder holds none.
pub(crate) fn list(folder: &Path) -> Result<Vec<Found>> {
    #[cfg(test)]
    LISTINGS.with(|listings| listings.set(listings.get() + 1));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", folder),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.at("list", folder)?.path();
        if let Some(base) = base_in_name(&path) {
            found.push(Found { base, path });
        }
    }
    found.sort_by_key(|segment| segment.base);
    Ok(found)
}

/// Reserves a new file of `bytes` zeroed bytes under a temporary name.
///
/// # Errors
/// [`Error::Full`] if the disk has no room.
pub(crate) fn reserve(path: &Path, bytes: u64) -> Result<File> {
    let file = disk::create_anew(path)?;
    if let Err(error) = extend(&file, bytes, path) {
        // A half-reserved file would hold the room that others need.
        let _ = disk::remove(path);
        return Err(error);
    }
    Ok(file)
}

/// Reserves the first `bytes` of a file on disk, so that storing to its mapping cannot fail.
pub(crate) fn extend(file: &File, bytes: u64, path: &Path) -> Result<()> {
    let full = |reason: io::Error| Error::Full {
        path: path.parent().unwrap_or(path).to_owned(),
        reason: format!("cannot reserve {bytes} bytes: {reason}; free some disk space"),
    };
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::NOSPC | Errno::DQUOT) => Err(full(Errno::NOSPC.into())),
        Err(Errno::FBIG) => Err(Error::Full {
            path: path.parent().unwrap_or(path).to_owned(),
            reason: format!(
                "files may not grow to {bytes} bytes: raise the process's limit (ulimit -f, LimitFSIZE) or lower the segment size"
            ),
        }),
        // A file system without fallocate: write the zeros.
        Err(Errno::OPNOTSUPP) => file
            .metadata()
            .and_then(|found| write_zeros(file, found.len(), bytes))
            .map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    full(error)
                }
                _ => Error::Io { action: "reserve", path: path.to_owned(), source: error },
            }),
        Err(error) => Err(error).at("reserve", path),
    }
}

pub(crate) fn write_zeros(file: &File, from: u64, end: u64) -> io::Result<()> {
    // Never touched, so all of it is the one zeroed page.
    let zeros = vec![0_u8; 2 << 20];
    let mut at = from;
    while at < end {
        let take = usize::try_from(end - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..take], at)?;
        at += take as u64;
    }
    Ok(())
}

// How often this thread has listed a folder.
#[cfg(test)]
thread_local!(pub(crate) static LISTINGS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beyond_the_last_offset_is_no_segment() {
        assert_eq!(base_in_name(Path::new("00000000000000000007.seg")), Some(Offset(7)));
        assert_eq!(base_in_name(Path::new("18446744073709551615.seg")), None);
    }

    #[test]
    fn headers_survive_and_every_flipped_bit_shows() {
        let header = Header {
            journal: JournalId(u128::MAX / 3),
            base: Offset(42),
            epoch: Epoch(7),
            segment_bytes: 4096,
        };
        let bytes = header.encode();
        let path = Path::new("x.seg");
        assert_eq!(Header::decode(&bytes, path).unwrap(), header);
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Header::decode(&bad, path), Err(Error::Corrupt { .. })), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_foreign_wherever_it_keeps_its_checksum() {
        let header =
            Header { journal: JournalId(1), base: Offset(42), epoch: Epoch(7), segment_bytes: 4096 }.encode();
        let mut foreign = header;
        foreign[8] = 2;
        for checksum_at in [HEADER_BYTES - 4, 12] {
            let mut foreign = foreign;
            foreign[checksum_at..checksum_at + 4].fill(0);
            let checksum = crc32c::crc32c(&foreign);
            foreign[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
            let decoded = Header::decode(&foreign, Path::new("x.seg"));
            assert!(matches!(decoded, Err(Error::ForeignVersion { found: 2, .. })), "{decoded:?}");
        }
    }
}
