//! The checkout under faults, in short: the long form is the example `prove-checkout`.

use rand::RngExt as _;
use serde_json::{Value, json};
use testkit::checkout::{Books, Plan, Policy, Report, Shop};
use testkit::{Home, seeded};

const LANES: u32 = 4;

#[track_caller]
fn run(what: &str, plan: &Plan) -> (Books, Report) {
    let (home, report) =
        Shop::run(Home::in_memory(), plan).unwrap_or_else(|trouble| panic!("{what}: {trouble}"));
    let books = Books::read(&home).unwrap();
    println!("{what}: {report}\n    {}", books.summary());
    if let Err(trouble) = books.audit(plan.sessions, plan.policy) {
        panic!("{what}: {trouble}\nthe files are kept in {}", home.keep().display());
    }
    (books, report)
}

#[test]
fn out_of_order_twice_and_killed_all_the_while_customers_pay_what_they_would_have_paid() {
    let plan = Plan::faultless(seeded("checkout").random::<u32>().into(), 60, LANES);
    let (faultless, _) = run("faultless", &plan);
    assert_eq!(faultless.retracts, 0);
    for one_in in [10, 10_000] {
        let what = format!("faults 1 in {one_in}, and kills");
        let (books, report) = run(&what, &plan.under_fire(one_in));
        books.compare(&faultless).unwrap_or_else(|trouble| panic!("{what}: {trouble}"));
        assert!(report.kills.values().sum::<u64>() >= 3, "the machine is too busy to tell anything");
    }
}

#[test]
fn without_weight_check_customers_still_buy_and_it_catches_up() {
    let plan = Plan::faultless(seeded("outage").random::<u32>().into(), 60, LANES);
    let (faultless, _) = run("faultless", &plan);
    let (books, report) = run("weight-check down for 20 customers", &plan.without_weight_check(20));
    books.compare(&faultless).unwrap_or_else(|trouble| panic!("{trouble}"));
    // That the list and the payments agree, payment by payment, has been audited. Here: they are the right ones.
    let (_, from, to) = report.outage.unwrap();
    let paid = |verified: bool, from: u64, to: u64| {
        let paid = books.payments.values().filter(|paid| paid.verified == verified);
        paid.filter(|paid| (from..to).contains(&paid.offset)).count()
    };
    let lanes = usize::try_from(LANES).unwrap();
    let during = (paid(false, from, to), paid(true, from, to));
    // Each lane had one customer in hand.
    assert!(during.0 >= 20 - 2 * lanes, "too few paid while weight-check was down: {during:?}");
    assert!(during.1 <= lanes, "more were verified than those in hand: {during:?}");
    assert_eq!(paid(false, 0, from), 0, "nobody is unverified before weight-check is down");
    assert!(paid(true, to, u64::MAX) > 0, "nobody is verified once weight-check is back");
}

/// A record: journal, topic, payload.
type Said = (&'static str, &'static str, Value);

/// What is said when one customer pays by card and the next one leaves because of a mismatch.
fn right() -> Vec<Said> {
    let said = |id: &str, at: &str| json!({"id": id, "revision": 1, "at": at, "turn": 1});
    let closed = |session: &str, at: &str| json!({"session": session, "at": at, "total_cents": 100, "items": 1, "grams": 50});
    let found = |session: &str, at: &str, grams: i64, id: &str| json!({"session": session, "at": at, "expected_grams": 50, "measured_grams": grams, "_said": said(id, at)});
    vec![
        ("basket", "basket-closed", closed("1-1", "30")),
        ("basket", "basket-closed", closed("1-2", "60")),
        ("weight-check", "weight-ok", found("1-1", "20", 50, "a")),
        ("weight-check", "mismatch", found("1-2", "50", 70, "b")),
        ("bank", "booked", json!({"charge": "1-1.1", "cents": 100, "approved": true})),
        (
            "payment",
            "paid",
            json!({"session": "1-1", "at": "31", "total_cents": 100, "method": "card", "verified": true}),
        ),
        ("customer", "session-done", json!({"session": "1-1", "outcome": "paid", "mismatch": false})),
        (
            "customer",
            "session-done",
            json!({"session": "1-2", "outcome": "left", "error": "MismatchOpen", "mismatch": true}),
        ),
    ]
}

fn audit(said: &[Said]) -> Result<(), String> {
    let book = |said: &[Said]| {
        let mut books = Books::default();
        for (offset, (journal, topic, payload)) in (0..).zip(said) {
            books.note(journal, offset, topic, payload);
        }
        books.conclude();
        books
    };
    let books = book(said);
    books.audit(2, Policy::Refuse).and_then(|()| books.compare(&book(&right()))).map_err(|trouble| trouble.0)
}

#[test]
fn the_checker_finds_what_is_lost_doubled_or_altered() {
    assert_eq!(audit(&right()), Ok(()));
    for place in 0..right().len() {
        let mut lost = right();
        let what = lost.remove(place);
        println!("without {what:?}: {}", audit(&lost).unwrap_err());
    }
    for (what, says, change) in [
        ("charged twice", "charged twice", |said: &mut Vec<Said>| said.push(said[4].clone())),
        ("paid twice", "paid twice", |said| said.push(said[5].clone())),
        ("a customer leaves twice", "left twice", |said| said.push(said[7].clone())),
        ("asserted twice", "asserted twice", |said| said.push(said[3].clone())),
        ("another total", "basket is", |said| said[0].2["total_cents"] = json!(101)),
        ("another charge", "was charged", |said| said[4].2["cents"] = json!(99)),
        ("nobody's charge", "was no customer", |said| said[4].2["charge"] = json!("1-3.1")),
        ("paid without a check", "listed as unverified", |said| said[5].2["verified"] = json!(false)),
        ("another weight", "the mismatches differ", |said| said[3].2["measured_grams"] = json!(71)),
        ("another time", "the agreements differ", |said| said[2].2["at"] = json!("21")),
        ("taken back, and not compensated", "compensations are off", |said| {
            said.push((
                "weight-check",
                "_retract",
                json!({"id": "b", "revision": 1, "at": "50", "topic": "mismatch"}),
            ));
        }),
        ("compensated, and not taken back", "compensations are off", |said| {
            let member = json!({"compensates": "b", "revision": 1, "at": "50"});
            said.push(("weight-check", "mismatch-withdrawn", json!({"session": "1-2", "_said": member})));
        }),
        ("never said, and taken back", "was never said", |said| {
            said.push((
                "weight-check",
                "_retract",
                json!({"id": "c", "revision": 1, "at": "50", "topic": "mismatch"}),
            ));
        }),
        ("too late", "were too late", |said| said.push(("weight-check", "_late", json!({})))),
        ("given up", "has given up", |said| said.push(("weight-check", "_dead-letter", json!({})))),
    ] as [(&str, &str, fn(&mut Vec<Said>)); 15]
    {
        let mut said = right();
        change(&mut said);
        let found = audit(&said).expect_err(what);
        assert!(found.contains(says), "{what}: {found}");
    }
}
