//! Reading damaged files, whose writer never comes back, from places that may never have been.

use journal::{
    Epoch, Level, Offset, Position, Reader, Start, Time, bytes_on_disk, count_topics, read_cursors,
    read_marks, verify,
};

use crate::input::Input;
use crate::{empty_folder, history, image};

/// Readers and inspectors come to an end, and skip nothing in silence.
pub fn reader(data: &[u8]) {
    let mut input = Input(data);
    let start = start(&mut input);
    let level = if input.byte().is_multiple_of(2) { Level::Committed } else { Level::Durable };
    let files = image::build(&mut input);
    let instance = empty_folder("reader").join("instance");
    image::write(&files, &instance);
    let first = history::read(&instance, start, level);
    let second = history::read(&instance, start, level);
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "reading has changed what is read");
    // What was read up to here can be gone on from.
    if let Ok(Some((_, next))) = first
        && let Ok(Some(reader)) = Reader::open(&instance, Start::Offset(next), level)
    {
        let _ = history::read(&instance, Start::Position(reader.position()), level);
    }
    for whole in [Start::Beginning, Start::End] {
        let _ = history::read(&instance, whole, level);
    }
    let _ = (verify(&instance), read_marks(&instance), bytes_on_disk(&instance), read_cursors(&instance));
    let _ = count_topics(&instance);
}

fn start(input: &mut Input<'_>) -> Start {
    match input.byte() % 5 {
        0 => Start::Beginning,
        1 => Start::End,
        2 => Start::Offset(Offset(input.number())),
        3 => Start::Time(Time(input.number())),
        _ => {
            let (next, epoch) = (Offset(input.number()), input.number() as u32);
            let (checksum, journal) = (input.number() as u32, input.number());
            Start::Position(Position { next, epoch: Epoch(epoch), checksum, journal })
        }
    }
}
