//! What a model does with what it breaks over, and what is too large.

use super::*;

#[test]
fn whatever_a_model_breaks_over_is_that_events_fault_alone() {
    let mut case = Case::new(&Options::default());
    let small = ["--journal-segment-bytes", "128 KiB"];
    let mut said = 0;
    let mut say = |case: &mut Case, account: &str, cents: i64| {
        said += 1;
        let at = EventTime(BEGIN + said * SECOND / 100);
        case.say("moved", json!({"account": account, "at": at, "cents": cents}).to_string().as_bytes());
    };
    let bad =
        [("panics", i64::MAX), ("says too much", i64::MIN), ("would say too much once final", i64::MIN + 1)];
    for (account, cents) in bad {
        for _ in 0..50 {
            say(&mut case, "a", -1);
        }
        say(&mut case, account, cents);
    }
    say(&mut case, &"k".repeat(70_000), -1);
    for _ in 0..50 {
        say(&mut case, "a", -1);
    }
    let mut teller = case.start(&small);
    wait_until("all others count", || {
        case.said_of(DeadLetter::TOPIC).len() == 4 && case.balances().len() == 200
    });
    assert!(!teller.has_ended(), "without a restart");
    let letters = case.said_of(DeadLetter::TOPIC);
    let reasons: Vec<_> = letters.iter().map(|letter| letter.payload["reason"].as_str().unwrap()).collect();
    assert_eq!(
        letters.iter().map(|letter| letter.cause).collect::<Vec<_>>(),
        [Some(50), Some(101), Some(152), Some(153)]
    );
    assert!(reasons[0].contains("more than there is"), "{reasons:?}");
    assert!(reasons[1].contains("limit"), "{reasons:?}");
    assert!(reasons[2].contains("must wait to be final"), "{reasons:?}");
    assert!(reasons[3].contains("70000 bytes"), "{reasons:?}");
    // The same after a restart.
    let before = case.said();
    kill(teller);
    let teller = case.start(&small);
    say(&mut case, "a", -1);
    wait_until("one more counts", || case.balances().len() == 201);
    assert_eq!(case.said()[..before.len()], before);
    stop(teller);
}

#[test]
fn what_other_code_breaks_over_is_parked_although_it_was_dealt_with_before() {
    let mut case = Case::new(&Options::default());
    let say = |case: &mut Case, account: &str, second: i64, cents: i64| {
        let at = EventTime(BEGIN + second * SECOND);
        case.say("moved", json!({"account": account, "at": at, "cents": cents}).to_string().as_bytes());
    };
    let teller = case.start(&[]);
    // In order, and one that came later than those after it; so many of one key, and of several.
    for account in ["a", "b"] {
        for (second, cents) in [(1, 200), (2, -10), (3, 300), (5, -20), (4, 400)] {
            say(&mut case, account, second, cents);
        }
    }
    say(&mut case, "c", 1, -1);
    wait_until("all is heard", || case.acknowledged() == 11 && case.balances() == [-1]);
    kill(teller);
    // What is more than 100 at once was fine before.
    let strict = ["--most", "100"];
    let mut teller = case.start(&strict);
    wait_until("the rest counts", || case.balances() == [-30, -30, -10, -10, -1]);
    assert!(!teller.has_ended());
    let mut causes: Vec<_> = case.said_of(DeadLetter::TOPIC).iter().map(|letter| letter.cause).collect();
    causes.sort_unstable();
    assert_eq!(causes, [0, 2, 4, 5, 7, 9].map(Some));
    // The same at each start, with and without a snapshot of it.
    let before = case.said();
    kill(teller);
    for _ in 0..3 {
        let mut teller = case.start(&strict);
        teller.wait_for("the model is where it was");
        teller.wait_for("\"ready\"");
        assert_eq!(case.said()[..before.len()], before);
        assert_eq!((case.said_of(DeadLetter::TOPIC).len(), case.balances().len()), (6, 5));
        stop(teller);
    }
    // Code that can deal with them gets them on demand.
    let mut teller = case.start(&[]);
    teller.wait_for("the model is where it was");
    let retried = call(&case.home, "teller", "RetryAll", &json!({})).unwrap();
    assert_eq!(retried, json!({"letters": 6, "failed": []}));
    wait_until("all counts", || case.balances() == [-1]);
    stop(teller);
    // And when it breaks over them again, they are parked again.
    let teller = case.start(&strict);
    wait_until("the rest counts", || case.balances() == [-30, -30, -10, -10, -1]);
    assert_eq!(case.said_of(DeadLetter::TOPIC).len(), 12);
    stop(teller);
}

#[test]
fn what_breaks_a_model_after_its_wait_is_parked() {
    let mut case = Case::new(&Options::default());
    // The shop has yet to say how far it is, so all wait.
    let waits = ["--wait", "100ms", "--hears", "bank/moved", "--hears", "shop/moved"];
    let mut teller = case.start(&waits);
    case.moved(1, -1);
    case.moved(2, 2_000_000);
    // It is acknowledged before it is applied.
    wait_until("it is parked", || case.said_of(DeadLetter::TOPIC).len() == 1);
    case.moved(3, -1);
    wait_until("the others count", || case.balances() == [-2, -1]);
    assert!(!teller.has_ended());
    let before = case.said();
    kill(teller);
    let mut teller = case.start(&waits);
    teller.wait_for("\"ready\"");
    assert_eq!(case.said()[..before.len()], before);
    stop(teller);
}

#[cfg(feature = "faults")]
#[test]
fn whoever_dies_between_the_parts_of_a_large_correction_takes_nothing_back() {
    for (lateness, count) in [("10s", 1), ("10us", 3)] {
        let mut case = Case::new(&Options::default());
        (0..1000).for_each(|second| case.moved(second, -1));
        let arguments = ["--journal-segment-bytes", "128 KiB", "--lateness", lateness];
        let mut command = case.home.command_of(&program("teller"), &[&["run"], &arguments[..]].concat());
        let ended = Running::start(command.env("JOURNAL_FAULT", format!("batch.committed:{count}"))).wait();
        assert_eq!(ended.code, None, "it was killed: {ended:?}");
        let (acknowledged, said) = (case.acknowledged(), case.said().len());
        assert!(said > 0, "it has begun to say what follows");
        // Nothing irrevocable is said before what makes it final.
        let released = case.said().into_iter().rev().take_while(|record| record.topic != Final::TOPIC);
        assert_eq!(released.filter(|record| record.topic == "fee").count(), 0, "{lateness}, {count}");
        let teller = case.start(&arguments);
        wait_until("all of it", || case.acknowledged() == 1000 && case.balances().len() == 1000);
        wait_until("final", || case.settled() > Some(985));
        let about =
            format!("{lateness}, {count}: {acknowledged} were acknowledged, {said} records were said");
        assert_eq!(case.said_of(Retract::TOPIC).len(), 0, "{about}");
        assert_eq!(case.said_of("overdrawn").len(), 1000, "{about}");
        let fees = case.said_of("fee");
        let once: std::collections::BTreeSet<_> =
            fees.iter().map(|fee| fee.said.unwrap().id.to_string()).collect();
        assert_eq!(once.len(), fees.len(), "{about}");
        assert!(case.said_of(Late::TOPIC).is_empty(), "{about}");
        stop(teller);
    }
}

#[test]
fn a_dead_letter_that_is_retried_counts_for_good() {
    let mut case = Case::new(&Options::default());
    let teller = case.start(&["--most", "100"]);
    case.moved(1, 500);
    case.moved(2, -10);
    wait_until("the overdraft", || case.balances() == [-10]);
    assert_eq!(case.said_of(DeadLetter::TOPIC).len(), 1);
    stop(teller);
    let mut teller = case.start(&[]);
    teller.wait_for("\"ready\"");
    let letter = of_topic(&case.home, "teller", DeadLetter::TOPIC).pop().unwrap();
    call(&case.home, "teller", "Retry", &json!({"offset": letter.offset})).unwrap();
    wait_until("it counts", || case.balances().is_empty() && !case.said_of(Retract::TOPIC).is_empty());
    case.moved(3, -600);
    wait_until("the next", || case.balances() == [-110]);
    let before = case.said();
    // With and without a snapshot that was written since.
    kill(teller);
    for _ in 0..2 {
        let mut teller = case.start(&[]);
        teller.wait_for("the model is where it was");
        teller.wait_for("\"ready\"");
        assert_eq!(case.said()[..before.len()], before);
        assert_eq!(case.balances(), [-110]);
        stop(teller);
    }
}

/// What a version of the model cannot say of inputs that an earlier one has dealt with.
#[test]
fn what_other_code_cannot_say_is_parked_although_it_was_dealt_with_before() {
    let small = ["--journal-segment-bytes", "128 KiB"];
    for (other, balances, reason) in [
        // A fee that waits to be final, and an overdraft: both larger than before.
        (["--fee-bytes", "100000"], vec![], "must wait to be final"),
        (["--cent-bytes", "200000"], vec![-2], "limit"),
        (["--unsayable=-1", "--most=1000000"], vec![-2], "nobody can say this"),
    ] {
        let mut case = Case::new(&Options::default());
        case.moved_of("a", 1, -1);
        case.moved_of("b", 1, -2);
        let teller = case.start(&small);
        wait_until("all is heard", || case.acknowledged() == 2 && case.balances() == [-2, -1]);
        kill(teller);
        let now = [&small[..], &other].concat();
        let mut teller = case.start(&now);
        wait_until("the rest holds", || case.balances() == balances);
        let letters = case.said_of(DeadLetter::TOPIC);
        assert_eq!(letters.len(), 2 - balances.len(), "{other:?}: {letters:?}");
        assert!(
            letters.iter().all(|letter| letter.payload["reason"].to_string().contains(reason)),
            "{letters:?}"
        );
        // It goes on, and becomes final; each start finds the same.
        case.heartbeat(100);
        wait_until("final", || case.settled() == Some(90));
        assert!(!teller.has_ended());
        let before = case.said();
        kill(teller);
        let mut teller = case.start(&now);
        teller.wait_for("the model is where it was");
        teller.wait_for("\"ready\"");
        assert_eq!(case.said()[..before.len()], before);
        stop(teller);
    }
}

#[test]
fn what_cannot_be_compensated_for_is_retracted_and_nobody_else_pays_for_it() {
    let mut case = Case::new(&Options { sync: SyncPolicy::Never, ..Options::default() });
    let arguments = ["--journal-segment-bytes", "128 KiB", "--snapshot-after", "1"];
    let mut teller = case.start(&arguments);
    case.moved_of("a", 1, 1);
    case.sync_bank();
    let accounts = ["a", "no way back", "long way back"];
    accounts.iter().for_each(|account| case.moved_of(account, 3, -10));
    wait_until("all are overdrawn", || case.balances() == [-10, -10, -9]);
    accounts.iter().for_each(|account| case.moved_of(account, 2, 5));
    wait_until("less than it seemed", || case.balances() == [-5, -5, -4]);
    assert_eq!(case.said_of("overdrawn-withdrawn").len(), 1, "what can be said of it is");
    teller.wait_for("it is only retracted");
    assert!(!teller.has_ended() && case.said_of(DeadLetter::TOPIC).is_empty());
    // The same when their inputs are gone.
    wait_until("all is acknowledged", || case.acknowledged() == 7);
    kill(teller);
    case.restore_bank();
    case.open_bank();
    let mut teller = case.start(&arguments);
    wait_until("nothing is left of it", || case.balances().is_empty());
    assert_eq!(case.said_of("overdrawn-withdrawn").len(), 2);
    teller.wait_for("\"ready\"");
    assert!(!teller.has_ended() && case.said_of(DeadLetter::TOPIC).is_empty());
    stop(teller);
}

#[test]
fn a_serializer_that_panics_costs_one_input_or_a_snapshot() {
    let mut case = Case::new(&Options::default());
    let mut teller = case.start(&["--snapshot-after", "1"]);
    case.moved_of("a", 1, -666_667);
    case.moved_of("b", 1, -1);
    wait_until("the rest holds", || case.balances() == [-1]);
    let letters = case.said_of(DeadLetter::TOPIC);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].payload["reason"].to_string().contains("nobody says this"), "{letters:?}");
    // It becomes part of the snapshot once it is final.
    case.moved_of("c", 2, -666_666);
    case.heartbeat(100);
    wait_until("final", || case.settled() == Some(90));
    case.moved_of("b", 101, -1);
    teller.wait_for("cannot write a snapshot");
    wait_until("it goes on", || case.balances() == [-666_666, -2, -1]);
    assert!(!teller.has_ended());
    kill(teller);
    let teller = case.start(&[]);
    case.moved_of("b", 102, -1);
    wait_until("after a restart, too", || case.balances() == [-666_666, -3, -2, -1]);
    stop(teller);
}

#[cfg(feature = "faults")]
#[test]
fn whoever_dies_between_the_parts_of_what_one_instant_has_released_takes_nothing_back() {
    let mut case = Case::new(&Options::default());
    (0..1000).for_each(|_| case.moved(1, -1));
    let arguments = ["--journal-segment-bytes", "128 KiB", "--fee-bytes", "300"];
    let teller = case.start(&arguments);
    wait_until("all is heard", || case.acknowledged() == 1000 && case.balances().len() == 1000);
    kill(teller);
    case.heartbeat(60);
    let fees = |case: &Case| case.said_of("fee").len();
    let mut lives = 0;
    while fees(&case) == 0 {
        lives += 1;
        assert!(lives < 10, "nothing is released");
        let mut command = case.home.command_of(&program("teller"), &[&["run"], &arguments[..]].concat());
        let ended = Running::start(command.env("JOURNAL_FAULT", format!("batch.committed:{lives}"))).wait();
        assert_eq!(ended.code, None, "it was killed: {ended:?}");
    }
    assert!(fees(&case) < 1000 && case.settled() < Some(1), "it has said a part: {}", fees(&case));
    // Had it come in time, nobody would have been charged.
    case.moved(0, 1_000_000);
    let teller = case.start(&arguments);
    wait_until("all fees", || fees(&case) == 1000 && case.settled() == Some(50));
    wait_until("it is late", || case.said_of(Late::TOPIC).len() == 1);
    assert!(case.said_of(Retract::TOPIC).is_empty(), "what was charged stays charged");
    assert_eq!(case.said().pop().map(|last| last.topic).as_deref(), Some(Late::TOPIC));
    stop(teller);
}

const SLOW: [&str; 4] = ["--subscription-backoff", "1h", "--subscription-backoff-max", "1h"];

#[test]
fn a_model_that_breaks_over_one_input_after_another_slows_down_and_goes_back_once_for_each() {
    let mut case = Case::new(&Options::default());
    let mut teller = case.start(&[&["--most", "100"], &SLOW[..]].concat());
    teller.wait_for("the model is where it was");
    let letters = |case: &Case| case.said_of(DeadLetter::TOPIC).len();
    for count in 1..=5 {
        case.moved(1, 500);
        wait_until("it is parked", || letters(&case) == count);
    }
    // An input that is dealt with makes all of them single ones.
    case.moved(1, 1);
    wait_until("it counts", || case.acknowledged() == 6);
    for _ in 0..12 {
        case.moved(1, 500);
    }
    wait_until("it slows down", || {
        case.waiting().contains("the last 10 events of subscription teller have failed")
    });
    assert_eq!(letters(&case), 15);
    teller.signal(Signal::TERM);
    let ended = teller.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // At first only what was heard alone, then perhaps several at once.
    let rebuilt = ended.stderr.matches("the model is where it was").count();
    assert!(rebuilt <= 5 + 10 + 5, "rebuilt {rebuilt} times");
    let teller = case.start(&[]);
    case.moved(2, -2);
    wait_until("the rest counts", || case.balances().is_empty() && case.acknowledged() == 19);
    stop(teller);
    assert_eq!(letters(&case), 15);
}

#[test]
fn nonsense_without_end_slows_a_model_down() {
    let mut case = Case::new(&Options::default());
    let teller = case.start(&SLOW);
    wait_until("it slows down", || {
        case.say("moved", b"no json");
        // It is nobody's input, and no success.
        case.heartbeat(1);
        case.waiting().contains("events of subscription teller have failed")
    });
    stop(teller);
}
