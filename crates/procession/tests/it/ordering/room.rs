//! What a model keeps in its own journal and in others', and what it does without room.

use std::sync::Arc;

use journal::{Cursor, Cursors, Position};

use super::*;

const CRAMPED: [&str; 8] = [
    "--journal-segment-bytes",
    "16KiB",
    "--journal-max-bytes",
    "32KiB",
    "--journal-when-full",
    "wait",
    "--lateness",
    "1h",
];

/// A subscriber to the teller that holds back all that it has not read.
struct Slow {
    _writer: Writer,
    _cursors: Arc<Cursors>,
    cursor: Cursor,
    reader: Option<Reader>,
    /// What it has read.
    said: Vec<Record>,
}

impl Slow {
    fn new(case: &Case) -> Self {
        let folder = case.home.instance("slow");
        fs::create_dir_all(&folder).unwrap();
        let writer = Writer::open(&folder, &Options::default()).unwrap();
        let cursors = Cursors::open(&folder, &writer).unwrap();
        let cursor = cursors.claim("l", "teller").unwrap();
        cursor.store(Position::default());
        Self { _writer: writer, _cursors: cursors, cursor, reader: None, said: Vec::new() }
    }

    fn read(&mut self, case: &Case) {
        if self.reader.is_none() {
            self.reader = records::open(&case.home, "teller");
        }
        let Some(reader) = &mut self.reader else { return };
        self.said.extend(read_on(reader).into_iter().map(Record::from));
        self.cursor.store(reader.position());
    }

    /// The balances that hold, of all that was said.
    fn balances(&self) -> Vec<i64> {
        let mut balances: Vec<i64> = holds_of(&self.said, "overdrawn")
            .values()
            .map(|value| value["balance"].as_i64().unwrap())
            .collect();
        balances.sort_unstable();
        balances
    }
}

fn small() -> Options {
    Options {
        segment_bytes: 16 << 10,
        sync: SyncPolicy::Never,
        retention: Retention { bytes_kept: 0, ..Options::default().retention },
        ..Options::default()
    }
}

#[test]
fn a_model_with_a_limited_journal_neither_waits_for_itself_nor_forgets_what_it_knows() {
    for full in ["wait", "drop-oldest"] {
        let mut case = Case::new(&Options::default());
        let limits = ["--journal-segment-bytes", "16KiB", "--journal-max-bytes", "64KiB"];
        let more = ["--journal-when-full", full, "--lateness", "1s", "--snapshot-after", "100000"];
        let args = [&limits[..], &more].concat();
        for life in 1..=2 {
            let teller = case.start(&args);
            for second in (life - 1) * 700..life * 700 {
                case.moved(second, -1);
            }
            wait_until("all is heard", || case.acknowledged() == 700 * u64::try_from(life).unwrap());
            kill(teller);
        }
        let teller = case.start(&args);
        case.moved(1400, -1);
        wait_until("one more", || case.acknowledged() == 1401);
        let last = case.said_of("overdrawn").pop().unwrap();
        assert_eq!(last.payload["balance"], -1401, "{full}");
        stop(teller);
    }
}

/// What keeps a model from writing snapshots: all others of its files can be written.
struct Obstacle(PathBuf);

impl Obstacle {
    fn new(case: &Case) -> Self {
        let path = case.folder().join("teller.snapshot-new");
        // It may be writing one just now.
        wait_until("its name is free", || fs::create_dir(&path).is_ok());
        Self(path)
    }

    fn remove(self) {
        fs::remove_dir(self.0).unwrap();
    }
}

const UNWRITTEN: &str = "model teller cannot write";

#[test]
fn a_model_that_waits_because_no_snapshot_can_be_written_goes_on_once_one_can() {
    let mut case = Case::new(&Options::default());
    let mut teller = case.start(&CRAMPED);
    (0..20).for_each(|second| case.moved(second, -1));
    wait_until("all is heard", || case.acknowledged() == 20);
    let obstacle = Obstacle::new(&case);
    (20..300).for_each(|second| case.moved(second, -1));
    teller.wait_for("waits for room");
    wait_until("that is said", || case.waiting().contains(UNWRITTEN));
    assert!(!case.waiting().contains("forget it"), "{}", case.waiting());
    assert!(case.acknowledged() < 300);
    obstacle.remove();
    wait_until("all is heard", || case.acknowledged() == 300);
    assert!(!case.waiting().contains(UNWRITTEN), "{}", case.waiting());
    stop(teller);
}

#[test]
fn a_journal_that_drops_the_oldest_drops_nothing_that_its_model_needs_and_no_snapshot_holds() {
    let limits = ["--journal-segment-bytes", "16KiB", "--journal-max-bytes", "64KiB"];
    let more = ["--journal-when-full", "drop-oldest", "--lateness", "1h", "--snapshot-after", "100000"];
    let args = [&limits[..], &more].concat();
    let mut case = Case::new(&Options::default());
    let mut teller = case.start(&args);
    (0..20).for_each(|second| case.moved(second, -1));
    wait_until("all is heard", || case.acknowledged() == 20);
    let obstacle = Obstacle::new(&case);
    (20..700).for_each(|second| case.moved(second, -1));
    for _ in 0..2 {
        teller.wait_for("waits for room");
        wait_until("that is said", || case.waiting().contains(UNWRITTEN));
        assert!(case.acknowledged() < 700);
        kill(teller);
        teller = case.start(&args);
    }
    wait_until("that is said", || case.waiting().contains(UNWRITTEN));
    obstacle.remove();
    case.moved(700, -1);
    wait_until("all is heard", || case.acknowledged() == 701);
    assert_eq!(case.said_of("overdrawn").pop().unwrap().payload["balance"], -701);
    assert!(!case.waiting().contains(UNWRITTEN), "{}", case.waiting());
    stop(teller);
}

#[test]
fn a_snapshot_that_could_not_be_written_is_tried_again_though_nothing_is_heard() {
    let mut case = Case::new(&Options::default());
    let teller = case.start(&["--snapshot-after", "1"]);
    case.moved(0, -1);
    wait_until("it is heard", || case.acknowledged() == 1);
    let obstacle = Obstacle::new(&case);
    case.moved(1, -1);
    wait_until("that is said", || case.waiting().contains(UNWRITTEN));
    let path = case.folder().join("teller.snapshot");
    let before = fs::read(&path).unwrap();
    obstacle.remove();
    wait_until("that is over", || !case.waiting().contains(UNWRITTEN));
    assert_ne!(fs::read(&path).unwrap(), before);
    stop(teller);
}

#[test]
fn a_correction_of_several_segments_in_a_limited_journal_is_said_once_and_whole() {
    let mut case = Case::new(&Options::default());
    let mut slow = Slow::new(&case);
    let roomy = CRAMPED.map(|argument| if argument == "32KiB" { "128KiB" } else { argument });
    let teller = case.start(&roomy);
    for second in 1..=120 {
        case.moved(second, -1);
    }
    wait_until("all is heard", || {
        slow.read(&case);
        case.acknowledged() == 120
    });
    for (turn, cents) in [-1000, 500, 200, 100].into_iter().enumerate() {
        // All that was said is to be taken back.
        case.moved(0, cents);
        wait_until("the correction", || {
            slow.read(&case);
            case.acknowledged() == 121 + turn as u64
        });
    }
    slow.read(&case);
    // Those of that second itself, and all that follow.
    let mut expected = [-1000, -500, -300].to_vec();
    expected.extend(-320..=-200);
    expected.sort_unstable();
    assert_eq!(slow.balances(), expected);
    kill(teller);
    let teller = case.start(&roomy);
    case.moved(121, -1);
    wait_until("one more", || {
        slow.read(&case);
        slow.balances().contains(&-321)
    });
    stop(teller);
}

#[test]
fn a_stop_while_a_rebuilt_model_has_no_room_is_no_death() {
    let mut case = Case::new(&Options::default());
    let _slow = Slow::new(&case);
    case.moved(0, 0);
    case.sync_bank();
    let mut teller = case.start(&CRAMPED);
    (1..400).for_each(|second| case.moved(second, -1));
    teller.wait_for("waits for room");
    kill(teller);
    // All of it is to be taken back.
    case.restore_bank();
    case.open_bank();
    let mut teller = case.start(&CRAMPED);
    teller.wait_for("waits for room");
    stop(teller);
    assert!(!case.folder().join("last-death").exists());
}

#[test]
fn a_stop_while_a_model_parks_something_without_room_is_no_death_and_loses_nothing() {
    let mut case = Case::new(&Options::default());
    let mut slow = Slow::new(&case);
    let mut teller = case.start(&CRAMPED);
    (0..400).for_each(|second| case.moved_of("z", second, -1));
    teller.wait_for("waits for room");
    kill(teller);
    case.moved_of("p", 400, i64::MIN);
    case.moved_of("a", 401, -7);
    case.moved_of("b", 402, 5);
    let mut teller = case.start(&CRAMPED);
    teller.wait_for("waits for room");
    stop(teller);
    let teller = case.start(&CRAMPED);
    wait_until("all is heard", || {
        slow.read(&case);
        case.acknowledged() == 403
    });
    slow.read(&case);
    let of = |account: &str| {
        let said = slow.said.iter().filter(|record| record.topic == "overdrawn");
        said.filter(|record| record.payload["account"] == account).count()
    };
    assert_eq!((of("z"), of("a"), of("b")), (400, 1, 0));
    let letters = slow.said.iter().filter(|record| record.topic == DeadLetter::TOPIC);
    assert_eq!(letters.map(|letter| letter.cause).collect::<Vec<_>>(), [Some(400)]);
    stop(teller);
}

#[test]
fn a_dead_letter_that_is_retried_counts_though_its_publisher_has_dropped_the_event() {
    let mut case = Case::new(&small());
    let strict = ["--most", "100", "--lateness", "1h"];
    let teller = case.start(&strict);
    // Later than all that follows, so that it is not final when it is retried.
    case.moved(9000, 500);
    wait_until("it is parked", || case.said_of(DeadLetter::TOPIC).len() == 1);
    stop(teller);
    let letter = of_topic(&case.home, "teller", DeadLetter::TOPIC)[0].offset;
    // What is final is let go of when a snapshot is written.
    let mut second = 1;
    let trimmed = |case: &Case| case.bank.as_ref().unwrap().watch().marks().trimmed.0;
    let teller = case.start(&["--lateness", "1s", "--snapshot-after", "50"]);
    wait_until("its publisher drops it", || {
        (0..20).for_each(|_| {
            case.moved(second, 0);
            second += 1;
        });
        trimmed(&case) > 0
    });
    let retried = call(&case.home, "teller", "Retry", &json!({"offset": letter}));
    assert!(retried.is_ok(), "{retried:?}");
    stop(teller);
    for life in 0..3 {
        let teller = case.start(&["--lateness", "1h"]);
        case.moved(9001 + life, -501);
        wait_until("one more", || case.said_of("overdrawn").len() == usize::try_from(life).unwrap() + 1);
        let balance = case.said_of("overdrawn").pop().unwrap().payload["balance"].as_i64();
        assert_eq!(balance, Some(500 - 501 * (life + 1)));
        if life == 1 { kill(teller) } else { stop(teller) }
    }
}

#[test]
fn an_event_from_the_far_future_is_parked_and_one_from_tomorrow_keeps_nothing_but_itself() {
    let mut case = Case::new(&small());
    let mut teller = case.start(&["--snapshot-after", "200", "--lateness", "1s"]);
    // Nobody else holds back what the bank says.
    teller.wait_for("the model is where it was");
    let now = EventTime::now();
    let say = |case: &mut Case, at: EventTime| {
        case.say("moved", json!({"account": "a", "at": at, "cents": 0}).to_string().as_bytes());
    };
    let later = |seconds: u64| now.plus(std::time::Duration::from_secs(seconds));
    say(&mut case, later(1_000_000_000));
    case.say("_heartbeat", json!({"at": later(1_000_000_000)}).to_string().as_bytes());
    say(&mut case, later(80_000));
    for _ in 0..10_000 {
        say(&mut case, now);
    }
    wait_until("all is heard", || case.acknowledged() == 10_003);
    // The rest becomes final when time goes on.
    wait_until("final", || {
        say(&mut case, EventTime::now());
        case.settled().is_some_and(|settled| BEGIN + settled * SECOND > now.0)
    });
    stop(teller);
    let letters = case.said_of(DeadLetter::TOPIC);
    assert_eq!(letters.iter().map(|letter| letter.cause).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert!(
        letters[0].payload["reason"].as_str().unwrap().contains("is more than 86400s after it was recorded"),
        "{letters:?}"
    );
    let text = fs::read_to_string(case.folder().join("teller.snapshot")).unwrap();
    let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let bank = &header["journals"]["bank"];
    assert_eq!((&bank["from"], &bank["inputs"][0]), (&json!(2), &json!(2)));
    assert!(bank["inputs"].as_array().unwrap().len() < 1000, "what is final is not listed: {bank}");
}
