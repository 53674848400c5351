//! A model as a real process: what it says when inputs are late, final, nonsense or gone.

mod breaking;
mod lost;
mod room;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use journal::{
    Codec, Entry, Gap, GapReason, Item, Options, Reader, Retention, SyncPolicy, Writer, read_cursors,
};
use procession::ordering::{Diverged, EventTime, Final, Late, Retract, Said};
use procession::{DeadLetter, Event as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::letters::{call_of as call, health_of};
use crate::records::{self, of_topic, read_on};
use crate::sample::{Home, Running, program};
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

impl From<records::Said> for Record {
    fn from(record: records::Said) -> Self {
        Self {
            payload: record.json(),
            cause: record.cause.map(|(_, offset)| offset),
            said: Said::of(&record.payload).unwrap(),
            topic: record.topic,
        }
    }
}

impl Case {
    fn new(options: &Options) -> Self {
        let home = Home::new();
        let folder = home.instance("bank");
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
        self.moved_of("a", second, cents);
    }

    fn heartbeat(&mut self, second: i64) {
        self.say("_heartbeat", json!({"at": EventTime(BEGIN + second * SECOND)}).to_string().as_bytes());
    }

    fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.home.command_of(&program("teller"), &[&["run"], arguments].concat()))
    }

    fn folder(&self) -> PathBuf {
        self.home.instance("teller")
    }

    fn said(&self) -> Vec<Record> {
        let Some(mut reader) = records::open(&self.home, "teller") else { return Vec::new() };
        let mut said = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            match item {
                Item::Record(record) => said.push(records::Said::of(&record).into()),
                // Dropped meanwhile: what is kept begins behind it.
                Item::Gap(Gap { reason: GapReason::Trimmed, .. }) => said.clear(),
                Item::Gap(gap) => panic!("{gap:?}"),
            }
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
        self.home.instance("bank")
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
        holds_of(&self.said(), topic)
    }

    fn balances(&self) -> Vec<i64> {
        let mut balances: Vec<i64> =
            self.holds("overdrawn").values().map(|value| value["balance"].as_i64().unwrap()).collect();
        balances.sort_unstable();
        balances
    }

    /// Moves cents of another account.
    fn moved_of(&mut self, account: &str, second: i64, cents: i64) {
        let at = EventTime(BEGIN + second * SECOND);
        self.say("moved", json!({"account": account, "at": at, "cents": cents}).to_string().as_bytes());
    }

    /// What the teller says that it waits for.
    fn waiting(&self) -> String {
        health_of(&self.home, "teller")["waiting"].to_string()
    }

    fn acknowledged(&self) -> u64 {
        let cursors = read_cursors(&self.folder()).unwrap();
        let cursor =
            cursors.iter().find(|cursor| (&*cursor.subscription, &*cursor.journal) == ("teller", "bank"));
        cursor.map_or(0, |cursor| cursor.position.next.0)
    }
}

fn holds_of(said: &[Record], topic: &str) -> BTreeMap<String, Value> {
    let mut holds = BTreeMap::new();
    for record in said {
        if record.topic == Retract::TOPIC {
            holds.remove(record.payload["id"].as_str().unwrap());
        } else if let Some(said) = record.said.filter(|said| record.topic == topic && !said.compensates) {
            assert_eq!(
                holds.insert(said.id.to_string(), record.payload.clone()),
                None,
                "it is asserted once"
            );
        }
    }
    holds
}

fn kill(teller: Running) {
    teller.signal(Signal::KILL);
    teller.wait();
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
    let folder = case.home.instance("shop");
    fs::create_dir_all(&folder).unwrap();
    let shop = Writer::open(&folder, &Options::default()).unwrap();
    let hears = ["--hears", "bank/moved", "--hears", "shop/moved"];
    let patient = [&hears[..], &["--idle-after", "1h", "--dead-after", "1ms"]].concat();
    let teller = case.start(&patient);
    case.moved(1, -1);
    case.heartbeat(100);
    wait_until("the overdraft", || !case.said_of("overdrawn").is_empty());
    wait_until("whom it waits for is shown", || {
        case.waiting().contains("final is held back: model teller waits for shop")
    });
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
fn who_cannot_be_asked_whether_it_lives_is_waited_for() {
    let mut case = Case::new(&Options::default());
    let folder = case.home.instance("shop");
    fs::create_dir_all(&folder).unwrap();
    let shop = Writer::open(&folder, &Options::default()).unwrap();
    let (alive, aside) = (folder.join("alive"), folder.join("aside"));
    fs::rename(&alive, &aside).unwrap();
    std::os::unix::fs::symlink(&alive, &alive).unwrap();
    let hears = ["--hears", "bank/moved", "--hears", "shop/moved"];
    let mut teller = case.start(&[&hears[..], &["--idle-after", "1h", "--dead-after", "1ms"]].concat());
    case.moved(1, -1);
    case.heartbeat(100);
    teller.wait_for("nobody knows whether the source lives");
    wait_until("whom it waits for is shown", || case.waiting().contains("model teller waits for shop"));
    assert_eq!(case.settled(), None);
    fs::rename(&aside, &alive).unwrap();
    drop(shop);
    wait_until("the shop to be dead", || case.settled() == Some(90));
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
fn a_model_that_is_gone_holds_final_back_until_its_folder_is_removed_and_that_is_said() {
    let mut case = Case::new(&Options::default());
    let folder = case.home.instance("shop");
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
    assert!(case.waiting().contains("waits for shop"), "{}", case.waiting());
    assert_eq!(case.settled(), Some(5), "it may come again, and take back what it has said");
    fs::remove_dir_all(&folder).unwrap();
    wait_until("final goes on", || case.settled() == Some(90));
    wait_until("that is over", || !case.waiting().contains("final is held back"));
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
