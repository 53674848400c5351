//! Who lives, who should and doesn't, and who doesn't stay up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use procession::names::Instance;

use super::Finding;
use crate::deploy;
use crate::home::{Home, PRODUCTION};
use crate::past::{self, Letters};

const CHECK: &str = "processes";
/// The target of an installation, as deploy/README.md puts it.
const TARGET: &str = "/etc/systemd/system/procession.target";
/// More starts than whoever mends something needs.
const STARTS_MAX: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);

/// Who lives, and what is wrong with those that don't or didn't a moment ago.
pub(super) fn look(home: &Home) -> (Vec<Instance>, Vec<Finding>) {
    let Ok(instances) = home.instances() else {
        // That is found by the check of the journals.
        return (Vec::new(), Vec::new());
    };
    if !instances.iter().any(|instance| home.has_journal(instance) || home.has_lived(instance)) {
        let found = format!("none has run in {}", home.folders.state.display());
        return (Vec::new(), vec![Finding::fail(CHECK, found, home.advice_for_none())]);
    }
    let wanted = wanted_by_target(home);
    let (mut alive, mut findings) = (Vec::new(), Vec::new());
    for instance in instances {
        match journal::is_locked(&home.folder(&instance)) {
            Ok(true) => {
                findings.extend(restarting(home, &instance));
                alive.push(instance);
            }
            // Nobody has begun to live here, or nothing would start it: it may rest.
            Ok(false) if !home.has_lived(&instance) => {}
            Ok(false) if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&instance)) => {}
            Ok(false) => findings.push(restarting(home, &instance).unwrap_or_else(|| down(home, &instance))),
            Err(error) => findings.push(Finding::fail(
                CHECK,
                format!("it can't be seen whether {instance} runs: {error}"),
                "join the group of the processes",
            )),
        }
    }
    findings.extend(never_started(home, wanted, &alive));
    (alive, findings)
}

fn down(home: &Home, instance: &Instance) -> Finding {
    let mend = format!(
        "see its log, and start it; if it isn't wanted any more, remove {}",
        home.folder(instance).display()
    );
    Finding::fail(CHECK, format!("{instance} doesn't run{}", death(home, instance)), mend)
}

fn restarting(home: &Home, instance: &Instance) -> Option<Finding> {
    let now = SystemTime::now();
    let is_new = |start: &&SystemTime| now.duration_since(**start).is_ok_and(|ago| ago < MINUTE);
    let starts = procession::recent_starts(&home.folder(instance)).iter().filter(is_new).count();
    let found = || {
        let death = death(home, instance);
        format!("{instance} restarts again and again: {starts} times or more within the last minute{death}")
    };
    (starts > STARTS_MAX).then(|| Finding::fail(CHECK, found(), "see its log for what ends it"))
}

fn death(home: &Home, instance: &Instance) -> String {
    let death = past::death_of(home, instance);
    let lines = past::lines("it", None, death.as_ref(), Letters::Unasked);
    lines.into_iter().map(|line| format!("; {line}")).collect()
}

/// The instances that the target of this machine starts; none if this isn't its application, or it can't be read.
fn wanted_by_target(home: &Home) -> Option<BTreeSet<Instance>> {
    if home.folders.state != Path::new(PRODUCTION[0]) {
        return None;
    }
    let text = fs::read_to_string(TARGET).ok()?;
    let name = |line: &str| {
        let unit = line.strip_prefix("Wants=procession-")?.strip_suffix(".service")?;
        Instance::new(unit).ok()
    };
    Some(text.lines().filter_map(name).collect())
}

/// Those that have left no trace, though they should run: what ends at once, over a wrong setting say, leaves none.
fn never_started(home: &Home, by_target: Option<BTreeSet<Instance>>, alive: &[Instance]) -> Vec<Finding> {
    let (wanted, by) = match by_target {
        Some(wanted) => (wanted, "procession.target"),
        None => (wanted_beside(alive), deploy::DESCRIPTION),
    };
    let missing = wanted.into_iter().filter(|instance| {
        !home.has_lived(instance) && journal::is_locked(&home.folder(instance)).is_ok_and(|lives| !lives)
    });
    let finding = |instance: Instance| {
        let found = format!("{instance} has never run here, and {by} has it");
        Finding::fail(CHECK, found, "see its log for what keeps it from starting; or start it")
    };
    missing.map(finding).collect()
}

/// The instances of contexts of which others run, by the description of the swarm in the repository around the current
/// folder. A context that nobody has started isn't missed.
fn wanted_beside(alive: &[Instance]) -> BTreeSet<Instance> {
    let lives = |name: &str| alive.iter().any(|instance| instance.process() == name);
    let described = std::env::current_dir().ok().and_then(|current| deploy::described(&current).ok());
    let described = described.unwrap_or_default();
    let runs = |context: &str| described.iter().any(|other| other.context == context && lives(&other.name));
    described
        .iter()
        .filter(|process| process.enabled && runs(&process.context))
        .flat_map(|process| process.instances())
        .filter_map(|instance| Instance::new(instance).ok())
        .collect()
}
