use journal::{Cursors, Options, Writer};

use super::*;

/// Acknowledgements from offset 0 on, with the folder and the writer that they need.
fn acks() -> (Arc<Acks>, Writer, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("listener");
    let writer = Writer::open(&instance, &Options::default()).unwrap();
    let cursor = Cursors::open(&instance, &writer).unwrap().claim("s", "j").unwrap();
    cursor.store(Position::default());
    (Arc::new(Acks::new("s".into(), "j".into(), cursor, Position::default())), writer, home)
}

fn refuse(acks: &Acks, offset: u64) {
    acks.refuse(Refused { offset: Offset(offset), attempt: 1, reason: String::new() });
    let refused = acks.take_refused().unwrap();
    assert_eq!(acks.rewind(refused.offset), []);
}

#[test]
fn the_cursor_stays_before_a_refused_delivery_while_it_waits_to_be_repeated() {
    let (acks, _writer, _home) = acks();
    for offset in 0..3 {
        acks.deliver(Offset(offset), Epoch(1), 7);
    }
    refuse(&acks, 1);
    acks.acknowledge(Offset(0));
    assert_eq!(acks.position().unwrap().next, Offset(1));
}

#[test]
fn an_output_for_a_delivery_that_comes_again_is_not_said() {
    let (acks, _writer, _home) = acks();
    for offset in 0..2 {
        acks.deliver(Offset(offset), Epoch(1), 7);
    }
    refuse(&acks, 0);
    let due = acks.due(&[Offset(1)][..]);
    assert!(matches!(due, Err(Error::OutOfOrder { first: Offset(0), .. })), "{due:?}");
    acks.deliver(Offset(0), Epoch(1), 7);
    acks.acknowledge(Offset(0));
    // An output for a delivery that is done is said, and changes nothing.
    assert_eq!(acks.due(&[Offset(0)][..]).unwrap().position.unwrap().next, Offset(1));
}
