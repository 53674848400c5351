//! Help, completions, manual pages, and how the program behaves when it is used wrongly.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::Swarm;

const VERBS: [&str; 18] = [
    "ps",
    "topics",
    "tail",
    "explain",
    "dead-letters",
    "publish",
    "hz",
    "lag",
    "call",
    "health",
    "wait",
    "verify",
    "doctor",
    "chaos",
    "bench",
    "new",
    "completions",
    "man",
];

#[test]
fn every_verb_explains_itself() {
    let swarm = Swarm::new();
    let help = swarm.run(&["--help"]);
    for verb in VERBS {
        assert!(help.assert_code(0).stdout.contains(&format!("\n  {verb} ")), "{verb}: {help:?}");
        assert!(swarm.run(&[verb, "--help"]).assert_code(0).stdout.contains("Usage: procession"));
    }
    assert!(swarm.run(&["--version"]).assert_code(0).stdout.starts_with("procession "));
    swarm.run(&[]).assert_code(2);
    swarm.run(&["nonsense"]).assert_code(2);
}

#[test]
fn there_is_a_page_for_each_verb() {
    let swarm = Swarm::new();
    let folder = swarm.path().join("man");
    swarm.run(&["man", folder.to_str().unwrap()]).assert_code(0);
    let main = fs::read_to_string(folder.join("procession.1")).unwrap();
    assert!(main.contains(".TH procession 1") && main.contains("procession\\-tail"), "{main}");
    for verb in VERBS {
        let page = fs::read_to_string(folder.join(format!("procession-{verb}.1"))).unwrap();
        assert!(page.contains(&format!("procession {verb}").replace('-', "\\-")), "{page}");
    }
    assert_eq!(swarm.run(&["man"]).assert_code(0).stdout, main);
}

#[test]
fn shells_take_the_completions() {
    let swarm = Swarm::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = swarm.run(&["completions", shell]).assert_code(0).stdout.clone();
        assert!(script.contains("until-end"), "{shell}");
    }
    let path = swarm.path().join("completions.bash");
    fs::write(&path, &swarm.run(&["completions", "bash"]).stdout).unwrap();
    let checked = Command::new("bash").arg("-n").arg(&path).stdin(Stdio::null()).status();
    match checked {
        Ok(status) => assert!(status.success()),
        Err(error) => println!("LEFT OUT: there is no bash ({error})"),
    }
    swarm.run(&["completions", "nonsense"]).assert_code(2);
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let swarm = Swarm::new();
    for arguments in [&["man"][..], &["completions", "zsh"], &["ps"], &["doctor"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = swarm.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {ended:?}");
        assert!(!String::from_utf8_lossy(&ended.stderr).contains("error"), "{ended:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let swarm = Swarm::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = swarm.command(&["man"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("No space left"), "{ended:?}");
}
