//! The four plots of a report as SVG text: equity, drawdown, reliability, results.
//!
//! Drawn at a fixed size from the values given; no fonts, files or network are read.

use super::report::{Bin, Curves};
use jiff::tz::TimeZone;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

const SIZE: (u32, u32) = (860, 300);
const SQUARE: (u32, u32) = (420, 340);
/// Points drawn of a curve; more cannot be seen at this width.
const POINTS_MAX: usize = 1_600;
const BLUE: RGBColor = RGBColor(31, 92, 153);
const RED: RGBColor = RGBColor(178, 58, 48);
const GREY: RGBColor = RGBColor(130, 130, 130);
const GRID: RGBColor = RGBColor(232, 232, 232);

type Failed = Box<dyn std::error::Error>;

/// One drawing as SVG; a plot that cannot be drawn says why in its place.
fn svg(
    size: (u32, u32),
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<(), Failed>,
) -> String {
    let mut text = String::new();
    let drawn = {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE)
            .map_err(Failed::from)
            .and_then(|()| draw(&root))
            .and_then(|()| root.present().map_err(Failed::from))
    };
    match drawn {
        Ok(()) => text,
        Err(error) => format!("<p>this plot could not be drawn: {error}</p>"),
    }
}

/// Every n-th point, and always the last, with the extremes of what is left out between.
fn thinned(points: &[(i64, f64)]) -> Vec<(i64, f64)> {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    let group = points.len().div_ceil(POINTS_MAX / 2);
    let mut kept = Vec::with_capacity(POINTS_MAX + 2);
    for chunk in points.chunks(group) {
        let by_value = |a: &&(i64, f64), b: &&(i64, f64)| a.1.total_cmp(&b.1);
        let (Some(low), Some(high)) = (chunk.iter().min_by(by_value), chunk.iter().max_by(by_value)) else {
            continue;
        };
        let mut pair = [*low, *high];
        pair.sort_by_key(|point| point.0);
        kept.extend(pair);
    }
    kept.extend(points.last());
    kept
}

fn day_text(ms: &i64) -> String {
    let stamp = jiff::Timestamp::from_millisecond(*ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    stamp.to_zoned(TimeZone::UTC).strftime("%d %b %H:%M").to_string()
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((0f64, 0f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let room = ((high - low) * 0.06).max(0.5);
    (
        if low < 0.0 { low - room } else { 0.0 },
        if high > 0.0 { high + room } else { 0.0 },
    )
}

/// Running sum of R over the time of exit.
pub fn equity(curves: &Curves) -> String {
    let points = with_start(&curves.equity, 0.0);
    curve(&points, "sum of R", &BLUE)
}

/// How far the sum lies below its peak.
pub fn drawdown(curves: &Curves) -> String {
    let mut peak = 0f64;
    let below: Vec<(i64, f64)> = curves
        .equity
        .iter()
        .map(|(time, sum)| {
            peak = peak.max(*sum);
            (*time, sum - peak)
        })
        .collect();
    curve(&with_start(&below, 0.0), "R below the peak", &RED)
}

fn with_start(points: &[(i64, f64)], value: f64) -> Vec<(i64, f64)> {
    let first = points.first().map(|point| (point.0 - 60_000, value));
    first.into_iter().chain(thinned(points)).collect()
}

fn curve(points: &[(i64, f64)], label: &str, color: &RGBColor) -> String {
    let (first, last) = match (points.first(), points.last()) {
        (Some(first), Some(last)) if last.0 > first.0 => (first.0, last.0),
        _ => return "<p>no trades, no curve</p>".to_owned(),
    };
    let (low, high) = span(points.iter().map(|point| point.1));
    // Each step stays until the next result.
    let steps: Vec<(i64, f64)> = points
        .windows(2)
        .flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)])
        .chain(points.last().copied())
        .collect();
    svg(SIZE, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(12)
            .margin_right(28)
            .x_label_area_size(30)
            .y_label_area_size(70)
            .build_cartesian_2d(first..last, low..high)?;
        mesh(&mut chart, "", label, &day_text)?;
        chart.draw_series(AreaSeries::new(steps.iter().copied(), 0.0, color.mix(0.15)))?;
        chart.draw_series(LineSeries::new(steps, color.stroke_width(2)))?;
        Ok(())
    })
}

fn mesh<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    x_label: &str,
    y_label: &str,
    x_text: &dyn Fn(&X::ValueType) -> String,
) -> Result<(), Failed>
where
    X: Ranged + ValueFormatter<<X as Ranged>::ValueType>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GREY)
        .x_labels(7)
        .y_labels(6)
        .x_desc(x_label)
        .y_desc(y_label)
        .x_label_formatter(x_text)
        .y_label_formatter(&|value| match value.abs() {
            large if large >= 20.0 => format!("{value:.0}"),
            _ => format!("{value:.1}"),
        })
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 13))
        .draw()?;
    Ok(())
}

/// Stated probability against what happened, with Wilson's intervals.
pub fn reliability(bins: &[Bin]) -> String {
    if bins.is_empty() {
        return "<p>no trade states a probability</p>".to_owned();
    }
    svg(SQUARE, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d(0f64..1f64, 0f64..1f64)?;
        mesh(&mut chart, "stated probability", "share won", &|x| {
            format!("{x:.1}")
        })?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], GREY))?;
        chart.draw_series(bins.iter().map(|bin| {
            ErrorBar::new_vertical(
                bin.mean_prob,
                bin.low,
                bin.observed,
                bin.high,
                BLUE.stroke_width(1),
                8,
            )
        }))?;
        chart.draw_series(LineSeries::new(
            bins.iter().map(|bin| (bin.mean_prob, bin.observed)),
            BLUE.stroke_width(1),
        ))?;
        chart.draw_series(
            bins.iter()
                .map(|bin| Circle::new((bin.mean_prob, bin.observed), 4, BLUE.filled())),
        )?;
        Ok(())
    })
}

/// How the results are spread.
pub fn results(results: &[f64]) -> String {
    const WIDTH: f64 = 0.25;
    const REACH: f64 = 5.0;
    if results.is_empty() {
        return "<p>no trades, no results</p>".to_owned();
    }
    let lowest = results.iter().copied().fold(0.0, f64::min).max(-REACH);
    let highest = results.iter().copied().fold(0.0, f64::max).min(REACH);
    let first = (lowest / WIDTH).floor() as i64 - 1;
    let last = (highest / WIDTH).ceil() as i64 + 1;
    let mut counts = vec![0u64; (last - first) as usize];
    for result in results {
        // What lies beyond the reach stands in the outermost bar.
        let bar = (result.clamp(-REACH, REACH) / WIDTH).floor() as i64;
        counts[(bar.clamp(first, last - 1) - first) as usize] += 1;
    }
    let highest_bar = counts.iter().copied().max().unwrap_or(1) as f64 * 1.06;
    svg(SQUARE, |root| {
        let (from, to) = (first as f64 * WIDTH, last as f64 * WIDTH);
        let mut chart = ChartBuilder::on(root)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d(from..to, 0f64..highest_bar)?;
        mesh(&mut chart, "result, R", "trades", &|x| format!("{x:.1}"))?;
        chart.draw_series(counts.iter().enumerate().map(|(index, count)| {
            let low = from + index as f64 * WIDTH;
            let color = if low < 0.0 { RED } else { BLUE };
            let mut bar = Rectangle::new(
                [(low, 0.0), (low + WIDTH, *count as f64)],
                color.mix(0.75).filled(),
            );
            bar.set_margin(0, 0, 1, 1);
            bar
        }))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_curve_keeps_its_extremes_and_its_end() {
        let mut points: Vec<(i64, f64)> = (0..100_000).map(|time| (time, (time % 7) as f64)).collect();
        points[54_321].1 = -50.0;
        points[77_777].1 = 90.0;
        let kept = thinned(&points);
        assert!(kept.len() <= POINTS_MAX + 2, "{}", kept.len());
        assert!(kept.contains(&(54_321, -50.0)) && kept.contains(&(77_777, 90.0)));
        assert_eq!(kept.last(), points.last());
        assert!(kept.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }

    #[test]
    fn every_plot_is_whole_svg() {
        let curves = Curves {
            equity: vec![(60_000, 1.0), (120_000, -0.5), (180_000, 2.0)],
            results: vec![1.0, -1.5, 2.5, 40.0],
        };
        let bins = [Bin {
            trades: 10,
            mean_prob: 0.5,
            observed: 0.4,
            low: 0.2,
            high: 0.6,
        }];
        for plot in [
            equity(&curves),
            drawdown(&curves),
            reliability(&bins),
            results(&curves.results),
        ] {
            assert!(
                plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"),
                "{plot}"
            );
            assert!(plot.contains("<text") && !plot.contains("NaN"));
        }
        assert!(equity(&Curves::default()).contains("no trades"));
    }
}
