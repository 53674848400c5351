//! The results as Markdown.

use std::fmt::Write as _;

use crate::results::{Cell, Results, Summary};
use crate::stats::Spread;
use crate::work::{Durability, Work, size};

const PAYLOADS: [u32; 3] = [64, 1 << 10, 64 << 10];

/// All tables with what is needed to read them.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::from("# Side by side\n\n");
    circumstances(&mut text, results);
    contenders(&mut text, results);
    for subscribers in [1, 8] {
        let title = if subscribers == 1 { "one subscriber" } else { "eight subscribers, each of them" };
        let columns = PAYLOADS.map(|payload| Work::Throughput { payload, subscribers });
        section(&mut text, results, &format!("Throughput to {title}: messages/s"), &columns, rate_of);
        let title =
            format!("Processor seconds per million messages, {subscribers} subscriber(s), servers included");
        section(&mut text, results, &title, &columns, cpu_of);
    }
    let columns = PAYLOADS.map(|payload| Work::Publishing { payload });
    section(&mut text, results, "Publishing alone, nobody listens: messages/s", &columns, rate_of);
    section(&mut text, results, "Processor seconds per million messages, publishing alone", &columns, cpu_of);
    let columns = [false, true].map(|spin| Work::Latency { payload: 64, spin });
    let title = "Latency, from before the publication to the check: p50 / p99 / p99.9 in microseconds";
    section(&mut text, results, title, &columns, latency_of);
    section(&mut text, results, "Catch-up: GB/s", &[Work::CatchUp { payload: 1 << 10 }], catch_up_of);
    let durable = |durability, waiting| Work::Durable { payload: 64, durability, waiting };
    let columns = [
        durable(Durability::Never, 1),
        durable(Durability::EverySecond, 1),
        durable(Durability::Always, 1),
        durable(Durability::Always, 16),
        durable(Durability::Always, 256),
    ];
    let title = "Publishing with durability: messages/s; `always` with so many publishers waiting";
    section(&mut text, results, title, &columns, rate_of);
    failures(&mut text, results);
    text
}

fn circumstances(text: &mut String, results: &Results) {
    let Results { taken, command, machine, amount, .. } = results;
    let _ = writeln!(
        text,
        "Taken {taken} by `{command}`.\n\n\
         - machine: {}, {} cores, {} of memory, {}, files on {}; load before the start: {}\n\
         - {}\n\
         - {} rounds, contenders alternating; a figure is the median, with least and greatest in parentheses",
        machine.processor,
        machine.cores,
        machine.memory,
        machine.kernel,
        machine.file_system,
        machine.load_before,
        machine.rust,
        amount.rounds,
    );
    let _ = match amount.messages {
        Some(messages) => writeln!(text, "- {messages} messages a run"),
        None => writeln!(
            text,
            "- as many messages a run as a contender passes on in about {} s; catch-up: {} ({} for brokers)",
            amount.seconds,
            size(amount.catch_up_bytes),
            size(amount.catch_up_bytes_of_peers)
        ),
    };
    text.push_str(
        "- publisher, subscribers and servers are separate processes; every message is counted and its content \
         checked by every subscriber\n\n",
    );
}

fn contenders(text: &mut String, results: &Results) {
    text.push_str(
        "| contender | version | lossless | replays | durable | what came | how it was set up |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for entrant in &results.contenders {
        let yes = |holds| if holds { "yes" } else { "no" };
        let came = match &entrant.skipped {
            Some(reason) => format!("**skipped**: {reason}"),
            None => came(results, &entrant.name),
        };
        let promises = &entrant.promises;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {came} | {} |",
            entrant.name,
            entrant.version.as_deref().unwrap_or("–"),
            yes(promises.lossless),
            yes(promises.replays),
            yes(promises.durable),
            promises.settings
        );
    }
    text.push('\n');
}

/// What all its runs say of loss.
fn came(results: &Results, contender: &str) -> String {
    let runs = results.cells.iter().filter(|cell| cell.contender == contender).flat_map(|cell| &cell.runs);
    let (mut checked, mut lost, mut again) = (0, 0, 0);
    for run in runs {
        checked += run.received.iter().sum::<u64>();
        lost += run.lost;
        again += run.duplicated;
    }
    match (checked, lost, again) {
        (0, 0, 0) => "no reader".to_owned(),
        (_, 0, 0) => format!("all of {checked}, once, in order"),
        _ => format!("{checked}; **{lost} lost, {again} twice or out of order**"),
    }
}

type Figure = fn(&Summary) -> Option<String>;

/// One table: a row for each contender that has any figure, a column for each piece of work.
fn section(text: &mut String, results: &Results, title: &str, columns: &[Work], figure: Figure) {
    let rows = results
        .present()
        .map(|entrant| {
            let cells = columns.iter().map(|&work| results.cell(&entrant.name, work)).collect::<Vec<_>>();
            (entrant.name.as_str(), cells)
        })
        .filter(|(_, cells)| cells.iter().flatten().any(|cell| cell.summary.is_some()))
        .collect::<Vec<_>>();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "## {title}\n");
    let names = columns.iter().map(|&work| column(work)).collect::<Vec<_>>().join(" | ");
    let _ = writeln!(text, "| contender | {names} |\n| --- |{}", " ---: |".repeat(columns.len()));
    for (name, cells) in rows {
        let figures = cells.into_iter().map(|cell| in_cell(cell, figure)).collect::<Vec<_>>().join(" | ");
        let _ = writeln!(text, "| {name} | {figures} |");
    }
    text.push('\n');
}

fn column(work: Work) -> String {
    match work {
        Work::Latency { spin, .. } => if spin { "spinning reader" } else { "sleeping reader" }.to_owned(),
        Work::Durable { durability: Durability::Always, waiting, .. } => format!("always, {waiting} waiting"),
        Work::Durable { durability, .. } => durability.to_string(),
        _ => size(u64::from(work.payload())),
    }
}

fn in_cell(cell: Option<&Cell>, figure: Figure) -> String {
    let Some(cell) = cell else { return "–".to_owned() };
    let Some(summary) = &cell.summary else { return "failed".to_owned() };
    let Some(mut text) = figure(summary) else { return "–".to_owned() };
    if !summary.whole {
        let _ = write!(text, " **lost {:.2} %**", summary.lost_share * 100.0);
    }
    text
}

fn rate_of(summary: &Summary) -> Option<String> {
    Some(in_words(summary.messages_per_second, rate))
}

fn cpu_of(summary: &Summary) -> Option<String> {
    Some(in_words(summary.cpu_seconds_per_million, three_digits))
}

fn catch_up_of(summary: &Summary) -> Option<String> {
    Some(in_words(summary.gigabytes_per_second, three_digits))
}

fn latency_of(summary: &Summary) -> Option<String> {
    let latency = summary.latency_us?;
    let [p50, p99, p999] = [latency.p50, latency.p99, latency.p999].map(|at| three_digits(at.median));
    Some(format!(
        "{p50} / {p99} / {p999} (p50: {}–{})",
        three_digits(latency.p50.min),
        three_digits(latency.p50.max)
    ))
}

fn in_words(spread: Spread, show: impl Fn(f64) -> String) -> String {
    format!("{} ({}–{})", show(spread.median), show(spread.min), show(spread.max))
}

/// `5.21 M`, `114 k`, `87.0`.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 1e6 {
        format!("{} M", three_digits(per_second / 1e6))
    } else if per_second >= 1e3 {
        format!("{} k", three_digits(per_second / 1e3))
    } else {
        three_digits(per_second)
    }
}

pub(crate) fn three_digits(number: f64) -> String {
    match number {
        ..0.0995 => format!("{number:.3}"),
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

fn failures(text: &mut String, results: &Results) {
    let failed = results.cells.iter().filter(|cell| !cell.failed.is_empty()).collect::<Vec<_>>();
    if failed.is_empty() {
        return;
    }
    text.push_str("## Runs that failed\n\n");
    for cell in failed {
        let _ = writeln!(
            text,
            "- {}, {}: {} of {} runs: {}",
            cell.contender,
            cell.work,
            cell.failed.len(),
            cell.failed.len() + cell.runs.len(),
            cell.failed[0]
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let shown = [5_213_000.0, 114_499.0, 999.7, 87.04, 1_000.0, 3.0].map(rate);
        assert_eq!(shown, ["5.21 M", "114 k", "1000", "87.0", "1.00 k", "3.00"]);
        assert_eq!(three_digits(0.0123), "0.012");
    }
}
