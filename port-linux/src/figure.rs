//! Figures as SVG: lines over time, and what all charts have. What they show is decided elsewhere.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

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

/// Font of all text.
pub const FONT: &str = "sans-serif";
/// Size of titles, in pixels.
const TITLE_SIZE: u32 = 20;
/// Size of text that is neither a title nor a value in a bar chart, in pixels.
pub const TEXT_SIZE: u32 = 15;

/// Where plots and legends begin: right of the y axis and its labels.
const LEFT: i32 = 76;

/// Height of a plot, in heights of its highest value: room for what is written above it.
pub const HEADROOM: f64 = 1.12;

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

/// Where a chart is drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws lines over time, 960 by 420, and returns the SVG.
///
/// # Errors
/// When plotters cannot draw them, such as with values that are not numbers.
pub fn lines(chart: &LineChart) -> anyhow::Result<String> {
    draw(1, 1, |_, area| line_chart(chart, area))
}

/// Draws several charts of lines, one below the other, and returns the SVG.
///
/// # Errors
/// As [`lines`].
pub fn panels(charts: &[LineChart]) -> anyhow::Result<String> {
    draw(charts.len(), 1, |index, area| line_chart(&charts[index], area))
}

/// Draws `count` charts in a grid with `columns`, each by a call of `one` with its number, and returns the SVG. A chart is 640 by
/// 420 pixels large, and 960 by 420 where there is one column.
///
/// # Errors
/// Those of `one`, and when plotters cannot draw.
pub fn draw(
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

/// One entry of a legend.
#[derive(Debug)]
pub struct Entry<'a> {
    /// What it names.
    pub name: &'a str,
    /// How that is drawn.
    pub style: ShapeStyle,
    /// Whether it is an area and not a line.
    pub filled: bool,
}

impl Line {
    fn entry(&self) -> Entry<'_> {
        Entry { name: &self.name, style: self.colour.stroke_width(3), filled: false }
    }
}

/// Draws title and legend on top of an area and returns the rest. The legend has a row of its own: inside of the
/// plot it would cover what is as high as the limit.
///
/// # Errors
/// When plotters cannot draw.
pub fn head<'a>(area: &Area<'a>, title: &str, entries: &[Entry<'_>]) -> anyhow::Result<Area<'a>> {
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

/// A number at an axis: without zeros that say nothing.
pub fn tick(value: &f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_no_idle_zeros() {
        assert_eq!(
            [0.0, 0.25, 0.30000000000000004, 400.0].map(|value| tick(&value)),
            ["0", "0.25", "0.3", "400"]
        );
    }
}
