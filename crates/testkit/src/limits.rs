//! What this test process may do.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whether this is root, whom file modes don't stop, and who may mount.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lets this process, and those that it starts, open as many files as the system allows; says how many.
///
/// # Panics
/// If the system refuses what it said it allows.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit anybody may raise it");
    limit.maximum.unwrap_or(u64::MAX)
}
