//! A model as a real process: what it says when inputs are late, final, nonsense or gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use journal::{
    Codec, Entry, Item, Level, Options, Reader, Retention, Start, SyncPolicy, Writer, read_cursors,
};
use procession::ordering::{Diverged, EventTime, Final, Late, Retract, Said};
use procession::{DeadLetter, Event as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::letters::call_of as call;
use crate::sample::{Home, Running};
use crate::swarm::wait_until;

const SECOND: i64 = 1_000_000;
const BEGIN: i64 = 1_700_000_000 * SECOND;

/// A bank whose journal the test writes, and a teller that hears it.
struct Case {
    home: Home,
    bank: Option<Writer>,
}

/// A record of the teller.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    topic: String,
    payload: Value,
    cause: Option<u64>,
    said: Option<Said>,
}

impl Case {
    fn new(options: &Options) -> Self {
        let home = Home::new();
        let folder = home.path().join("state/bank");
        fs::create_dir_all(&folder).unwrap();
        let bank = Writer::open(&folder, options).unwrap();
        Self { home, bank: Some(bank) }
    }

    fn say(&mut self, topic: &str, payload: &[u8]) {
        let entry = Entry { topic, key: None, cause: None, codec: Codec::Json, payload };
        self.bank.as_mut().unwrap().append(&entry).unwrap();
    }

    /// So many cents are moved so many seconds after the beginning.
    fn moved(&mut self, second: i64, cents: i64) {
        let at = EventTime(BEGIN + second * SECOND);
        self.say("moved", json!({"account": "a", "at": at, "cents": cents}).to_string().as_bytes());
    }

    fn heartbeat(&mut self, second: i64) {
        self.say("_heartbeat", json!({"at": EventTime(BEGIN + second * SECOND)}).to_string().as_bytes());
    }

    fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.home.command_of(&program(), &[&["run"], arguments].concat()))
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("state/teller")
    }

    fn said(&self) -> Vec<Record> {
        let reader = Reader::open(&self.folder(), Start::Beginning, Level::Committed).unwrap();
        let Some(mut reader) = reader else { return Vec::new() };
        let mut said = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            let Item::Record(record) = item else { panic!("{item:?}") };
            said.push(Record {
                topic: record.topic.to_owned(),
                payload: serde_json::from_slice(record.payload).unwrap(),
                cause: record.cause.map(|cause| cause.offset.0),
                said: Said::of(record.payload).unwrap(),
            });
        }
        said
    }

    fn said_of(&self, topic: &str) -> Vec<Record> {
        self.said().into_iter().filter(|record| record.topic == topic).collect()
    }

    /// How far it is final, in seconds after the beginning.
    fn settled(&self) -> Option<i64> {
        let last = self.said_of(Final::TOPIC).pop()?;
        let Final { at } = serde_json::from_value(last.payload).unwrap();
        Some((at.0 - BEGIN) / SECOND)
    }
}

/// Copies of files, as a backup or the disk after power loss has them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

impl Case {
    fn bank_folder(&self) -> PathBuf {
        self.home.path().join("state/bank")
    }

    /// What is said from here on is lost when [`Self::lose_power`] is called.
    fn sync_bank(&mut self) {
        self.bank.as_mut().unwrap().sync().unwrap();
        copy(&self.bank_folder(), &self.home.path().join("synced"));
    }

    /// The machine was without power: the bank has what was synced, and is not recovered yet.
    fn lose_power(&mut self) {
        self.restore_bank();
        let path = journal::marks_path(&self.bank_folder());
        let mut marks = fs::read(&path).unwrap();
        marks[32..48].fill(0xb0);
        fs::write(&path, marks).unwrap();
    }

    /// The copy is put back.
    fn restore_bank(&mut self) {
        self.bank = None;
        fs::remove_dir_all(self.bank_folder()).unwrap();
        copy(&self.home.path().join("synced"), &self.bank_folder());
    }

    fn open_bank(&mut self) {
        self.bank = Some(Writer::open(&self.bank_folder(), &Options::default()).unwrap());
    }

    /// The conclusions of a topic that hold: id to payload.
    fn holds(&self, topic: &str) -> BTreeMap<String, Value> {
        let mut holds = BTreeMap::new();
        for record in self.said() {
            if record.topic == Retract::TOPIC {
                holds.remove(record.payload["id"].as_str().unwrap());
            } else if let Some(said) = record.said.filter(|said| record.topic == topic && !said.compensates) {
                assert_eq!(holds.insert(said.id.to_string(), record.payload), None, "it is asserted once");
            }
        }
        holds
    }

    fn balances(&self) -> Vec<i64> {
        let mut balances: Vec<i64> =
            self.holds("overdrawn").values().map(|value| value["balance"].as_i64().unwrap()).collect();
        balances.sort_unstable();
        balances
    }

    fn acknowledged(&self) -> u64 {
        let cursors = read_cursors(&self.folder()).unwrap();
        let cursor =
            cursors.iter().find(|cursor| (&*cursor.subscription, &*cursor.journal) == ("teller", "bank"));
        cursor.map_or(0, |cursor| cursor.position.next.0)
    }
}

fn program() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples/teller")
}

fn kill(teller: Running) {
    teller.signal(Signal::KILL);
    teller.wait();
}

#[test]
fn what_followed_from_lost_inputs_is_taken_back_and_what_is_said_anew_is_heard() {
    let mut case = Case::new(&Options { sync: SyncPolicy::Never, ..Options::default() });
    case.moved(1, 100);
    case.sync_bank();
    let teller = case.start(&[]);
    case.moved(3, -150);
    case.moved(4, -1);
    wait_until("both overdrafts", || case.balances() == [-51, -50]);
    wait_until("all is acknowledged", || case.acknowledged() == 3);
    kill(teller);
    case.lose_power();
    let mut teller = case.start(&[]);
    teller.wait_for("the model waits");
    assert!(case.said_of(Retract::TOPIC).is_empty(), "nobody knows yet what is lost");
    case.open_bank();
    case.moved(2, -101);
    wait_until("what holds now", || case.balances() == [-1]);
    // Simple listeners are told, too, by what their domain has for it.
    let undone: Vec<_> = case.said_of("overdrawn-withdrawn");
    assert_eq!(undone.len(), 2, "{undone:?}");
    assert!(undone.iter().all(|undone| undone.payload["account"] == "a" && undone.said.unwrap().compensates));
    let gone = case.said_of(Diverged::TOPIC);
    assert_eq!(gone.len(), 1, "{gone:?}");
    let gone: Diverged = serde_json::from_value(gone[0].payload.clone()).unwrap();
    assert_eq!((&*gone.journal, gone.from, gone.to), ("bank", 1, 3));
    // The same again is another record: the id is that of before, the revision is not.
    case.moved(3, -150);
    wait_until("what holds then", || case.balances() == [-151, -1]);
    wait_until("all is acknowledged", || case.acknowledged() == 3);
    let before = case.said();
    kill(teller);
    let teller = case.start(&[]);
    case.moved(5, -1);
    wait_until("what holds at last", || case.balances() == [-152, -151, -1]);
    assert_eq!(case.said()[..before.len()], before);
    stop(teller);
}

#[test]
fn a_living_model_hears_what_an_older_copy_and_then_another_journal_say_anew() {
    let mut case = Case::new(&Options { sync: SyncPolicy::Never, ..Options::default() });
    let mut teller = case.start(&[]);
    case.moved(1, 100);
    case.sync_bank();
    case.moved(2, -150);
    wait_until("the overdraft", || case.balances() == [-50]);
    case.restore_bank();
    case.open_bank();
    case.moved(3, -101);
    teller.wait_for("inputs are gone");
    wait_until("what holds by the older copy", || case.balances() == [-1]);
    case.bank = None;
    fs::remove_dir_all(case.bank_folder()).unwrap();
    fs::create_dir(case.bank_folder()).unwrap();
    case.open_bank();
    case.moved(4, -7);
    wait_until("what holds by another journal", || case.balances() == [-7]);
    let gone: Vec<Diverged> = case
        .said_of(Diverged::TOPIC)
        .into_iter()
        .map(|record| serde_json::from_value(record.payload).unwrap())
        .collect();
    let places: Vec<_> = gone.iter().map(|gone| (gone.from, gone.to)).collect();
    assert_eq!(places, [(1, 2), (0, 2)]);
    wait_until("all is acknowledged", || case.acknowledged() == 1);
    let before = case.said();
    kill(teller);
    let teller = case.start(&[]);
    case.moved(5, -1);
    wait_until("what holds after a restart", || case.balances() == [-8, -7]);
    assert_eq!(case.said()[..before.len()], before);
    stop(teller);
}

#[test]
fn whoever_dies_while_inputs_are_lost_the_result_is_the_same() {
    let mut case = Case::new(&Options { sync: SyncPolicy::Never, ..Options::default() });
    let mut teller = case.start(&["--snapshot-after", "3"]);
    for round in 0..6 {
        let second = 10 * round;
        case.moved(second + 1, -1);
        case.sync_bank();
        case.moved(second + 2, -10_000);
        case.moved(second + 3, -20_000);
        wait_until("all is acknowledged", || case.acknowledged() == round.cast_unsigned() * 2 + 3);
        kill(teller);
        case.restore_bank();
        case.open_bank();
        case.moved(second + 4, -1);
        // It dies over and over, each time a little later.
        teller = case.start(&["--snapshot-after", "3"]);
        for pause in 0..4 {
            let said = case.said().len();
            let mut looks = 0;
            wait_until("a place to die", || {
                looks += 1;
                case.said().len() > said + pause || looks > 5 * (pause + 1)
            });
            kill(teller);
            teller = case.start(&["--snapshot-after", "3"]);
        }
        let wanted: Vec<i64> = (1..=2 * (round + 1)).map(|balance| -balance).rev().collect();
        wait_until("what holds", || case.balances() == wanted);
    }
    teller.wait_for("the model is where it was");
    stop(teller);
}

#[test]
fn what_is_final_stays_when_its_input_is_lost_and_the_loss_is_named() {
    let mut case = Case::new(&Options { sync: SyncPolicy::Never, ..Options::default() });
    let teller = case.start(&[]);
    case.moved(1, 100);
    case.sync_bank();
    case.moved(2, -150);
    case.moved(60, -10);
    wait_until("final", || case.settled() == Some(50));
    wait_until("the overdrafts", || case.balances() == [-60, -50]);
    assert_eq!(case.said_of("fee").len(), 1);
    kill(teller);
    case.restore_bank();
    case.open_bank();
    let teller = case.start(&[]);
    wait_until("the loss is named", || !case.said_of(Diverged::TOPIC).is_empty());
    // One that comes too late, at the offset of one that was lost.
    case.moved(3, -7);
    wait_until("it is late", || !case.said_of(Late::TOPIC).is_empty());
    wait_until("what holds", || case.balances() == [-50]);
    assert_eq!(case.holds("fee").len(), 1, "a receipt is not taken back");
    stop(teller);
}

fn stop(teller: Running) {
    teller.signal(Signal::TERM);
    let ended = teller.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_late_deposit_takes_the_overdraft_back_and_no_fee_is_charged() {
    let mut case = Case::new(&Options::default());
    let teller = case.start(&[]);
    case.moved(1, 100);
    case.moved(3, -150);
    wait_until("the overdraft", || !case.said_of("overdrawn").is_empty());
    let first = case.said_of("overdrawn")[0].clone();
    assert_eq!((first.payload["balance"].as_i64(), first.cause), (Some(-50), Some(1)));
    case.moved(2, 60);
    wait_until("the retract", || !case.said_of(Retract::TOPIC).is_empty());
    let retract = case.said_of(Retract::TOPIC)[0].clone();
    let said = first.said.unwrap();
    assert_eq!(retract.payload["id"], said.id.to_string());
    assert_eq!((retract.payload["revision"].as_u64(), retract.cause), (Some(1), Some(2)));
    let undone = case.said_of("overdrawn-withdrawn")[0].clone();
    assert_eq!(undone.said, Some(Said { compensates: true, ..said }));
    // Overdrawn after all; the fee comes once it is final, and only once.
    case.moved(4, -50);
    wait_until("the overdraft", || case.said_of("overdrawn").len() == 2);
    assert!(case.said_of("fee").is_empty());
    case.heartbeat(14);
    wait_until("final", || case.settled() == Some(4));
    assert!(case.said_of("fee").is_empty(), "what is of this very second is not final");
    case.heartbeat(20);
    wait_until("final", || case.settled() == Some(10));
    assert_eq!(case.said_of("fee").len(), 1);
    stop(teller);
}

#[test]
fn what_is_final_stays_and_nonsense_is_parked() {
    let mut case = Case::new(&Options::default());
    case.moved(1, 100);
    case.moved(50, -10);
    let teller = case.start(&[]);
    wait_until("final", || case.settled() == Some(40));
    case.moved(30, -200);
    case.say("moved", b"{\"account\":7}");
    case.say("moved", b"no json");
    case.say("moved", br#"{"account":"a","at":"1","cents":1,"_said":{"id":"x"}}"#);
    case.moved(51, -100);
    wait_until("the overdraft", || !case.said_of("overdrawn").is_empty());
    assert_eq!(case.said_of("overdrawn")[0].payload["balance"], -10, "the late one does not count");
    let late: Late = serde_json::from_value(case.said_of(Late::TOPIC)[0].payload.clone()).unwrap();
    assert_eq!((late.journal.as_str(), late.offset, late.topic.as_str()), ("bank", 2, "moved"));
    assert_eq!(late.at, EventTime(BEGIN + 30 * SECOND));
    let letters = case.said_of(DeadLetter::TOPIC);
    assert_eq!(letters.iter().map(|letter| letter.cause).collect::<Vec<_>>(), [Some(3), Some(4), Some(5)]);
    // The same after a restart, from the snapshot and without it.
    let before = case.said();
    stop(teller);
    let teller = case.start(&[]);
    case.moved(52, -1);
    wait_until("the overdraft", || case.said_of("overdrawn").len() == 2);
    assert_eq!(case.said_of("overdrawn")[1].payload["balance"], -11);
    assert_eq!(case.said()[..before.len()], before);
    stop(teller);
    fs::remove_file(case.folder().join("teller.snapshot")).unwrap();
    let teller = case.start(&[]);
    case.moved(53, -1);
    wait_until("the overdraft", || case.said_of("overdrawn").len() == 3);
    assert_eq!(case.said_of("overdrawn")[2].payload["balance"], -12);
    assert!(case.said_of(Retract::TOPIC).is_empty() && case.said_of(DeadLetter::TOPIC).len() == 3);
    stop(teller);
}

#[test]
fn who_is_silent_or_dead_holds_time_back_for_a_while_only() {
    let mut case = Case::new(&Options::default());
    let folder = case.home.path().join("state/shop");
    fs::create_dir_all(&folder).unwrap();
    let shop = Writer::open(&folder, &Options::default()).unwrap();
    let hears = ["--hears", "bank/moved", "--hears", "shop/moved"];
    let patient = [&hears[..], &["--idle-after", "1h", "--dead-after", "1ms"]].concat();
    let teller = case.start(&patient);
    case.moved(1, -1);
    case.heartbeat(100);
    wait_until("the overdraft", || !case.said_of("overdrawn").is_empty());
    assert_eq!(case.settled(), None, "the shop lives, and has not said how far it is");
    stop(teller);
    let impatient = [&hears[..], &["--idle-after", "1ms", "--dead-after", "1h"]].concat();
    let teller = case.start(&impatient);
    wait_until("the shop to be idle", || case.settled() == Some(90));
    stop(teller);
    drop(shop);
    case.heartbeat(200);
    let teller = case.start(&patient);
    wait_until("the shop to be dead", || case.settled() == Some(190));
    stop(teller);
}

#[test]
fn a_clock_that_is_a_day_ahead_makes_nobody_late() {
    let mut case = Case::new(&Options::default());
    let teller = case.start(&[]);
    let now = EventTime::now();
    let tomorrow = now.plus(std::time::Duration::from_secs(86_400));
    for (at, cents) in [(now, 1), (tomorrow, 1), (now.plus(std::time::Duration::from_secs(1)), -2)] {
        case.say("moved", json!({"account": "a", "at": at, "cents": cents}).to_string().as_bytes());
    }
    wait_until("the overdraft", || !case.said_of("overdrawn").is_empty());
    assert!(case.said_of(Late::TOPIC).is_empty());
    assert!(case.settled().is_none_or(|settled| BEGIN / SECOND + settled < tomorrow.0 / SECOND));
    stop(teller);
}

#[test]
fn inputs_are_kept_until_a_snapshot_holds_what_follows_from_them() {
    let small = Options {
        segment_bytes: 16 << 10,
        sync: SyncPolicy::Never,
        retention: Retention { bytes_kept: 0, ..Options::default().retention },
        ..Options::default()
    };
    let mut case = Case::new(&small);
    let teller = case.start(&["--snapshot-after", "1000000"]);
    case.moved(1, -1);
    wait_until("the first", || !case.said_of("overdrawn").is_empty());
    for second in 2..1000 {
        case.moved(second, 0);
    }
    wait_until("all", || case.said_of("overdrawn").len() == 999);
    let trimmed = |case: &Case| case.bank.as_ref().unwrap().watch().marks().trimmed.0;
    assert_eq!(trimmed(&case), 0, "they would be needed again");
    // A clean end writes a snapshot.
    stop(teller);
    wait_until("the old ones go", || {
        case.moved(1000, 0);
        trimmed(&case) > 0
    });
    let teller = case.start(&[]);
    case.moved(1001, -1);
    let last = |case: &Case| case.said_of("overdrawn").pop().unwrap().payload["balance"].as_i64();
    wait_until("the balance", || last(&case) == Some(-2));
    stop(teller);
    // Nobody can tell the balance now.
    let snapshot = case.folder().join("teller.snapshot");
    let text = fs::read_to_string(&snapshot).unwrap();
    fs::write(&snapshot, text.replacen("balance", "balanec", 1)).unwrap();
    let ended = case.start(&[]).wait();
    assert_ne!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("cannot be rebuilt") && ended.stderr.contains("teller.snapshot"),
        "{ended:?}"
    );
    fs::write(&snapshot, text).unwrap();
    let teller = case.start(&[]);
    case.moved(1002, -1);
    wait_until("the balance", || last(&case) == Some(-3));
    stop(teller);
}

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
    let teller = case.start(&[]);
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
    for (lateness, count) in [("10s", 1)] {
        let mut case = Case::new(&Options::default());
        (0..1000).for_each(|second| case.moved(second, -1));
        let arguments = ["--journal-segment-bytes", "128 KiB", "--lateness", lateness];
        let mut command = case.home.command_of(&program(), &[&["run"], &arguments[..]].concat());
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
    let reader = Reader::open(&case.folder(), Start::Beginning, Level::Committed).unwrap();
    let (mut reader, mut letter) = (reader.unwrap(), None);
    while let Some(item) = reader.next().unwrap() {
        if let Item::Record(record) = item
            && record.topic == DeadLetter::TOPIC
        {
            letter = Some(record.offset.0);
        }
    }
    call(&case.home, "teller", "Retry", &json!({"offset": letter.unwrap()})).unwrap();
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

#[test]
fn a_model_that_is_gone_holds_final_back_until_its_folder_is_removed_and_that_is_said() {
    let mut case = Case::new(&Options::default());
    let folder = case.home.path().join("state/shop");
    fs::create_dir_all(&folder).unwrap();
    let mut shop = Writer::open(&folder, &Options::default()).unwrap();
    let at = EventTime(BEGIN + 5 * SECOND);
    let payload = json!({"at": at}).to_string();
    let (topic, payload, codec) = (Final::TOPIC, payload.as_bytes(), Codec::Json);
    shop.append(&Entry { topic, key: None, cause: None, codec, payload }).unwrap();
    let mut teller = case.start(&["--hears", "bank/moved", "--hears", "shop/moved", "--dead-after", "300ms"]);
    case.moved(1, -1);
    case.heartbeat(100);
    drop(shop);
    wait_until("as far as the shop is final", || case.settled() == Some(5));
    teller.wait_for("final is held back");
    assert_eq!(case.settled(), Some(5), "it may come again, and take back what it has said");
    fs::remove_dir_all(&folder).unwrap();
    wait_until("final goes on", || case.settled() == Some(90));
    stop(teller);
}

#[test]
fn all_that_a_model_needs_has_its_lease_renewed() {
    let mut case = Case::new(&Options::default());
    // What a journal that is not there yet will be read from is needed, too.
    let hears = ["--hears", "bank/moved", "--hears", "shop/moved", "--journal-lease", "1s"];
    let teller = case.start(&hears);
    case.moved(1, -1);
    wait_until("the overdraft", || !case.said_of("overdrawn").is_empty());
    let seen = |case: &Case| -> BTreeMap<(String, String), u64> {
        let cursors = read_cursors(&case.folder()).unwrap().into_iter();
        cursors.map(|cursor| ((cursor.subscription, cursor.journal), cursor.seen_ns)).collect()
    };
    let needed = |subscription: &str, journal: &str| (subscription.to_owned(), journal.to_owned());
    let before = seen(&case);
    for key in [
        needed("teller", "bank"),
        needed("teller.replay", "bank"),
        needed("teller.replay", "shop"),
        needed("teller.replay", "teller"),
    ] {
        assert!(before.contains_key(&key), "{key:?} is not among {before:?}");
    }
    wait_until("each is renewed", || {
        let now = seen(&case);
        before.iter().all(|(key, seen)| now[key] > *seen)
    });
    stop(teller);
}

#[test]
fn a_circle_of_models_is_refused() {
    let case = Case::new(&Options::default());
    let mut first = case.start(&["--instance", "teller@a", "--hears", "teller@b/overdrawn"]);
    first.wait_for("the model is where it was");
    let ended = case.start(&["--instance", "teller@b", "--hears", "teller@a/fee"]).wait();
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("circle") && ended.stderr.contains("teller@b, teller@a"), "{ended:?}");
    let ended = case.start(&["--instance", "teller@c", "--hears", "teller@c/fee"]).wait();
    assert!(ended.code != Some(0) && ended.stderr.contains("circle"), "{ended:?}");
    stop(first);
}
