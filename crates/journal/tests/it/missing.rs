//! Segments that are gone, and files that are none.

use std::fs;
use std::path::Path;

use journal::{Offset, Start, Writer, journal_folder, verify};

use crate::support::{Got, append, bases, read_all, segments, small};

/// A journal of several segments, whose writer is gone; its end.
fn make(instance: &Path) -> Offset {
    let mut writer = Writer::open(instance, &small(8)).unwrap();
    while bases(instance).len() < 4 {
        append(&mut writer).unwrap();
    }
    writer.next_offset()
}

#[test]
fn what_is_gone_is_damage_whichever_segment_it_was_in() {
    for gone in [0..1, 1..2, 3..4, 0..3, 0..4] {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("holey");
        let end = make(&instance);
        let bases = bases(&instance);
        for path in &segments(&instance)[gone.clone()] {
            fs::remove_file(path).unwrap();
        }
        let (from, to) = (bases[gone.start], bases.get(gone.end).map_or(end, |base| Offset(*base)));
        let check = || {
            let damage = verify(&instance).unwrap().damage;
            assert_eq!(damage.len(), 1, "{gone:?}: {damage:?}");
            assert_eq!((damage[0].from, damage[0].to), (Offset(from), to), "{gone:?}");
        };
        check();
        let gap = |got: &Got| matches!(got, Got::Gap(gap) if (gap.from, gap.to) == (Offset(from), to));
        assert!(read_all(&instance, Start::Offset(Offset::ZERO)).iter().any(gap), "{gone:?}");
        // A stray is no reason to call it sound, nor damaged.
        fs::write(journal_folder(&instance).join("notes.txt"), "hello").unwrap();
        check();
    }
}

#[test]
fn what_retention_has_dropped_is_not_missing() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("trimmed");
    let mut options = small(8);
    options.retention.bytes_kept = 16 << 10;
    let mut writer = Writer::open(&instance, &options).unwrap();
    while bases(&instance)[0] == 0 {
        append(&mut writer).unwrap();
    }
    assert_eq!(verify(&instance).unwrap().damage, []);
    drop(writer);
    assert_eq!(verify(&instance).unwrap().damage, []);
}

#[test]
fn a_stray_file_is_named_as_what_it_is() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("strays");
    make(&instance);
    let folder = journal_folder(&instance);
    let strays = ["00000000000000000007.seg", "00000000000000999999.seg", "00000000000000000007.seg.bak"];
    for name in strays {
        fs::write(folder.join(name), "this is no segment at all").unwrap();
    }
    let report = verify(&instance).unwrap();
    assert_eq!(report.damage, []);
    assert!(!report.torn_tail);
    let mut wanted = strays.map(|name| folder.join(name));
    wanted.sort();
    assert_eq!(report.strays, wanted);
}
