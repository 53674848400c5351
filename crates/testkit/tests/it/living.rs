//! The short form of what `just prove` does for longer: a source loses what it had said while others hear it, and each of
//! them has what is there in the end, and nothing else.

use std::path::PathBuf;

use rand::RngExt as _;
use testkit::living::{Loss, Run};
use testkit::{Home, bin, seeded};

/// The example is built with the tests, in a folder beside theirs.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/living");
    assert!(path.is_file(), "{} is missing: cargo build -p testkit --examples", path.display());
    path
}

/// Each kind of loss after each other one.
#[track_caller]
fn lose(name: &str, losses: &[Loss]) {
    let seed = seeded(name).random();
    let mut run = Run::new(Home::in_memory(), &program(), &bin("procession"), seed);
    let result = losses.iter().try_for_each(|loss| run.round(Some(*loss)));
    let (report, trouble) = run.finish(result);
    println!("{report}");
    assert_eq!(trouble, None);
    assert!(report.forgotten > 0, "nothing was lost: this shows nothing");
}

#[test]
fn readers_live_through_power_loss_of_the_one_they_hear() {
    use Loss::{None, Power, PowerOfAll};
    lose("living, power", &[Power, Power, PowerOfAll, None, Power, PowerOfAll]);
}

#[test]
fn readers_live_through_a_journal_that_is_begun_anew_or_put_back_from_a_copy() {
    use Loss::{All, None, SinceCopy};
    lose("living, replaced", &[None, SinceCopy, All, SinceCopy, All, SinceCopy]);
}
