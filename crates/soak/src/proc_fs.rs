//! What the kernel knows of a process and of a folder.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// One look at a process; what can't be seen, because it is just dying, is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) resident_bytes: Option<u64>,
    /// Anonymous memory: what it holds for itself alone.
    pub(crate) private_bytes: Option<u64>,
    pub(crate) descriptors: Option<u64>,
    pub(crate) threads: Option<u64>,
    /// Time on processors, all threads together, since it began.
    pub(crate) cpu: Option<Duration>,
}

impl Look {
    pub(crate) fn at(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let number = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Self {
            resident_bytes: number("VmRSS:").map(|kib| kib * 1024),
            private_bytes: number("RssAnon:").map(|kib| kib * 1024),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok().map(|fds| fds.count() as u64),
            threads: number("Threads:"),
            cpu: cpu(pid),
        }
    }
}

/// From `stat`, which also counts threads that have ended, in the kernel's ticks of 10 ms.
fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold spaces and parentheses: user and system time are fields 14 and 15 of all.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// Bytes that the files below a folder take on disk.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => disk_bytes(&entry.path()),
        // A segment may be dropped while we look.
        _ => entry.metadata().map_or(0, |metadata| metadata.blocks() * 512),
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let look = Look::at(std::process::id());
        let (resident, private) = (look.resident_bytes.unwrap(), look.private_bytes.unwrap());
        assert!(private > 0 && private <= resident, "{look:?}");
        assert!(look.descriptors.unwrap() >= 3 && look.threads.unwrap() >= 1, "{look:?}");
        assert!(look.cpu.is_some());
        assert!(Look::at(u32::MAX).resident_bytes.is_none());
    }

    #[test]
    fn a_folder_has_the_size_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("below/file"), vec![1; 100_000]).unwrap();
        assert!((100_000..200_000).contains(&disk_bytes(folder.path())));
    }
}
