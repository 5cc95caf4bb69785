//! The progress of history reads, as a bar with an estimate.

use super::once::HistoryCount;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// A bar on standard error; without a terminal it stays silent.
pub fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("reading history {bar:30} {pos} of {len} series, {eta} to go");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// How far the histories of a daemon have come, in words; `None` when all are there.
pub fn words(history: &HistoryCount, began: Instant) -> Option<String> {
    if history.is_complete() {
        return None;
    }
    const CELLS: u64 = 20;
    let full = (CELLS * history.answered() / history.total.max(1)) as usize;
    let bar = "#".repeat(full) + &"-".repeat(CELLS as usize - full);
    Some(format!(
        "history [{bar}] {} of {} series, {}",
        history.answered(),
        history.total,
        estimate(history, began.elapsed())
    ))
}

fn estimate(history: &HistoryCount, elapsed: Duration) -> String {
    if history.answered() == 0 {
        return "no estimate yet".to_string();
    }
    let each = elapsed.as_secs_f64() / history.answered() as f64;
    let left = (each * (history.total - history.answered()) as f64).ceil() as u64;
    if left >= 120 {
        format!("about {} min to go", left.div_ceil(60))
    } else {
        format!("about {left} s to go")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_estimated_from_what_came() {
        let history = |done| HistoryCount {
            total: 400,
            done,
            failed: 0,
        };
        assert_eq!(estimate(&history(0), Duration::from_secs(9)), "no estimate yet");
        assert_eq!(
            estimate(&history(100), Duration::from_secs(20)),
            "about 60 s to go"
        );
        assert_eq!(
            estimate(&history(100), Duration::from_secs(60)),
            "about 3 min to go"
        );
        assert_eq!(words(&history(400), Instant::now()), None);
        let text = words(&history(200), Instant::now()).expect("not complete");
        assert!(
            text.starts_with("history [##########----------] 200 of 400 series"),
            "{text}"
        );
    }
}
