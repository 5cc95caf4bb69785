//! Promise: a 1m row that comes again changes nothing, whenever it comes; one that is corrected changes
//! every candle that was built from it; and a hole never passes for a whole series. On every timeframe.

mod judges;

use judges::candles::{World, market};
use judges::{Judges, candle_tick, settings, stream};
use proptest::prelude::*;
use smart_scanner::model::feature::row_flag;
use smart_scanner::model::message::{Tick, tick_flag};
use smart_scanner::model::{Candle, FeatureRow, Timeframe};

const WORLD: World = World {
    price: 100.0,
    sigma: 0.001,
    drift: 0.3,
};
const ALL_BUILT: &str = "SCAN_TIMEFRAMES=1m,3m,5m,15m";
/// 1m stands on no board here.
const WITHOUT_1M: &str = "SCAN_TIMEFRAMES=5m,15m";

fn rows(scanned: &str, ticks: &[Tick]) -> Vec<FeatureRow> {
    let settings = settings(&[scanned]);
    Judges::new(&settings, &["BTC-USDT", "ETH-USDT"]).rows(ticks)
}

/// Everything that a row says but when it came.
fn said(row: &FeatureRow) -> String {
    let values: Vec<String> = row
        .values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let is_present = row.present[index / 64] >> (index % 64) & 1 == 1;
            if is_present {
                format!("{:x}", value.to_bits())
            } else {
                "-".to_owned()
            }
        })
        .collect();
    let Candle {
        open_ms,
        open,
        high,
        low,
        close,
        volume,
        volume_base,
        volume_quote,
    } = row.candle;
    format!(
        "{} {} {} #{} {open_ms} {open} {high} {low} {close} {volume} {volume_base} {volume_quote} {}",
        row.instrument,
        row.timeframe,
        row.flags,
        row.candle_count,
        values.join(" ")
    )
}

fn all(rows: &[FeatureRow]) -> Vec<String> {
    rows.iter().map(said).collect()
}

fn minutes(seed: u64, count: usize) -> Vec<Tick> {
    stream(&[market(seed, count, WORLD), market(seed + 1, count, WORLD)])
}

fn of(rows: &[FeatureRow], timeframe: Timeframe) -> impl Iterator<Item = &FeatureRow> {
    rows.iter().filter(move |row| row.timeframe == timeframe as u8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_of_repeats_gives_the_rows_without(
        seed in 1u64..1_000,
        repeats in prop::collection::vec((0usize..800, 0usize..600, any::<bool>()), 1..200),
        is_1m_scanned in any::<bool>(),
    ) {
        let ticks = minutes(seed, 400);
        let mut again = vec![Vec::new(); ticks.len()];
        for (at, back, is_history) in repeats {
            let mut tick = ticks[at.saturating_sub(back)];
            tick.header.time_ns = ticks[at].header.time_ns;
            tick.flags |= if is_history { tick_flag::BACKFILL } else { 0 };
            again[at].push(tick);
        }
        let with: Vec<Tick> = ticks
            .iter()
            .zip(&again)
            .flat_map(|(tick, again)| std::iter::once(*tick).chain(again.iter().copied()))
            .collect();
        let scanned = if is_1m_scanned { ALL_BUILT } else { WITHOUT_1M };
        let clean = rows(scanned, &ticks);
        prop_assert!(of(&clean, Timeframe::H1).count() >= 12);
        prop_assert!(all(&clean) == all(&rows(scanned, &with)), "repeats changed a row");
    }

    #[test]
    fn a_correction_makes_the_series_what_it_would_have_been(
        seed in 1u64..1_000,
        at in 20usize..300,
        later in 1usize..50,
        is_1m_scanned in any::<bool>(),
    ) {
        let candles = market(seed, 420, WORLD);
        let ticks: Vec<Tick> = candles.iter().map(|candle| candle_tick(0, Timeframe::M1, candle)).collect();
        let mut wrong = ticks.clone();
        let spoilt = Candle {
            high: candles[at].high * 1.05,
            close: candles[at].high * 1.04,
            volume: candles[at].volume * 9.0,
            ..candles[at]
        };
        let time_ns = ticks[at + later].header.time_ns;
        wrong[at] = candle_tick(0, Timeframe::M1, &spoilt);
        let mut right = ticks[at];
        right.header.time_ns = time_ns;
        wrong.insert(at + later + 1, right);
        let scanned = if is_1m_scanned { ALL_BUILT } else { WITHOUT_1M };
        let after = |rows: Vec<FeatureRow>| {
            let late: Vec<FeatureRow> = rows.into_iter().filter(|row| row.header.time_ns > time_ns).collect();
            all(&late)
        };
        let (clean, corrected) = (rows(scanned, &ticks), rows(scanned, &wrong));
        prop_assert_eq!(clean.len(), corrected.len(), "a correction emits nothing");
        // On longer timeframes no candle need have closed in between.
        let differs = all(&clean) != all(&corrected);
        prop_assert!(differs || !is_1m_scanned, "what came before the correction was wrong");
        prop_assert!(after(clean) == after(corrected), "later rows know the right candle");
    }
}

/// Rows of one instrument whose minutes 303 to 312 are missing; `given` are candles of higher timeframes
/// that the venue gave for the hole, each before the next of its series is built.
fn with_hole(given: &[(Timeframe, usize)]) -> Vec<FeatureRow> {
    let candles = market(7, 900, WORLD);
    let mut ticks = Vec::new();
    for (minute, candle) in candles.iter().enumerate() {
        for (timeframe, close) in given {
            if *close == minute {
                let length = timeframe.minutes() as usize;
                let mut whole = candles[close - length];
                for part in &candles[close - length + 1..*close] {
                    whole.absorb(part);
                }
                let mut tick = candle_tick(0, *timeframe, &whole);
                tick.flags |= tick_flag::BACKFILL;
                tick.header.time_ns += 1_000_000;
                ticks.push(tick);
            }
        }
        let mut tick = candle_tick(0, Timeframe::M1, candle);
        match minute {
            303..=312 => continue,
            313 => tick.flags |= tick_flag::RESET,
            _ => {}
        }
        ticks.push(tick);
    }
    rows(ALL_BUILT, &ticks)
}

/// Numbers of the candles of `timeframe` that opened from minute 300 on.
fn counts(rows: &[FeatureRow], timeframe: Timeframe) -> Vec<u64> {
    let from_ms = judges::candles::START_MS + 300 * judges::MINUTE_MS;
    let behind = of(rows, timeframe).filter(|row| row.candle.open_ms >= from_ms);
    behind.map(|row| row.candle_count).collect()
}

#[test]
fn a_series_with_a_hole_that_nobody_filled_warms_up_again() {
    let rows = with_hole(&[]);
    for (timeframe, behind) in [
        (Timeframe::M1, 903 - 316),
        (Timeframe::M3, (900 - 315) / 3),
        (Timeframe::M5, (900 - 315) / 5),
        (Timeframe::M15, (900 - 315) / 15),
        (Timeframe::H1, (900 - 360) / 60),
    ] {
        let counts = counts(&rows, timeframe);
        let last = counts.len();
        let is_1m = timeframe == Timeframe::M1;
        // Three minutes came before the hole, and one 3m candle.
        let before = if is_1m {
            3
        } else {
            usize::from(timeframe == Timeframe::M3)
        };
        let expected: Vec<u64> = (1..=behind as u64).collect();
        assert_eq!(counts[before..], expected, "{} of {last}", timeframe.text());
        let first = of(&rows, timeframe)
            .filter(|row| row.candle_count == 1)
            .last()
            .expect("a row");
        assert!(first.has_flag(row_flag::WARMING_UP), "{}", timeframe.text());
    }
}

#[test]
fn a_built_series_goes_on_when_the_venue_gives_what_could_not_be_built() {
    use Timeframe::{H1, M3, M5, M15};
    let given = [
        (M3, 306),
        (M3, 309),
        (M3, 312),
        (M3, 315),
        (M5, 305),
        (M5, 310),
        (M5, 315),
        (M15, 315),
        (H1, 360),
    ];
    let rows = with_hole(&given);
    for timeframe in [M3, M5, M15, H1] {
        let length = u64::from(timeframe.minutes());
        let expected: Vec<u64> = (300 / length + 1..=900 / length).collect();
        assert_eq!(counts(&rows, timeframe), expected, "{}", timeframe.text());
    }
}

#[test]
fn the_last_row_of_a_tick_says_so_on_every_set_of_timeframes() {
    for scanned in [ALL_BUILT, WITHOUT_1M] {
        let rows = rows(scanned, &minutes(3, 120));
        let mut last_of: Vec<((u64, u16), Vec<bool>)> = Vec::new();
        for row in &rows {
            let tick = (row.header.time_ns, row.instrument);
            let is_last = row.has_flag(row_flag::LAST_OF_TICK);
            match last_of.last_mut().filter(|(of, _)| *of == tick) {
                Some((_, flags)) => flags.push(is_last),
                None => last_of.push((tick, vec![is_last])),
            }
        }
        assert!(last_of.len() >= 48);
        for (tick, flags) in last_of {
            let (last, others) = flags.split_last().expect("a row");
            assert!(*last && !others.contains(&true), "{scanned} {tick:?}: {flags:?}");
        }
    }
}
