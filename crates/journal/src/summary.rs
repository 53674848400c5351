//! Facts about a journal for whoever watches it from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::Result;
use crate::layout;
use crate::marks::{self, Marks};
use crate::reader::{Level, Reader, Start};
use crate::segment;
use crate::types::{Item, Offset};

/// The marks of the journal in an instance's folder; `None` if no writer has been there, or they are damaged.
///
/// # Errors
/// I/O errors and [`crate::Error::ForeignVersion`].
pub fn read_marks(instance: &Path) -> Result<Option<Marks>> {
    marks::look(&layout::marks_path(instance))
}

/// Bytes that the journal's segments take on disk.
///
/// # Errors
/// I/O errors.
pub fn bytes_on_disk(instance: &Path) -> Result<u64> {
    let mut bytes = 0;
    for found in segment::list(&layout::journal_folder(instance))? {
        // A segment may be trimmed between listing and looking.
        bytes += fs::metadata(&found.path).map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

/// The first offset of each segment that is kept, in order.
///
/// # Errors
/// I/O errors.
pub fn segment_bases(instance: &Path) -> Result<Vec<Offset>> {
    let found = segment::list(&layout::journal_folder(instance))?;
    Ok(found.into_iter().map(|segment| segment.base).collect())
}

/// Bytes of the segments that hold records from an offset on: what is kept for whoever stands there.
///
/// # Errors
/// I/O errors.
pub fn bytes_from(instance: &Path, offset: Offset) -> Result<u64> {
    let segments = segment::list(&layout::journal_folder(instance))?;
    let passed = segments.iter().skip(1).take_while(|next| next.base <= offset).count();
    // A segment may be trimmed between listing and looking.
    let bytes = |found: &segment::Found| fs::metadata(&found.path).map_or(0, |metadata| metadata.len());
    Ok(segments.iter().skip(passed).map(bytes).sum())
}

/// Every topic of the journal with the number of its records that are kept. Reads all of the journal: seconds
/// for gigabytes.
///
/// # Errors
/// Those of [`Reader::next`].
pub fn count_topics(instance: &Path) -> Result<BTreeMap<String, u64>> {
    let mut topics = BTreeMap::new();
    let Some(mut reader) = Reader::open(instance, Start::Beginning, Level::Committed)? else {
        return Ok(topics);
    };
    while let Some(item) = reader.next()? {
        if let Item::Record(record) = item {
            match topics.get_mut(record.topic) {
                Some(count) => *count += 1,
                None => drop(topics.insert(record.topic.to_owned(), 1_u64)),
            }
        }
    }
    Ok(topics)
}
