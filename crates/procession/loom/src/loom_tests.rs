//! One thread is the subscription, which delivers; the others deal with what they were given.

use std::sync::Arc;

use journal::{Epoch, Offset, Position};
use loom::thread;

use crate::acks::{Acks, Refused};
use crate::cursor::Cursor;

fn check(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

#[expect(clippy::arc_with_non_send_sync, reason = "loom's threads are not the system's")]
fn acks() -> Arc<Acks> {
    Arc::new(Acks::new("s".into(), "j".into(), Cursor::default(), Position::default()))
}

/// The checksum of the record at an offset.
fn checksum(offset: u64) -> u32 {
    u32::try_from(offset).unwrap() * 3 + 1
}

fn deliver(acks: &Acks, offset: u64) {
    acks.deliver(Offset(offset), Epoch(1), checksum(offset));
}

fn acknowledge(acks: &Arc<Acks>, offset: u64) -> thread::JoinHandle<()> {
    let acks = Arc::clone(acks);
    thread::spawn(move || acks.acknowledge(Offset(offset)))
}

fn next(acks: &Acks) -> u64 {
    acks.position().unwrap().next.0
}

/// Once everything is done, the next delivery is a lone one again, and the cursor follows it.
fn goes_on(acks: &Acks, offset: u64) {
    assert_eq!(next(acks), offset);
    deliver(acks, offset);
    assert_eq!(next(acks), offset);
    acks.acknowledge(Offset(offset));
    assert_eq!(acks.position().unwrap().checksum, checksum(offset));
    assert_eq!(next(acks), offset + 1);
}

#[test]
fn a_delivery_is_acknowledged_while_the_next_one_comes() {
    check(3, || {
        let acks = acks();
        deliver(&acks, 0);
        let first = acknowledge(&acks, 0);
        deliver(&acks, 1);
        // Not joined before: what the other thread has done to the cursor is known from the delivery alone.
        acks.acknowledge(Offset(1));
        first.join().unwrap();
        goes_on(&acks, 2);
    });
}

#[test]
fn the_list_is_emptied_while_the_next_one_comes() {
    check(3, || {
        let acks = acks();
        deliver(&acks, 0);
        deliver(&acks, 1);
        let other = Arc::clone(&acks);
        let both = thread::spawn(move || {
            other.acknowledge(Offset(0));
            other.acknowledge(Offset(1));
        });
        deliver(&acks, 2);
        acks.acknowledge(Offset(2));
        both.join().unwrap();
        goes_on(&acks, 3);
    });
}

#[test]
fn several_are_acknowledged_at_once_while_the_next_one_comes() {
    check(2, || {
        let acks = acks();
        deliver(&acks, 0);
        deliver(&acks, 1);
        let (first, second) = (acknowledge(&acks, 0), acknowledge(&acks, 1));
        deliver(&acks, 2);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(next(&acks), 2);
        acks.acknowledge(Offset(2));
        goes_on(&acks, 3);
    });
}

#[test]
fn records_are_passed_over_while_a_delivery_is_acknowledged() {
    check(3, || {
        let acks = acks();
        deliver(&acks, 0);
        let first = acknowledge(&acks, 0);
        let position = Position { next: Offset(5), epoch: Epoch(1), ..Position::default() };
        acks.pass(position);
        first.join().unwrap();
        goes_on(&acks, 5);
    });
}

#[test]
fn a_delivery_is_refused_while_the_next_one_comes() {
    check(3, || {
        let acks = acks();
        deliver(&acks, 0);
        let refusers = Arc::clone(&acks);
        let refusing = thread::spawn(move || {
            refusers.refuse(Refused { offset: Offset(0), attempt: 1, reason: String::new() });
        });
        deliver(&acks, 1);
        refusing.join().unwrap();
        let refused = acks.take_refused().expect("it was refused");
        assert_eq!(acks.rewind(refused.offset), []);
        assert_eq!(next(&acks), 0);
        deliver(&acks, 0);
        deliver(&acks, 1);
        acks.acknowledge(Offset(1));
        acks.acknowledge(Offset(0));
        goes_on(&acks, 2);
    });
}

#[test]
fn an_earlier_delivery_is_acknowledged_while_a_refused_one_is_forgotten() {
    check(3, || {
        let acks = acks();
        (0..3).for_each(|offset| deliver(&acks, offset));
        let subscription = Arc::clone(&acks);
        let forgetting = thread::spawn(move || drop(subscription.rewind(Offset(1))));
        acks.acknowledge(Offset(0));
        forgetting.join().unwrap();
        assert_eq!(next(&acks), 1, "the refused delivery would be lost with the process");
        deliver(&acks, 1);
        acks.acknowledge(Offset(1));
        goes_on(&acks, 2);
    });
}

#[test]
fn what_is_stored_with_an_output_is_the_position_after_its_input() {
    check(3, || {
        let acks = acks();
        deliver(&acks, 0);
        let first = acknowledge(&acks, 0);
        let speakers = Arc::clone(&acks);
        let speaking = thread::spawn(move || speakers.due(&[Offset(0)][..]).unwrap().position.unwrap());
        deliver(&acks, 1);
        let position = speaking.join().unwrap();
        first.join().unwrap();
        assert!(position.next <= Offset(1));
        assert_eq!((position.next, position.checksum), (Offset(1), checksum(0)));
        acks.acknowledge(Offset(1));
        goes_on(&acks, 2);
    });
}
