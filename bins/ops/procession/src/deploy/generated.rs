//! What tells a file that was generated, and is as it was written, from everything else: that is never overwritten.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result};

/// The first line of each generated file.
pub(crate) const GENERATED: &str =
    "# Written by `just generate` from deploy/swarm.toml: change that page, not this one.\n";

/// The beginning of its second line; a checksum of all that follows is the rest of it.
const SUM: &str = "# A change by hand is seen by this sum of what follows, and kept: ";

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// We wrote it, and nobody has changed it since.
    Us,
    /// We wrote it, and somebody has changed it.
    Changed,
    /// Somebody else wrote it.
    Somebody,
}

/// A generated text with its checksum, by which [`author`] knows it again.
pub(crate) fn sealed(text: &str) -> String {
    let rest = text.strip_prefix(GENERATED).expect("every generated text begins alike");
    format!("{GENERATED}{SUM}{}\n{rest}", sum(rest))
}

/// Who wrote what a file holds.
pub(crate) fn author(text: &[u8]) -> Author {
    let Some(rest) = str::from_utf8(text).ok().and_then(|text| text.strip_prefix(GENERATED)) else {
        return Author::Somebody;
    };
    let sealed = rest.strip_prefix(SUM).and_then(|rest| rest.split_once('\n'));
    match sealed {
        Some((found, rest)) if found == sum(rest) => Author::Us,
        _ => Author::Changed,
    }
}

fn sum(text: &str) -> String {
    format!("{:08x}", crc32c::crc32c(text.as_bytes()))
}

/// What is at a path: none if nothing is. A link that leads nowhere is something, and somebody's.
///
/// # Errors
/// It can't be read, or is no file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(path.symlink_metadata().is_ok().then(Vec::new))
        }
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

/// Writes a whole file in one step: whoever is killed meanwhile leaves the old one, never half of the new.
///
/// # Errors
/// It can't be written.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let replaced = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // A link stays one: what it leads to is written.
        let path = if path.exists() { path.canonicalize()? } else { path.to_owned() };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}.new"));
        fs::write(&new, text)?;
        if let Ok(old) = fs::metadata(&path) {
            fs::set_permissions(&new, old.permissions())?;
        }
        fs::rename(&new, &path)
    };
    replaced().with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_byte_is_seen() {
        let text = sealed(&format!("{GENERATED}[Unit]\nDescription=x\n"));
        assert_eq!(author(text.as_bytes()), Author::Us);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert_ne!(author(&changed), Author::Us, "{at}");
        }
        assert_eq!(author(format!("{text}\n").as_bytes()), Author::Changed);
        assert_eq!(author(format!("{GENERATED}[Unit]\n").as_bytes()), Author::Changed, "it has no sum");
        assert_eq!(author(b""), Author::Somebody);
        assert_eq!(author(b"\xff"), Author::Somebody);
    }

    #[test]
    fn a_link_is_written_through_and_one_that_leads_nowhere_is_somebodys() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&link).unwrap(), Some(Vec::new()));
        fs::write(&file, "old").unwrap();
        replace(&link, "new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
    }
}
