//! Where things are: programs, recordings, Python.

use std::env;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program `name` of this workspace.
///
/// # Panics
/// If it hasn't been built.
#[must_use]
pub fn bin(name: &str) -> PathBuf {
    let folder = match env::var_os("PROCESSION_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => target_profile(),
    };
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} isn't there: build the workspace first (cargo build --workspace), or set PROCESSION_BIN_DIR",
        path.display()
    );
    path
}

/// Test executables lie in `target/PROFILE/deps`, programs in `target/PROFILE`.
fn target_profile() -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    let folder = test.parent().expect("a file lies in a folder");
    let below = folder.ends_with("deps") || folder.ends_with("examples");
    if below { folder.parent().unwrap_or(folder).to_owned() } else { folder.to_owned() }
}

/// A recorded file; says so where it isn't there, so that a test that is left out shows.
#[must_use]
pub fn data(name: &str) -> Option<PathBuf> {
    let folder = match env::var_os("PROCESSION_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => repository().join("../shared/data"),
    };
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    left_out(format_args!("the recording {} isn't there (PROCESSION_TEST_DATA says where)", path.display()));
    None
}

/// A Python that has all of `modules`; says so where there is none.
#[must_use]
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let python =
        env::var_os("PROCESSION_TEST_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let imports = modules.iter().map(|name| format!("import {name}\n")).collect::<String>();
    let mut probe = Command::new(&python);
    probe.arg("-c").arg(&imports).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Some(python);
    }
    let wanted = if modules.is_empty() { String::new() } else { format!(" with {}", modules.join(", ")) };
    left_out(format_args!("no Python{wanted} at {} (PROCESSION_TEST_PYTHON says where)", python.display()));
    None
}

/// A script of `crates/testkit/python`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// Says that a test, or a part of one, is left out, also where the output of tests that pass is swallowed.
pub fn left_out(why: impl fmt::Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Nobody to tell is no reason to fail.
    let _ = writeln!(io::stderr(), "LEFT OUT of {test}: {why}");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
