//! The file boundary: what a power loss may undo, and what makes it lasting. Tests make it fail, slow it down and
//! look on, see [`crate::fault`].

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{fdatasync, fsync};

use crate::error::{At, Result};
use crate::fault::{self, Operation};

/// A file has come to be, without a byte of its own yet.
pub(crate) fn created(file: &File, path: &Path) {
    fault::after(&Operation::Create { path, file });
}

/// Makes the bytes of a file durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<()> {
    synced(&Operation::Sync { path, file }, || fdatasync(file).map_err(io::Error::from)).at("sync", path)
}

/// Makes creations, renames and deletions in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    let handle = File::open(folder).at("open", folder)?;
    synced(&Operation::SyncFolder { path: folder }, || fsync(&handle).map_err(io::Error::from))
        .at("sync", folder)
}

fn synced(operation: &Operation<'_>, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    fault::before(operation);
    fault::sync_may_fail()?;
    sync()?;
    fault::after(operation);
    Ok(())
}

/// Gives a file another name, in the place of any file that has it.
pub(crate) fn rename(path: &Path, to: &Path) -> Result<()> {
    fault::before(&Operation::Rename { path, to });
    fs::rename(path, to).at("name", to)?;
    fault::after(&Operation::Rename { path, to });
    Ok(())
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> Result<()> {
    fault::before(&Operation::Remove { path });
    fs::remove_file(path).at("remove", path)?;
    fault::after(&Operation::Remove { path });
    Ok(())
}
