//! Recorded data for tests.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// The lines of a recording; none where the recordings aren't there, which `testkit` says plainly.
pub(crate) fn lines(name: &str) -> Option<impl Iterator<Item = String>> {
    let file = File::open(testkit::data(name)?).unwrap();
    let reader: Box<dyn Read> = if name.ends_with(".gz") {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Some(BufReader::new(reader).lines().map(|line| line.unwrap()))
}
