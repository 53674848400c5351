//! Readers that were sent back to repeat something, and find another journal at the path.

use super::*;

#[test]
fn a_reader_that_was_sent_back_notices_all_the_same() {
    let place = Place::new();
    make(&place);
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..120, 0));
    reader.go_back(Offset(115));
    check(&mut reader, None, old(115..120, 0));
    reader.go_back(Offset(115));
    place.remove();
    place.put_back();
    place.speak(10, 1);
    assert_eq!(reader.look_at_path().unwrap(), AtPath::Another);
    check(&mut reader, diverged(100, 120), old(100..110, 1));
}

#[test]
fn what_both_histories_have_comes_again_before_what_is_gone() {
    let place = Place::new();
    make(&place);
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..120, 0));
    reader.go_back(Offset(95));
    place.remove();
    place.put_back();
    place.speak(10, 1);
    let mut next = 95;
    // And again, while the gap has yet to come.
    for again in [Some(97), Some(98), None] {
        for _ in 0..3 {
            if next < 100 {
                let Some(Item::Record(record)) = reader.next().unwrap() else { panic!("no record {next}") };
                assert_eq!((record.offset, Said::of(&record)), (Offset(next), Said::at(next)));
                next += 1;
            }
        }
        if let Some(again) = again {
            reader.go_back(Offset(again));
            next = again;
        }
    }
    assert_eq!(next, 100);
    check(&mut reader, diverged(100, 120), old(100..110, 1));
}

#[test]
fn who_was_sent_back_to_the_beginning_is_told_that_what_it_had_read_is_gone() {
    for is_copy in [false, true] {
        let place = Place::new();
        make(&place);
        let mut reader = place.read(Start::Beginning);
        check(&mut reader, None, old(0..120, 0));
        reader.go_back(Offset::ZERO);
        place.remove();
        if is_copy {
            place.put_back();
        }
        place.speak(10, 1);
        // It notices by itself: it has to go to a segment.
        match is_copy {
            false => check(&mut reader, diverged(0, 120), old(0..10, 1)),
            true => check_again(&mut reader, old(0..100, 0), diverged(100, 120), old(100..110, 1)),
        }
    }
}

#[test]
fn who_was_sent_back_reads_nothing_of_another_journal_before_the_two_are_compared() {
    let place = Place::new();
    place.speak(100, 1);
    // Of an earlier boot: until its owner is there, only what is durable counts.
    fs::File::options()
        .write(true)
        .open(journal::marks_path(&place.instance()))
        .unwrap()
        .write_all_at(&[7; 16], 32)
        .unwrap();
    place.back_up();
    place.remove();
    place.speak(120, 0);
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..120, 0));
    reader.go_back(Offset(5));
    place.remove();
    place.put_back();
    check(&mut reader, None, old(0..0, 0));
    place.speak(10, 1);
    check(&mut reader, diverged(0, 120), old(0..110, 1));
}

#[test]
fn who_is_sent_back_into_what_a_killed_writer_had_not_marked_comes_to_its_end() {
    let place = Place::new();
    place.speak(20, 0);
    let marks = journal::marks_path(&place.instance());
    let mut writer = Writer::open(&place.instance(), &small(8)).unwrap();
    let before = fs::read(&marks).unwrap();
    let said: Vec<Said> = (20..25).map(Said::at).collect();
    let entries: Vec<_> = said.iter().map(Said::entry).collect();
    writer.commit(&journal::Batch { entries: &entries, ..Default::default() }).unwrap();
    drop(writer);
    fs::File::options().write(true).open(&marks).unwrap().write_all_at(&before, 0).unwrap();
    for back in 20..25 {
        let mut reader = place.read(Start::Beginning);
        check(&mut reader, None, old(0..25, 0));
        reader.go_back(Offset(back));
        let (told, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            check(&mut reader, None, old(back..25, 0));
            told.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("sent back to {back}: no end"));
    }
}

#[test]
fn a_reader_goes_back_also_where_its_place_has_yet_to_be_compared() {
    let place = Place::new();
    make(&place);
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..120, 0));
    let at = reader.position();
    let mut again = place.read(Start::Position(at));
    again.go_back(Offset(115));
    again.go_back(Offset(117));
    check(&mut again, None, old(115..120, 0));
    // What it was to go back to is still there, but not all that it had come to.
    let mut gone = place.read(Start::Position(at));
    gone.go_back(Offset(90));
    place.remove();
    place.put_back();
    gone.look_at_path().unwrap();
    check(&mut gone, diverged(0, 120), old(0..100, 0));
}
