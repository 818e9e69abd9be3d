//! Bars with ranges and limits as SVG, and the short run's hand-over. What else they show is decided elsewhere.

use anyhow::anyhow;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use port_linux::figure::{Area, Entry, FONT, HEADROOM, TEXT_SIZE, draw, head, tick};

use super::quick::Handover;
use super::sample::Summary;
use super::traffic::meter::mbit_per_second;
pub use port_linux::figure::{
    BLUE, GREEN, LIMIT, Line, LineChart, ORANGE, PURPLE, SKY, VERMILION, YELLOW, lines,
};

const VALUE_SIZE: u32 = 12;

/// Bars let the grid and the ends of ranges shine through a little.
const OPAQUE: f64 = 0.85;

/// Half the width of all bars of a group; a group is 1 wide.
const HALF_GROUP: f64 = 0.4;

/// One system's bars.
#[derive(Debug, Clone)]
pub struct Bars {
    /// Its name in the legend.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// For each group what was measured, and the limit.
    pub values: Vec<Option<(Summary, Option<f64>)>>,
}

/// Groups of bars, one bar for each system.
#[derive(Debug, Clone)]
pub struct BarChart {
    /// Title.
    pub title: String,
    /// What the groups are.
    pub x_label: String,
    /// What is measured, with its unit.
    pub y_label: String,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// The systems.
    pub series: Vec<Bars>,
}

/// Draws charts in a grid with `columns`, each 640 by 420, and returns the SVG.
///
/// # Errors
/// When plotters cannot draw them, such as with values that are not numbers.
pub fn bars(charts: &[BarChart], columns: usize) -> anyhow::Result<String> {
    draw(charts.len(), columns, |index, area| bar_chart(&charts[index], area))
}

fn bar_chart(chart: &BarChart, area: &Area<'_>) -> anyhow::Result<()> {
    // What was not measured at all has no place in the legend.
    let measured = |bars: &&Bars| bars.values.iter().any(Option::is_some);
    let series: Vec<&Bars> = chart.series.iter().filter(measured).collect();
    let all = || series.iter().flat_map(|series| series.values.iter().flatten());
    let top = all().map(|(value, limit)| value.max.max(limit.unwrap_or(0.0))).fold(0.0, f64::max);
    if !(top.is_finite() && top > 0.0) {
        return Err(anyhow!("nothing to draw in `{}`", chart.title));
    }
    let mut entries: Vec<Entry<'_>> = series.iter().map(|bars| bars.entry()).collect();
    if all().any(|(_, limit)| limit.is_some()) {
        entries.push(Entry { name: LIMIT, style: BLACK.stroke_width(2), filled: false });
    }
    let rest = head(area, &chart.title, &entries)?;
    let count = chart.groups.len();
    let mut plot = ChartBuilder::on(&rest)
        .margin(12)
        .margin_top(0)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..count as f64 - 0.5, 0.0..top * HEADROOM)?;
    let group = |x: &f64| -> String {
        let index = x.round();
        let named = (x - index).abs() < 1e-6 && index >= 0.0;
        chart
            .groups
            .iter()
            .enumerate()
            .find(|(i, _)| named && *i as f64 == index)
            .map_or(String::new(), |(_, name)| name.clone())
    };
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(count)
        .x_label_formatter(&group)
        .x_desc(&chart.x_label)
        .y_label_formatter(&tick)
        .y_desc(&chart.y_label)
        .label_style((FONT, TEXT_SIZE))
        .axis_desc_style((FONT, TEXT_SIZE))
        .draw()?;
    let width = 2.0 * HALF_GROUP / series.len().max(1) as f64;
    let mut limits = Vec::new();
    for (place, series) in series.iter().enumerate() {
        let colour = series.colour;
        let centre = |index: usize| index as f64 - HALF_GROUP + width * (place as f64 + 0.5);
        let present =
            || series.values.iter().enumerate().filter_map(|(i, value)| value.map(|value| (i, value)));
        plot.draw_series(present().map(|(index, (value, _))| {
            let x = centre(index);
            Rectangle::new(
                [(x - width * 0.45, 0.0), (x + width * 0.45, value.median)],
                colour.mix(0.85).filled(),
            )
        }))?
        .label(&series.name)
        .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 16, y + 6)], colour.mix(0.85).filled()));
        plot.draw_series(
            present().flat_map(|(index, (value, _))| range_mark(centre(index), width * 0.12, value)),
        )?;
        let style = (FONT, VALUE_SIZE).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Bottom));
        plot.draw_series(present().map(|(index, (value, limit))| {
            let y = value.max.max(limit.unwrap_or(0.0)) + top * 0.02;
            Text::new(number(value.median), (centre(index), y), style.clone())
        }))?;
        for (index, (_, limit)) in present() {
            let x = centre(index);
            limits.extend(limit.map(|limit| [(x - width * 0.48, limit), (x + width * 0.48, limit)]));
        }
    }
    let line = |ends: [(f64, f64); 2]| PathElement::new(ends.to_vec(), BLACK.stroke_width(2));
    plot.draw_series(limits.into_iter().map(line))?;
    Ok(())
}

/// From the least to the most, with a bar across each end.
fn range_mark(x: f64, half: f64, value: Summary) -> [PathElement<(f64, f64)>; 3] {
    let line = |ends: [(f64, f64); 2]| PathElement::new(ends.to_vec(), BLACK.stroke_width(1));
    let across = |y| line([(x - half, y), (x + half, y)]);
    [line([(x, value.min), (x, value.max)]), across(value.min), across(value.max)]
}

impl Bars {
    fn entry(&self) -> Entry<'_> {
        Entry { name: &self.name, style: self.colour.mix(OPAQUE).filled(), filled: true }
    }
}

/// Three digits are what repeats agree on.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Intervals of bytes as points of goodput in Mbit/s, `merged` intervals to a point, without the unfinished last.
pub fn goodput_points(intervals: &[u64], interval_ms: u64, merged: usize) -> Vec<(f64, f64)> {
    let merged = merged.max(1);
    let seconds = interval_ms as f64 / 1e3 * merged as f64;
    let whole = &intervals[..intervals.len().saturating_sub(1)];
    let point = |(index, chunk): (usize, &[u64])| {
        ((index as f64 + 0.5) * seconds, mbit_per_second(chunk.iter().sum(), seconds))
    };
    whole.chunks_exact(merged).enumerate().map(point).collect()
}

/// The short run's hand-over over time.
///
/// # Errors
/// As [`bars`].
pub fn hand_over(handover: &Handover) -> anyhow::Result<String> {
    let points = goodput_points(&handover.intervals, handover.interval_ms, 1);
    let end = points.last().map_or(0.0, |point| point.0);
    let (cut, restored) = (handover.cut_at_s, handover.restored_at_s);
    let [before, during, after] = handover.limit_mbit_s;
    lines(&LineChart {
        title: format!(
            "One of {} paths is cut and restored: gap of {:.0} ms at the cut",
            handover.paths, handover.gaps_ms[1]
        ),
        x_label: "time, s".to_owned(),
        y_label: "TCP goodput, Mbit/s".to_owned(),
        lines: vec![Line { name: "mpt".to_owned(), colour: BLUE, points }],
        limits: vec![(0.0, cut, before), (cut, restored, during), (restored, end, after)],
        marks: vec![(cut, format!("cut ({})", handover.cut)), (restored, "restored".to_owned())],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> BarChart {
        let one =
            |median| Some((Summary { median, min: median - 1.0, max: median + 1.0 }, Some(median + 2.0)));
        BarChart {
            title: "Goodput <by> paths".to_owned(),
            x_label: "paths".to_owned(),
            y_label: "Mbit/s".to_owned(),
            groups: vec!["1".to_owned(), "2".to_owned()],
            series: vec![
                Bars { name: "mpt".to_owned(), colour: BLUE, values: vec![one(91.7), one(183.0)] },
                Bars { name: "MPTCP".to_owned(), colour: VERMILION, values: vec![one(92.5), None] },
            ],
        }
    }

    #[test]
    fn a_bar_chart_names_both_systems_the_limit_and_the_units() {
        let svg = bars(&[chart()], 1).expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["mpt", "MPTCP", LIMIT, "paths", "Mbit/s", "91.7", "183", "&lt;by&gt;"] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn a_chart_of_nothing_is_an_error_and_not_an_empty_picture() {
        let empty = BarChart { series: Vec::new(), ..chart() };
        assert!(bars(&[empty], 1).is_err());
    }

    #[test]
    fn a_system_that_was_not_measured_is_not_in_the_legend() {
        let mut chart = chart();
        chart.series[1].values = vec![None, None];
        assert!(!bars(&[chart], 1).expect("drawn").contains("MPTCP"));
    }

    #[test]
    fn points_are_means_of_whole_intervals() {
        // 31,250 bytes in 250 ms are 1 Mbit/s.
        assert_eq!(goodput_points(&[31_250, 93_750, 0, 62_500, 9], 250, 2), [(0.25, 2.0), (0.75, 1.0)]);
        assert_eq!(goodput_points(&[], 250, 1), []);
    }
}
