//! A disk that refuses a sync: the process ends, since only a new one can go on.

use crate::sample::{Home, Running};

/// The syncs of a start in a new home; later ones are those of the journal at work.
const AT_START: u32 = 5;

#[test]
fn a_process_whose_disk_refuses_a_sync_ends_with_an_error() {
    for count in AT_START + 1..=AT_START + 4 {
        let home = Home::new();
        let mut command = home.command(&["run", "--journal-sync", "every 50ms"]);
        let mut running = Running::start(command.env("JOURNAL_FAULT_SYNC", count.to_string()));
        running.wait_for("ready");
        let ended = running.wait();
        assert_eq!(ended.code, Some(1), "sync {count}: {ended:?}");
        assert!(ended.stderr.contains("has stopped: cannot sync"), "sync {count}: {ended:?}");
        let again = Running::start(&mut home.command(&["run"]));
        again.signal(rustix::process::Signal::TERM);
        let _ = again.wait();
    }
}
