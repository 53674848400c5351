//! What a model does when a journal has lost what it had heard of it.

use super::*;

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
    wait_until("that is shown", || case.waiting().contains("what teller had heard of bank"));
    assert!(case.said_of(Retract::TOPIC).is_empty(), "nobody knows yet what is lost");
    case.open_bank();
    case.moved(2, -101);
    wait_until("what holds now", || case.balances() == [-1]);
    assert!(!case.waiting().contains("bank"), "{}", case.waiting());
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

/// A second source, whose journal goes and comes.
struct Shop {
    folder: PathBuf,
    aside: PathBuf,
    writer: Option<Writer>,
}

impl Shop {
    fn new(case: &Case) -> Self {
        let [folder, aside] = ["state/shop", "aside"].map(|folder| case.home.path().join(folder));
        fs::create_dir_all(&folder).unwrap();
        let mut shop = Self { folder, aside, writer: None };
        shop.open();
        shop
    }

    fn open(&mut self) {
        self.writer = Some(Writer::open(&self.folder, &Options::default()).unwrap());
    }

    fn moved(&mut self, second: i64, cents: i64) {
        let at = EventTime(BEGIN + second * SECOND);
        let payload = json!({"account": "b", "at": at, "cents": cents}).to_string();
        let (topic, payload, codec) = ("moved", payload.as_bytes(), Codec::Json);
        let entry = Entry { topic, key: None, cause: None, codec, payload };
        self.writer.as_mut().unwrap().append(&entry).unwrap();
    }

    fn go(&mut self) {
        self.writer = None;
        fs::rename(&self.folder, &self.aside).unwrap();
    }

    fn come_back(&self) {
        fs::rename(&self.aside, &self.folder).unwrap();
    }
}

const BOTH: [&str; 6] = ["--hears", "bank/moved", "--hears", "shop/moved", "--snapshot-after", "1"];
const IMPATIENT: [&str; 2] = ["--dead-after", "300ms"];
const HELD: &str = "final is held back: model teller has heard of shop what does not count now";

/// A living model that has begun again while the shop's journal was not there, and so without the shop's overdraft.
fn without_shop(arguments: &[&str]) -> (Case, Shop, Running) {
    let mut case = Case::new(&Options { sync: SyncPolicy::Never, ..Options::default() });
    let mut shop = Shop::new(&case);
    shop.moved(0, -7);
    let teller = case.start(arguments);
    case.moved(1, 100);
    case.sync_bank();
    case.moved(2, -150);
    wait_until("both", || case.balances() == [-50, -7] && case.acknowledged() == 2);
    shop.go();
    // It begins again, as the bank has lost something.
    case.restore_bank();
    case.open_bank();
    case.moved(3, -101);
    wait_until("what holds without the shop", || case.balances() == [-1]);
    (case, shop, teller)
}

fn charged(case: &Case) -> Vec<String> {
    let fees = case.holds("fee").into_values();
    let mut charged: Vec<_> = fees.map(|fee| fee["account"].as_str().unwrap().to_owned()).collect();
    charged.sort();
    charged
}

/// The bank says one thing more, and the teller hears it.
fn say_one_more(case: &mut Case, second: i64) {
    let before = case.acknowledged();
    case.moved(second, 500);
    wait_until("it is heard", || case.acknowledged() > before);
}

#[test]
fn a_living_model_goes_on_without_a_journal_that_is_gone_until_it_is_back() {
    let (mut case, shop, mut teller) = without_shop(&BOTH);
    // So it does when it breaks over something.
    case.moved(4, i64::MAX);
    case.moved(5, -1);
    wait_until("the next", || case.balances() == [-2, -1]);
    // As long as there is nothing to be read, it is not back.
    fs::create_dir(&shop.folder).unwrap();
    case.moved(6, -1);
    wait_until("one more", || case.balances() == [-3, -2, -1]);
    fs::remove_dir(&shop.folder).unwrap();
    shop.come_back();
    wait_until("the shop counts again", || case.balances() == [-7, -3, -2, -1]);
    assert!(!teller.has_ended(), "without a restart");
    stop(teller);
}

#[test]
fn a_journal_that_is_back_counts_though_it_speaks_at_once() {
    let (mut case, mut shop, teller) = without_shop(&BOTH);
    say_one_more(&mut case, 100);
    // It is put back and started, and says what would make final all that was said before.
    shop.come_back();
    shop.open();
    shop.moved(100, 500);
    wait_until("final", || case.settled() == Some(90));
    assert_eq!((case.balances(), charged(&case)), (vec![-7, -1], vec!["a".to_owned(), "b".to_owned()]));
    assert!(!case.waiting().contains(HELD), "{}", case.waiting());
    stop(teller);
}

#[test]
fn nothing_is_final_without_a_journal_however_long_it_is_away() {
    let (mut case, shop, mut teller) = without_shop(&[&BOTH[..], &IMPATIENT].concat());
    say_one_more(&mut case, 100);
    teller.wait_for("not waited for any longer");
    say_one_more(&mut case, 101);
    assert!(case.settled() < Some(0), "what the shop has said does not count");
    assert!(charged(&case).is_empty());
    assert!(case.waiting().contains(HELD), "{}", case.waiting());
    kill(teller);
    let mut teller = case.start(&[&BOTH[..], &IMPATIENT].concat());
    teller.wait_for("not waited for any longer");
    say_one_more(&mut case, 102);
    assert!(case.settled() < Some(0), "nor does a restart make it count");
    assert!(case.waiting().contains(HELD), "{}", case.waiting());
    // It is back, and says nothing.
    shop.come_back();
    wait_until("final", || case.settled() == Some(92));
    assert_eq!(charged(&case), ["a", "b"]);
    assert!(!case.waiting().contains(HELD), "{}", case.waiting());
    stop(teller);
}

#[test]
fn a_journal_that_is_gone_for_good_is_not_waited_for_once_its_place_is_forgotten() {
    let arguments = [&BOTH[..], &IMPATIENT].concat();
    let (mut case, _shop, mut teller) = without_shop(&arguments);
    say_one_more(&mut case, 100);
    teller.wait_for("not waited for any longer");
    assert!(case.settled() < Some(0));
    stop(teller);
    // As `procession subscriptions forget` does it.
    let mut writer = Writer::open(&case.folder(), &Options::default()).unwrap();
    let cursors = journal::Cursors::open(&case.folder(), &writer).unwrap();
    assert!(cursors.forget("teller", "shop").unwrap());
    writer.forget("teller", "shop").unwrap();
    drop((cursors, writer));
    let teller = case.start(&arguments);
    wait_until("final", || case.settled() == Some(90));
    assert_eq!((case.balances(), charged(&case)), (vec![-1], vec!["a".to_owned()]));
    assert!(!case.waiting().contains(HELD), "{}", case.waiting());
    stop(teller);
}

#[test]
fn a_journal_of_which_all_is_final_and_in_a_snapshot_is_not_waited_for() {
    let arguments = [&BOTH[..], &IMPATIENT].concat();
    let mut case = Case::new(&Options::default());
    let mut shop = Shop::new(&case);
    shop.moved(0, -7);
    let teller = case.start(&arguments);
    wait_until("the overdraft", || case.balances() == [-7]);
    shop.go();
    case.moved(100, 500);
    wait_until("final", || case.settled() == Some(90));
    say_one_more(&mut case, 101);
    stop(teller);
    let teller = case.start(&arguments);
    case.moved(200, 500);
    wait_until("final", || case.settled() == Some(190));
    assert_eq!(charged(&case), ["b"]);
    stop(teller);
}
