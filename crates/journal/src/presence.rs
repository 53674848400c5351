//! Whether a writer's files are still where it has found them.
//!
//! What is appended to a file that has lost its name is said to nobody and kept by nobody, and who takes the lock's name
//! away lets a second writer in. The writer looks about once a second, and before it drops or names a segment.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{At, Error, Result};
use crate::layout;
use crate::marks::identity_of;

/// How often it is looked.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The files and folders that a writer depends on, and which they were.
#[derive(Debug)]
pub(crate) struct Presence(Vec<(PathBuf, (u64, u64))>);

impl Presence {
    /// Of an instance whose lock is held.
    ///
    /// # Errors
    /// I/O errors: one of them is gone already.
    pub(crate) fn of(instance: &Path) -> Result<Self> {
        let paths = [
            layout::lock_path(instance),
            layout::alive_path(instance),
            layout::marks_path(instance),
            layout::journal_folder(instance),
        ];
        let found = |path: PathBuf| Ok((identity(&fs::metadata(&path).at("inspect", &path)?), path));
        let found: Result<Vec<_>> = paths.into_iter().map(found).collect();
        Ok(Self(found?.into_iter().map(|(identity, path)| (path, identity)).collect()))
    }

    /// # Errors
    /// [`Error::Displaced`].
    pub(crate) fn check(&self) -> Result<()> {
        for (path, was) in &self.0 {
            let what = match fs::metadata(path) {
                Ok(found) if identity(&found) == *was => continue,
                Ok(_) => "was replaced by another one",
                Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed",
                // Not to be able to look is no reason to stop: memory and descriptors come back.
                Err(_) => continue,
            };
            return Err(Error::Displaced { path: path.clone(), what });
        }
        Ok(())
    }

    /// Of one more file, which is held open.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn of_one(path: &Path, file: &File) -> Result<Self> {
        let found = file.metadata().at("inspect", path)?;
        Ok(Self(vec![(path.to_owned(), identity_of(&found))]))
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
