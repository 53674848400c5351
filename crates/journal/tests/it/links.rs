//! What lies in the place of a journal's files and is none of them: links, pipes, other users' files.

use std::fs::{self, File};
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use journal::{
    Cursors, Error, Finished, Level, Options, Reader, Result, Start, Writer, is_locked, read_cursors,
    read_marks,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{append_until, segments, small};

const NAMES: [&str; 5] = ["lock", "alive", "journal/marks", "cursors", "finished/s@j"];

/// An instance with all of its files.
fn make(instance: &Path) {
    open_all(instance, &small(8)).unwrap();
}

fn open_all(instance: &Path, options: &Options) -> Result<()> {
    let mut writer = Writer::open(instance, options)?;
    let end = writer.next_offset().0 + 40;
    append_until(&mut writer, end);
    let cursors = Cursors::open(instance, &writer)?;
    cursors.claim("s", "j")?;
    Finished::open(&instance.join("finished/s@j"), 7, 1).map(drop)
}

/// Nobody who is not to can find out how it went, but by the error.
fn assert_refused(instance: &Path, name: &str, why: &str) {
    match open_all(instance, &small(8)) {
        Err(Error::Io { path, source, .. }) => {
            assert!(path.ends_with(name), "{} instead of {name}", path.display());
            assert!(source.to_string().contains(why), "{source}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn no_file_of_an_instance_is_written_through_a_link() {
    let home = tempfile::tempdir().unwrap();
    for (case, name) in NAMES.into_iter().enumerate() {
        let instance = home.path().join(format!("linked-{case}"));
        make(&instance);
        let victim = home.path().join(format!("victim-{case}"));
        fs::write(&victim, "precious").unwrap();
        for target in [victim.clone(), home.path().join("nothing-here")] {
            fs::remove_file(instance.join(name)).unwrap();
            symlink(&target, instance.join(name)).unwrap();
            assert_refused(&instance, name, "it is a symbolic link");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{name}");
        assert!(!home.path().join("nothing-here").exists(), "{name}");
    }
}

#[test]
fn no_segment_is_written_through_a_link() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("linked");
    make(&instance);
    // The newest segment is gone on in, if it is one of ours.
    let newest = segments(&instance).pop().unwrap();
    let victim = home.path().join("victim");
    fs::copy(&newest, &victim).unwrap();
    let before = fs::read(&victim).unwrap();
    fs::remove_file(&newest).unwrap();
    symlink(&victim, &newest).unwrap();
    open_all(&instance, &small(8)).unwrap_err();
    assert_eq!(fs::read(&victim).unwrap(), before);

    // What a killed process may have left is made anew.
    fs::remove_file(&newest).unwrap();
    fs::copy(&victim, &newest).unwrap();
    for name in ["next.tmp", "taken.tmp"] {
        symlink(&victim, instance.join("journal").join(name)).unwrap();
    }
    open_all(&instance, &small(8)).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), before);
}

#[test]
fn a_pipe_is_refused_at_once_by_writers_and_readers() {
    let home = tempfile::tempdir().unwrap();
    for (case, name) in NAMES.into_iter().enumerate() {
        let instance = home.path().join(format!("piped-{case}"));
        make(&instance);
        fs::remove_file(instance.join(name)).unwrap();
        mknodat(CWD, instance.join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_refused(&instance, name, "it is no regular file");
        // Without waiting for somebody to write into the pipe.
        let refused = [
            is_locked(&instance).map(drop),
            read_marks(&instance).map(drop),
            read_cursors(&instance).map(drop),
            Reader::open(&instance, Start::Beginning, Level::Committed).map(drop),
        ];
        assert_eq!(refused.iter().any(Result::is_err), ["alive", "journal/marks", "cursors"].contains(&name));
    }
    // Without it leases begin anew, and what is written replaces it.
    let leases = home.path().join("piped-0/leases");
    fs::remove_file(home.path().join("piped-0/lock")).unwrap();
    mknodat(CWD, &leases, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    make(&home.path().join("piped-0"));

    let instance = home.path().join("piped-segment");
    make(&instance);
    let newest = segments(&instance).pop().unwrap();
    fs::remove_file(&newest).unwrap();
    mknodat(CWD, &newest, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut reader = Reader::open(&instance, Start::End, Level::Committed).unwrap().unwrap();
    let _ = reader.next();
    let _ = journal::verify(&instance);
    open_all(&instance, &small(8)).unwrap_err();
}

#[test]
fn another_users_file_is_refused_and_what_root_makes_is_the_folders_owners() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT TESTED: only root can give files away");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (other, group) = (Some(4711), Some(4712));
    for (case, name) in NAMES.into_iter().enumerate() {
        let instance = home.path().join(format!("foreign-{case}"));
        make(&instance);
        chown(instance.join(name), other, None).unwrap();
        assert_refused(&instance, name, "it belongs to user 4711");
    }
    // Whoever owns the folder must be able to open it again.
    let theirs = home.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, other, group).unwrap();
    make(&theirs);
    let journal = theirs.join("journal");
    let all = [theirs.clone(), journal].into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    for entry in all {
        use std::os::unix::fs::MetadataExt;
        let path = entry.unwrap().path();
        let found = File::open(&path).unwrap().metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (4711, 4712), "{}", path.display());
    }
    make(&theirs);
}
