//! How many signals a day the user's thresholds give on candles at hand, and which values keep the old
//! rate: the whole graph runs over the candles, once for each threshold that is tried.

use crate::app::candle_sources::cache_folder;
use crate::app::cli::{Cli, Command, ReplayArgs};
use crate::app::exit::Failure;
use crate::app::{replay, signals};
use crate::exchange::{Recorded, RecordedOptions};
use crate::research::signal_rates::{SignalRates, Thresholds};
use crate::settings::Settings;
use crate::settings::migration::{self, EnvLine};
use clap::Parser;
use std::path::{Path, PathBuf};

const MS_PER_DAY: f64 = 86_400_000.0;
/// Lower scores are not asked about.
const SCORE_FLOOR: f64 = 0.5;
/// Runs that bring the rate nearer after the first guess.
const CORRECTIONS: usize = 3;
/// A rate within this part of the wanted one is near enough.
const NEAR: f64 = 0.1;
/// A rate of the old scanner is one when it lasted for so many days.
const OLD_DAYS_MIN: f64 = 0.25;
/// Keys that candles cannot serve, or that only cost time here.
const FIXED: [&str; 4] = [
    "ENABLE_AUTOTRADE=0",
    "METRICS_ENABLED=1",
    "USE_WS_ORDERFLOW=0",
    "SIGNAL_MIN_QVOL_USDT=0",
];

/// Candles at hand.
struct Candles {
    folder: PathBuf,
    days: f64,
    instruments: usize,
}

/// Runs, counts and prints.
pub fn print(candles: Option<&Path>, lines: &[EnvLine], old: Option<&SignalRates>) -> Result<(), Failure> {
    println!("\nsignals a day");
    let work =
        tempfile::tempdir().map_err(|error| Failure::venue(format!("no temporary directory: {error}")))?;
    let overlay = work.path().join("overlay.toml");
    std::fs::write(&overlay, migration::overlay(lines))
        .map_err(|error| Failure::venue(format!("{}: {error}", overlay.display())))?;
    let bench = Bench {
        overlay,
        work: work.path().to_path_buf(),
        stop: signals::Stop::listen().map_err(Failure::venue)?,
    };
    let settings = bench.settings(&[], "user")?;
    let folder = match candles {
        Some(folder) => folder.to_path_buf(),
        None => cache_folder(&Settings::research(None, &[], Path::new(".")).map_err(Failure::usage)?),
    };
    if candles.is_none() && !folder.is_dir() {
        println!(
            "  no candles at hand ({} is absent): `smart-scanner download --symbols BTC-USDT,ETH-USDT --days 14`, \
             then again, or name recorded ones with --candles",
            folder.display()
        );
        return Ok(());
    }
    let candles = measure(folder)?;
    println!(
        "  on {} instruments over {:.1} days in {} (the first WARMUP_BARS={} candles of each timeframe give none)",
        candles.instruments,
        candles.days,
        candles.folder.display(),
        settings.score.warmup_bars
    );
    let user = bench.play(&[], "user", &candles)?;
    let thresholds = Thresholds {
        score_min: settings.trade.trade_min_score,
        prob_min: settings.trade.trade_min_prob,
        ev_r_min: settings.trade.ev_min_r,
    };
    let a_day = |count: usize| count as f64 / candles.days;
    println!(
        "  SCORE_MIN={}: {:.2} signals a day",
        settings.score.score_min,
        a_day(user.signals.len())
    );
    println!(
        "  of them TRADE_MIN_SCORE={} TRADE_MIN_PROB={} EV_MIN_R={}: {:.2} a day (before cost, order flow, \
         cooldown and position limits)",
        thresholds.score_min,
        thresholds.prob_min,
        thresholds.ev_r_min,
        a_day(user.count(&thresholds))
    );
    match old.filter(|old| old.days() >= OLD_DAYS_MIN && !old.signals.is_empty()) {
        Some(old) => keep_rate(
            &bench,
            &candles,
            old,
            &user,
            &thresholds,
            settings.score.score_min,
        ),
        None => {
            println!(
                "  no old rate to keep: the old metrics file has no signals over {OLD_DAYS_MIN} days or more"
            );
            Ok(())
        }
    }
}

fn measure(folder: PathBuf) -> Result<Candles, Failure> {
    let options = RecordedOptions {
        history_rows: 0,
        ..RecordedOptions::default()
    };
    let recorded = Recorded::load(&folder, &options)
        .map_err(|error| Failure::usage(format!("--candles {}: {error}", folder.display())))?;
    Ok(Candles {
        folder,
        days: ((recorded.end().ms() - recorded.start().ms()) as f64 / MS_PER_DAY).max(1e-3),
        instruments: recorded.instruments().len(),
    })
}

/// Runs of the graph under the user's settings with one thing changed.
struct Bench {
    overlay: PathBuf,
    work: PathBuf,
    stop: signals::Stop,
}

impl Bench {
    fn settings(&self, set: &[String], name: &str) -> Result<Settings, Failure> {
        let set: Vec<String> = FIXED
            .iter()
            .map(|text| (*text).to_owned())
            .chain(set.iter().cloned())
            .collect();
        let mut settings =
            Settings::research(Some(&self.overlay), &set, &self.work.join(name)).map_err(|error| {
                Failure::usage(format!("the settings taken over do not fit together: {error}"))
            })?;
        settings.daemon.instance = "migrate".to_owned();
        Ok(settings)
    }

    fn play(&self, set: &[String], name: &str, candles: &Candles) -> Result<SignalRates, Failure> {
        let out = self.work.join(name);
        std::fs::create_dir_all(&out)
            .map_err(|error| Failure::venue(format!("{}: {error}", out.display())))?;
        let settings = self.settings(set, name)?;
        eprintln!(
            "{}",
            if set.is_empty() {
                "as it is".to_owned()
            } else {
                set.join(" ")
            }
        );
        replay::play(&replay_of(&candles.folder)?, &settings, &self.stop)?;
        if !settings.record.metrics_path.exists() {
            return Ok(SignalRates::default());
        }
        SignalRates::read(&settings.record.metrics_path).map_err(Failure::state)
    }
}

fn replay_of(folder: &Path) -> Result<ReplayArgs, Failure> {
    let words = [
        "smart-scanner".as_ref(),
        "replay".as_ref(),
        "--market".as_ref(),
        folder.as_os_str(),
    ];
    match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(Command::Replay(args)) => Ok(args),
        _ => Err(Failure::usage(format!(
            "--candles {} is no folder that replay takes",
            folder.display()
        ))),
    }
}

/// The values that give the old rate, per instrument and day, on these candles.
fn keep_rate(
    bench: &Bench,
    candles: &Candles,
    old: &SignalRates,
    user: &SignalRates,
    thresholds: &Thresholds,
    score_min: f64,
) -> Result<(), Failure> {
    let old_symbols = old.symbols().len() as f64;
    let share = candles.instruments as f64 * candles.days / (old_symbols * old.days());
    let wanted = ((old.signals.len() as f64 * share).round() as usize).max(1);
    println!(
        "  the Python scanner: {:.2} signals a day on {old_symbols} symbols, which is {:.2} a day on {} instruments",
        old.signals.len() as f64 / old.days(),
        wanted as f64 / candles.days,
        candles.instruments
    );
    let (found, kept) = score_that_keeps(bench, candles, user, wanted, score_min)?;
    println!(
        "  SCORE_MIN={found} keeps it: {:.2} signals a day",
        kept.signals.len() as f64 / candles.days
    );
    let traded = old.count(&Thresholds {
        ev_r_min: f64::NEG_INFINITY,
        ..*thresholds
    });
    let wanted = ((traded as f64 * share).round() as usize).min(kept.signals.len());
    if wanted == 0 {
        println!("  none of the old signals passed TRADE_MIN_*, so there is no rate of trades to keep");
        return Ok(());
    }
    for line in trade_lines(&kept, wanted, candles.days, thresholds) {
        println!("  {line}");
    }
    Ok(())
}

/// The TRADE_MIN_* that let `wanted` of the signals through, in words; EV_MIN_R gives way last, because
/// below 0 it trades what is expected to lose.
fn trade_lines(kept: &SignalRates, wanted: usize, days: f64, thresholds: &Thresholds) -> Vec<String> {
    let keep = format!("the {:.2} a day that passed TRADE_MIN_*", wanted as f64 / days);
    let (score_min, ev_r_min) = (thresholds.score_min, thresholds.ev_r_min);
    if let Some(prob_min) = kept.prob_for(wanted, score_min, ev_r_min) {
        let prob_min = rounded_down(prob_min, 1e3);
        return vec![format!(
            "TRADE_MIN_SCORE={score_min} TRADE_MIN_PROB={prob_min} keep {keep}"
        )];
    }
    if let Some(score) = kept.prob_for(wanted, 0.0, ev_r_min).and(kept.score_for(wanted)) {
        let score = rounded_down(score, 1e2);
        if let Some(prob) = kept.prob_for(wanted, score, ev_r_min) {
            let prob = rounded_down(prob, 1e3);
            return vec![format!(
                "TRADE_MIN_SCORE={score} TRADE_MIN_PROB={prob} keep {keep}"
            )];
        }
    }
    let open = Thresholds {
        score_min: 0.0,
        prob_min: 0.0,
        ev_r_min,
    };
    let mut lines = vec![format!(
        "EV_MIN_R={ev_r_min} stands in the way of {keep}: {:.2} signals a day are expected to earn so much",
        kept.count(&open) as f64 / days
    )];
    let both = (score_min, thresholds.prob_min);
    let found = [both, (0.0, 0.0)]
        .into_iter()
        .find_map(|(score, prob)| Some((score, prob, kept.ev_for(wanted, score, prob)?)));
    match found {
        Some((score, prob, ev_r)) => {
            let ev_r = rounded_down(ev_r, 1e3);
            lines.push(format!(
                "EV_MIN_R={ev_r} TRADE_MIN_SCORE={score} TRADE_MIN_PROB={prob} keep it"
            ));
            if ev_r < 0.0 {
                lines.push(format!(
                    "warning: EV_MIN_R={ev_r} trades signals that are expected to lose after costs, up to {:.3} R each; \
                     the old rate is no reason to",
                    -ev_r
                ));
            }
        }
        None => lines.push("no EV_MIN_R keeps it: too few of the signals have an expected value".to_owned()),
    }
    lines
}

/// A SCORE_MIN under which about `wanted` signals come, with them. A guess from a run that lets nearly
/// everything through is corrected by runs, because a cooldown hides what follows a signal.
fn score_that_keeps(
    bench: &Bench,
    candles: &Candles,
    user: &SignalRates,
    wanted: usize,
    score_min: f64,
) -> Result<(f64, SignalRates), Failure> {
    let error_of = |count: usize| (count as f64 / wanted as f64 - 1.0).abs();
    if error_of(user.signals.len()) <= NEAR {
        return Ok((score_min, user.clone()));
    }
    let all = bench.play(&[format!("SCORE_MIN={SCORE_FLOOR}")], "floor", candles)?;
    let mut aim = wanted as f64;
    let mut best: Option<(f64, SignalRates)> = None;
    for step in 0..=CORRECTIONS {
        let score = all
            .score_for((aim.round() as usize).max(1))
            .map_or(SCORE_FLOOR, |score| rounded_down(score, 1e2).max(SCORE_FLOOR));
        let found = bench.play(&[format!("SCORE_MIN={score}")], &format!("step-{step}"), candles)?;
        let count = found.signals.len();
        let is_better = best
            .as_ref()
            .is_none_or(|(_, best)| error_of(count) < error_of(best.signals.len()));
        if is_better {
            best = Some((score, found));
        }
        if error_of(count) <= NEAR || (score <= SCORE_FLOOR && count < wanted) {
            break;
        }
        aim *= wanted as f64 / (count as f64).max(1.0);
    }
    best.ok_or_else(|| Failure::state("no run gave a rate"))
}

fn rounded_down(value: f64, steps: f64) -> f64 {
    (value * steps).floor() / steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Symbol;
    use crate::research::signal_rates::Judged;

    fn rates(rows: &[(f64, f64, f64)]) -> SignalRates {
        let symbol = Symbol::parse("BTC-USDT").expect("a symbol");
        let signal = |(score, prob, ev_r): &(f64, f64, f64)| {
            let judged = Judged {
                score: *score,
                prob: *prob,
                ev_r: *ev_r,
            };
            (symbol, judged)
        };
        SignalRates {
            signals: rows.iter().map(signal).collect(),
            ..SignalRates::default()
        }
    }

    const USER: Thresholds = Thresholds {
        score_min: 3.0,
        prob_min: 0.5,
        ev_r_min: 0.0,
    };

    #[test]
    fn a_probability_is_found_while_the_expected_value_allows_it() {
        let kept = rates(&[(4.0, 0.61234, 0.2), (4.0, 0.41234, 0.1), (4.0, 0.3, -0.1)]);
        assert_eq!(
            trade_lines(&kept, 2, 3.0, &USER),
            ["TRADE_MIN_SCORE=3 TRADE_MIN_PROB=0.412 keep the 0.67 a day that passed TRADE_MIN_*"]
        );
    }

    #[test]
    fn the_expected_value_that_keeps_the_rate_is_named_with_a_warning() {
        let kept = rates(&[(4.0, 0.6, 0.2), (4.0, 0.6, -0.12345), (4.0, 0.4, -0.3)]);
        let lines = trade_lines(&kept, 2, 3.0, &USER);
        assert_eq!(
            lines[0],
            "EV_MIN_R=0 stands in the way of the 0.67 a day that passed TRADE_MIN_*: 0.33 signals a day are expected to \
             earn so much"
        );
        assert_eq!(
            lines[1],
            "EV_MIN_R=-0.124 TRADE_MIN_SCORE=3 TRADE_MIN_PROB=0.5 keep it"
        );
        assert!(
            lines[2].contains("expected to lose after costs, up to 0.124 R"),
            "{lines:?}"
        );
        let found = Thresholds {
            ev_r_min: -0.124,
            ..USER
        };
        assert_eq!(kept.count(&found), 2, "the printed values give the rate");
        // Only with the other two open.
        let lines = trade_lines(&kept, 3, 3.0, &USER);
        assert_eq!(
            lines[1],
            "EV_MIN_R=-0.3 TRADE_MIN_SCORE=0 TRADE_MIN_PROB=0 keep it"
        );
        let without = rates(&[(4.0, 0.6, f64::NEG_INFINITY)]);
        assert!(trade_lines(&without, 1, 1.0, &USER)[1].contains("too few"));
    }
}
