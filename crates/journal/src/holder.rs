//! Who holds an instance, in words that are not taken for somebody else's.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::error::{At, Result};
use crate::{disk, layout, lock};

/// The process that holds an instance, as it has written itself down: for messages, and to look it up where its
/// number means it. Nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pid: u32,
    /// In which PID namespace it has that number: the inode of the namespace; 0 if it could not tell.
    namespace: u64,
    /// When it was started, as the kernel counts: two processes with the same number differ in it.
    started: u64,
}

impl Holder {
    pub(crate) fn of_this_process() -> Self {
        let pid = std::process::id();
        Self { pid, namespace: own_namespace(), started: started(pid).unwrap_or(0) }
    }

    /// Its process id, if that means it here: in another PID namespace it is another process's, or nobody's.
    #[must_use]
    pub fn pid_here(&self) -> Option<u32> {
        (self.namespace != 0 && self.namespace == own_namespace()).then_some(self.pid)
    }

    /// Writes it down in the place of the last one: best effort, since a full disk must not keep a process from starting.
    pub(crate) fn note(self, file: &File) {
        let Self { pid, namespace, started } = self;
        let line = format!("{pid} {namespace} {started}\n");
        let _ = file.set_len(0).and_then(|()| file.write_all_at(line.as_bytes(), 0));
    }

    /// Who has written himself down last, unless that is plainly gone.
    pub(crate) fn noted(file: &File) -> Option<Self> {
        let mut bytes = [0; 64];
        let read = file.read_at(&mut bytes, 0).ok()?;
        let mut numbers = std::str::from_utf8(&bytes[..read]).ok()?.split_whitespace();
        let mut number = || numbers.next()?.parse::<u64>().ok();
        let holder = Self { pid: u32::try_from(number()?).ok()?, namespace: number()?, started: number()? };
        let other = holder.pid_here().and_then(started).is_some_and(|started| started != holder.started);
        (!other).then_some(holder)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there =
            if self.pid_here().is_some() { "" } else { " of another PID namespace (a container, say)" };
        write!(f, "process {}{there}", self.pid)
    }
}

/// Who holds an instance right now; `None` if nobody does, or it is not known who.
///
/// # Errors
/// Those of [`is_locked`](crate::is_locked).
pub fn holder(instance: &Path) -> Result<Option<Holder>> {
    if !lock::is_locked(instance)? {
        return Ok(None);
    }
    let path = layout::alive_path(instance);
    match disk::open_to_read(&path) {
        Ok(file) => Ok(Holder::noted(&file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("open", &path),
    }
}

/// 0 where the kernel does not say.
fn own_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold spaces and parentheses, the 20th field.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_again_unless_its_number_is_somebody_elses() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Holder::noted(&file), None);
        let this = Holder::of_this_process();
        assert_eq!(this.pid_here(), Some(std::process::id()));
        this.note(&file);
        assert_eq!(Holder::noted(&file), Some(this));
        assert_eq!(this.to_string(), format!("process {}", std::process::id()));

        let before = Holder { started: this.started + 1, ..this };
        before.note(&file);
        assert_eq!(Holder::noted(&file), None, "it has ended, and its number was given away");

        let elsewhere = Holder { namespace: this.namespace + 1, ..before };
        elsewhere.note(&file);
        assert_eq!(Holder::noted(&file), Some(elsewhere));
        assert_eq!(elsewhere.pid_here(), None);
        assert!(elsewhere.to_string().contains("another PID namespace"), "{elsewhere}");

        file.write_all_at(b"4711\n\0\0 nonsense", 0).unwrap();
        assert_eq!(Holder::noted(&file), None);
    }
}
