//! Kills the chain's processes for a time, and proves from their journals that nothing is lost and nothing comes twice.
//!
//! ```text
//! prove-chain random|aimed PROGRAM SECONDS [SEED]
//! ```
//!
//! The journals are kept in memory, or in PROCESSION_PROVE_FOLDER. PROGRAM is the example `chain`; for `aimed` both must have been built with the feature `faults`. The last line is
//! for `deploy/prove`.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use testkit::Home;
use testkit::chain::script::INSTANCES;
use testkit::chain::{Aim, Report, Run, Trouble};

const USAGE: &str = "prove-chain random|aimed PROGRAM SECONDS [SEED]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((kind, program, time, seed)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("chain {kind}: seed {seed}");
    let home = env::var_os("PROCESSION_PROVE_FOLDER")
        .map_or_else(Home::in_memory, |folder| Home::new_in(folder.as_ref()));
    let mut run = Run::new(home, &program, seed);
    let result = if kind == "random" { run.random(time, u64::MAX) } else { aimed(&mut run, time, seed) };
    let (report, trouble) = run.finish(result);
    println!("{report}");
    if let Some(trouble) = &trouble {
        println!("FAILED: {trouble}");
    }
    println!("{}", summary(kind, &report, trouble.is_some()));
    ExitCode::from(u8::from(trouble.is_some()))
}

fn parse(arguments: &[String]) -> Option<(&str, PathBuf, Duration, u64)> {
    let (kind, program, seconds, seed) = match arguments {
        [kind, program, seconds] => (kind, program, seconds, rand::random()),
        [kind, program, seconds, seed] => (kind, program, seconds, seed.parse().ok()?),
        _ => return None,
    };
    let known = ["random", "aimed"].contains(&kind.as_str());
    known.then_some((kind, PathBuf::from(program), Duration::from_secs(seconds.parse().ok()?), seed))
}

/// Every point of the journal's code in every process at several counts, over and over.
fn aimed(run: &mut Run, time: Duration, seed: u64) -> Result<(), Trouble> {
    let end = Instant::now() + time;
    let mut random = StdRng::seed_from_u64(!seed);
    loop {
        for point in points()? {
            for victim in 0..INSTANCES.len() {
                if Instant::now() >= end {
                    return Ok(());
                }
                let most = count_most(point);
                let count = f64::from(most).powf(random.random_range(0.0..=1.0)).round();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 1000")]
                let aim = Aim { victim, point: (*point).to_owned(), count: count as u64 };
                // What no process of the chain came by so far is not waited for every time.
                if run.is_reachable(&aim) {
                    run.aim(&aim)?;
                }
            }
        }
    }
}

#[cfg(feature = "faults")]
fn points() -> Result<&'static [&'static str], Trouble> {
    Ok(journal::fault::POINTS)
}

#[cfg(not(feature = "faults"))]
fn points() -> Result<&'static [&'static str], Trouble> {
    Err(Trouble("this was built without the feature `faults`".to_owned()))
}

/// How often a process that starts may come by at most before it dies: so that it does come by within a second or two.
fn count_most(point: &str) -> u32 {
    match point.split('.').next() {
        Some("append" | "cursor") => 1000,
        Some("batch") => 200,
        Some("sync") => 20,
        Some("roll" | "retention") => 6,
        _ => 1,
    }
}

fn summary(kind: &str, report: &Report, failed: bool) -> String {
    let hit = report.points.values().filter(|(hits, _)| *hits > 0).count();
    let points = if kind == "aimed" { format!(", {hit} points hit") } else { String::new() };
    let (rounds, records) = (report.rounds(), report.tally.records.iter().sum::<u64>());
    format!(
        "SUMMARY\tchain, {kind} kills\t{rounds} rounds, {} kills{points}, {records} records\t{}\t{}",
        report.kills,
        u8::from(failed),
        report.seed
    )
}
