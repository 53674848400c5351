//! An operator who puts a copy of an instance back while its owner is about to take the journal over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use journal::fault::{Event, observe};
use journal::{Error, Writer};

use crate::support::{Said, append_until, fast_folder, read_records, small};

/// Each step of a takeover at which nothing has been said yet.
const STEPS: [&str; 9] = [
    "takeover.locked",
    "takeover.recovered",
    "takeover.torn-removed",
    "takeover.cleared",
    "takeover.marks",
    "takeover.opened",
    "takeover.epoch-written",
    "takeover.begun",
    "nowhere",
];

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_copy_that_is_put_back_during_a_takeover_is_left_alone() {
    for step in STEPS {
        let home = tempfile::tempdir_in(fast_folder()).unwrap();
        let (instance, copy) = (home.path().join("one"), home.path().join("copy"));
        append_until(&mut Writer::open(&instance, &small(64)).unwrap(), 30);
        copy_all(&instance, &copy);
        fs::remove_dir_all(&instance).unwrap();
        append_until(&mut Writer::open(&instance, &small(64)).unwrap(), 3);

        let before = bytes(&journal::journal_folder(&copy));
        let (at, from, old) = (instance.clone(), copy.clone(), home.path().join("old"));
        let observation = observe(home.path(), move |event| {
            if matches!(event, Event::Point(point) if *point == step) {
                fs::rename(&at, &old).unwrap();
                fs::rename(&from, &at).unwrap();
            }
        });
        let opened = Writer::open(&instance, &small(64));
        drop(observation);
        if step == "nowhere" {
            assert_eq!(opened.unwrap().next_offset().0, 3);
            continue;
        }
        let is_displaced = matches!(&opened, Err(Error::Displaced { .. } | Error::Poisoned { .. }));
        assert!(is_displaced, "at {step}: {opened:?}");
        assert!(bytes(&journal::journal_folder(&instance)) == before, "the copy was changed at {step}");

        // Whoever starts next has all of it.
        let mut writer = Writer::open(&instance, &small(64)).unwrap();
        append_until(&mut writer, 32);
        let wanted: Vec<_> = (0..32).map(Said::at).collect();
        let read = read_records(&instance, journal::Start::Beginning);
        assert!(read.into_iter().map(|(_, said)| said).eq(wanted), "at {step}");
    }
}
