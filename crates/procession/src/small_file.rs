//! Small files in instances' folders, beside their journals.
//!
//! A folder is its process's, and what lies in another's is not to be trusted: it may be a link, a pipe, a device, or without
//! end, and must keep nobody waiting.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use journal::FileKind;
use rustix::fs::OFlags;

/// Larger ones are none of ours.
const BYTES_MAX: u64 = 64 << 10;

/// The text of a file; none if there is none, or if it is not one of ours.
pub(crate) fn read(folder: &Path, kind: &FileKind) -> Option<String> {
    let path = kind.path(folder, &[]);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    let is_ours = file.metadata().is_ok_and(|found| found.is_file() && found.len() <= BYTES_MAX);
    let mut text = String::new();
    if is_ours {
        file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    }
    is_ours.then_some(text)
}

/// Writes a file, whole or not at all: what was there stays if there is no room. Never through a link: the file is a new
/// one.
pub(crate) fn write(folder: &Path, kind: &FileKind, text: &[u8]) -> io::Result<()> {
    let (path, new) = (kind.path(folder, &[]), kind.unfinished_path(folder, &[]));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new)?;
    let written = file.write_all(text).and_then(|()| fs::rename(&new, path));
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant};

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;
    use crate::files::STARTS;

    #[test]
    fn what_is_none_of_ours_is_none_and_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let called = |name| FileKind { name, ..STARTS };
        write(folder.path(), &called("own"), b"text").unwrap();
        assert_eq!(read(folder.path(), &called("own")).as_deref(), Some("text"));
        let began = Instant::now();
        mkfifoat(CWD, path("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        symlink("/dev/zero", path("device")).unwrap();
        symlink(path("own"), path("link")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("large"), vec![b'x'; 1 << 20]).unwrap();
        for name in ["missing", "pipe", "device", "link", "folder", "large"] {
            assert_eq!(read(folder.path(), &called(name)), None, "{name}");
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
