//! Runs a work under callgrind, and reads how many instructions it took.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::works::{SPEAKER, Work};

const RUNS_OF_THREADS: u32 = 3;

/// What the C library's allocator costs depends on where blocks happen to lie, unless it keeps all that are given back
/// in lists by size.
const TUNABLES: &str = "glibc.malloc.tcache_count=30000:glibc.malloc.tcache_max=65536:glibc.malloc.mxfast=0";

/// Instructions for doing the work once. Where several threads take part, how often one waits for the other is chance:
/// the fewest of some runs count.
pub(crate) fn count(work: Work) -> anyhow::Result<f64> {
    let runs = if work.is_of_all_threads() { RUNS_OF_THREADS } else { 1 };
    (0..runs).try_fold(f64::INFINITY, |least, _| Ok(least.min(count_once(work)?)))
}

/// What twice as many take more, so that start and end don't count.
fn count_once(work: Work) -> anyhow::Result<f64> {
    let times = work.times();
    let run = |times| move || instructions(work, times);
    let (short, long) = std::thread::scope(|scope| {
        let [short, long] = [times, times * 2].map(|times| scope.spawn(run(times)));
        (short.join().expect("it doesn't panic"), long.join().expect("it doesn't panic"))
    });
    let (short, long) = (short?, long?);
    ensure!(long > short, "{work:?} took {short} instructions for {times}, {long} for twice as many");
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    Ok((long - short) as f64 / times as f64)
}

/// Does the work so many times in a home of its own.
fn instructions(work: Work, times: u64) -> anyhow::Result<u64> {
    let home = tempfile::Builder::new().prefix("procession-guard-").tempdir()?;
    for folder in ["state", "run"].map(|folder| home.path().join(folder)) {
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let this = std::env::current_exe().context("cannot find this executable")?;
    if work.hears() {
        run(Command::new(&this), home.path(), Work::Publish, times, &["--instance", SPEAKER])?;
    }
    let mut valgrind = Command::new("valgrind");
    // What a user sets for valgrind must not change what is counted.
    valgrind.env_remove("VALGRIND_OPTS").env("GLIBC_TUNABLES", TUNABLES);
    valgrind.args(["--quiet", "--tool=callgrind", "--separate-threads=yes"]);
    valgrind.arg(format!("--callgrind-out-file={}", home.path().join("counts").display()));
    if let Some(function) = work.within() {
        valgrind.arg(format!("--toggle-collect={function}"));
    }
    valgrind.arg(this);
    run(valgrind, home.path(), work, times, &[])?;
    let threads = threads(home.path())?;
    let counted = if work.is_of_all_threads() { &threads[..] } else { &threads[..1] };
    counted.iter().map(|path| total(path)).sum()
}

/// Runs one of our processes to its end. `command` is what comes before its arguments.
fn run(mut command: Command, home: &Path, work: Work, times: u64, more: &[&str]) -> anyhow::Result<()> {
    let name = work.name();
    command.args(["run", "--log-level", "warn", "--work", &name, "--times", &times.to_string()]);
    let output = command
        .args(more)
        .current_dir(home)
        .env("PROCESSION_STATE", home.join("state"))
        .env("PROCESSION_RUNTIME", home.join("run"))
        .env("PROCESSION_CONFIG", home)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{name}` ended with {}:\n{said}", output.status);
    Ok(())
}

/// The files of all threads, that of the main one first.
fn threads(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("counts-")) {
            paths.push(path);
        }
    }
    paths.sort();
    ensure!(!paths.is_empty(), "callgrind wrote no counts to {}", folder.display());
    Ok(paths)
}

/// What a file of callgrind's says that a thread took.
fn total(path: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.with_context(|| format!("{} has no totals", path.display()))?;
    total.trim().parse().with_context(|| format!("{} has strange totals", path.display()))
}
