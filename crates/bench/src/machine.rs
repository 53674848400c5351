//! Where it was measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    /// Type of the file system with the journals, logs and stores.
    pub(crate) file_system: String,
    pub(crate) rust: String,
    /// Processes that wanted to run, over the last minute before the start.
    pub(crate) load_before: String,
}

impl Machine {
    pub(crate) fn look(place: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'))
                .map_or_else(|| "?".to_owned(), |value| value.trim().to_owned())
        };
        let kib = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse::<u64>();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory: kib.map_or_else(|_| "?".to_owned(), |kib| format!("{} MiB", kib >> 10)),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            file_system: file_system(&read("/proc/mounts"), place),
            rust: first_line("rustc", "--version"),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or("?").to_owned(),
        }
    }
}

fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(
        |_| "?".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("?").to_owned(),
    )
}

/// Of the mount with the longest path above `place`.
fn file_system(mounts: &str, place: &Path) -> String {
    let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, on, kind) = (fields.next()?, fields.next()?, fields.next()?);
            place.starts_with(on).then_some((on.len(), kind))
        })
        .max()
        .map_or_else(|| "?".to_owned(), |(_, kind)| kind.to_owned())
}

/// A folder on a disk: the temporary folder may well be memory, where nothing can be made durable.
pub(crate) fn default_place() -> PathBuf {
    let on_disk = PathBuf::from("/var/tmp");
    if on_disk.is_dir() { on_disk } else { std::env::temp_dir() }
}

/// Bytes that are free where `place` is.
pub(crate) fn free_bytes(place: &Path) -> u64 {
    rustix::fs::statvfs(place).map_or(0, |free| free.f_bavail.saturating_mul(free.f_frsize))
}
