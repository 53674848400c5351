//! What several tests use: owned records, records that follow from their offset, a small generator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use journal::{
    Cause, Codec, Entry, Gap, Item, Level, Offset, Options, Position, Reader, Record, Result, Start,
    SyncPolicy, Writer,
};

/// A record without the mapping it was borrowed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) topic: String,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) cause: Option<(String, Offset)>,
    pub(crate) codec: Codec,
    pub(crate) payload: Vec<u8>,
}

impl Said {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        Self {
            topic: record.topic.to_owned(),
            key: record.key.map(<[u8]>::to_vec),
            cause: record.cause.map(|cause| (cause.journal.to_owned(), cause.offset)),
            codec: record.codec,
            payload: record.payload.to_vec(),
        }
    }

    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            topic: &self.topic,
            key: self.key.as_deref(),
            cause: self.cause.as_ref().map(|(journal, offset)| Cause { journal, offset: *offset }),
            codec: self.codec,
            payload: &self.payload,
        }
    }

    /// The record that must lie at `offset`: topic, key, cause, codec and length vary with it.
    pub(crate) fn at(offset: u64) -> Self {
        let mut random = Random(offset ^ 0x5eed);
        let length = random.below(if offset.is_multiple_of(17) { 900 } else { 90 });
        Self {
            topic: format!("topic{}", random.below(4)),
            key: (random.below(3) == 0).then(|| offset.to_le_bytes()[..random.below(9)].to_vec()),
            cause: (random.below(3) == 0).then(|| (format!("source{}", random.below(3)), Offset(offset * 7))),
            codec: [Codec::Raw, Codec::Json, Codec::Bincode][random.below(3)],
            payload: (0..length).map(|_| random.byte()).collect(),
        }
    }
}

/// What a reader gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Record(Offset, Said),
    Gap(Gap),
}

/// Takes everything a reader has, in at most `steps_max` steps.
pub(crate) fn drain(reader: &mut Reader, steps_max: usize) -> Result<Vec<Got>> {
    let mut got = Vec::new();
    for _ in 0..steps_max {
        got.push(match reader.next()? {
            None => return Ok(got),
            Some(Item::Record(record)) => Got::Record(record.offset, Said::of(&record)),
            Some(Item::Gap(gap)) => Got::Gap(gap),
        });
    }
    panic!("the reader never ends: {:?}", &got[..got.len().min(40)]);
}

/// Reads a whole journal that a writer has been in.
pub(crate) fn read_all(instance: &Path, start: Start) -> Vec<Got> {
    let mut reader = Reader::open(instance, start, Level::Committed).unwrap().expect("a writer was there");
    drain(&mut reader, 1_000_000).unwrap()
}

/// The records of a journal that must have no gap.
pub(crate) fn read_records(instance: &Path, start: Start) -> Vec<(Offset, Said)> {
    let record = |got| match got {
        Got::Record(offset, said) => (offset, said),
        Got::Gap(gap) => panic!("unexpected {gap:?}"),
    };
    read_all(instance, start).into_iter().map(record).collect()
}

/// Small segments, synced only when asked.
///
/// Patient: a process that another test starts shares all locks from its fork to its exec.
pub(crate) fn small(segment_kib: u64) -> Options {
    let (segment_bytes, lock_patience) = (segment_kib << 10, Duration::from_secs(20));
    Options { segment_bytes, sync: SyncPolicy::Never, lock_patience, ..Options::default() }
}

/// The paths of an instance's segments, oldest first.
pub(crate) fn segments(instance: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(journal::journal_folder(instance))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

/// The first offset of a segment, by its file's name; `None` for another file.
pub(crate) fn base(path: &Path) -> Option<u64> {
    let stem = path.file_stem().filter(|_| path.extension().is_some_and(|extension| extension == "seg"))?;
    stem.to_str()?.parse().ok()
}

/// The first offsets of an instance's segments, oldest first.
pub(crate) fn bases(instance: &Path) -> Vec<u64> {
    segments(instance).iter().filter_map(|path| base(path)).collect()
}

/// Small segments, of which so many are kept whoever reads.
pub(crate) fn keeps(segments: u64) -> Options {
    let mut options = small(8);
    options.retention.bytes_kept = segments * options.segment_bytes;
    options
}

/// Appends the record that must lie at the next offset.
pub(crate) fn append(writer: &mut Writer) -> Result<Offset> {
    writer.append(&Said::at(writer.next_offset().0).entry())
}

/// Appends up to an offset.
pub(crate) fn append_until(writer: &mut Writer, end: u64) {
    while writer.next_offset().0 < end {
        append(writer).unwrap();
    }
}

/// The input that is acknowledged, by a writer that keeps it as a checkpoint as well.
pub(crate) fn acknowledged_input(writer: &Writer, position: impl Fn(u64) -> Position) -> u64 {
    let acknowledged = writer.acknowledged().find(|(subscription, _, _)| *subscription == "inputs");
    let input = acknowledged.map_or(0, |(_, journal, at)| {
        assert_eq!((journal, at), ("source", position(at.next.0)));
        at.next.0
    });
    let point = writer.checkpoint("input").map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()));
    assert_eq!(input, point, "acknowledgement and checkpoint are of one batch");
    input
}

/// Copies an instance's folder, but for files that are being made.
pub(crate) fn copy_instance(from: &Path, to: &Path) {
    fs::create_dir_all(journal::journal_folder(to)).unwrap();
    for name in ["cursors", "journal/marks"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
    for path in segments(from) {
        fs::copy(&path, journal::journal_folder(to).join(path.file_name().unwrap())).unwrap();
    }
}

/// SplitMix64: repeatable, and good enough to choose with.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A generator whose seed is printed, and may be given by `JOURNAL_SEED`.
    pub(crate) fn announced() -> Self {
        let given = std::env::var("JOURNAL_SEED").ok().and_then(|text| text.parse().ok());
        let clock =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        let seed = given.unwrap_or_else(|| u64::from(clock) ^ u64::from(std::process::id()) << 32);
        println!("JOURNAL_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Waits for a condition; the deadline is for a machine that is very busy.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// A process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Runs one test of this binary in a process of its own, with `instance` in its environment.
    pub(crate) fn child(test: &str, instance: &Path) -> Self {
        Self::child_with(test, instance, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn child_with(test: &str, instance: &Path, environment: &[(&str, &str)]) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.args([test, "--exact", "--nocapture", "--quiet"]).env(CHILD, instance);
        command.envs(environment.iter().copied());
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// The same in a PID namespace of its own, which ends with it; `None`, said plainly, where that is not allowed.
    pub(crate) fn in_pid_namespace(test: &str, instance: &Path) -> Option<Self> {
        let unshare = ["--pid", "--fork", "--kill-child", "--mount-proc", "--map-root-user"];
        let allowed = Command::new("unshare").args(unshare).arg("true").output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            println!("NOT TESTED: no PID namespace can be made here");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(unshare).arg(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture", "--quiet"]).env(CHILD, instance);
        Some(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CHILD: &str = "JOURNAL_TEST_CHILD";

/// The instance to work in, if this process was started by [`Process::child`].
pub(crate) fn as_child() -> Option<PathBuf> {
    let instance = std::env::var_os(CHILD).map(PathBuf::from)?;
    // Its owner may be killed before it can end it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    Some(instance)
}

/// How long a test of chance goes on: `short` in the ordinary suite, as long as `PROCESSION_PROVE_SECONDS` says in
/// one that is to prove something.
pub(crate) fn prove_time(short: Duration) -> Duration {
    let seconds = std::env::var("PROCESSION_PROVE_SECONDS").ok();
    seconds.map_or(short, |text| {
        Duration::from_secs(text.parse().expect("PROCESSION_PROVE_SECONDS is a number"))
    })
}

/// Where syncing costs nothing, for tests that sync often and lose no power.
pub(crate) fn fast_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
