//! What must never be seen on the way from one segment to the next.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use journal::Writer;
use journal::fault::{Event, Operation, observe};

use crate::support::{Said, fast_folder, segments, small};

/// Whether a segment's last record seals it.
fn is_sealed(path: &Path) -> bool {
    const HEADER_BYTES: usize = 128;
    const AT_KIND: usize = 42;
    const SEALED: u8 = 6;
    let bytes = std::fs::read(path).unwrap();
    let (mut at, mut kind) = (HEADER_BYTES, 0);
    while let Some(word) = bytes.get(at..at + 8)
        && word != [0; 8]
    {
        kind = bytes[at + AT_KIND];
        let length = u32::from_le_bytes(word[..4].try_into().unwrap());
        at += usize::try_from(length).unwrap().next_multiple_of(8);
    }
    kind == SEALED
}

#[test]
fn no_segment_is_sealed_before_the_next_one_has_its_name() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("rolling");
    let (seen, counted) = (Arc::new(AtomicUsize::new(0)), instance.clone());
    let looks = Arc::clone(&seen);
    let observation = observe(&instance, move |event| {
        let Event::Before(Operation::Rename { to, .. }) = event else { return };
        if to.extension().is_some_and(|extension| extension == "seg")
            && let Some(newest) = segments(&counted).last()
        {
            assert!(!is_sealed(newest), "{} leads to nowhere", newest.display());
            looks.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    while segments(&instance).len() < 6 {
        writer.append(&Said::at(writer.next_offset().0).entry()).unwrap();
    }
    drop(observation);
    assert_eq!(seen.load(Ordering::Relaxed), 5);
    let all = segments(&instance);
    assert!(all[..5].iter().all(|path| is_sealed(path)) && !is_sealed(&all[5]));
}
