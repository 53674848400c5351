//! What holds: by a journal, and by one run in order.

use super::*;

/// Conclusions by their place in the order.
pub(super) type Truth = BTreeMap<(EventTime, u64, Derivation), i64>;

/// What a journal holds to be true; and that no rule was broken in it.
pub(super) fn holds(journal: &[Post], is_irrevocable: impl Fn(i64) -> bool) -> Truth {
    let (mut live, mut settled) = (BTreeMap::<Derivation, (u32, EventTime, u64, i64)>::new(), EventTime::MIN);
    let mut revisions = BTreeMap::<Derivation, u32>::new();
    for record in journal {
        if record.topic == Final::TOPIC {
            assert!(record.at > settled);
            settled = record.at;
        } else if record.topic == Retract::TOPIC {
            let retract: Retract = serde_json::from_slice(&record.payload).unwrap();
            assert!(retract.at >= settled, "nothing final is retracted: {retract:?}");
            let (revision, at, _, value) =
                live.remove(&retract.id).expect("only what is asserted is retracted");
            assert_eq!((revision, at), (retract.revision, retract.at));
            assert!(!is_irrevocable(value), "nothing irrevocable is retracted");
        } else {
            let said = Said::of(&record.payload).unwrap().unwrap();
            if said.compensates {
                assert!(!live.contains_key(&said.id), "it comes after the retract");
                continue;
            }
            assert!(said.at >= settled, "nothing is asserted before what is final: {said:?}");
            let value = serde_json::from_slice::<Verdict<0>>(&record.payload).unwrap().value;
            let last = revisions.insert(said.id, said.revision).unwrap_or(0);
            assert_eq!(said.revision, last + 1, "revisions grow by one");
            let before = live.insert(said.id, (said.revision, said.at, said.turn, value));
            assert_eq!(before, None, "it is asserted once");
        }
    }
    live.into_iter().map(|(id, (_, at, turn, value))| ((at, turn, id), value)).collect()
}

/// One run in order, by nothing but the model.
pub(super) fn in_order<const L: usize>(inputs: &BTreeMap<Order, i64>) -> Truth {
    let mut models = BTreeMap::<Vec<u8>, Machine<L>>::new();
    let mut said = BTreeMap::new();
    for (order, value) in inputs {
        let key = key_of(L, *value);
        let mut out = Outputs::new();
        let model = models.entry(key.clone()).or_default();
        model.apply(order.at, &Note { at: order.at, value: *value }, &mut out);
        let id = order.derive(Hash::new().bytes(NAMES[FIRST_MODEL + L].as_bytes()).bytes(&key));
        for (verdict, nth) in out.said.into_iter().map(|(verdict, _)| verdict).zip(0..) {
            said.insert((verdict.at, order.turn, id.nth(nth)), verdict.value);
        }
    }
    said
}

pub(super) fn as_inputs(journal: usize, said: &Truth) -> BTreeMap<Order, i64> {
    let order =
        |(at, turn, id): (EventTime, u64, Derivation)| Order { at, journal: NAMES[journal].into(), turn, id };
    said.iter().map(|(place, value)| (order(*place), *value)).collect()
}

pub(super) fn events(journal: usize, said: &[Post]) -> BTreeMap<Order, i64> {
    let note = |said: &Post| serde_json::from_slice::<Note<0>>(&said.payload).unwrap();
    let order = |at, offset| Order::of_event(at, NAMES[journal].into(), offset);
    said.iter().map(note).zip(0..).map(|(note, offset)| (order(note.at, offset), note.value)).collect()
}
