//! The results as pictures: bars on a logarithmic scale, ours set apart by its colour.

use std::path::Path;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contenders::OURS;
use crate::results::{Results, Summary};
use crate::stats::Spread;
use crate::table::{rate, three_digits};
use crate::work::{Work, size};

const OUR_COLOR: RGBColor = RGBColor(0xd9, 0x48, 0x01);
const PEER_COLOR: RGBColor = RGBColor(0x8a, 0xa4, 0xc0);
const FLOOR_COLOR: RGBColor = RGBColor(0xc4, 0xc4, 0xc4);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

const PANEL_WIDTH: u32 = 430;
const LABEL_WIDTH: i32 = 150;
const VALUE_WIDTH: i32 = 62;
const BAR_HEIGHT: i32 = 20;
const HEAD_HEIGHT: i32 = 44;
const FOOT_HEIGHT: i32 = 26;
const TITLE_HEIGHT: i32 = 40;

/// One diagram of several panels beside each other.
struct Figure<'a> {
    file: &'a str,
    title: &'a str,
    rows: Vec<Vec<Panel>>,
}

struct Panel {
    title: String,
    bars: Vec<Bar>,
    show: fn(f64) -> String,
}

struct Bar {
    label: String,
    value: Spread,
    color: RGBColor,
    is_lossy: bool,
}

/// Draws everything that there are figures for.
pub(crate) fn draw(results: &Results, folder: &Path) -> anyhow::Result<()> {
    let payloads = [64, 1 << 10, 64 << 10];
    let throughput = |subscribers| {
        payloads.map(|payload| Work::Throughput { payload, subscribers }).map(|work| {
            panel(results, work, &title(work), rate, true, |summary| Some(summary.messages_per_second))
        })
    };
    let cpu = |subscribers| {
        payloads.map(|payload| Work::Throughput { payload, subscribers }).map(|work| {
            panel(results, work, &title(work), three_digits, false, |summary| {
                Some(summary.cpu_seconds_per_million)
            })
        })
    };
    let latency = [false, true].map(|spin| Work::Latency { payload: 64, spin }).map(|work| {
        panel(results, work, &title(work), three_digits, false, |summary| {
            let latency = summary.latency_us?;
            Some(Spread { median: latency.p50.median, min: latency.p50.median, max: latency.p99.median })
        })
    });
    for figure in [
        Figure {
            file: "throughput.svg",
            title: "Messages a second to each subscriber (bar: median, line: least to greatest; more is better)",
            rows: vec![throughput(1).into(), throughput(8).into()],
        },
        Figure {
            file: "latency.svg",
            title: "Latency in microseconds (bar: p50, line: up to p99; less is better)",
            rows: vec![latency.into()],
        },
        Figure {
            file: "cpu.svg",
            title: "Processor seconds per million messages, all processes together (less is better)",
            rows: vec![cpu(1).into(), cpu(8).into()],
        },
    ] {
        figure.draw(folder)?;
    }
    Ok(())
}

fn title(work: Work) -> String {
    match work {
        Work::Throughput { payload, subscribers: 1 } => {
            format!("{}, one subscriber", size(u64::from(payload)))
        }
        Work::Throughput { payload, subscribers } => {
            format!("{}, {subscribers} subscribers", size(u64::from(payload)))
        }
        Work::Latency { payload, spin } => {
            format!("{}, {} reader", size(u64::from(payload)), if spin { "spinning" } else { "sleeping" })
        }
        _ => work.to_string(),
    }
}

fn panel(
    results: &Results,
    work: Work,
    title: &str,
    show: fn(f64) -> String,
    most_first: bool,
    figure: impl Fn(&Summary) -> Option<Spread>,
) -> Panel {
    let mut bars = results
        .present()
        .filter_map(|entrant| {
            let summary = results.cell(&entrant.name, work)?.summary?;
            let is_floor = entrant.promises.settings.starts_with("floor");
            let color = match entrant.name.as_str() {
                OURS => OUR_COLOR,
                _ if is_floor => FLOOR_COLOR,
                _ => PEER_COLOR,
            };
            let value = figure(&summary).filter(|value| value.median > 0.0)?;
            Some(Bar { label: entrant.name.clone(), value, color, is_lossy: !summary.whole })
        })
        .collect::<Vec<_>>();
    bars.sort_by(|a, b| a.value.median.total_cmp(&b.value.median));
    if most_first {
        bars.reverse();
    }
    Panel { title: title.to_owned(), bars, show }
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Figure<'_> {
    fn draw(self, folder: &Path) -> anyhow::Result<()> {
        let rows = self
            .rows
            .into_iter()
            .filter(|row| row.iter().any(|panel| !panel.bars.is_empty()))
            .collect::<Vec<_>>();
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        if columns == 0 {
            return Ok(());
        }
        let heights = rows.iter().map(|row| row.iter().map(Panel::height).max().unwrap_or_default());
        let heights = heights.collect::<Vec<_>>();
        let width = PANEL_WIDTH * u32::try_from(columns)?;
        let height = u32::try_from(TITLE_HEIGHT + heights.iter().sum::<i32>())?;
        let path = folder.join(self.file);
        let canvas = SVGBackend::new(&path, (width, height)).into_drawing_area();
        let draw = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            canvas.fill(&WHITE)?;
            canvas.draw(&Text::new(self.title, (16, 14), font(17)))?;
            let mut top = TITLE_HEIGHT;
            for (row, height) in rows.iter().zip(&heights) {
                for (column, panel) in (0_u32..).zip(row) {
                    panel.draw(&canvas, i32::try_from(PANEL_WIDTH * column)?, top)?;
                }
                top += height;
            }
            canvas.present()?;
            Ok(())
        };
        draw().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
    }
}

impl Panel {
    fn height(&self) -> i32 {
        HEAD_HEIGHT + BAR_HEIGHT * i32::try_from(self.bars.len()).unwrap_or_default() + FOOT_HEIGHT
    }

    /// Whole decades around everything that is shown.
    fn decades(&self) -> (i32, i32) {
        let logs = self.bars.iter().flat_map(|bar| [bar.value.min, bar.value.median, bar.value.max]);
        let logs = logs.filter(|value| *value > 0.0).map(f64::log10);
        let (low, high) = logs.fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
        let (low, high) = (whole(low.floor()), whole(high.ceil()));
        // A bar at the very foot of the scale would have no length.
        (low - i32::from(high - low < 2), high.max(low + 1))
    }

    fn draw(
        &self,
        canvas: &Canvas<'_>,
        left: i32,
        top: i32,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.bars.is_empty() {
            return Ok(());
        }
        let (low, high) = self.decades();
        let from = left + LABEL_WIDTH;
        let span = i32::try_from(PANEL_WIDTH)? - LABEL_WIDTH - VALUE_WIDTH;
        let at = |value: f64| {
            let share = (value.max(f64::MIN_POSITIVE).log10() - f64::from(low)) / f64::from(high - low);
            from + whole(share.clamp(0.0, 1.0) * f64::from(span))
        };
        let foot = top + HEAD_HEIGHT + BAR_HEIGHT * i32::try_from(self.bars.len())?;
        canvas.draw(&Text::new(self.title.as_str(), (from, top + 14), font(14)))?;
        for decade in low..=high {
            let x = at(10_f64.powi(decade));
            canvas.draw(&PathElement::new([(x, top + HEAD_HEIGHT - 6), (x, foot)], GRID))?;
            let style = font(10).pos(Pos::new(HPos::Center, VPos::Top));
            canvas.draw(&Text::new(tick(decade), (x, foot + 4), style))?;
        }
        for (index, bar) in (0..).zip(&self.bars) {
            bar.draw(canvas, from, top + HEAD_HEIGHT + BAR_HEIGHT * index, &at, self.show)?;
        }
        Ok(())
    }
}

impl Bar {
    fn draw(
        &self,
        canvas: &Canvas<'_>,
        from: i32,
        top: i32,
        at: &impl Fn(f64) -> i32,
        show: fn(f64) -> String,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let middle = top + BAR_HEIGHT / 2;
        let label = font(12).pos(Pos::new(HPos::Right, VPos::Center));
        canvas.draw(&Text::new(self.label.as_str(), (from - 6, middle), label))?;
        let to = at(self.value.median).max(from + 1);
        canvas.draw(&Rectangle::new([(from, top + 3), (to, top + BAR_HEIGHT - 3)], self.color.filled()))?;
        let (least, most) = (at(self.value.min), at(self.value.max));
        if most > least {
            canvas.draw(&PathElement::new([(least, middle), (most, middle)], INK.mix(0.7)))?;
        }
        let text = format!("{}{}", show(self.value.median), if self.is_lossy { " lossy" } else { "" });
        let value = font(11).pos(Pos::new(HPos::Left, VPos::Center));
        canvas.draw(&Text::new(text, (to.max(most) + 5, middle), value))?;
        Ok(())
    }
}

fn font(points: i32) -> TextStyle<'static> {
    ("sans-serif", points).into_font().color(&INK)
}

fn tick(decade: i32) -> String {
    match decade {
        6.. => format!("{} M", 10_i64.pow(u32::try_from(decade - 6).unwrap_or_default())),
        3.. => format!("{} k", 10_i64.pow(u32::try_from(decade - 3).unwrap_or_default())),
        _ => format!("{}", 10_f64.powi(decade)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "pixels and decades")]
fn whole(number: f64) -> i32 {
    number as i32
}
