//! What is kept only for a subscription that is far behind does not stay in memory.

use std::path::{Path, PathBuf};
use std::process::Command;

use journal::{Cursors, Offset, Position, Start, Writer, verify};

use crate::recycling::{fill_one, options, said};
use crate::support::{read_records, segments, small};

/// No disk is so slow that it has written none of these back.
const SEGMENTS_MAX: usize = 200;
/// A subscription's next segments stay.
const AHEAD: usize = 3;

/// How many bytes of a file are in memory, if there is a program that tells.
fn resident(path: &Path) -> Option<u64> {
    let told = Command::new("fincore")
        .args(["--bytes", "--noheadings", "--output", "RES"])
        .arg(path)
        .output()
        .ok()?;
    String::from_utf8(told.stdout).ok()?.trim().parse().ok()
}

fn is_in_memory(folder: &Path) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    rustix::fs::statfs(folder).is_ok_and(|found| found.f_type == TMPFS_MAGIC)
}

#[test]
fn a_stopped_subscription_costs_disk_but_no_memory() {
    let home = tempfile::tempdir().unwrap();
    let [publisher, subscriber] = ["publisher", "subscriber"].map(|name| home.path().join(name));
    let mut writer = Writer::open(&publisher, &options()).unwrap();
    if resident(&segments(&publisher)[0]).is_none() || is_in_memory(home.path()) {
        eprintln!("not shown: there is no fincore (util-linux), or temporary files are kept in memory");
        return;
    }
    let behind = Writer::open(&subscriber, &small(8)).unwrap();
    let cursors = Cursors::open(&subscriber, &behind).unwrap();
    let stopped = cursors.claim("stopped", "publisher").unwrap();
    stopped.store(Position::at(Offset(0)));
    let is_gone = |path: &PathBuf| resident(path) == Some(0);
    for filled in 0.. {
        assert!(filled < SEGMENTS_MAX, "{filled} segments are in memory, though nobody reads them soon");
        fill_one(&mut writer, &publisher);
        if segments(&publisher).iter().any(is_gone) {
            break;
        }
    }
    let all = segments(&publisher);
    assert!(!all[..AHEAD].iter().any(is_gone), "what it reads next is gone");
    assert!(!is_gone(&all[all.len() - 2]), "what the others read is gone");
    // And it is not lost, of course.
    let end = writer.next_offset().0;
    let read = read_records(&publisher, Start::Beginning);
    let wanted: Vec<_> = (0..end).map(|offset| (Offset(offset), said(offset))).collect();
    assert!(read == wanted, "{} records read, {} wanted", read.len(), wanted.len());
    drop(writer);
    assert_eq!(verify(&publisher).unwrap().damage, []);
}
