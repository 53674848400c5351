//! The processes that are kept under load, and what they say.

mod sink;
mod source;
mod transformer;

use std::process::ExitCode;

use procession::{Codec, Event};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

pub(crate) use sink::Tally;

/// So many letters make an item's payload about 64 bytes.
const TEXT: &str = "constant load, restarts now and then, flat lines";

/// What a source says. Its number is also its offset.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) source: u8,
    pub(crate) number: u64,
    text: String,
}

impl Item {
    fn new(source: u8, number: u64) -> Self {
        Self { source, number, text: TEXT.to_owned() }
    }
}

impl Event for Item {
    const TOPIC: &'static str = "item";
    const CODEC: Codec = Codec::Bincode;
}

/// What a transformer makes of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Passed {
    pub(crate) source: u8,
    pub(crate) number: u64,
    text: String,
}

impl Event for Passed {
    const TOPIC: &'static str = "passed";
    const CODEC: Codec = Codec::Bincode;
}

const PROGRAMS: [&str; 4] = ["source", "left", "right", "sink"];

/// Runs as a member of the swarm if the program was started under the name of one.
pub(crate) fn run(program: &str) -> Option<ExitCode> {
    if PROGRAMS.contains(&program) {
        // Whoever started it may be killed, and nobody else would end it. A kernel that can't do this is no reason to stop.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
    match program {
        "source" => Some(procession::run("source", source::run)),
        "left" => Some(procession::run("left", transformer::run)),
        "right" => Some(procession::run("right", transformer::run)),
        "sink" => Some(procession::run("sink", sink::run)),
        _ => None,
    }
}

/// The number behind the `@` of an instance, from 1; 1 if there is none.
fn number_of(instance: &str) -> u8 {
    instance.rsplit_once('@').and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
}
