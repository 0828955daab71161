//! Demand and instances over time: a row for each pattern, a column for each algorithm.

use std::{ops::Range, path::Path, time::Duration};

use anyhow::Result;
use plotters::{
    chart::ChartBuilder,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    prelude::SVGBackend,
    series::{AreaSeries, LineSeries},
    style::{Color, RGBColor, ShapeStyle},
};

use super::{Algorithm, Outcome, Pattern};

/// Width of a panel and height, in pixels.
const PANEL: (u32, u32) = (420, 170);
/// Points of a curve: the most of each interval is drawn, so that no peak is lost.
const POINTS: usize = 210;

const WHITE: RGBColor = RGBColor(255, 255, 255);
const DEMAND: RGBColor = RGBColor(255, 150, 60);
const INSTANCES: RGBColor = RGBColor(30, 80, 180);

/// Writes the plot as an SVG.
///
/// # Errors
/// When the file cannot be written.
pub fn plot(plays: &[(Pattern, Vec<(Algorithm, Outcome)>)], file: &Path) -> Result<()> {
    let columns = plays.first().map_or(0, |(_, outcomes)| outcomes.len());
    let size = (PANEL.0 * columns as u32, PANEL.1 * plays.len() as u32);
    let root = SVGBackend::new(file, size).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((plays.len(), columns));
    for ((pattern, outcomes), row) in plays.iter().zip(panels.chunks(columns)) {
        let curves = outcomes.iter().map(|(algorithm, outcome)| {
            let title = format!("{algorithm}: {}", pattern.name);
            (title, Curves::of(outcome, &pattern.shown))
        });
        let curves: Vec<_> = curves.collect();
        // One scale for all algorithms, or the eye compares what cannot be compared.
        let top = curves.iter().map(|(_, curves)| curves.top()).max();
        for ((title, curves), panel) in curves.iter().zip(row) {
            draw(panel, title, curves, &pattern.shown, top.unwrap_or(1))?;
        }
    }
    Ok(root.present()?)
}

fn draw(
    panel: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    curves: &Curves,
    shown: &Range<Duration>,
    top: i32,
) -> Result<()> {
    let (unit, name) = unit(shown.end - shown.start);
    let x = |at: f64| at / unit;
    let from = shown.start.as_secs_f64();
    let length = (shown.end - shown.start).as_secs_f64();
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 13))
        .margin(6)
        .x_label_area_size(28)
        .y_label_area_size(36)
        .build_cartesian_2d(x(from)..x(from + length), 0.0..f64::from(top) * 1.05)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(6)
        .y_labels(5)
        .x_desc(name)
        .label_style(("sans-serif", 10))
        .draw()?;
    let points = |curve: &[i32]| {
        let step = length / POINTS as f64;
        let point = move |(n, value): (usize, &i32)| (x(from + n as f64 * step), f64::from(*value));
        curve.iter().enumerate().map(point).collect::<Vec<_>>()
    };
    let demand = AreaSeries::new(points(&curves.demand), 0.0, DEMAND.mix(0.5));
    chart.draw_series(demand.border_style(ShapeStyle::from(&DEMAND)))?;
    chart.draw_series(LineSeries::new(points(&curves.instances), &INSTANCES))?;
    Ok(())
}

/// A unit for the axis of time, in seconds.
fn unit(length: Duration) -> (f64, &'static str) {
    match length.as_secs() {
        0..=300 => (1.0, "seconds · orange: demand · blue: instances"),
        301..=7200 => (60.0, "minutes · orange: demand · blue: instances"),
        _ => (3600.0, "hours · orange: demand · blue: instances"),
    }
}

/// The most of each interval.
struct Curves {
    demand: Vec<i32>,
    instances: Vec<i32>,
}

impl Curves {
    fn of(outcome: &Outcome, shown: &Range<Duration>) -> Self {
        let step = (shown.end - shown.start) / POINTS as u32;
        let mut changes = outcome.changes.iter().peekable();
        let (mut demand, mut instances) = (0, 0);
        let mut curves = Self {
            demand: vec![],
            instances: vec![],
        };
        for n in 0..POINTS as u32 {
            let end = shown.start + step * (n + 1);
            let is_first = n == 0;
            let (mut most_demand, mut most_instances) = (demand, instances);
            while let Some(change) = changes.next_if(|change| change.at < end) {
                demand += change.demand;
                instances += change.instances;
                // What was before the part that is shown is no peak of it.
                if is_first && change.at < shown.start {
                    (most_demand, most_instances) = (demand, instances);
                }
                most_demand = most_demand.max(demand);
                most_instances = most_instances.max(instances);
            }
            curves.demand.push(most_demand);
            curves.instances.push(most_instances);
        }
        curves
    }

    fn top(&self) -> i32 {
        let all = self.demand.iter().chain(&self.instances);
        all.copied().max().unwrap_or(0).max(1)
    }
}
