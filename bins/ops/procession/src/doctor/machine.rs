//! What the machine gives to its processes.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Finding;

const FILES_MIN: u64 = 1024;
/// A subscriber takes one for each subscription, and the default is 128 for all programs of a user.
const INOTIFY_INSTANCES_MIN: u64 = 128;
const INOTIFY_WATCHES_MIN: u64 = 4096;

/// What is installed here.
pub(super) fn versions() -> Finding {
    let system = rustix::system::uname();
    let found = format!(
        "procession {}, journal format {}, {} {} on {}",
        env!("CARGO_PKG_VERSION"),
        journal::FORMAT_VERSION,
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy(),
    );
    Finding::ok("versions", found)
}

/// Limits that processes run into.
pub(super) fn limits() -> Vec<Finding> {
    vec![
        files(),
        inotify("max_user_instances", INOTIFY_INSTANCES_MIN),
        inotify("max_user_watches", INOTIFY_WATCHES_MIN),
    ]
}

fn files() -> Finding {
    const CHECK: &str = "open files";
    let mend = format!("ulimit -n {FILES_MIN}; LimitNOFILE= in a unit");
    match getrlimit(Resource::Nofile).current {
        Some(limit @ ..FILES_MIN) => Finding::warn(CHECK, format!("at most {limit} for each process"), mend),
        Some(limit) => Finding::ok(CHECK, format!("at most {limit} for each process")),
        None => Finding::ok(CHECK, "no limit"),
    }
}

/// Subscribers notice new instances by inotify.
fn inotify(name: &'static str, least: u64) -> Finding {
    const CHECK: &str = "inotify";
    let key = format!("fs.inotify.{name}");
    let mend = format!("sysctl {key}={least}, in /etc/sysctl.d for good");
    let read = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"));
    match read.ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(limit) if limit < least => Finding::warn(CHECK, format!("{key} is {limit}"), mend),
        Some(limit) => Finding::ok(CHECK, format!("{key} is {limit}")),
        None => Finding::warn(CHECK, format!("{key} can't be read"), "see whether the kernel has inotify"),
    }
}
