//! The history as a picture: rates, round-trip time and loss of all paths under each other, with events marked.

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::past::{Past, PastPath};
use super::record::{Mark, Record};
use crate::events::Level;
use crate::figure::{BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW};
use crate::units::clock_time;

const COLOURS: [RGBColor; 7] = [BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW];
const FONT: (&str, u32) = ("sans-serif", 14);
const WIDTH: u32 = 1100;
/// Height of title and legend, of one panel, of one line of an event.
const HEAD: u32 = 64;
const PANEL: u32 = 190;
const LINE: u32 = 18;
/// Events that are written out; all of them are marked.
const WRITTEN: usize = 25;
/// Points of a line: more than there are pixels say nothing.
const POINTS: usize = 1000;
/// Labels of the time at most, less one.
const TICKS: u64 = 12;
/// The time without a record of a path, in lengths of a record, after which its line has a gap: it was not there.
const GAP: u64 = 3;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

struct Panel {
    title: &'static str,
    value: fn(&Record) -> Option<f64>,
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
const PANELS: [Panel; 4] = [
    Panel { title: "out, Mbit/s", value: |record| Some(record.passed().out_rate() as f64 / 1e6) },
    Panel { title: "in, Mbit/s", value: |record| Some(record.passed().in_rate() as f64 / 1e6) },
    Panel { title: "round-trip time, ms", value: |record| Some(record.rtt_us? as f64 / 1e3) },
    Panel { title: "loss, %", value: |record| Some(record.passed().loss_per_mille()? as f64 / 10.0) },
];

/// Draws it. Times are those of `zone`.
///
/// # Errors
/// When plotters cannot.
pub fn svg(tunnel: &str, past: &Past, zone: &TimeZone) -> Result<String> {
    let panels = u32::try_from(PANELS.len())?;
    let left_out = past.events.len().saturating_sub(WRITTEN);
    let written = &past.events[left_out..];
    let foot = if written.is_empty() { 0 } else { LINE * u32::try_from(written.len() + 1)? + 12 };
    let mut svg = String::new();
    {
        let root =
            SVGBackend::with_string(&mut svg, (WIDTH, HEAD + panels * PANEL + foot)).into_drawing_area();
        root.fill(&WHITE)?;
        let (head, rest) = root.split_vertically(HEAD);
        draw_head(&head, tunnel, past, zone)?;
        let (middle, foot) = rest.split_vertically(panels * PANEL);
        for (area, panel) in middle.split_evenly((PANELS.len(), 1)).iter().zip(&PANELS) {
            draw_panel(area, panel, past, zone)?;
        }
        for (line, event) in (0..).zip(written) {
            let text = format!("{}  {}", clock_time(event.time_ms, zone), event.text);
            foot.draw_text(
                &text,
                &FONT.into_font().color(&colour_of(event)),
                (70, 6 + line * LINE.cast_signed()),
            )?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn draw_head(area: &Area<'_>, tunnel: &str, past: &Past, zone: &TimeZone) -> Result<()> {
    let title =
        format!("{tunnel}, {} to {}", clock_time(past.from_ms, zone), clock_time(past.until_ms, zone));
    area.draw_text(&title, &("sans-serif", 20).into_font().color(&BLACK), (70, 8))?;
    let style = FONT.into_font().color(&BLACK);
    let mut x = 70;
    for (path, colour) in past.paths.iter().zip(COLOURS.iter().cycle()) {
        area.draw(&PathElement::new(vec![(x, 46), (x + 16, 46)], colour.stroke_width(3)))?;
        area.draw_text(&path.name, &style, (x + 22, 38))?;
        x += 44 + i32::try_from(area.estimate_text_size(&path.name, &style)?.0)?;
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel, past: &Past, zone: &TimeZone) -> Result<()> {
    let lines: Vec<Vec<Vec<(f64, f64)>>> = past.paths.iter().map(|path| pieces(path, panel.value)).collect();
    let top = lines.iter().flatten().flatten().map(|point| point.1).fold(0.0, f64::max);
    if !top.is_finite() {
        return Err(anyhow!("{} cannot be drawn", panel.title));
    }
    // A panel of zeros has a scale, too.
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let (from, until) = (seconds(past.from_ms), seconds(past.until_ms));
    let mut plot = ChartBuilder::on(area)
        .margin_left(12)
        .margin_right(20)
        .margin_top(4)
        .x_label_area_size(22)
        .y_label_area_size(64)
        .build_cartesian_2d(from..until, 0.0..top)?;
    plot.configure_mesh()
        .light_line_style(TRANSPARENT)
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(5)
        .y_desc(panel.title)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .draw()?;
    let style = FONT.into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Top));
    for (ms, label) in ticks(past, zone) {
        let x = seconds(ms);
        plot.draw_series([PathElement::new(vec![(x, 0.0), (x, top)], BLACK.mix(0.1).stroke_width(1))])?;
        let (left, upper) = area.get_base_pixel();
        let (x, y) = plot.plotting_area().map_coordinate(&(x, 0.0));
        area.draw_text(&label, &style, (x - left, y - upper + 5))?;
    }
    for event in &past.events {
        let x = seconds(event.time_ms);
        plot.draw_series([PathElement::new(
            vec![(x, 0.0), (x, top)],
            colour_of(event).mix(0.5).stroke_width(1),
        )])?;
    }
    for (pieces, colour) in lines.into_iter().zip(COLOURS.iter().cycle()) {
        for piece in pieces {
            // One point alone is no line.
            if let [point] = piece[..] {
                plot.draw_series([Circle::new(point, 2, colour.filled())])?;
            }
            plot.draw_series(LineSeries::new(piece, colour.stroke_width(2)))?;
        }
    }
    Ok(())
}

/// Round times of day, and how they are written.
fn ticks(past: &Past, zone: &TimeZone) -> Vec<(u64, String)> {
    const MINUTE: u64 = 60_000;
    const DAY: u64 = 1440 * MINUTE;
    let minutes = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2 * 1440, 7 * 1440];
    let length = past.until_ms - past.from_ms;
    let steps = minutes.map(|minutes| minutes * MINUTE);
    let step = steps.into_iter().find(|step| length / step <= TICKS).unwrap_or(7 * DAY);
    // Where the day begins there.
    let offset = i64::try_from(past.from_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let offset = offset.map_or(0, |time| i64::from(zone.to_offset(time).seconds()) * 1000);
    let first =
        past.from_ms.saturating_add_signed(offset).next_multiple_of(step).saturating_add_signed(-offset);
    let times =
        (0..=TICKS).map(|n| first + n * step).filter(|time| (past.from_ms..=past.until_ms).contains(time));
    let label = |ms| {
        let text = clock_time(ms, zone);
        // Month and day, or hours and minutes.
        let wanted = if step >= DAY { text.get(5..10) } else { text.get(11..16) };
        wanted.map(str::to_owned).unwrap_or(text)
    };
    times.map(|ms| (ms, label(ms))).collect()
}

fn colour_of(event: &Mark) -> RGBColor {
    if event.level == Level::Warning { VERMILION } else { RGBColor(110, 110, 110) }
}

/// The line of a path, in pieces: where it was not there, or a value is not known, there is none.
fn pieces(path: &PastPath, value: impl Fn(&Record) -> Option<f64>) -> Vec<Vec<(f64, f64)>> {
    let merged = path.records.len().div_ceil(POINTS).max(1);
    let mut pieces = vec![Vec::new()];
    let mut before = None::<u64>;
    for records in path.records.chunks(merged) {
        let Some(record) = Record::merged(records) else { continue };
        let longest = records.iter().map(|record| record.span_ms).max().unwrap_or(0).saturating_mul(GAP);
        let begins = records.first().map_or(0, |first| first.time_ms);
        let is_gap = before.is_some_and(|before| begins.saturating_sub(before) > longest);
        before = Some(record.time_ms);
        let value = value(&record);
        if is_gap || value.is_none() {
            pieces.push(Vec::new());
        }
        if let (Some(value), Some(piece)) = (value, pieces.last_mut()) {
            piece.push((seconds(record.time_ms), value));
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::show::tests::two_hours;

    #[test]
    fn the_picture_has_all_panels_paths_and_events() {
        let svg = svg("mpt0", &two_hours(), &TimeZone::UTC).expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        let texts =
            ["out, Mbit/s", "in, Mbit/s", "round-trip time, ms", "loss, %", "vps/fibre", "vps/lte", "08:30"];
        for text in texts.iter().chain(&["path lte of vps is down", "2027-01-15 08:00:00"]) {
            assert!(svg.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn labels_are_at_round_times_of_the_day_where_the_reader_is() {
        let mut past = two_hours();
        let labels = |past: &Past, zone: &TimeZone| -> Vec<String> {
            ticks(past, zone).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(&past, &TimeZone::UTC)[..3], ["08:00", "08:10", "08:20"]);
        let india = TimeZone::fixed(jiff::tz::Offset::from_seconds(19_800).unwrap());
        assert_eq!(labels(&past, &india)[..2], ["13:30", "13:40"]);
        past.until_ms += 9 * 86_400_000;
        assert_eq!(labels(&past, &TimeZone::UTC)[..2], ["01-16", "01-17"]);
        past.until_ms += 900 * 86_400_000;
        assert_eq!(labels(&past, &TimeZone::UTC).len(), 13, "the longest that there can be is a month");
    }

    #[test]
    fn a_line_has_gaps_where_nothing_is_known() {
        let path = |keep: fn(&Record) -> bool| {
            let mut path = two_hours().paths.remove(1);
            path.records.retain(keep);
            path
        };
        let rtt = |record: &Record| record.rtt_us.map(|_| 1.0);
        let whole = pieces(&path(|_| true), rtt);
        assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [360], "down in the second hour");
        let start = two_hours().from_ms;
        let cut =
            pieces(&path(|record| !(100..104).contains(&((record.time_ms % 10_000_000) / 10_000))), |_| {
                Some(1.0)
            });
        assert_eq!(cut.len(), 2, "{start}: {:?}", cut.iter().map(Vec::len).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_but_zeros_and_single_records_are_drawn_too() {
        let mut past = two_hours();
        past.paths.truncate(1);
        past.paths[0].records.truncate(1);
        past.paths[0].records[0] =
            Record { tx_bytes: 0, rx_bytes: 0, lost: None, rtt_us: None, ..past.paths[0].records[0] };
        past.events.clear();
        assert!(svg("mpt0", &past, &TimeZone::UTC).is_ok());
    }
}
