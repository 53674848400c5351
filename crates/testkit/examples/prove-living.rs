//! Makes a source lose what it had said, for a time, while others hear it, and proves that each of them has what is there
//! in the end.
//!
//! ```text
//! prove-living PROGRAM PROCESSION SECONDS [SEED]
//! ```
//!
//! The journals are kept in memory, or in PROCESSION_PROVE_FOLDER. PROGRAM is the example `living`, PROCESSION the command
//! line. The last line is for `deploy/prove`.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use testkit::Home;
use testkit::living::{Report, Run};

/// Rounds of one home: journals grow, and are read from their beginnings.
const ROUNDS: u64 = 25;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((program, procession, time, seed)) = parse(&arguments) else {
        eprintln!("prove-living PROGRAM PROCESSION SECONDS [SEED]");
        return ExitCode::from(2);
    };
    println!("living: seed {seed}");
    let end = Instant::now() + time;
    let (mut rounds, mut lost, mut failed) = (0, 0, false);
    for story in 0.. {
        if failed || Instant::now() >= end {
            break;
        }
        let (report, trouble) = tell(program, procession, seed.wrapping_add(story), end);
        println!("{report}");
        rounds += report.rounds.values().sum::<u64>();
        lost += report.forgotten;
        if let Some(trouble) = trouble {
            println!("FAILED: {trouble}");
            failed = true;
        }
    }
    println!(
        "SUMMARY\tlosses with living readers\t{rounds} rounds, {lost} words taken back\t{}\t{seed}",
        u8::from(failed)
    );
    ExitCode::from(u8::from(failed))
}

fn tell(
    program: &Path,
    procession: &Path,
    seed: u64,
    end: Instant,
) -> (Report, Option<testkit::chain::Trouble>) {
    let home = env::var_os("PROCESSION_PROVE_FOLDER")
        .map_or_else(Home::in_memory, |folder| Home::new_in(folder.as_ref()));
    let mut run = Run::new(home, program, procession, seed);
    let mut result = Ok(());
    for _ in 0..ROUNDS {
        if result.is_err() || Instant::now() >= end {
            break;
        }
        result = run.round(None);
    }
    run.finish(result)
}

fn parse(arguments: &[String]) -> Option<(&Path, &Path, Duration, u64)> {
    let (program, procession, seconds, seed) = match arguments {
        [program, procession, seconds] => (program, procession, seconds, rand::random()),
        [program, procession, seconds, seed] => (program, procession, seconds, seed.parse().ok()?),
        _ => return None,
    };
    let time = Duration::from_secs(seconds.parse().ok()?);
    Some((Path::new(program), Path::new(procession), time, seed))
}
