//! The figures as small multiples: one panel a figure, one line a process, a thin line at each kill.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::figure::{FIGURES, Figure};
use crate::run::Kill;
use crate::sampler::Sample;
use crate::statistics::median;
use crate::summary::Summary;
use crate::swarm::INSTANCES;

const SIZE: (u32, u32) = (1400, 1500);
const HEAD_PIXELS: u32 = 110;
const COLUMNS: usize = 2;
/// A line has at most so many points: what lies between two is their median, or their maximum for lag.
const POINTS_MAX: usize = 300;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(60, 60, 60);
const FAINT: RGBColor = RGBColor(225, 225, 225);
/// Okabe and Ito's colours, which the colour-blind tell apart too.
const COLOURS: [RGBColor; INSTANCES.len()] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws all figures into an SVG file.
pub(crate) fn draw(path: &Path, samples: &[Sample], kills: &[Kill], summary: &Summary) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let drawn = (|| {
        root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        let (head, body) = root.split_vertically(HEAD_PIXELS);
        draw_head(&head, summary)?;
        let panels = body.split_evenly((FIGURES.len().div_ceil(COLUMNS), COLUMNS));
        for (panel, figure) in panels.iter().zip(FIGURES) {
            draw_panel(panel, figure, samples, kills, summary)?;
        }
        root.present().map_err(|error| anyhow!("{error}"))
    })();
    drawn.map_err(|error: anyhow::Error| error.context(format!("can't draw {}", path.display())))
}

fn draw_head(area: &Area<'_>, summary: &Summary) -> Result<()> {
    let write = |text: String, size: i32, at: (i32, i32), colour: &RGBColor| {
        area.draw(&Text::new(text, at, (FONT, size).into_font().color(colour)))
            .map_err(|error| anyhow!("{error}"))
    };
    write("Soak: constant load with restarts".to_owned(), 28, (30, 18), &BLACK)?;
    write(summary.headline(), 18, (30, 52), &INK)?;
    let mut left = 30;
    for (instance, colour) in INSTANCES.into_iter().zip(COLOURS) {
        let swatch = Rectangle::new([(left, 84), (left + 22, 90)], colour.filled());
        area.draw(&swatch).map_err(|error| anyhow!("{error}"))?;
        write(instance.to_owned(), 17, (left + 28, 79), &INK)?;
        left += 130;
    }
    let swatch = Rectangle::new([(left + 10, 78), (left + 12, 96)], RGBColor(180, 180, 180).filled());
    area.draw(&swatch).map_err(|error| anyhow!("{error}"))?;
    write("a process was killed and started again".to_owned(), 17, (left + 20, 79), &INK)
}

fn draw_panel(
    area: &Area<'_>,
    figure: Figure,
    samples: &[Sample],
    kills: &[Kill],
    summary: &Summary,
) -> Result<()> {
    let lines: Vec<Vec<(f64, f64)>> = (0..INSTANCES.len()).map(|at| line(samples, at, figure)).collect();
    let most = lines.iter().flatten().map(|(_, value)| *value).fold(0.0, f64::max);
    let (time, divisor) = time_unit(summary.seconds);
    let end = (summary.seconds / divisor).max(f64::MIN_POSITIVE);
    let top = if most > 0.0 { most * 1.08 } else { 1.0 };
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    let mut chart = ChartBuilder::on(area)
        .caption(figure.title(), (FONT, 20).into_font().color(&BLACK))
        .margin(12)
        .margin_right(30)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(0.0..end, 0.0..top)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .x_desc(time)
        .y_desc(figure.unit())
        .x_labels(10)
        .y_labels(6)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .label_style((FONT, 15).into_font().color(&INK))
        .axis_desc_style((FONT, 16).into_font().color(&INK))
        .draw()
        .map_err(failed)?;
    for kill in kills {
        let at = kill.at / divisor;
        let mark = PathElement::new(vec![(at, 0.0), (at, top)], RGBColor(205, 205, 205).stroke_width(1));
        chart.draw_series([mark]).map_err(failed)?;
    }
    for (points, colour) in lines.into_iter().zip(COLOURS) {
        let points = points.into_iter().map(|(at, value)| (at / divisor, value));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(failed)?;
    }
    Ok(())
}

/// The points of one process in one panel.
fn line(samples: &[Sample], process: usize, figure: Figure) -> Vec<(f64, f64)> {
    let bucket = samples.len().div_ceil(POINTS_MAX).max(1);
    let buckets = samples.chunks(bucket).filter_map(|samples| {
        let values = samples.iter().filter_map(|sample| sample.processes[process][figure as usize]);
        let value = match figure {
            Figure::Lag => values.reduce(f64::max),
            _ => median(values.collect()),
        };
        Some((samples[samples.len() / 2].at, value?))
    });
    buckets.collect()
}

/// What the time axis counts, and how many seconds that has.
const fn time_unit(seconds: f64) -> (&'static str, f64) {
    if seconds < 180.0 {
        ("seconds", 1.0)
    } else if seconds < 3.0 * 3600.0 {
        ("minutes", 60.0)
    } else {
        ("hours", 3600.0)
    }
}

/// A number in few letters: `0.5`, `40`, `20k`, `1.5M`.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_axes_are_short() {
        let shown = [0.0, 0.5, 40.0, 9000.0, 20_000.0, 1_500_000.0].map(short);
        assert_eq!(shown, ["0", "0.5", "40", "9000", "20k", "1.5M"]);
    }
}
