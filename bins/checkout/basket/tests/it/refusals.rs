//! A purchase, and everything that is not one.

use contracts::checkout::{AddItem, AdvanceBasket, At, BasketError, BasketState, CheckOut, Start, product};
use testkit::DEADLINE;

use crate::baskets::{Shop, add, refusal, start};

#[test]
fn a_purchase_from_the_first_item_to_the_till() {
    let shop = Shop::new();
    let basket = shop.open(&[]);
    let milk = product("milk").unwrap();
    let (price, grams) = (milk.cents(None).unwrap(), milk.grams(None).unwrap());
    shop.start("1-1", 1).unwrap();
    let first = shop.add("1-1", "milk", "a").unwrap();
    assert_eq!((first.line, first.price_cents, first.grams, first.total_cents), (1, price, grams, price));
    assert_eq!(first.name, milk.name);
    let second = shop.add("1-1", "milk", "b").unwrap();
    assert_eq!((second.line, second.total_cents), (2, 2 * price));
    let bananas = AddItem { grams: Some(1000), ..add("1-1", "bananas", "c") };
    let bananas = shop.call(&bananas).unwrap();
    assert_eq!((bananas.line, bananas.price_cents, bananas.grams), (3, 189, 1000));
    assert_eq!(shop.remove("1-1", 1, "d").unwrap().total_cents, price + 189);

    let view = shop.get("1-1").unwrap();
    assert_eq!((view.state, view.lane), (BasketState::Open, 1));
    assert_eq!(view.lines.iter().map(|line| line.line).collect::<Vec<_>>(), [2, 3]);
    let closed = shop.check_out("1-1", "e").unwrap();
    assert_eq!((closed.items, closed.total_cents, closed.grams), (2, price + 189, grams + 1000));
    let view = shop.get("1-1").unwrap();
    assert_eq!(
        (view.state, view.changed, view.total_cents),
        (BasketState::Closed, closed.at, closed.total_cents)
    );
    assert_eq!(shop.reopen("1-1", "f").unwrap().total_cents, closed.total_cents);
    shop.add("1-1", "milk", "g").unwrap();

    let said: Vec<String> = shop.said().into_iter().map(|(topic, _)| topic).collect();
    let [start, added, removed] = ["session-started", "item-added", "item-removed"];
    assert_eq!(said, [start, added, added, added, removed, "basket-closed", "basket-reopened", added]);
    basket.terminate(DEADLINE).assert_code(0);
}

#[test]
fn asked_again_it_answers_as_the_first_time() {
    let shop = Shop::new();
    let _basket = shop.open(&[]);
    shop.start("1-1", 1).unwrap();
    shop.start("1-1", 1).unwrap();
    let first = shop.add("1-1", "milk", "a").unwrap();
    shop.add("1-1", "butter", "b").unwrap();
    assert_eq!(shop.add("1-1", "milk", "a").unwrap(), first);
    let removed = shop.remove("1-1", 1, "c").unwrap();
    assert_eq!(shop.remove("1-1", 1, "c").unwrap(), removed);
    let closed = shop.check_out("1-1", "d").unwrap();
    assert_eq!(shop.check_out("1-1", "d").unwrap(), closed);
    // Also what was asked before nothing could be changed any more.
    assert_eq!(shop.add("1-1", "milk", "a").unwrap(), first);
    assert_eq!(shop.said().len(), 5);
}

#[test]
fn what_is_wrong_is_refused_in_so_many_words_and_nothing_changes() {
    let shop = Shop::new();
    let _basket = shop.open(&["--lines-max", "3", "--sessions-max", "2", "--lanes", "4"]);
    let session = || "1-1".to_owned();
    assert_eq!(refusal(shop.get("1-1")), BasketError::UnknownSession { session: session() });
    assert_eq!(refusal(shop.add("1-1", "milk", "a")), BasketError::UnknownSession { session: session() });
    shop.start("1-1", 1).unwrap();
    assert_eq!(refusal(shop.check_out("1-1", "x")), BasketError::EmptyBasket { session: session() });
    let again = Start { request: "again".to_owned(), ..start("1-1", 1) };
    assert_eq!(refusal(shop.call(&again)), BasketError::SessionReused { session: session() });
    assert_eq!(refusal(shop.start("1-1", 2)), BasketError::SessionReused { session: session() });
    let unicorn = BasketError::UnknownProduct { product: "unicorn".to_owned() };
    assert_eq!(refusal(shop.add("1-1", "unicorn", "a")), unicorn);
    let weigh = BasketError::WeightMissing { product: "bananas".to_owned() };
    assert_eq!(refusal(shop.add("1-1", "bananas", "a")), weigh);
    assert_eq!(refusal(shop.remove("1-1", 1, "a")), BasketError::UnknownLine { session: session(), line: 1 });
    assert_eq!(refusal(shop.reopen("1-1", "a")), BasketError::SessionOpen { session: session() });

    // A request that was refused has not been made: its id is free.
    shop.add("1-1", "milk", "a").unwrap();
    let reused = BasketError::RequestReused { session: session(), request: "a".to_owned() };
    assert_eq!(refusal(shop.add("1-1", "butter", "a")), reused);
    assert_eq!(refusal(shop.remove("1-1", 1, "a")), reused);
    assert_eq!(refusal(shop.check_out("1-1", "a")), reused);
    shop.add("1-1", "milk", "b").unwrap();
    shop.add("1-1", "milk", "c").unwrap();
    let full = BasketError::BasketFull { session: session(), limit: 3 };
    assert_eq!(refusal(shop.add("1-1", "milk", "d")), full);
    shop.check_out("1-1", "e").unwrap();
    let closed = BasketError::SessionClosed { session: session() };
    assert_eq!(refusal(shop.add("1-1", "milk", "f")), closed);
    assert_eq!(refusal(shop.remove("1-1", 1, "f")), closed);
    assert_eq!(refusal(shop.check_out("1-1", "f")), closed);

    shop.start("2-1", 2).unwrap();
    assert_eq!(refusal(shop.start("3-1", 3)), BasketError::TooManySessions { limit: 2 });
    assert_eq!(shop.said().len(), 6);
}

#[test]
fn values_that_cannot_be_right_are_named() {
    let shop = Shop::new();
    let _basket = shop.open(&["--lanes", "4"]);
    shop.start("1-1", 1).unwrap();
    let now = At::now();
    let day = 86_400_000_000;
    let with = |grams| AddItem { grams, ..add("1-1", "bananas", "a") };
    let at = |at: i64| AddItem { at: Some(At(at)), ..add("1-1", "milk", "a") };
    let cases = [
        (with(Some(-1)), "grams", "negative"),
        (with(Some(0)), "grams", "weigh it again"),
        (with(Some(i64::MAX)), "grams", "100000"),
        (at(now.0 + day), "at", "ahead of"),
        (at(now.0 - day), "at", "behind"),
        (at(i64::MIN), "at", "behind"),
        (add("1-1", "milk", ""), "request", "empty"),
        (add("1 1", "milk", "a"), "session", "' '"),
        (add("1-1", &"x".repeat(1000), "a"), "product", "1000 bytes"),
    ];
    for (request, field, reason) in cases {
        match refusal(shop.call(&request)) {
            BasketError::InvalidValue { field: found, reason: words } => {
                assert_eq!(found, field, "{request:?}");
                assert!(words.contains(reason), "{words}");
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }
    for lane in [0, 5, u32::MAX] {
        let refused = refusal(shop.start("9-9", lane));
        assert!(
            matches!(&refused, BasketError::InvalidValue { field, .. } if field == "lane"),
            "{refused:?}"
        );
    }
    let advance = AdvanceBasket { lane: 1, at: now };
    let refused = refusal(shop.call(&advance));
    assert!(refused.to_string().contains("event_clock"), "{refused}");
    assert_eq!(shop.said().len(), 1);
}

#[test]
fn nothing_is_said_below_a_promise_and_the_lanes_can_be_the_clock() {
    let shop = Shop::new();
    let basket = shop.open(&["--event-clock", "lanes", "--lanes", "2"]);
    let at = |micros| Some(At(micros));
    for lane in [1, 2] {
        shop.call(&Start { at: at(10), ..start(&format!("{lane}-1"), lane) }).unwrap();
    }
    let missing = refusal(shop.add("1-1", "milk", "a"));
    assert!(missing.to_string().contains("at is missing"), "{missing}");
    shop.call(&AddItem { at: at(20), ..add("1-1", "milk", "a") }).unwrap();
    shop.call(&AdvanceBasket { lane: 1, at: At(1000) }).unwrap();
    assert!(shop.heartbeats().is_empty());
    shop.call(&AdvanceBasket { lane: 2, at: At(500) }).unwrap();
    assert_eq!(shop.heartbeats(), [500]);
    // Earlier than promised, and then earlier than the item before.
    shop.call(&AddItem { at: at(30), ..add("2-1", "milk", "a") }).unwrap();
    shop.call(&AddItem { at: at(2000), ..add("2-1", "milk", "b") }).unwrap();
    let out = CheckOut { session: "2-1".to_owned(), at: at(40), request: "c".to_owned() };
    assert_eq!(shop.call(&out).unwrap().at, At(2000));
    basket.kill9();
    let _basket = shop.open(&["--event-clock", "lanes", "--lanes", "2"]);
    shop.call(&AdvanceBasket { lane: 2, at: At(700) }).unwrap();
    let times: Vec<String> =
        shop.said().iter().map(|(_, event)| event["at"].as_str().unwrap().to_owned()).collect();
    assert_eq!(times, ["10", "10", "20", "500", "2000", "2000"]);
    assert_eq!(shop.heartbeats(), [500, 700]);
}

#[test]
fn by_itself_it_promises_what_the_clock_allows() {
    let shop = Shop::new();
    let _basket = shop.open(&["--heartbeat-every", "5ms", "--heartbeat-lag", "1s"]);
    shop.wait_for_heartbeats(5);
    let beats = shop.heartbeats();
    assert!(beats.is_sorted());
    assert!(At::now().0 - beats[0] >= 1_000_000);
}
