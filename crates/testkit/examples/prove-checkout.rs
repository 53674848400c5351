//! Customers shop while deliveries go wrong and processes are killed; what comes of it is compared with the same
//! customers' run without a fault.
//!
//! ```text
//! prove-checkout [--sessions N] [--lanes N] [--seed N] [--faults N,N]
//! ```
//!
//! `--faults 10,10000` makes two runs: one delivery in so many is delayed, one moved, one repeated and one dropped and
//! delivered again, and all the while processes are killed. A last run has weight-check down for a tenth of the
//! customers. The programs are those of the same build, or in PROCESSION_BIN_DIR; the journals are kept in memory, or in
//! PROCESSION_PROVE_FOLDER. The last line is for `deploy/prove`.

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use testkit::Home;
use testkit::chain::Trouble;
use testkit::checkout::{Books, Plan, Report, Shop};

const USAGE: &str = "prove-checkout [--sessions N] [--lanes N] [--seed N] [--faults N,N]";

struct Arguments {
    plan: Plan,
    faults: Vec<u32>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(Arguments { plan, faults }) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("checkout: {} customers at {} lanes, seed {}", plan.sessions, plan.lanes, plan.seed);
    let begun = Instant::now();
    let (kills, trouble) = prove(&plan, &faults);
    if let Some(Trouble(what)) = &trouble {
        println!("FAILED: {what}");
    }
    println!(
        "SUMMARY\tcheckout, kills and faults\t{} customers, {} runs, {kills} kills\t{}\t{}\t{:.0} s",
        plan.sessions,
        faults.len() + 2,
        u8::from(trouble.is_some()),
        plan.seed,
        begun.elapsed().as_secs_f64(),
    );
    ExitCode::from(u8::from(trouble.is_some()))
}

fn parse(arguments: &[String]) -> Option<Arguments> {
    let mut plan = Plan::faultless(rand::random::<u32>().into(), 1000, 8);
    let mut faults = vec![10, 10_000];
    let (pairs, rest) = arguments.as_chunks::<2>();
    for [name, value] in pairs {
        match &**name {
            "--sessions" => plan.sessions = value.parse().ok().filter(|count| *count > 0)?,
            "--lanes" => plan.lanes = value.parse().ok().filter(|count| (1..=999).contains(count))?,
            "--seed" => plan.seed = value.parse::<u32>().ok()?.into(),
            "--faults" => faults = value.split(',').map(|rate| rate.parse().ok()).collect::<Option<_>>()?,
            _ => return None,
        }
    }
    rest.is_empty().then_some(Arguments { plan, faults })
}

/// How many kills there were, and what must not be.
fn prove(plan: &Plan, faults: &[u32]) -> (u64, Option<Trouble>) {
    let mut kills = 0;
    let mut all = || -> Result<(), Trouble> {
        let (faultless, _) = run("faultless", plan)?;
        let mut compare = |what: &str, plan: &Plan| {
            let (books, report) = run(what, plan)?;
            kills += report.kills.values().sum::<u64>();
            books.compare(&faultless).map_err(|Trouble(trouble)| Trouble(format!("{what}: {trouble}")))?;
            println!("    as without faults: every total, mismatch, agreement and charge");
            Ok(())
        };
        for rate in faults {
            compare(&format!("faults 1 in {rate}, and kills"), &plan.under_fire(*rate))?;
        }
        compare("weight-check down for a time", &plan.without_weight_check(plan.sessions / 10))
    };
    let result = all();
    (kills, result.err())
}

fn run(what: &str, plan: &Plan) -> Result<(Books, Report), Trouble> {
    let home = env::var_os("PROCESSION_PROVE_FOLDER")
        .map_or_else(Home::in_memory, |folder| Home::new_in(folder.as_ref()));
    let (home, report) = Shop::run(home, plan)?;
    let books = Books::read(&home)?;
    println!("{what}: {report}\n    {}", books.summary());
    match books.audit(plan.sessions, plan.policy) {
        Ok(()) => Ok((books, report)),
        Err(Trouble(trouble)) => {
            Err(Trouble(format!("{what}: {trouble}\nthe files are kept in {}", home.keep().display())))
        }
    }
}
