//! The two programs of the crate's front page as real processes: `greeter` says, `listener` answers.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use journal::{Entry, Options, Time, Writer};
use rustix::process::Signal;

use crate::records::{Said, all, of_topic};
use crate::sample::{DEADLINE, Home, program};

/// A process that is killed and reaped when dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running(command.spawn().unwrap())
    }

    /// Sends a signal. Who is told to halt has halted when this returns.
    pub(crate) fn signal(&self, signal: Signal) {
        crate::sample::send(&self.0, signal);
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(home: &Home, example: &str, arguments: &[&str]) -> Running {
    let mut command: Command = home.command_of(&program(example), &[&["run"], arguments].concat());
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// When the records of a topic were said.
fn times(home: &Home, instance: &str, topic: &str) -> Vec<Time> {
    of_topic(home, instance, topic).into_iter().map(|said| said.time).collect()
}

/// Everything that an instance has said, by offset.
fn said(home: &Home, instance: &str) -> Vec<Said> {
    let said = all(home, instance);
    assert!(said.iter().map(|said| said.offset).eq(0..said.len() as u64));
    said
}

fn answers(home: &Home) -> Vec<Said> {
    said(home, "listener").into_iter().filter(|said| said.topic == "answer").collect()
}

#[test]
fn each_greeting_has_one_answer_whoever_is_killed() {
    let home = Home::new();
    let greet = ["--every", "1ms"];
    let mut listener = start(&home, "listener", &[]);
    let mut greeter = start(&home, "greeter", &greet);
    for round in 1..=20 {
        let before = answers(&home).len();
        wait_until("more answers", || answers(&home).len() > before + 3);
        if round % 2 == 0 {
            listener.kill();
            listener = start(&home, "listener", &[]);
        } else {
            greeter.kill();
            greeter = start(&home, "greeter", &greet);
        }
    }
    greeter.kill();
    let greetings = said(&home, "greeter");
    wait_until("every answer", || answers(&home).len() >= greetings.len());
    listener.kill();
    let answers = answers(&home);
    assert_eq!(answers.len(), greetings.len());
    for (offset, (greeting, answer)) in greetings.iter().zip(&answers).enumerate() {
        assert_eq!(greeting.json()["number"], offset + 1);
        assert_eq!(answer.json()["to"], greeting.json()["number"]);
        assert_eq!(answer.cause, Some(("greeter".to_owned(), offset as u64)));
    }
}

#[test]
fn who_sleeps_between_two_greetings_answers_each_before_many_others_are_said() {
    let home = Home::new();
    let _listener = start(&home, "listener", &[]);
    let greeter = start(&home, "greeter", &["--every", "10ms"]);
    wait_until("it is greeted", || times(&home, "greeter", "greeting").len() >= 150);
    greeter.kill();
    let greetings = times(&home, "greeter", "greeting");
    wait_until("all is answered", || times(&home, "listener", "answer").len() >= greetings.len());
    let answers = times(&home, "listener", "answer");
    // How many were said before each was answered; the median, as the machine has other work, too.
    let behind = |(index, answer)| greetings.partition_point(|greeting| greeting < answer) - index;
    let mut behind: Vec<usize> = answers.iter().enumerate().map(behind).collect();
    behind.sort_unstable();
    assert!(behind[behind.len() / 2] <= 5, "{behind:?}");
}

#[test]
fn what_cannot_be_decoded_is_parked_and_the_rest_goes_on() {
    let home = Home::new();
    let listener = start(&home, "listener", &[]);
    {
        std::fs::create_dir_all(home.instance("greeter")).unwrap();
        let mut writer = Writer::open(&home.instance("greeter"), &Options::default()).unwrap();
        for payload in [
            &br#"{"number":1,"whom":"a"}"#[..],
            b"{\"nonsense\":true}",
            b"\xff",
            br#"{"number":2,"whom":"b"}"#,
        ] {
            let codec = journal::Codec::Json;
            writer
                .append(&Entry { topic: "greeting", key: Some(b"k"), cause: None, codec, payload })
                .unwrap();
        }
    }
    wait_until("both answers", || answers(&home).len() == 2);
    listener.kill();
    let letters = of_topic(&home, "listener", "_dead-letter");
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].cause, Some(("greeter".to_owned(), 1)));
    assert_eq!(letters[0].json()["payload"]["nonsense"], true);
    assert_eq!(letters[1].json()["payload"], "/w==");
    for letter in letters {
        let letter = letter.json();
        assert_eq!(letter["key"], "k");
        assert!(letter["reason"].as_str().unwrap().contains("decoded"), "{letter:?}");
    }
}

#[test]
fn a_name_stands_for_all_instances_also_those_that_come_later() {
    let home = Home::new();
    let listener = start(&home, "listener", &[]);
    let first = start(&home, "greeter", &["--every", "5ms", "--instance", "greeter@1"]);
    wait_until("answers to the first", || answers(&home).len() > 2);
    let second = start(&home, "greeter", &["--every", "5ms", "--instance", "greeter@2"]);
    let from = |answers: &[Said]| {
        let mut causes = BTreeMap::<String, Vec<u64>>::new();
        for answer in answers {
            let (journal, offset) = answer.cause.clone().unwrap();
            causes.entry(journal).or_default().push(offset);
        }
        causes
    };
    wait_until("answers to the second", || {
        from(&answers(&home)).get("greeter@2").is_some_and(|heard| heard.len() > 2)
    });
    drop((first, second, listener));
    for (journal, offsets) in from(&answers(&home)) {
        assert_eq!(offsets, (0..offsets.len() as u64).collect::<Vec<_>>(), "{journal}");
    }
}
