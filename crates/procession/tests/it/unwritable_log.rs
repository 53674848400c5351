//! A log that can't be written, because its disk is full or nobody reads it any more, changes nothing for a process.

use std::fs::{OpenOptions, read_to_string};
use std::process::Stdio;

use procession::Death;
use rustix::process::Signal;

use crate::sample::{Home, Running};
use crate::swarm::wait_until;

/// Where a log goes that takes nothing.
#[derive(Debug, Clone, Copy)]
enum Sink {
    FullDisk,
    NobodyReads,
}

const SINKS: [Sink; 2] = [Sink::FullDisk, Sink::NobodyReads];

impl Sink {
    fn open(self) -> Stdio {
        match self {
            Sink::FullDisk => OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
            Sink::NobodyReads => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                writer.into()
            }
        }
    }
}

/// The exit code of a process whose log goes there; it is told to stop once it serves.
fn end(home: &Home, sink: Sink, arguments: &[&str], stops_by_itself: bool) -> Option<i32> {
    let mut command = home.command(&[&["run"], arguments].concat());
    let mut running = Running::start(command.stderr(sink.open()));
    if !stops_by_itself {
        let socket = home.socket("sample");
        wait_until("it serves", || socket.exists() || running.has_ended());
        if !running.has_ended() {
            running.signal(Signal::TERM);
        }
    }
    running.wait().code
}

#[test]
fn who_cannot_log_lives_and_ends_as_ever() {
    for sink in SINKS {
        for format in ["human", "json"] {
            let ends = |arguments: &[&str], stops_by_itself| {
                let home = Home::new();
                let arguments = [&["--log-format", format, "--log-level", "debug"], arguments].concat();
                let code = end(&home, sink, &arguments, stops_by_itself);
                let note = read_to_string(Death::path(&home.instance("sample"))).unwrap_or_default();
                (code, note)
            };
            let told = format!("{sink:?}, {format}");
            assert_eq!(ends(&[], false), (Some(0), String::new()), "{told}");
            for (behaviour, reason) in [("fail", "the far end is gone"), ("panic", "one and one was three")] {
                let (code, note) = ends(&["--behaviour", behaviour], true);
                assert_eq!(code, Some(1), "{told}, {behaviour}: {note}");
                assert!(note.contains(reason), "{told}, {behaviour}: {note}");
            }
        }
        let home = Home::new();
        assert_eq!(end(&home, sink, &["--port", "many"], true), Some(2), "{sink:?}: usage");
        home.write("sample.toml", "port = \"many\"\n");
        assert_eq!(end(&home, sink, &[], true), Some(78), "{sink:?}: configuration");
    }
}
