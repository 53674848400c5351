//! Whether a writer's files are still where it has found them.
//!
//! What is appended to a file that has lost its name is said to nobody and kept by nobody, and who takes the lock's name
//! away lets a second writer in. The writer looks about once a second, before it drops or names a segment, and, while it
//! takes the journal over, before it changes what it finds: an operator may just then put a copy back.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{At, Error, Result};
use crate::marks::identity_of;

/// How often it is looked.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The files and folders that a writer depends on, and which they were.
#[derive(Debug)]
pub(crate) struct Presence(Vec<(PathBuf, (u64, u64))>);

impl Presence {
    /// Of what is held open, each with the path that it was opened by: what lies at that path by now may be another one.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn of<const FILES: usize>(held: [(PathBuf, &File); FILES]) -> Result<Self> {
        let identified = |(path, file): (PathBuf, &File)| {
            let identity = identity_of(&file.metadata().at("inspect", &path)?);
            Ok((path, identity))
        };
        held.into_iter().map(identified).collect::<Result<_>>().map(Self)
    }

    /// # Errors
    /// [`Error::Displaced`].
    pub(crate) fn check(&self) -> Result<()> {
        for (path, was) in &self.0 {
            let what = match fs::metadata(path) {
                Ok(found) if identity_of(&found) == *was => continue,
                Ok(_) => "was replaced by another one",
                Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed",
                // Not to be able to look is no reason to stop: memory and descriptors come back.
                Err(_) => continue,
            };
            return Err(Error::Displaced { path: path.clone(), what });
        }
        Ok(())
    }
}
