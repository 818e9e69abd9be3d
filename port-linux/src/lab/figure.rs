//! Figures as SVG: bars with ranges and limits, and lines over time. What they show is decided elsewhere.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::quick::Handover;
use super::sample::Summary;
use super::traffic::meter::mbit_per_second;

/// Okabe and Ito's palette, which colour-blind people can tell apart too.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
/// See [`BLUE`].
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);
/// See [`BLUE`].
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
/// See [`BLUE`].
pub const SKY: RGBColor = RGBColor(86, 180, 233);
/// See [`BLUE`].
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);
/// See [`BLUE`].
pub const PURPLE: RGBColor = RGBColor(204, 121, 167);
/// See [`BLUE`].
pub const YELLOW: RGBColor = RGBColor(240, 228, 66);

/// The name of the limit's mark in every legend.
pub const LIMIT: &str = "arithmetic limit";

const FONT: &str = "sans-serif";
const TITLE_SIZE: u32 = 20;
const TEXT_SIZE: u32 = 15;
const VALUE_SIZE: u32 = 12;

/// Where plots and legends begin: right of the y axis and its labels.
const LEFT: i32 = 76;

/// Room above the highest value, for the numbers at the bars.
const HEADROOM: f64 = 1.12;

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

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// Lines over time.
#[derive(Debug, Clone)]
pub struct LineChart {
    /// Title.
    pub title: String,
    /// Unit of the x axis.
    pub x_label: String,
    /// Unit of the y axis.
    pub y_label: String,
    /// The lines.
    pub lines: Vec<Line>,
    /// Limits: from, to, value.
    pub limits: Vec<(f64, f64, f64)>,
    /// Moments worth marking.
    pub marks: Vec<(f64, String)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws charts in a grid with `columns`, each 640 by 420, and returns the SVG.
///
/// # Errors
/// When plotters cannot draw them, such as with values that are not numbers.
pub fn bars(charts: &[BarChart], columns: usize) -> anyhow::Result<String> {
    draw(charts.len(), columns, |index, area| bar_chart(&charts[index], area))
}

/// The same for lines, each 960 by 420.
///
/// # Errors
/// As [`bars`].
pub fn lines(chart: &LineChart) -> anyhow::Result<String> {
    draw(1, 1, |_, area| line_chart(chart, area))
}

/// The same for several, one below the other.
///
/// # Errors
/// As [`bars`].
pub fn panels(charts: &[LineChart]) -> anyhow::Result<String> {
    draw(charts.len(), 1, |index, area| line_chart(&charts[index], area))
}

fn draw(
    count: usize,
    columns: usize,
    mut one: impl FnMut(usize, &Area<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let rows = count.div_ceil(columns).max(1);
    let width = if columns == 1 { 960 } else { 640 * u32::try_from(columns)? };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, 420 * u32::try_from(rows)?)).into_drawing_area();
        root.fill(&WHITE)?;
        for (index, area) in root.split_evenly((rows, columns)).iter().take(count).enumerate() {
            one(index, area)?;
        }
        root.present()?;
    }
    Ok(svg)
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

fn line_chart(chart: &LineChart, area: &Area<'_>) -> anyhow::Result<()> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let top =
        chart.limits.iter().map(|limit| limit.2).chain(points().map(|point| point.1)).fold(0.0, f64::max);
    let end = points().map(|point| point.0).fold(0.0, f64::max);
    if !(top.is_finite() && top > 0.0 && end.is_finite() && end > 0.0) {
        return Err(anyhow!("nothing to draw in `{}`", chart.title));
    }
    let mut entries: Vec<Entry<'_>> = chart.lines.iter().map(Line::entry).collect();
    if !chart.limits.is_empty() {
        entries.push(Entry { name: LIMIT, style: BLACK.stroke_width(1), filled: false });
    }
    let rest = head(area, &chart.title, &entries)?;
    let mut plot = ChartBuilder::on(&rest)
        .margin(12)
        .margin_top(0)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, 0.0..top * HEADROOM)?;
    plot.configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&tick)
        .x_desc(&chart.x_label)
        .y_label_formatter(&tick)
        .y_desc(&chart.y_label)
        .label_style((FONT, TEXT_SIZE))
        .axis_desc_style((FONT, TEXT_SIZE))
        .draw()?;
    for (from, to, value) in &chart.limits {
        let ends = [(*from, *value), (*to, *value)];
        plot.draw_series(DashedLineSeries::new(ends, 6, 4, BLACK.stroke_width(1)))?;
    }
    for Line { colour, points, .. } in &chart.lines {
        plot.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
    }
    let style = (FONT, TEXT_SIZE).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Bottom));
    for (x, label) in &chart.marks {
        let grey = BLACK.mix(0.5).stroke_width(1);
        plot.draw_series([PathElement::new(vec![(*x, 0.0), (*x, top * 1.1)], grey)])?;
        plot.draw_series([Text::new(label.clone(), (*x + end * 0.005, top * 1.03), style.clone())])?;
    }
    Ok(())
}

/// From the least to the most, with a bar across each end.
fn range_mark(x: f64, half: f64, value: Summary) -> [PathElement<(f64, f64)>; 3] {
    let line = |ends: [(f64, f64); 2]| PathElement::new(ends.to_vec(), BLACK.stroke_width(1));
    let across = |y| line([(x - half, y), (x + half, y)]);
    [line([(x, value.min), (x, value.max)]), across(value.min), across(value.max)]
}

/// One entry of a legend.
struct Entry<'a> {
    name: &'a str,
    style: ShapeStyle,
    filled: bool,
}

impl Bars {
    fn entry(&self) -> Entry<'_> {
        Entry { name: &self.name, style: self.colour.mix(OPAQUE).filled(), filled: true }
    }
}

impl Line {
    fn entry(&self) -> Entry<'_> {
        Entry { name: &self.name, style: self.colour.stroke_width(3), filled: false }
    }
}

/// Draws title and legend on top of an area and returns the rest. The legend has a row of its own: inside of the
/// plot it would cover what is as high as the limit.
fn head<'a>(area: &Area<'a>, title: &str, entries: &[Entry<'_>]) -> anyhow::Result<Area<'a>> {
    let (head, rest) = area.split_vertically(TITLE_SIZE + TEXT_SIZE + 28);
    let (width, _) = head.dim_in_pixel();
    let text = |size: u32| (FONT, size).into_font().color(&BLACK);
    let middle = i32::try_from(width / 2)?;
    let title_style = text(TITLE_SIZE).pos(Pos::new(HPos::Center, VPos::Top));
    head.draw_text(title, &title_style, (middle, 10))?;
    let style = text(TEXT_SIZE).pos(Pos::new(HPos::Left, VPos::Center));
    let (mut x, y) = (LEFT, i32::try_from(TITLE_SIZE + TEXT_SIZE / 2)? + 20);
    for Entry { name, style: mark, filled } in entries {
        if *filled {
            head.draw(&Rectangle::new([(x, y - 6), (x + 16, y + 6)], *mark))?;
        } else {
            head.draw(&PathElement::new(vec![(x, y), (x + 16, y)], *mark))?;
        }
        head.draw_text(name, &style, (x + 22, y))?;
        let (wide, _) = head.estimate_text_size(name, &style)?;
        x += 22 + i32::try_from(wide)? + 22;
    }
    Ok(rest)
}

/// Three digits are what repeats agree on.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A number at an axis: without zeros that say nothing.
fn tick(value: &f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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
    fn an_axis_has_no_idle_zeros() {
        assert_eq!(
            [0.0, 0.25, 0.30000000000000004, 400.0].map(|value| tick(&value)),
            ["0", "0.25", "0.3", "400"]
        );
    }

    #[test]
    fn points_are_means_of_whole_intervals() {
        // 31,250 bytes in 250 ms are 1 Mbit/s.
        assert_eq!(goodput_points(&[31_250, 93_750, 0, 62_500, 9], 250, 2), [(0.25, 2.0), (0.75, 1.0)]);
        assert_eq!(goodput_points(&[], 250, 1), []);
    }
}
