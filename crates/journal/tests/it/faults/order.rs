//! What must never be seen on the way from one segment to the next, as an old one goes, or in the middle of a sync.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use journal::fault::{Event, Operation, observe};
use journal::{Cursors, Offset, Options, Position, SyncPolicy, Writer, cursors_path, read_cursors};

use crate::support::{append, base, bases, copy_instance, fast_folder, keeps, segments, small};

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
        append(&mut writer).unwrap();
    }
    drop(observation);
    assert_eq!(seen.load(Ordering::Relaxed), 5);
    let all = segments(&instance);
    assert!(all[..5].iter().all(|path| is_sealed(path)) && !is_sealed(&all[5]));
}

/// What the disk has of a journal, at least.
#[derive(Default)]
struct OnDisk {
    /// The newest segment that was synced begins here.
    newest: u64,
    /// The durable mark as of the last sync of the marks, and as of the one that is under way.
    mark: u64,
    mark_syncing: u64,
    gone: usize,
    too_early: Vec<String>,
}

/// Otherwise power loss might leave nothing that says what was acknowledged, or a mark below all segments.
#[test]
fn no_segment_goes_before_a_later_one_and_the_mark_are_on_disk() {
    let mut at_the_limit = keeps(2);
    at_the_limit.retention.bytes_max = Some(at_the_limit.retention.bytes_kept);
    at_the_limit.sync = SyncPolicy::Never;
    // The one waits for a sync that comes anyway, the other has nobody who would sync but itself.
    for options in [keeps(2), at_the_limit] {
        let seen = watch_segments_go(&options);
        assert_eq!(seen.too_early, Vec::<String>::new(), "{:?}", options.retention);
    }
}

fn watch_segments_go(options: &Options) -> OnDisk {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("trimming");
    let on_disk = Arc::new(Mutex::new(OnDisk::default()));
    let (seen, of) = (Arc::clone(&on_disk), instance.clone());
    let observation = observe(&instance, move |event| {
        let mut seen = seen.lock().unwrap();
        match event {
            Event::Before(Operation::Sync { path, .. }) if path.ends_with("marks") => {
                let durable = std::fs::read(path).unwrap()[2048..2056].try_into().unwrap();
                seen.mark_syncing = u64::from_le_bytes(durable) >> 8;
            }
            Event::After(Operation::Sync { path, .. }) if path.ends_with("marks") => {
                seen.mark = seen.mark_syncing
            }
            Event::After(Operation::Sync { path, .. }) => {
                seen.newest = seen.newest.max(base(path).unwrap_or(0))
            }
            // Renamed to be used again, it is gone as well.
            Event::Before(Operation::Remove { path } | Operation::Rename { path, .. })
                if base(path).is_some() =>
            {
                seen.gone += 1;
                let (newest, mark, end) = (seen.newest, seen.mark, bases(&of)[1]);
                if newest < end || mark < end {
                    seen.too_early
                        .push(format!("{path:?}, which ends at {end}: {newest} and {mark} are on disk"));
                }
            }
            _ => {}
        }
    });
    let mut writer = Writer::open(&instance, options).unwrap();
    // How soon they go depends on the disk.
    let until = Instant::now() + Duration::from_secs(60);
    while on_disk.lock().unwrap().gone <= 30 {
        append(&mut writer).unwrap();
        assert!(Instant::now() < until, "{} segments have gone", on_disk.lock().unwrap().gone);
    }
    drop((writer, observation));
    std::mem::take(&mut on_disk.lock().unwrap())
}

/// Otherwise the mark would say that it is durable, for a sync takes in what its own writer has begun.
#[test]
fn what_a_killed_writer_left_unsynced_is_in_the_next_ones_sync() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let [alive, instance] = ["alive", "killed"].map(|name| home.path().join(name));
    let mut writer = Writer::open(&alive, &small(8)).unwrap();
    while bases(&alive).len() < 4 {
        append(&mut writer).unwrap();
    }
    // As a kill would leave it.
    copy_instance(&alive, &instance);
    let synced = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&synced);
    let observation = observe(&instance, move |event| {
        let Event::After(Operation::Sync { path, .. }) = event else { return };
        seen.lock().unwrap().extend(base(path));
    });
    let next = Writer::open(&instance, &small(8)).unwrap();
    assert_eq!(next.sync().unwrap(), writer.next_offset());
    assert_eq!(*synced.lock().unwrap(), BTreeSet::from_iter(bases(&instance)));
    drop(observation);
}

/// What is said and acknowledged while the segment is being synced may not be in it: a note of that acknowledgement
/// would outlive what was said.
#[test]
fn a_sync_notes_no_position_that_was_stored_while_it_was_at_work() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("noting");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    let cursors = Cursors::open(&instance, &writer).unwrap();
    let cursor = cursors.claim("reads", "source").unwrap();
    append(&mut writer).unwrap();
    cursor.store(Position::at(Offset(1)));

    // The sync stops once it has synced the segment, and goes on when more was said.
    let ((synced, when_synced), (go_on, when_to_go_on)) = (channel(), channel());
    let when_to_go_on = Mutex::new(Some(when_to_go_on));
    let observation = observe(&instance, move |event| {
        let Event::After(Operation::Sync { path, .. }) = event else { return };
        if path.extension().is_some_and(|extension| extension == "seg")
            && let Some(when_to_go_on) = when_to_go_on.lock().unwrap().take()
        {
            synced.send(()).unwrap();
            when_to_go_on.recv_timeout(PATIENCE).unwrap();
        }
    });
    let watch = writer.watch();
    let syncing = std::thread::spawn(move || watch.sync());
    when_synced.recv_timeout(PATIENCE).unwrap();
    append(&mut writer).unwrap();
    cursor.store(Position::at(Offset(2)));
    go_on.send(()).unwrap();
    assert_eq!(syncing.join().unwrap().unwrap(), Offset(1));
    drop(observation);

    let next = |instance| read_cursors(instance).unwrap()[0].position.next;
    assert_eq!(next(&instance), Offset(2));
    let rebooted = home.path().join("rebooted");
    copy_instance(&instance, &rebooted);
    let table = std::fs::File::options().write(true).open(cursors_path(&rebooted)).unwrap();
    table.write_all_at(&[7; 16], 16).unwrap();
    assert_eq!(next(&rebooted), Offset(1));
}

/// As long as a takeover may last, the thread that drops segments is at work.
#[test]
fn nothing_counts_as_durable_during_a_takeover_before_the_last_segment_is_synced() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let [alive, instance] = ["alive", "killed"].map(|name| home.path().join(name));
    let mut writer = Writer::open(&alive, &keeps(100)).unwrap();
    while bases(&alive).len() < 6 {
        append(&mut writer).unwrap();
    }
    copy_instance(&alive, &instance);
    let newest = *bases(&instance).last().unwrap();
    let durable =
        |instance: &Path| std::fs::read(journal::marks_path(instance)).unwrap()[2048..2056].to_vec();
    let (before, marked) = (durable(&instance), instance.clone());
    let (synced, met) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicUsize::new(0)));
    let (seen, meets) = (Arc::clone(&synced), Arc::clone(&met));
    let observation = observe(&instance, move |event| match event {
        Event::After(Operation::Sync { path, .. }) => seen.lock().unwrap().extend(base(path)),
        Event::Point("takeover.opened") => {
            let until = Instant::now() + PATIENCE;
            while durable(&marked) == before && Instant::now() < until {
                std::thread::yield_now();
            }
            let is_synced = seen.lock().unwrap().contains(&newest);
            meets.fetch_add(if durable(&marked) != before && is_synced { 1 } else { 100 }, Ordering::Relaxed);
        }
        _ => {}
    });
    let mut dropping = keeps(2);
    dropping.retention.lease = Duration::from_secs(1);
    drop(Writer::open(&instance, &dropping).unwrap());
    drop(observation);
    assert_eq!(met.load(Ordering::Relaxed), 1, "only {:?} were synced of {newest}", synced.lock().unwrap());
}
