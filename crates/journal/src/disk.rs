//! The file boundary: whose files are opened, what a power loss may undo, and what makes it lasting. Tests make it
//! fail, slow it down and look on, see [`crate::fault`].

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, OFlags, Uid, fchown, fdatasync, fsync};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::error::{At, Result};
use crate::fault::{self, Operation};

/// Files are readable by the group: subscribers run as other users of the same group.
pub(crate) const FILE_MODE: u32 = 0o640;

/// Opens a file of the instance that this process holds for reading and writing, and creates it if it is not there.
///
/// # Errors
/// I/O errors; what lies there is no regular file, or somebody else's.
pub(crate) fn open_own(path: &Path, mode: u32) -> Result<File> {
    match open_mine(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.at("open", path),
    }
    match create(path, mode) {
        // Somebody was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_mine(path).at("open", path),
        created => created.at("create", path),
    }
}

/// The same for a file that is there.
///
/// # Errors
/// Those of [`open_own`].
pub(crate) fn reopen_own(path: &Path) -> Result<File> {
    open_mine(path).at("open", path)
}

/// Creates a file of the instance that this process holds, in the place of any that a killed process has left.
///
/// # Errors
/// I/O errors.
pub(crate) fn create_anew(path: &Path) -> Result<File> {
    match create(path, FILE_MODE) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove(path)?;
            create(path, FILE_MODE).at("create", path)
        }
        created => created.at("create", path),
    }
}

/// Opens a file of any instance for reading.
///
/// # Errors
/// I/O errors; what lies there is no regular file.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true)).map(|(file, _)| file)
}

fn open_mine(path: &Path) -> io::Result<File> {
    let (file, found) = open(path, OpenOptions::new().read(true).write(true))?;
    let (me, folder) = (geteuid(), metadata_of_folder(path)?.uid());
    // Root works for whoever owns the folder: what is root's itself may have been put there under another name.
    if found.uid() == folder || found.uid() == me.as_raw() && !me.is_root() {
        return Ok(file);
    }
    let owner = found.uid();
    let reason = format!(
        "it belongs to user {owner}, its folder to user {folder}: give it to the owner, or remove it"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

/// Follows no link, waits for nobody at the other end of a pipe, and takes nothing but a regular file.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let refuse = |what: &str| {
        let reason = format!("it is {what}, not a file of a journal: remove it");
        io::Error::new(io::ErrorKind::InvalidInput, reason)
    };
    let file = match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(refuse("a symbolic link"));
        }
        opened => opened?,
    };
    let found = file.metadata()?;
    if found.is_file() { Ok((file, found)) } else { Err(refuse("no regular file")) }
}

/// Never follows a link: the name must not be there.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)?;
    hand_over(&file, path)?;
    fault::after(&Operation::Create { path, file: &file });
    Ok(file)
}

/// Creates a folder and those that it lies in, as far as they are not there.
///
/// # Errors
/// I/O errors.
pub(crate) fn create_folders(folder: &Path) -> Result<()> {
    fn create(folder: &Path) -> io::Result<()> {
        match fs::create_dir(folder) {
            Err(_) if folder.is_dir() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).ok_or(error)?;
                create(parent)?;
                create(folder)
            }
            made => made.and_then(|()| hand_over(&File::open(folder)?, folder)),
        }
    }
    create(folder).at("create", folder)
}

/// What root creates for somebody is theirs: else they could not open it again.
fn hand_over(made: &File, path: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let folder = metadata_of_folder(path)?;
    if folder.uid() != 0 {
        fchown(made, Some(Uid::from_raw(folder.uid())), Some(Gid::from_raw(folder.gid())))?;
    }
    Ok(())
}

fn metadata_of_folder(path: &Path) -> io::Result<Metadata> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::metadata(folder.unwrap_or(Path::new(".")))
}

/// Reads a part of a file to see whether the disk gives it. That it ends before is no failure.
///
/// # Errors
/// I/O errors.
pub(crate) fn read_through(file: &File, path: &Path, range: Range<usize>) -> io::Result<()> {
    read(file, path, range).map(drop)
}

/// Reads a part of a file, as far as it goes.
///
/// # Errors
/// I/O errors.
pub(crate) fn read(file: &File, path: &Path, range: Range<usize>) -> io::Result<Vec<u8>> {
    fault::read(path, range.clone())?;
    let mut bytes = vec![0; range.len()];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(&mut bytes[at..], (range.start + at) as u64) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

/// Whether an error means that the disk cannot read a block, or that what it reads is not what was written: not that
/// something is lacking.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    [Errno::IO, Errno::BADMSG, Errno::UCLEAN]
        .iter()
        .any(|refused| error.raw_os_error() == Some(refused.raw_os_error()))
}

/// Makes the bytes of a file durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<()> {
    synced(&Operation::Sync { path, file }, || fdatasync(file).map_err(io::Error::from)).at("sync", path)
}

/// A folder whose names are made durable, open: that it cannot be opened is no failed sync.
#[derive(Debug)]
pub(crate) struct Folder {
    handle: File,
    path: PathBuf,
}

impl Folder {
    /// # Errors
    /// I/O errors.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { handle: File::open(path).at("open", path)?, path: path.to_owned() })
    }

    pub(crate) const fn handle(&self) -> &File {
        &self.handle
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes creations, renames and deletions in it durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let Self { handle, path } = self;
        synced(&Operation::SyncFolder { path }, || fsync(handle).map_err(io::Error::from)).at("sync", path)
    }
}

/// The same for a folder that is not kept open.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    Folder::open(folder)?.sync()
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
