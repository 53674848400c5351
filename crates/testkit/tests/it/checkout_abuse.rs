//! The whole checkout against customers and devices that do what they should not: each gets a clear answer, and the
//! customer at the next lane notices nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{DEADLINE, Home, Peer, Running, call, wait_until};

const DAY: i64 = 86_400_000_000;
const BABBLERS: usize = 3;

struct Shop {
    running: Vec<Running>,
    // Last, so that the processes are gone when their folders go.
    home: Home,
}

impl Shop {
    fn open() -> Self {
        let home = Home::new();
        let beats = "heartbeat_every = \"100ms\"\nheartbeat_lag = \"200ms\"\n";
        home.configure("basket.toml", beats);
        home.configure("scale.toml", beats);
        home.configure("payment.toml", "verification_patience = \"20s\"\npolicy = \"refuse\"\n");
        // The clock that gives events their record time jumps by up to a day, forward and back.
        home.configure(
            "weight-check.toml",
            "lateness = \"400ms\"\n[process.subscription.faults]\nclock_step_one_in = 3\nclock_step_max = \"24h\"\n",
        );
        let names = ["weight-check", "payment", "bank", "basket", "scale", "scanner"];
        let running = names.map(|name| {
            let mut running = Running::start(&home, name, &["run"]);
            running.wait_for_log(DEADLINE, "ready");
            running
        });
        Shop { running: running.into(), home }
    }

    /// Whom to ask is the first part of the method's name.
    fn ask(&self, method: &str, parameters: &Value) -> Result<Value, String> {
        ask(&self.home, method, parameters)
    }

    fn done(&self, method: &str, parameters: &Value) -> Value {
        self.ask(method, parameters).unwrap_or_else(|error| panic!("{error}"))
    }

    /// It must be refused with an error of this name that has this text in it.
    #[track_caller]
    fn refused(&self, method: &str, parameters: &Value, error: &str, says: &str) {
        let answer = self.ask(method, parameters).expect_err("it should be refused");
        assert!(answer.contains(error) && answer.contains(says), "{method} {parameters}: {answer}");
    }

    fn begin(&self, session: &str, lane: u32) {
        self.done("Basket.Start", &json!({"session": session, "lane": lane, "request": "s"}));
    }

    /// A purchase as it should be, to a receipt.
    fn buy(&self, session: &str, lane: u32) -> Value {
        self.begin(session, lane);
        let scan = json!({"session": session, "lane": lane, "product": "mango", "request": "1"});
        let grams = self.done("Scanner.Scan", &scan)["grams"].clone();
        self.done("Scale.Bag", &json!({"session": session, "lane": lane, "grams": grams, "request": "2"}));
        self.done("Basket.CheckOut", &json!({"session": session, "request": "3"}));
        let pay = json!({"session": session, "method": "card", "request": "4"});
        ready(|| self.ask("Payment.Pay", &pay).ok())["receipt"].clone()
    }

    fn close(self) {
        for running in self.running {
            let ended = running.terminate(DEADLINE);
            ended.assert_code(0);
            assert!(!ended.stderr.contains("panicked"), "{ended:?}");
        }
    }
}

fn ask(home: &Home, method: &str, parameters: &Value) -> Result<Value, String> {
    let name = match method.split_once('.').unwrap().0 {
        "WeightCheck" => "weight-check".to_owned(),
        other => other.to_lowercase(),
    };
    let method = format!("io.procession.checkout.{method}");
    call(&home.socket(&name), &method, parameters).map_err(|error| error.to_string())
}

fn ready<T>(ready: impl FnMut() -> Option<T>) -> T {
    testkit::ready_within(DEADLINE, "an answer", ready)
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

#[test]
fn each_mistake_gets_a_clear_answer_and_the_next_lane_notices_nothing() {
    let shop = Shop::open();
    shop.begin("1-1", 1);
    let scan = |product: &str, request: &str| json!({"session": "1-1", "lane": 1, "product": product, "request": request});
    let bag = |grams: i64| json!({"session": "1-1", "lane": 1, "grams": grams, "request": "x"});
    let with = |mut value: Value, member: &str, new: Value| {
        value[member] = new;
        value
    };

    // An unknown product; produce without a weight; weights that can't be.
    shop.refused("Scanner.Scan", &scan("caviar", "a"), "Refused", "UnknownProduct");
    shop.refused("Scanner.Scan", &scan("apples", "b"), "Refused", "WeightMissing");
    shop.refused(
        "Scanner.Scan",
        &with(scan("apples", "c"), "grams", json!(-5)),
        "InvalidValue",
        "can't be negative",
    );
    shop.refused("Scale.Bag", &bag(-1), "InvalidValue", "can't be negative");
    shop.refused("Scale.Bag", &bag(i64::MIN), "InvalidValue", "100000 g");
    shop.refused("Scale.PlaceProduce", &json!({"lane": 1, "grams": -7}), "InvalidValue", "can't be negative");

    // A clock that has jumped by a day.
    for (at, direction) in [(now() + DAY, "ahead of"), (now() - DAY, "behind")] {
        let at = json!(at.to_string());
        shop.refused("Scanner.Scan", &with(scan("mango", "d"), "at", at.clone()), "InvalidValue", direction);
        shop.refused("Scale.Bag", &with(bag(5), "at", at.clone()), "InvalidValue", direction);
        let start = json!({"session": "1-9", "lane": 1, "request": "e", "at": at});
        shop.refused("Basket.Start", &start, "InvalidValue", direction);
    }

    // A session that is used again, while it is open and after it was paid.
    let again = |request: &str| json!({"session": "1-1", "lane": 1, "request": request});
    shop.refused("Basket.Start", &again("other"), "SessionReused", "1-1");
    shop.done("Basket.Start", &again("s"));

    // Paid before it is closed, with too little, with a mismatch, and twice.
    let pay = |method: &str, cents: Value, request: &str| json!({"session": "1-1", "method": method, "tendered_cents": cents, "request": request});
    shop.done("Scanner.Scan", &scan("mango", "f"));
    shop.refused("Payment.Pay", &pay("card", Value::Null, "p"), "NotClosed", "1-1");
    shop.done("Basket.CheckOut", &json!({"session": "1-1", "request": "g"}));
    shop.refused("Payment.Pay", &pay("cash", json!(1), "p"), "TooLittle", "189");
    shop.refused("Payment.Pay", &pay("cash", json!(-1), "p"), "InvalidValue", "less than nothing");
    shop.refused("Payment.Pay", &pay("card", Value::Null, "p"), "MismatchOpen", "380");
    shop.done("Scale.Bag", &bag(380));
    // As soon as weight-check has heard of it.
    let receipt = ready(|| shop.ask("Payment.Pay", &pay("card", Value::Null, "p")).ok());
    assert_eq!(shop.done("Payment.Pay", &pay("card", Value::Null, "p")), receipt, "asked again");
    shop.refused("Payment.Pay", &pay("card", Value::Null, "q"), "AlreadyPaid", "1-1.1");
    shop.refused("Basket.Start", &again("once-more"), "SessionReused", "1-1");
    assert_eq!(shop.done("Bank.Total", &json!({})), json!({"charges": 1, "cents": 189}));

    let receipt = shop.buy("2-1", 2);
    assert_eq!((&receipt["verified"], &receipt["total_cents"]), (&json!(true), &json!(189)));
    assert_eq!(shop.done("Bank.Total", &json!({})), json!({"charges": 2, "cents": 378}));
    shop.close();
}

#[test]
fn a_device_that_babbles_is_held_back_and_the_next_lane_notices_nothing() {
    let shop = Shop::open();
    let (stop, said) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let babblers: Vec<_> = (0..BABBLERS)
        .map(|babbler| {
            let (stop, said, socket) = (Arc::clone(&stop), Arc::clone(&said), shop.home.socket("scale"));
            thread::spawn(move || babble(&mut Peer::connect(&socket).unwrap(), babbler, &stop, &said))
        })
        .collect();
    let receipt = shop.buy("1-1", 1);
    assert_eq!(receipt["verified"], true);
    wait_until(DEADLINE, "it has babbled long enough", || {
        said.load(Ordering::Relaxed) >= 10_000 || begun.elapsed() > Duration::from_secs(10)
    });
    stop.store(true, Ordering::Relaxed);
    let taken: u64 = babblers.into_iter().map(|babbler| babbler.join().unwrap()).sum();
    let (time, said) = (begun.elapsed(), said.load(Ordering::Relaxed));
    println!("{said} times in {:.1} s, {taken} taken", time.as_secs_f64());
    // 50 a second, and as many at once at the beginning.
    let most = 50 * (time.as_secs() + 1) + 51;
    assert!((1..=most).contains(&taken), "{taken} of {said} were taken in {time:?}");
    assert!(said > taken * 2, "that was no babbling: {said} in {time:?}");
    // What it did say is judged, and another customer is served.
    let verdict = ready(|| {
        let verdict = shop.done("WeightCheck.Verdict", &json!({"session": "3-0"}));
        (verdict["judgement"] != "none").then_some(verdict)
    });
    assert_eq!(verdict["judgement"], "mismatch");
    assert_eq!(shop.buy("1-2", 1)["verified"], true);
    shop.close();
}

/// Bags something at lane 3 as fast as it can; how often that was taken.
fn babble(peer: &mut Peer, babbler: usize, stop: &AtomicBool, said: &AtomicU64) -> u64 {
    let mut taken = 0;
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let bag =
            json!({"session": format!("3-{babbler}"), "lane": 3, "grams": 1, "request": number.to_string()});
        match peer.call("io.procession.checkout.Scale.Bag", &bag) {
            Ok(_) => taken += 1,
            Err(error) => assert!(error.to_string().contains("RateLimited"), "{error}"),
        }
        said.fetch_add(1, Ordering::Relaxed);
    }
    taken
}
