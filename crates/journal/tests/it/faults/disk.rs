//! Disks that refuse a sync, or take their time over it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use journal::{Cursors, Error, Level, Offset, Options, Position, Reader, Start, SyncPolicy, Writer, verify};

use crate::support::{Process, Said, append, as_child, fast_folder, keeps, read_records, small};

/// Runs a test of this module in a process of its own, with faults, to its end.
fn run(test: &str, instance: &Path, environment: &[(&str, &str)]) {
    let mut child = Process::child_with(&format!("faults::disk::{test}"), instance, environment);
    let status = child.0.wait().unwrap();
    assert!(status.success(), "{test} with {environment:?}: {status}");
}

/// Where the child says that the fault was met.
fn met(instance: &Path) -> PathBuf {
    instance.with_extension("met")
}

/// Not a test by itself: speaks and syncs until a sync fails.
#[test]
fn child_of_a_failing_disk() {
    let Some(instance) = as_child() else { return };
    let mut writer = match Writer::open(&instance, &keeps(4)) {
        Ok(writer) => writer,
        Err(error) => {
            assert!(error.to_string().contains("os error 5"), "{error}");
            return std::fs::write(met(&instance), "0").unwrap();
        }
    };
    let mut durable = writer.watch().marks().durable;
    let cursor = match Cursors::open(&instance, &writer) {
        Ok(cursors) => cursors.claim("reads", "source").unwrap(),
        Err(error) => {
            assert!(error.to_string().contains("os error 5"), "{error}");
            return std::fs::write(met(&instance), durable.0.to_string()).unwrap();
        }
    };
    for round in 0..2000 {
        // Retention syncs on its own account: then appending is what fails.
        let refused = match append(&mut writer) {
            Ok(offset) => {
                cursor.store(Position::at(offset.plus(1)));
                if round % 10 == 9 { writer.sync().map(drop) } else { Ok(()) }
            }
            Err(error) => Err(error),
        };
        let watch = writer.watch();
        match refused {
            Ok(()) => durable = durable.max(watch.marks().durable),
            Err(error) => {
                // The last sync may have failed after its records were durable.
                let known = watch.marks().durable;
                assert!(known >= durable);
                let end = writer.next_offset();
                assert!(matches!(error, Error::Poisoned { .. } | Error::Io { .. }), "{error}");
                assert!(matches!(watch.check(), Err(Error::Poisoned { .. })), "after {error}");
                assert!(matches!(append(&mut writer), Err(Error::Poisoned { .. })));
                assert!(matches!(writer.commit(&journal::Batch::default()), Err(Error::Poisoned { .. })));
                assert!(matches!(writer.sync(), Err(Error::Poisoned { .. })));
                assert_eq!(writer.next_offset(), end, "an offset is used up by a refusal");
                assert_eq!(watch.marks().durable, known, "nothing is durable after a failed sync");
                // Whoever waits is told that there is nothing to wait for.
                let (send, receive) = std::sync::mpsc::channel();
                watch.when_durable(end, move || send.send(()).unwrap());
                receive.recv_timeout(Duration::from_secs(20)).expect("a waiter was forgotten");
                return std::fs::write(met(&instance), known.0.to_string()).unwrap();
            }
        }
    }
}

#[test]
fn a_failed_sync_is_final_until_the_journal_is_reopened() {
    let mut at_once = 0;
    for count in (1..=24).chain(60..=160) {
        let home = tempfile::tempdir_in(fast_folder()).unwrap();
        let instance = home.path().join("refused");
        run("child_of_a_failing_disk", &instance, &[("JOURNAL_FAULT_SYNC", &count.to_string())]);
        let claimed: u64 =
            std::fs::read_to_string(met(&instance)).expect("the fault was not met").parse().unwrap();
        at_once += usize::from(claimed == 0);
        // A restart recovers all that was said, and goes on.
        let marks = journal::read_marks(&instance).unwrap();
        let mut writer = Writer::open(&instance, &keeps(4)).unwrap();
        let end = writer.next_offset();
        assert!(
            marks.is_none_or(|marks| marks.committed == end && marks.durable.0 == claimed),
            "{marks:?}, {end}"
        );
        append(&mut writer).unwrap();
        writer.sync().unwrap();
        // It may be about to drop segments.
        drop(writer);
        for (offset, said) in read_records(&instance, Start::Beginning) {
            assert_eq!(said, Said::at(offset.0));
        }
        assert_eq!(verify(&instance).unwrap().damage, []);
    }
    assert!((1..20).contains(&at_once), "{at_once} failed before anything was durable");
}

/// Not a test by itself: speaks while each sync takes long.
#[test]
fn child_of_a_slow_disk() {
    let Some(instance) = as_child() else { return };
    let options =
        Options { segment_bytes: 16 << 20, sync: SyncPolicy::Every(Duration::from_millis(1)), ..small(8) };
    let mut writer = Writer::open(&instance, &options).unwrap();
    let (deadline, mut syncs, mut durable) = (Instant::now() + Duration::from_secs(60), 0, Offset::ZERO);
    let mut said = 0_u32;
    // Every sync takes three slow ones and more.
    while syncs < 3 {
        append(&mut writer).unwrap();
        said += 1;
        let now = writer.watch().marks().durable;
        syncs += u32::from(now > durable);
        durable = now;
        assert!(Instant::now() < deadline, "{syncs} syncs, {said} records");
    }
    assert!(said > 300 * syncs, "{said} records in the time of {syncs} syncs: the writer was held up");
}

#[test]
fn a_slow_disk_holds_no_writer_up() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("slow");
    run("child_of_a_slow_disk", &instance, &[("JOURNAL_FAULT_SYNC_MS", "60")]);
    let reader = Reader::open(&instance, Start::End, Level::Durable).unwrap().unwrap();
    assert_eq!(reader.marks().unwrap().durable, reader.marks().unwrap().committed, "closing syncs");
}
