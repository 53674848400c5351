//! `procession new`: what it makes is built and tested for real.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::{Ended, Running};
use toml_edit::{DocumentMut, value};

use crate::support::Swarm;

/// Compiling takes its time on a small machine.
const BUILD_DEADLINE: Duration = Duration::from_secs(900);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap()
}

/// A workspace that has this repository's crates as its dependencies, and no members.
struct Workspace {
    swarm: Swarm,
    root: PathBuf,
}

impl Workspace {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// With a manifest that is changed first.
    fn with(change: impl FnOnce(&mut DocumentMut)) -> Self {
        let swarm = Swarm::new();
        let root = swarm.path().join("workspace");
        fs::create_dir_all(root.join("deploy")).unwrap();
        let mut manifest: DocumentMut =
            fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
        manifest["workspace"]["members"] = value(toml_edit::Array::new());
        for (_, dependency) in manifest["workspace"]["dependencies"].as_table_mut().unwrap().iter_mut() {
            if let Some(path) = dependency.get("path").and_then(|path| path.as_str()) {
                dependency["path"] = value(repository().join(path).to_str().unwrap());
            }
        }
        change(&mut manifest);
        fs::write(root.join("Cargo.toml"), manifest.to_string()).unwrap();
        for file in ["Cargo.lock", "clippy.toml", "rustfmt.toml", "deploy/swarm.toml"] {
            fs::copy(repository().join(file), root.join(file)).unwrap();
        }
        Self { swarm, root }
    }

    /// Every file, with what it holds: what a refusal must not change.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut content = BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    content.insert(path.clone(), fs::read(&path).unwrap());
                }
            }
        }
        content
    }

    fn spawn(&self, name: &str, mut command: Command, deadline: Duration) -> Ended {
        // Without its own settings rustup may take another toolchain than this test's, or even install one.
        for variable in
            ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTUP_AUTO_INSTALL"]
        {
            command.envs(env::var_os(variable).map(|value| (variable, value)));
        }
        command.current_dir(&self.root);
        Running::spawn(&self.swarm, name, command).wait(deadline)
    }

    fn make(&self, arguments: &[&str]) -> Ended {
        self.spawn("procession", self.swarm.command(&[&["new"], arguments].concat()), BUILD_DEADLINE)
    }

    /// Cargo in the workspace, with what was built for this very test to build upon.
    fn cargo(&self, arguments: &[&str]) -> Ended {
        let tests = env::current_exe().unwrap();
        let target = tests.ancestors().nth(3).unwrap();
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).env_clear().env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
        self.spawn("cargo", command, BUILD_DEADLINE)
    }
}

#[test]
fn a_new_process_is_built_and_passes_its_test_and_every_check() {
    let workspace = Workspace::new();
    let read = |path: &str| fs::read_to_string(workspace.root.join(path)).unwrap();
    workspace
        .make(&["shout", "--subscribe", "broadcaster/comment"])
        .assert_code(0)
        .assert_says(&["cargo test -p shout"]);
    workspace.make(&["all-ears", "--subscribe", "*/*", "--context", "ops"]).assert_code(0);
    assert!(read("bins/hive/shout/src/main.rs").contains("subscribe::<Comment>"));
    assert!(read("Cargo.toml").contains("\"bins/hive/shout\""));
    assert!(read("Cargo.lock").contains("name = \"all-ears\""));
    assert!(read("process-compose.yaml").contains("\n  shout:\n    namespace: hive\n"));
    assert!(read("deploy/systemd/procession-all-ears.service").contains("/usr/lib/procession/all-ears run"));

    let both = ["-p", "shout", "-p", "all-ears"];
    workspace.cargo(&["fmt", "-p", "shout", "-p", "all-ears", "--check"]).assert_code(0);
    let tested = workspace.cargo(&[&["test"], &both[..]].concat());
    assert_eq!(tested.assert_code(0).stdout.matches("each_event_is_answered_once ... ok").count(), 2);
    let lint = [&["clippy", "--no-deps", "--all-targets"], &both[..], &["--", "--deny", "warnings"]].concat();
    workspace.cargo(&lint).assert_code(0);
}

#[test]
fn names_that_are_taken_or_cannot_be_are_refused_and_nothing_changes() {
    let workspace = Workspace::new();
    let before = workspace.content();
    for (code, name, part) in [
        (1, "bot", "process `bot`"),
        (1, "tokio", "crate or program `tokio`"),
        (2, "a-name-beyond-twenty-bytes", "longer than 20 bytes"),
        (2, "my_bot", "lower-case letters, digits and `-`, a letter first"),
        (2, "Shout", "lower-case letters, digits and `-`, a letter first"),
        (2, "../x", "lower-case letters"),
        (2, "loop", "no program"),
        (2, "process", "reserved"),
    ] {
        workspace.make(&[name, "--subscribe", "broadcaster/vote"]).assert_code(code).assert_says(&[part]);
    }
    workspace
        .make(&["shout", "--subscribe", "nobody/x"])
        .assert_code(1)
        .assert_says(&["`nobody`", "--context"]);
    workspace.make(&["shout", "--subscribe", "*/x"]).assert_code(1).assert_says(&["--context"]);
    workspace.make(&["shout"]).assert_code(2);
    assert!(workspace.content() == before);
}

#[test]
fn what_somebody_else_wrote_is_in_the_way_and_nothing_changes() {
    let workspace = Workspace::new();
    let compose = workspace.root.join("process-compose.yaml");
    fs::write(&compose, "version: \"0.5\"\nprocesses: {}\n").unwrap();
    fs::create_dir_all(workspace.root.join("deploy/systemd")).unwrap();
    fs::write(workspace.root.join("deploy/systemd/mine.service"), "[Service]\n").unwrap();
    let before = workspace.content();
    workspace
        .make(&["shout", "--subscribe", "broadcaster/comment"])
        .assert_code(1)
        .assert_says(&["process-compose.yaml wasn't generated", "nothing was written"]);
    assert!(workspace.content() == before);

    let generate = |arguments: &[&str]| {
        let command = workspace.swarm.command(&[&["deploy", "generate"], arguments].concat());
        workspace.spawn("procession", command, BUILD_DEADLINE)
    };
    generate(&[]).assert_code(1).assert_says(&["process-compose.yaml wasn't generated", "--force"]);
    generate(&["--check"]).assert_code(1).assert_says(&["process-compose.yaml"]);
    assert!(workspace.content() == before);
    generate(&["--force"]).assert_code(0);
    generate(&["--check"]).assert_code(0);
    assert!(workspace.root.join("deploy/systemd/mine.service").is_file());
    workspace.make(&["shout", "--subscribe", "broadcaster/comment"]).assert_code(0);
}

#[test]
fn in_a_workspace_without_our_tables_it_builds_or_nothing_is_written() {
    let without = |dependencies: &'static [&str]| {
        move |manifest: &mut DocumentMut| {
            let workspace = manifest["workspace"].as_table_mut().unwrap();
            workspace.remove("package");
            workspace.remove("lints");
            let offered = workspace["dependencies"].as_table_mut().unwrap();
            offered.retain(|name, _| dependencies.contains(&name));
        }
    };
    let workspace = Workspace::with(without(&["serde"]));
    let before = workspace.content();
    let new = ["shout", "--subscribe", "broadcaster/comment"];
    workspace.make(&new).assert_code(1).assert_says(&["has no `procession`", "nothing was written"]);
    assert!(workspace.content() == before);

    let workspace = Workspace::with(without(&["procession"]));
    workspace.make(&new).assert_code(0).assert_says(&["it has no test"]);
    assert!(!workspace.root.join("bins/hive/shout/tests").exists());
    workspace.cargo(&["check", "-p", "shout"]).assert_code(0);
}
