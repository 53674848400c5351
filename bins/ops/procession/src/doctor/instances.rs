//! The instances: their sockets, their journals, and how they are.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use journal::{Error, GapReason, Item, Level, Reader, Start};
use procession::interfaces::process::{GetHealth, GetStatus, Health, Status};
use procession::names::Instance;
use tokio::task::JoinSet;

use super::{Finding, lives};
use crate::dead_letters::open_letters;
use crate::home::Home;
use crate::past::{self, Letters};
use crate::socket::{self, NoAnswer, Verdict, block_on};
use crate::text::Count;

const PATIENCE: Duration = Duration::from_secs(3);

/// Sockets that nobody listens on.
pub(super) fn sockets(home: &Home) -> Vec<Finding> {
    const CHECK: &str = "sockets";
    let sockets = match home.sockets() {
        Ok(sockets) => sockets,
        Err(error) => {
            return vec![Finding::fail(CHECK, format!("{error:#}"), "join the group of the processes")];
        }
    };
    let is_stale = |instance: &&Instance| !journal::is_locked(&home.folder(instance)).unwrap_or(true);
    let stale: Vec<_> =
        sockets.iter().filter(is_stale).filter_map(|instance| home.folders.socket(instance).ok()).collect();
    if stale.is_empty() {
        return vec![Finding::ok(
            CHECK,
            format!("{}, none left behind", Count(sockets.len() as u64, "socket")),
        )];
    }
    let left = |path: &std::path::PathBuf| {
        let mend = format!("nothing: the next start replaces it; or rm {}", path.display());
        Finding::warn(CHECK, format!("{} was left behind by a process that was killed", path.display()), mend)
    };
    stale.iter().map(left).collect()
}

/// Whether each journal can be opened; `procession verify` reads all of them.
pub(super) fn journals(home: &Home) -> Vec<Finding> {
    const CHECK: &str = "journals";
    let instances = match home.instances() {
        Ok(instances) => instances,
        Err(error) => {
            return vec![Finding::fail(CHECK, format!("{error:#}"), "join the group of the processes")];
        }
    };
    let trouble = |instance: &Instance| {
        let (found, mend) = journal_trouble(home, instance)?;
        Some(Finding::fail(CHECK, format!("{instance}: {found}"), mend))
    };
    let mut findings: Vec<_> = instances.iter().filter_map(trouble).collect();
    if instances.is_empty() {
        findings.push(Finding::ok(CHECK, "none"));
    } else if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!("{}, all can be opened", Count(instances.len() as u64, "journal")),
        ));
    }
    findings
}

fn journal_trouble(home: &Home, instance: &Instance) -> Option<(String, String)> {
    let folder = home.folder(instance);
    let verify = format!("procession verify {instance}");
    match journal::read_marks(&folder) {
        Err(error) => return Some((error.to_string(), mend_of(&error, &verify))),
        Ok(None) if home.has_journal(instance) => {
            return Some((
                "its marks are damaged".to_owned(),
                format!("restart it, which mends them, then {verify}"),
            ));
        }
        Ok(_) => {}
    }
    if let Err(error) = journal::read_cursors(&folder) {
        return Some((error.to_string(), mend_of(&error, &verify)));
    }
    let first = Reader::open(&folder, Start::Beginning, Level::Committed);
    match first.and_then(|reader| reader.map_or(Ok(None), |mut reader| Ok(first_gap(reader.next()?)))) {
        Err(error) => Some((error.to_string(), mend_of(&error, &verify))),
        Ok(Some(GapReason::Corrupt)) => Some(("its first record is damaged".to_owned(), verify)),
        Ok(_) => None,
    }
}

fn first_gap(item: Option<Item<'_>>) -> Option<GapReason> {
    match item {
        Some(Item::Gap(gap)) => Some(gap.reason),
        _ => None,
    }
}

fn mend_of(error: &Error, verify: &str) -> String {
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "join the group of the processes".to_owned()
        }
        Error::ForeignVersion { .. } => "use the programs of the version that wrote it".to_owned(),
        _ => verify.to_owned(),
    }
}

/// Whether there are events that nobody could deal with, and nobody has decided about.
pub(super) fn letters(home: &Home) -> Vec<Finding> {
    const CHECK: &str = "dead letters";
    let mut findings = Vec::new();
    for instance in home.instances().unwrap_or_default() {
        // A journal that can't be read is another check's.
        let letters = open_letters(home, &instance).map_or(0, |letters| letters.len() as u64);
        if letters > 0 {
            let found = format!("{instance} has {} open", Count(letters, "letter"));
            findings.push(Finding::warn(CHECK, found, format!("procession dead-letters list {instance}")));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "none open"));
    }
    findings
}

/// Whether those that should run do, are well, and run what is installed.
pub(super) fn processes(home: &Home) -> Result<Vec<Finding>> {
    const CHECK: &str = "processes";
    let (running, mut findings) = lives::look(home);
    let asked = block_on(async {
        let mut asking = JoinSet::new();
        for instance in running {
            let home = home.clone();
            asking.spawn(async move { (ask(&home, &instance).await, instance) });
        }
        Ok(asking.join_all().await)
    })?;
    let mut versions = Vec::new();
    for (answer, instance) in asked {
        match answer {
            Ok((status, health)) => {
                let uptime = Some(Duration::from_millis(health.uptime_ms));
                for line in
                    past::lines(instance.as_str(), uptime, health.last_death.as_ref(), Letters::Unasked)
                {
                    findings.push(Finding::warn(CHECK, line, "see its log"));
                }
                match socket::verdict(&health) {
                    Verdict::Well => {}
                    Verdict::Unknown(why) => findings.push(refused(&instance, &why)),
                    Verdict::Waiting(why) => findings.push(Finding::fail(
                        CHECK,
                        format!("{instance} waits: {why}"),
                        "mend what it waits for; restarting it doesn't help",
                    )),
                    Verdict::Unwell(why) => findings.push(Finding::fail(
                        CHECK,
                        format!("{instance}: {why}"),
                        "see its log; restart it",
                    )),
                }
                let holder = journal::holder(&home.folder(&instance)).ok().flatten();
                if holder.and_then(|holder| holder.pid_here()).is_some_and(runs_replaced_program) {
                    let found = format!("{instance} runs a program that has been replaced since it started");
                    findings.push(Finding::warn(CHECK, found, "restart it"));
                }
                versions.push(format!("{instance} {}", status.version));
            }
            Err(silence) if silence.is_refusal() => findings.push(refused(&instance, &silence.reason())),
            Err(silence) => {
                let found = format!("{instance}: {}", silence.reason());
                findings.push(Finding::fail(CHECK, found, "see its log; restart it"));
            }
        }
    }
    if findings.is_empty() {
        versions.sort();
        let which = if versions.is_empty() {
            "none runs".to_owned()
        } else {
            format!("all well: {}", versions.join(", "))
        };
        findings.push(Finding::ok(CHECK, which));
    }
    Ok(findings)
}

/// Whether it is well isn't known.
fn refused(instance: &Instance, why: &str) -> Finding {
    let mend = "ask as root, as its own user, or as one that its `process.socket.allow_read` names";
    Finding::fail("processes", format!("{instance}: {why}"), mend)
}

async fn ask(home: &Home, instance: &Instance) -> Result<(Status, Health), NoAnswer> {
    let mut client = socket::connect(home, instance, PATIENCE).await?;
    let status = socket::ask(&mut client, &GetStatus {}).await?;
    Ok((status, socket::ask(&mut client, &GetHealth {}).await?))
}

fn runs_replaced_program(pid: u32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|path| path.as_os_str().to_string_lossy().ends_with(" (deleted)"))
}
