//! What the kernel and the journal's marks tell of an instance at one moment.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// One look; what can't be seen is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// Of the living writer.
    pub(super) pid: Option<u32>,
    pub(super) epoch: Option<u32>,
    pub(super) committed: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    /// Time on processors, all threads together.
    cpu: Option<Duration>,
}

/// What happened between two looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) records_per_second: Option<f64>,
    pub(super) cpu_percent: Option<f64>,
}

impl Sample {
    pub(super) fn take(folder: &Path) -> Self {
        let Ok(Some(marks)) = journal::read_marks(folder) else { return Self::default() };
        // In another PID namespace its id means another process, or none.
        let pid = journal::holder(folder).ok().flatten().and_then(|holder| holder.pid_here());
        Self {
            pid,
            epoch: Some(marks.epoch.0),
            committed: Some(marks.trusted().0),
            memory_bytes: pid.and_then(memory_bytes),
            cpu: pid.and_then(cpu),
        }
    }

    pub(super) fn since(&self, before: &Self, elapsed: Duration) -> Rates {
        let seconds = elapsed.as_secs_f64();
        let records =
            self.committed.zip(before.committed).map(|(after, before)| after.saturating_sub(before));
        // Another process since then has another account.
        let same = self.pid == before.pid;
        let cpu =
            self.cpu.zip(before.cpu).filter(|_| same).map(|(after, before)| after.saturating_sub(before));
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
        Rates {
            records_per_second: records.map(|records| records as f64 / seconds),
            cpu_percent: cpu.map(|cpu| 100.0 * cpu.as_secs_f64() / seconds),
        }
    }
}

/// Anonymous memory: what a process holds for itself alone.
fn memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn cpu(pid: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    // A thread may end while we look.
    let threads = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
    let nanoseconds =
        threads.map(|thread| thread.split(' ').next()?.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_a_processor() {
        let pid = std::process::id();
        let bytes = memory_bytes(pid).unwrap();
        assert!((64 << 10..16 << 30).contains(&bytes), "{bytes}");
        assert!(cpu(pid).unwrap() > Duration::ZERO);
        assert_eq!(cpu(u32::MAX), None);
    }

    #[test]
    fn rates_are_of_the_same_process() {
        let cpu = |millis| Some(Duration::from_millis(millis));
        let before = Sample { pid: Some(1), committed: Some(10), cpu: cpu(100), ..Sample::default() };
        let after = Sample { pid: Some(1), committed: Some(15), cpu: cpu(150), ..Sample::default() };
        let rates = after.since(&before, Duration::from_millis(500));
        assert_eq!((rates.records_per_second, rates.cpu_percent), (Some(10.0), Some(10.0)));
        let other = Sample { pid: Some(2), ..after };
        assert_eq!(other.since(&before, Duration::from_secs(1)).cpu_percent, None);
    }
}
