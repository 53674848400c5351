//! `procession deploy`: development and production from one description of the swarm.
//!
//! `deploy/swarm.toml` says which processes there are; everything that process-compose and systemd
//! need is written from it, and checked against it by a test. Nothing here is edited by hand.

mod compose;
mod swarm;
mod systemd;

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};

pub(crate) use swarm::Network;
use swarm::Swarm;

/// Where the description is, below the root of the repository.
const DESCRIPTION: &str = "deploy/swarm.toml";
const UNITS: &str = "deploy/systemd";
const GENERATED: &str =
    "# Written by `just generate` from deploy/swarm.toml: change that page, not this one.\n";

/// Development and production from one description of the swarm.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write process-compose.yaml, systemd units, users and folders from deploy/swarm.toml.
    Generate {
        /// Write nothing: say what differs, and exit with 1 if anything does.
        #[arg(long)]
        check: bool,
    },
}

/// Runs `procession deploy …` for the repository around the current folder.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let current = env::current_dir().context("the current folder can't be determined")?;
    let root = root(&current)?;
    let Command::Generate { check } = args.command;
    let drift = drift(&root)?;
    if !check {
        for change in &drift {
            change.apply(&root)?;
            println!("{change}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    for change in &drift {
        eprintln!("differs from {DESCRIPTION}: {}", change.path().display());
    }
    if drift.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("run `just generate`");
    Ok(ExitCode::FAILURE)
}

/// The root of the repository: the nearest folder upward that has a description of a swarm.
pub(crate) fn root(from: &Path) -> Result<PathBuf> {
    let mut upward = from.ancestors();
    let found = upward.find(|folder| folder.join(DESCRIPTION).is_file());
    found.map(Path::to_owned).ok_or_else(|| {
        anyhow!("there is no {DESCRIPTION} in {} or above: run this in the repository", from.display())
    })
}

/// Adds a process to the description and writes all files again: for `procession new`.
/// Returns what was written.
///
/// # Errors
/// The name is taken or not valid, or a file can't be read or written. Then nothing has changed but, at
/// worst, some of the files: `just generate` completes them.
pub(crate) fn add(
    root: &Path,
    name: &str,
    context: &str,
    description: &str,
    network: Network,
) -> Result<Vec<PathBuf>> {
    let path = root.join(DESCRIPTION);
    let mut text = read(&path)?.unwrap_or_default();
    text.push_str(&swarm::entry(name, context, description, network)?);
    Swarm::parse(&text).with_context(|| format!("`{name}` can't be added to {DESCRIPTION}"))?;
    fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    let mut written = vec![PathBuf::from(DESCRIPTION)];
    for change in drift(root)? {
        change.apply(root)?;
        written.push(change.path().to_owned());
    }
    Ok(written)
}

/// A difference between the description and a file.
#[derive(Debug)]
enum Change {
    /// The file is missing, or has other text than this.
    Write(PathBuf, String),
    /// The file is of a process that is gone.
    Remove(PathBuf),
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Change::Write(path, _) | Change::Remove(path) => path,
        }
    }

    fn apply(&self, root: &Path) -> Result<()> {
        let path = root.join(self.path());
        let done = match self {
            Change::Remove(_) => fs::remove_file(&path),
            Change::Write(_, text) => {
                let folder = path.parent().unwrap_or(root);
                fs::create_dir_all(folder).and_then(|()| fs::write(&path, text))
            }
        };
        done.with_context(|| format!("can't write {}", path.display()))
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Write(path, _) => write!(f, "wrote {}", path.display()),
            Change::Remove(path) => write!(f, "removed {}", path.display()),
        }
    }
}

/// What differs from the description, in a stable order.
fn drift(root: &Path) -> Result<Vec<Change>> {
    let path = root.join(DESCRIPTION);
    let text = read(&path)?.ok_or_else(|| anyhow!("{} is missing", path.display()))?;
    let swarm = Swarm::parse(&text).with_context(|| path.display().to_string())?;
    let wanted = files(&swarm)?;
    let mut changes: Vec<Change> = left_over(root, &wanted)?.into_iter().map(Change::Remove).collect();
    for (path, text) in wanted {
        if read(&root.join(&path))?.as_deref() != Some(&text) {
            changes.push(Change::Write(path, text));
        }
    }
    Ok(changes)
}

/// Every generated file, with its path below the root.
fn files(swarm: &Swarm) -> Result<Vec<(PathBuf, String)>> {
    let units = Path::new(UNITS);
    let mut files = vec![
        ("process-compose.yaml".into(), compose::file(swarm)?),
        ("deploy/sysusers.d/procession.conf".into(), systemd::sysusers(swarm)?),
        ("deploy/tmpfiles.d/procession.conf".into(), systemd::tmpfiles(swarm)?),
        ("deploy/systemd-254/procession-.service.d/20-growing-delay.conf".into(), systemd::growing_delay()),
        (units.join(systemd::TARGET), systemd::target(swarm)?),
        (units.join(systemd::COMMON), systemd::common()),
    ];
    for process in &swarm.processes {
        files.push((units.join(systemd::unit_name(process)), systemd::unit(process)?));
    }
    Ok(files)
}

/// Units that aren't among the wanted files.
fn left_over(root: &Path, wanted: &[(PathBuf, String)]) -> Result<Vec<PathBuf>> {
    let folder = match fs::read_dir(root.join(UNITS)) {
        Ok(folder) => folder,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("can't read {UNITS}")),
    };
    let mut left_over = Vec::new();
    for entry in folder {
        let path = Path::new(UNITS).join(entry?.file_name());
        let unit = path.extension().is_some_and(|extension| extension == "service");
        if unit && wanted.iter().all(|(wanted, _)| *wanted != path) {
            left_over.push(path);
        }
    }
    left_over.sort();
    Ok(left_over)
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn the_committed_files_are_those_of_the_description() {
        let drift = drift(&repository()).unwrap();
        assert!(drift.is_empty(), "run `just generate`: {drift:#?}");
    }

    #[test]
    fn a_process_is_added_and_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("deploy")).unwrap();
        let text = read(&repository().join(DESCRIPTION)).unwrap().unwrap();
        fs::write(root.join(DESCRIPTION), &text).unwrap();

        let unit = Path::new("deploy/systemd/procession-shout.service");
        let written = add(root, "shout", "hive", "Shouts", Network::Local).unwrap();
        assert!(written.iter().any(|path| path == unit), "{written:?}");
        assert!(drift(root).unwrap().is_empty());
        assert!(read(&root.join("process-compose.yaml")).unwrap().unwrap().contains("\n  shout:\n"));
        assert!(add(root, "shout", "hive", "Shouts", Network::Local).is_err(), "added twice");

        fs::write(root.join(DESCRIPTION), &text).unwrap();
        for change in drift(root).unwrap() {
            change.apply(root).unwrap();
        }
        assert!(!root.join(unit).exists());
        assert!(drift(root).unwrap().is_empty());
    }

    #[test]
    fn the_steps_of_the_installation_name_every_program_and_file() {
        let root = repository();
        let swarm = Swarm::parse(&read(&root.join(DESCRIPTION)).unwrap().unwrap()).unwrap();
        let readme = read(&root.join("deploy/README.md")).unwrap().unwrap();
        let mut names: Vec<_> = swarm.processes.iter().map(|process| process.name.as_str()).collect();
        names.sort_unstable();
        let step = format!("    install -m 755 -t /usr/lib/procession {}\n", names.join(" "));
        assert!(readme.contains(&step), "deploy/README.md needs this line:\n{step}");
        for (path, _) in files(&swarm).unwrap() {
            let folder = path.parent().unwrap().to_str().unwrap();
            assert!(folder.is_empty() || readme.contains(folder), "{} isn't installed", path.display());
        }
    }

    #[test]
    fn the_root_is_found_from_below() {
        assert_eq!(root(&repository().join("crates/journal/src")).unwrap(), repository());
        let error = root(Path::new("/")).unwrap_err().to_string();
        assert!(error.contains(DESCRIPTION), "{error}");
    }
}
