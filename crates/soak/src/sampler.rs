//! Looks at every process once in a while, and keeps what it sees.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::figure::{FIGURES, Figure};
use crate::proc_fs::{Look, disk_bytes};
use crate::swarm::{INSTANCES, Swarm};

/// One look at one process: a value for each figure, where it could be seen.
pub(crate) type Values = [Option<f64>; FIGURES.len()];

/// Looks at all of them, in the order of [`INSTANCES`].
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Seconds since the beginning.
    pub(crate) at: f64,
    pub(crate) processes: [Values; INSTANCES.len()],
}

/// Takes samples, writes them to a file and keeps them.
pub(crate) struct Sampler {
    file: BufWriter<File>,
    pub(crate) samples: Vec<Sample>,
    before: Option<(Instant, [Before; INSTANCES.len()])>,
}

/// What rates are made of.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    pid: u32,
    cpu: Option<Duration>,
    committed: Option<u64>,
}

impl Sampler {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("can't create {}", path.display()))?;
        let mut file = BufWriter::new(file);
        write!(file, "seconds,process,pid")?;
        FIGURES.iter().try_for_each(|figure| write!(file, ",{}", figure.column()))?;
        writeln!(file)?;
        Ok(Self { file, samples: Vec::new(), before: None })
    }

    pub(crate) fn take(&mut self, swarm: &Swarm, begun: Instant) -> Result<()> {
        let now = Instant::now();
        let at = now.duration_since(begun).as_secs_f64();
        let pids = swarm.pids();
        let mut seen = [Before::default(); INSTANCES.len()];
        let mut processes = [Values::default(); INSTANCES.len()];
        for (index, instance) in INSTANCES.into_iter().enumerate() {
            let (pid, folder) = (pids[index], swarm.folder(instance));
            let look = Look::at(pid);
            let committed = journal::read_marks(&folder).ok().flatten().map(|marks| marks.committed.0);
            seen[index] = Before { pid, cpu: look.cpu, committed };
            let values = &mut processes[index];
            let mut set = |figure: Figure, value: Option<f64>| values[figure as usize] = value;
            set(Figure::Resident, look.resident_bytes.map(mib));
            set(Figure::Private, look.private_bytes.map(mib));
            set(Figure::Descriptors, look.descriptors.map(float));
            set(Figure::Threads, look.threads.map(float));
            set(Figure::Disk, Some(mib(disk_bytes(&folder))));
            set(Figure::Lag, lag(swarm, &folder).map(float));
            if let Some((then, before)) = &self.before {
                let seconds = now.duration_since(*then).as_secs_f64();
                let (now, before) = (seen[index], before[index]);
                let said =
                    now.committed.zip(before.committed).map(|(now, before)| now.saturating_sub(before));
                set(Figure::Throughput, said.map(|said| float(said) / seconds));
                let used = now.cpu.zip(before.cpu).filter(|_| now.pid == before.pid);
                let used = used.map(|(now, before)| now.saturating_sub(before).as_secs_f64());
                set(Figure::Cpu, used.map(|used| 100.0 * used / seconds));
            }
            self.row(at, instance, pid, &processes[index])?;
        }
        // Whoever watches the file sees what there is.
        self.file.flush()?;
        self.before = Some((now, seen));
        self.samples.push(Sample { at, processes });
        Ok(())
    }

    fn row(&mut self, at: f64, instance: &str, pid: u32, values: &Values) -> Result<()> {
        write!(self.file, "{at:.1},{instance},{pid}")?;
        for value in values {
            match value {
                Some(value) => write!(self.file, ",{}", (value * 1000.0).round() / 1000.0)?,
                None => write!(self.file, ",")?,
            }
        }
        Ok(writeln!(self.file)?)
    }
}

/// How far the slowest subscription of an instance is behind.
fn lag(swarm: &Swarm, folder: &Path) -> Option<u64> {
    let cursors = journal::read_cursors(folder).ok()?;
    let behind = cursors.iter().filter_map(|cursor| {
        let marks = journal::read_marks(&swarm.folder(&cursor.journal)).ok().flatten()?;
        Some(marks.committed.0.saturating_sub(cursor.position.next.0))
    });
    behind.max()
}

fn mib(bytes: u64) -> f64 {
    float(bytes) / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "shown and compared with few digits")]
const fn float(value: u64) -> f64 {
    value as f64
}
