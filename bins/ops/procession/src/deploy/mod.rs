//! `procession deploy`: development and production from one description of the swarm.
//!
//! `deploy/swarm.toml` says which processes there are; everything that process-compose and systemd
//! need is written from it, and checked against it by a test. Nothing here is edited by hand.

mod compose;
mod generated;
mod swarm;
mod systemd;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};

use crate::output::Output;
use crate::report::failure;

pub(crate) use generated::replace;
pub(crate) use swarm::{Network, check_name};

use generated::{Author, GENERATED, author, read, sealed};
use swarm::{Process, Swarm};

/// Where the description is, below the root of the repository.
pub(crate) const DESCRIPTION: &str = "deploy/swarm.toml";
const UNITS: &str = "deploy/systemd";

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
        /// Overwrite and remove also what was changed since it was written, or what something else wrote.
        #[arg(long, conflicts_with = "check")]
        force: bool,
    },
}

/// Runs `procession deploy …` for the repository around the current folder.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let current = env::current_dir().context("the current folder can't be determined")?;
    let root = root(&current)?;
    let Command::Generate { check, force } = args.command;
    let drift = drift(&root, &description(&root)?)?;
    if !check {
        if !force {
            refuse_others(&drift)?;
        }
        for change in &drift {
            change.apply(&root)?;
            writeln!(out, "{change}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    for change in &drift {
        let hand = if change.author == Author::Us { "" } else { ", changed by hand" };
        note!("differs from {DESCRIPTION}{hand}: {}", change.path.display());
    }
    if drift.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    note!("run `just generate`");
    Ok(ExitCode::FAILURE)
}

/// # Errors
/// A change would overwrite or remove what we didn't write, or what was changed since. Names each of them.
fn refuse_others(changes: &[Change]) -> Result<()> {
    let others: Vec<_> = changes.iter().filter(|change| change.author != Author::Us).collect();
    if others.is_empty() {
        return Ok(());
    }
    let mut what = "nothing was written:".to_owned();
    for change in others {
        let why = match change.author {
            Author::Changed => "was changed by hand, or written by an earlier version",
            Author::Us | Author::Somebody => "wasn't generated",
        };
        what.push_str(&format!("\n  {} {why}", change.path.display()));
    }
    let advice = format!(
        "move it away, or bring what it adds to {DESCRIPTION}, to settings or to a drop-in of its own; then \
         `procession deploy generate --force` overwrites it"
    );
    Err(failure(what, advice))
}

/// The root of the repository: the nearest folder upward that has a description of a swarm.
pub(crate) fn root(from: &Path) -> Result<PathBuf> {
    let mut upward = from.ancestors();
    let found = upward.find(|folder| folder.join(DESCRIPTION).is_file());
    found.map(Path::to_owned).ok_or_else(|| {
        anyhow!("there is no {DESCRIPTION} in {} or above: run this in the repository", from.display())
    })
}

/// The processes of the swarm that is described in the repository around a folder.
///
/// # Errors
/// There is none, or it can't be read.
pub(crate) fn described(from: &Path) -> Result<Vec<Process>> {
    Ok(Swarm::parse(&description(&root(from)?)?)?.processes)
}

/// A process to be added to the description, and what follows from it.
#[derive(Debug)]
pub(crate) struct Addition {
    description: String,
    changes: Vec<Change>,
}

/// Prepares to add a process to the description, for `procession new`; nothing is written yet.
///
/// # Errors
/// The name is taken or not valid, a file can't be read, or one is in the way that we didn't write.
pub(crate) fn addition(
    root: &Path,
    name: &str,
    context: &str,
    about: &str,
    network: Network,
) -> Result<Addition> {
    let mut text = description(root)?;
    text.push_str(&swarm::entry(name, context, about, network)?);
    let changes = drift(root, &text).with_context(|| format!("`{name}` can't be added to {DESCRIPTION}"))?;
    refuse_others(&changes)?;
    Ok(Addition { description: text, changes })
}

impl Addition {
    /// Writes the description and all that is generated from it; returns what was written.
    ///
    /// # Errors
    /// A file can't be written. Others may have been: `just generate` completes them.
    pub(crate) fn apply(self, root: &Path) -> Result<Vec<PathBuf>> {
        replace(&root.join(DESCRIPTION), &self.description)?;
        let mut written = vec![PathBuf::from(DESCRIPTION)];
        for change in self.changes {
            change.apply(root)?;
            written.push(change.path);
        }
        Ok(written)
    }
}

/// A difference between the description and a file.
#[derive(Debug)]
struct Change {
    path: PathBuf,
    /// Who wrote what is there now; we, if nothing is.
    author: Author,
    /// What the file is to hold; none: the file is of a process that is gone.
    text: Option<String>,
}

impl Change {
    fn apply(&self, root: &Path) -> Result<()> {
        let path = root.join(&self.path);
        match &self.text {
            Some(text) => replace(&path, text),
            None => fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display())),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let done = if self.text.is_some() { "wrote" } else { "removed" };
        write!(f, "{done} {}", self.path.display())
    }
}

fn description(root: &Path) -> Result<String> {
    let path = root.join(DESCRIPTION);
    fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))
}

/// What differs from a description, in a stable order.
fn drift(root: &Path, description: &str) -> Result<Vec<Change>> {
    let swarm = Swarm::parse(description).with_context(|| root.join(DESCRIPTION).display().to_string())?;
    let wanted = files(&swarm)?;
    let mut changes = left_over(root, &wanted)?;
    for (path, text) in wanted {
        let found = read(&root.join(&path))?;
        if found.as_deref() != Some(text.as_bytes()) {
            let author = found.map_or(Author::Us, |found| author(&found));
            changes.push(Change { path, author, text: Some(text) });
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
    for (_, text) in &mut files {
        *text = sealed(text);
    }
    Ok(files)
}

/// Files beside the wanted ones that we wrote once. What others put there is none of our business.
fn left_over(root: &Path, wanted: &[(PathBuf, String)]) -> Result<Vec<Change>> {
    let wanted: BTreeSet<&Path> = wanted.iter().map(|(path, _)| path.as_path()).collect();
    let parents = wanted.iter().filter_map(|path| path.parent());
    // The root itself isn't ours.
    let folders: BTreeSet<&Path> = parents.filter(|folder| !folder.as_os_str().is_empty()).collect();
    let mut left_over = Vec::new();
    for folder in folders {
        let entries = match fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("can't read {}", folder.display())),
        };
        for entry in entries {
            let path = folder.join(entry?.file_name());
            if !root.join(&path).is_file() || wanted.contains(path.as_path()) {
                continue;
            }
            let author = read(&root.join(&path))?.map_or(Author::Somebody, |text| author(&text));
            if author != Author::Somebody {
                left_over.push(Change { path, author, text: None });
            }
        }
    }
    left_over.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(left_over)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn the_committed_files_are_those_of_the_description() {
        let root = repository();
        let drift = drift(&root, &description(&root).unwrap()).unwrap();
        assert!(drift.is_empty(), "run `just generate`: {drift:#?}");
    }

    /// A folder with our description, and everything generated from it.
    fn generated() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deploy")).unwrap();
        fs::copy(repository().join(DESCRIPTION), folder.path().join(DESCRIPTION)).unwrap();
        for change in changes(folder.path()) {
            change.apply(folder.path()).unwrap();
        }
        folder
    }

    fn changes(root: &Path) -> Vec<Change> {
        drift(root, &description(root).unwrap()).unwrap()
    }

    #[test]
    fn a_process_is_added_and_taken_away() {
        let folder = generated();
        let root = folder.path();
        let before = description(root).unwrap();
        let unit = Path::new("deploy/systemd/procession-shout.service");
        let add = |name: &str| addition(root, name, "hive", "Shouts", Network::Local);
        let written = add("shout").unwrap().apply(root).unwrap();
        assert!(written.iter().any(|path| path == unit), "{written:?}");
        assert!(changes(root).is_empty());
        assert!(fs::read_to_string(root.join("process-compose.yaml")).unwrap().contains("\n  shout:\n"));
        assert!(add("shout").is_err(), "added twice");

        fs::write(root.join(DESCRIPTION), &before).unwrap();
        for change in changes(root) {
            change.apply(root).unwrap();
        }
        assert!(!root.join(unit).exists());
        assert!(changes(root).is_empty());
    }

    #[test]
    fn what_is_not_ours_is_never_overwritten_nor_removed() {
        let folder = generated();
        let root = folder.path();
        let own = root.join("deploy/systemd/my-own.service");
        fs::write(&own, "[Service]\nExecStart=/bin/true\n").unwrap();
        assert!(changes(root).is_empty(), "what somebody put there is left alone");

        // Changed by hand, written by somebody else, and changed by hand while its process is taken away.
        let changed = root.join("deploy/systemd/procession-bot.service");
        let text = fs::read_to_string(&changed).unwrap().replace("MemoryMax=512M", "MemoryMax=1G");
        fs::write(&changed, &text).unwrap();
        fs::write(root.join("process-compose.yaml"), "version: \"0.5\"\n").unwrap();
        let gone = root.join("deploy/systemd/procession-bank.service");
        fs::write(&gone, format!("{}# mine\n", fs::read_to_string(&gone).unwrap())).unwrap();
        let without_bank = description(root).unwrap().replace("\"bank\"", "\"banker\"");
        fs::write(root.join(DESCRIPTION), without_bank).unwrap();

        let found = changes(root);
        let refused = refuse_others(&found).unwrap_err().to_string();
        for part in [
            "procession-bot.service was changed",
            "process-compose.yaml wasn't generated",
            "procession-bank.service was changed",
        ] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(!refused.contains("my-own") && !refused.contains("banker"), "{refused}");
        let added = addition(root, "shout", "hive", "Shouts", Network::Local);
        assert!(added.unwrap_err().to_string().contains("nothing was written"));

        // By force it is.
        for change in found {
            change.apply(root).unwrap();
        }
        assert!(changes(root).is_empty() && own.is_file() && !gone.exists());
    }

    #[test]
    fn the_steps_of_the_installation_name_every_program_and_file() {
        let root = repository();
        let swarm = Swarm::parse(&description(&root).unwrap()).unwrap();
        let readme = fs::read_to_string(root.join("deploy/README.md")).unwrap();
        // The step takes the programs from the units: it is run, and must find each of them.
        let step =
            readme.lines().find_map(|line| line.strip_prefix("    install -m 755 -t /usr/lib/procession "));
        let mut shell = std::process::Command::new("sh");
        let found =
            shell.current_dir(&root).args(["-c", &format!("printf '%s\\n' {}", step.unwrap())]).output();
        let found = String::from_utf8(found.unwrap().stdout).unwrap();
        let found: BTreeSet<_> = found.lines().collect();
        let programs = swarm.processes.iter().map(|process| format!("target/release/{}", process.name));
        let programs: Vec<_> = programs.collect();
        assert_eq!(found, programs.iter().map(String::as_str).collect(), "{step:?}");
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
