//! Damaging files.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Flips bit `bit` (0 to 7) of the byte at `at`.
///
/// # Panics
/// If the file can't be opened, or has no such byte.
pub fn flip_bit(path: &Path, at: u64, bit: u8) {
    let file = open(path);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)
        .unwrap_or_else(|error| panic!("byte {at} of {}: {error}", path.display()));
    byte[0] ^= 1 << bit;
    overwrite(path, at, &byte);
}

/// Puts `bytes` at `at`.
///
/// # Panics
/// If the file can't be written.
pub fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let written = open(path).write_all_at(bytes, at);
    written.unwrap_or_else(|error| panic!("writing to {}: {error}", path.display()));
}

/// Cuts the file to `length` bytes. No process may have it mapped: it would die of SIGBUS.
///
/// # Panics
/// If the file is shorter already, or can't be cut.
pub fn truncate(path: &Path, length: u64) {
    let file = open(path);
    let before = file.metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display())).len();
    assert!(length < before, "{} has only {before} bytes", path.display());
    file.set_len(length).unwrap_or_else(|error| panic!("cutting {}: {error}", path.display()));
}

fn open(path: &Path) -> std::fs::File {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.unwrap_or_else(|error| panic!("opening {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        flip_bit(&path, 1, 0);
        assert_eq!(std::fs::read(&path).unwrap(), b"acc");
        overwrite(&path, 2, b"xyz");
        assert_eq!(std::fs::read(&path).unwrap(), b"acxyz");
        truncate(&path, 2);
        assert_eq!(std::fs::read(&path).unwrap(), b"ac");
    }
}
