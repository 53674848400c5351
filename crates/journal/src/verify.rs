//! Checking a journal from its first byte to its last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{At, Error, Result};
use crate::layout::{self, FILES, SEGMENT};
use crate::marks::Marks;
use crate::record::Kind;
use crate::segment::{self, Found, HEADER_BYTES};
use crate::summary::read_marks;
use crate::types::Offset;
use crate::walk::{Segment, Step, Successor, Tables, sealed_at};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Records that are whole.
    pub records: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all segment files.
    pub bytes: u64,
    /// `None` if they are missing or damaged.
    pub marks: Option<Marks>,
    /// Every damaged place.
    pub damage: Vec<Damage>,
    /// An unfinished record behind the last whole one: normal after a crash, cut off on reopening.
    pub torn_tail: bool,
    /// Files in the journal's folder that are no part of it.
    pub strays: Vec<PathBuf>,
}

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// First offset that cannot be read.
    pub from: Offset,
    /// First offset after it that can; equal to `from` if only a control record was hit.
    pub to: Offset,
    /// In words.
    pub reason: String,
}

/// Checks every record of the journal in an instance's folder, whether or not its writer lives.
///
/// # Errors
/// I/O errors and [`Error::ForeignVersion`]. Damage is what it reports, not an error.
pub fn verify(instance: &Path) -> Result<Report> {
    let segments = segment::list(&layout::journal_folder(instance))?;
    // After the files: what is not there was trimmed by now, or is missing.
    let marks = read_marks(instance)?;
    let last = segments.last().map_or(Offset::ZERO, |last| last.base);
    let report = Report {
        records: 0,
        segments: 0,
        bytes: 0,
        marks,
        damage: Vec::new(),
        torn_tail: false,
        strays: strays(&layout::journal_folder(instance), &segments)?,
    };
    let mut check =
        Check { next: start(&segments, marks), trusted: marks.as_ref().map_or(last, Marks::trusted), report };
    let mut segments = segments;
    segments.retain(|found| !check.report.strays.contains(&found.path));
    for (index, found) in segments.iter().enumerate() {
        let bytes = match fs::metadata(&found.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_trimmed(instance, found.base)? => {
                continue;
            }
            Err(error) => return Err(error).at("inspect", &found.path),
        };
        check.report.segments += 1;
        check.report.bytes += bytes;
        if found.base > check.next {
            // What was dropped since the marks were read is not missing.
            check.next = check.next.max(trimmed(instance)?.min(found.base));
        }
        let successor = segments.get(index + 1).map(Successor::new);
        match check.segment(found, successor.as_ref()) {
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && is_trimmed(instance, found.base)? =>
            {
                // Just now.
                check.report.segments -= 1;
                check.report.bytes -= bytes;
            }
            checked => checked?,
        }
    }
    if check.next < check.trusted {
        let newest = segments.last().map(|newest| newest.path.clone());
        let path = newest.unwrap_or_else(|| layout::journal_folder(instance));
        check.damage(&path, check.trusted, "records are missing at the end: no segment holds them");
    }
    if marks.is_none() && !segments.is_empty() {
        check.damage(&layout::marks_path(instance), check.next, "the marks are missing or damaged");
    }
    Ok(check.report)
}

/// The first offset that must be there: nothing before it, unless a mark says that less was trimmed, which is only
/// certain in the boot in which it was stored.
fn start(segments: &[Found], marks: Option<Marks>) -> Offset {
    let first = segments.first().map(|first| first.base);
    match (first, marks) {
        (Some(first), Some(marks)) if marks.same_boot => first.min(marks.trimmed),
        (Some(first), _) => first,
        (None, marks) => marks.map_or(Offset::ZERO, |marks| marks.trimmed),
    }
}

/// Whether retention has dropped the segment that begins at `base`, since it was listed.
fn is_trimmed(instance: &Path, base: Offset) -> Result<bool> {
    Ok(base < trimmed(instance)?)
}

/// Where what is kept begins by now, if that is certain.
fn trimmed(instance: &Path) -> Result<Offset> {
    let marks = read_marks(instance)?.filter(|marks| marks.same_boot);
    Ok(marks.map_or(Offset::ZERO, |marks| marks.trimmed))
}

/// What lies in the journal's folder and was not put there by its writer: files of other names, and those with a segment's
/// name that begin with something else than a segment does.
fn strays(folder: &Path, segments: &[Found]) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", folder),
    };
    let others = FILES.iter().filter(|kind| kind.folder == SEGMENT.folder && **kind != SEGMENT);
    let others: Vec<&str> = others.map(|kind| kind.name).collect();
    let mut strays = Vec::new();
    for entry in entries {
        let path = entry.at("list", folder)?.path();
        let is_listed = segments.iter().any(|found| found.path == path);
        let name = path.file_name().and_then(|name| name.to_str());
        let is_own = match segment::base_in_name(&path) {
            // It may have been begun, or dropped, since the others were listed.
            Some(_) => !is_listed || segment::may_be(&path),
            None => name.is_some_and(|name| others.contains(&name)) || !path.exists(),
        };
        if !is_own {
            strays.push(path);
        }
    }
    strays.sort();
    Ok(strays)
}

struct Check {
    next: Offset,
    trusted: Offset,
    report: Report,
}

impl Check {
    fn segment(&mut self, found: &Found, successor: Option<&Successor<'_>>) -> Result<()> {
        // Nothing counts behind a torn tail: the owner removes it when it starts.
        self.report.torn_tail |= found.base > self.next && found.base > self.trusted;
        if self.report.torn_tail {
            return Ok(());
        }
        if found.base > self.next {
            self.damage(&found.path, found.base, "records are missing before it");
        } else if found.base < self.next {
            self.damage(&found.path, self.next, "overlaps the segment before it");
        }
        match Segment::open_whole(&found.path) {
            Ok(segment) => {
                let (is, wanted) = (segment.header.journal, self.report.marks.map(|marks| marks.journal));
                if let Some(wanted) = wanted.filter(|wanted| *wanted != is) {
                    self.damage(
                        &found.path,
                        self.next,
                        &format!("belongs to journal {is}, but the marks are of {wanted}"),
                    );
                }
                self.records(&segment, &found.path, successor);
            }
            Err(Error::Corrupt { .. }) if self.next >= self.trusted => self.report.torn_tail = true,
            Err(Error::Corrupt { reason, .. }) => self.damage(&found.path, self.next, &reason),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn records(&mut self, segment: &Segment, path: &Path, successor: Option<&Successor<'_>>) {
        let mut at = HEADER_BYTES;
        let mut tables = Tables::default();
        loop {
            let reason = match segment.at(at) {
                Step::Record(decoded) if successor.is_some_and(|next| next.replaces(&decoded.head)) => return,
                Step::Record(decoded) if decoded.head.offset <= self.next => {
                    match decoded.head.kind {
                        Kind::Event if !tables.can_name(decoded.head.topic, decoded.head.cause_journal) => {
                            self.damage(
                                path,
                                self.next.plus(1),
                                "the declaration of its topic or cause is damaged",
                            );
                        }
                        Kind::Event => {
                            self.report.records += 1;
                            self.next = self.next.plus(1);
                        }
                        Kind::Sealed if sealed_at(&decoded).is_ok() => return,
                        _ => {
                            if let Err(reason) = tables.note(&decoded) {
                                self.damage(path, self.next, reason);
                            }
                        }
                    }
                    at += decoded.stride;
                    continue;
                }
                Step::Empty if self.next >= self.trusted => return,
                Step::Empty => "no record where there must be one",
                Step::Record(_) => "its offset is ahead of its turn",
                Step::Bad(reason) => reason,
            };
            if self.next >= self.trusted {
                self.report.torn_tail = true;
                return;
            }
            // Its successor begins right here: a writer was killed before it could seal this one, or the seal was
            // lost with the power, and nothing else.
            let goes_on = segment::path(path.parent().unwrap_or(path), self.next);
            if goes_on != path && goes_on.exists() {
                return;
            }
            match segment.find_record(at, self.next) {
                Some((next_at, offset)) if successor.is_none_or(|next| offset < next.base()) => {
                    self.damage(path, offset.max(self.next), reason);
                    at = next_at;
                }
                _ => {
                    let (path, from, to) = (path.to_owned(), self.next, self.next);
                    self.report.damage.push(Damage { path, from, to, reason: reason.to_owned() });
                    return;
                }
            }
        }
    }

    fn damage(&mut self, path: &Path, to: Offset, reason: &str) {
        let (path, from) = (path.to_owned(), self.next);
        self.report.damage.push(Damage { path, from, to, reason: reason.to_owned() });
        self.next = to;
    }
}
