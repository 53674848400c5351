//! Files that somebody cuts while they are mapped, against what is assumed.

use std::env;
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use journal::{AtPath, Error, GapReason, Level, Reader, Start, Writer, marks_path};

use crate::support::{Got, Said, drain, segments, small};

const INSTANCE: &str = "JOURNAL_TEST_CUT";

fn make(instance: &Path) {
    let mut writer = Writer::open(instance, &small(16)).unwrap();
    for offset in 0..100 {
        writer.append(&Said::at(offset).entry()).unwrap();
    }
}

fn cut(path: &Path) -> File {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(0).unwrap();
    file
}

/// Runs in a process of its own, which does not outlive it.
#[test]
#[ignore = "is run by the test below"]
fn reads_what_was_cut() {
    let Ok(instance) = env::var(INSTANCE) else { return };
    let mut reader = Reader::open(Path::new(&instance), Start::Beginning, Level::Committed).unwrap().unwrap();
    assert!(reader.next().unwrap().is_some());
    cut(&segments(Path::new(&instance))[0]);
    let _ = drain(&mut reader, 1_000);
}

#[test]
fn the_process_says_over_which_file_it_ends() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("cut");
    make(&instance);
    let segment = segments(&instance)[0].clone();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "cut::reads_what_was_cut", "--ignored", "--nocapture"]).env(INSTANCE, &instance);
    let ended = command.output().unwrap();
    assert_eq!(ended.status.signal(), Some(rustix::process::Signal::BUS.as_raw()), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    let line = said.lines().find(|line| line.contains("gives no bytes")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains(segment.to_str().unwrap()), "{line}");
}

#[test]
fn a_reader_that_looks_again_gets_a_gap_or_an_error() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("cut");
    make(&instance);
    let mut reader = Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    assert!(reader.next().unwrap().is_some());
    cut(&segments(&instance)[0]);
    assert_eq!(reader.look_at_path().unwrap(), AtPath::Same);
    let got = drain(&mut reader, 1_000).unwrap();
    assert!(
        matches!(&got[0], Got::Gap(gap) if gap.from.0 == 1 && gap.reason == GapReason::Corrupt),
        "{:?}",
        got[0]
    );
    cut(&marks_path(&instance));
    assert!(matches!(reader.look_at_path(), Err(Error::Corrupt { .. })));
}
