//! A million signals against candles in memory, with and without the report around them; and an EMA
//! cross over a million candles, to put beside other engines.
//!
//! Runs as a test with `--test`. The EMA cross is checked against a second, plain implementation in
//! this file: the same trades and the same profit. Its candles come from the generator below (a
//! 64-bit LCG), so that another engine can be given the same ones.

use criterion::{Criterion, criterion_group, criterion_main};
use smart_scanner::indicators::ema::Ema;
use smart_scanner::model::{Candle, Side, Symbol, Timeframe};
use smart_scanner::research::candles::{CandleBook, Series};
use smart_scanner::research::controls::controls;
use smart_scanner::research::first_touch::Rules;
use smart_scanner::research::report::Report;
use smart_scanner::research::trade::{Entry, Funding, Judge, Names, Overlap};
use std::hint::black_box;

const MINUTE_MS: i64 = 60_000;
const START_MS: i64 = 1_748_131_200_000;

/// Knuth's MMIX generator; the upper 32 bits as a number in 0..1.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as f64 / 4_294_967_296.0
    }
}

/// A driftless walk of one-minute candles, about 4 bps a minute.
fn walk(seed: u64, count: usize) -> Vec<Candle> {
    let mut draw = Lcg(seed);
    let mut price = 100.0;
    let mut candle = |index: usize| {
        let open = price;
        let close = open * (1.0 + (draw.next() + draw.next() - 1.0) * 0.001);
        let (up, down) = (draw.next() * 0.0004, draw.next() * 0.0004);
        price = close;
        Candle {
            high: open.max(close) * (1.0 + up),
            low: open.min(close) * (1.0 - down),
            close,
            volume_base: 1.0,
            ..Candle::flat(START_MS + index as i64 * MINUTE_MS, open)
        }
    };
    (0..count).map(&mut candle).collect()
}

/// `count` signals over 18 symbols and ten days.
fn signals(count: usize, names: &mut Names) -> Vec<Entry> {
    let mut draw = Lcg(7);
    let symbols: Vec<u32> = (0..18)
        .map(|index| names.symbol(Symbol::parse(&format!("C{index}-USDT")).expect("a name")))
        .collect();
    let regime = names.regime(Some("chop"));
    let components =
        ["trend_pullback", "momentum_macd", "volume_spike"].map(|name| names.components(&[name.to_owned()]));
    (0..count)
        .map(|_| Entry {
            symbol: symbols[(draw.next() * 18.0) as usize],
            timeframe: [Timeframe::M1, Timeframe::M1, Timeframe::M5, Timeframe::M15]
                [(draw.next() * 4.0) as usize],
            is_ext: false,
            side: if draw.next() < 0.5 { Side::Buy } else { Side::Sell },
            from_ms: START_MS + (draw.next() * 14_000.0) as i64 * MINUTE_MS,
            score: 1.0 + 5.0 * draw.next(),
            prob: 0.3 + 0.4 * draw.next(),
            regime,
            components: components[(draw.next() * 3.0) as usize],
        })
        .collect()
}

fn book() -> CandleBook {
    let mut book = CandleBook::default();
    for index in 0..18 {
        let symbol = Symbol::parse(&format!("C{index}-USDT")).expect("a name");
        book.insert(symbol, Series::new(Timeframe::M1, walk(index + 1, 14_400)));
        for timeframe in [Timeframe::M5, Timeframe::M15] {
            assert!(book.prepare(&symbol, timeframe));
        }
    }
    book
}

fn backtest(criterion: &mut Criterion) {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let count = if is_test { 20_000 } else { 1_000_000 };
    let (book, funding) = (book(), Funding::new());
    let mut names = Names::default();
    let entries = signals(count, &mut names);
    let judge = Judge {
        rules: Rules {
            tp: 0.01,
            sl: 0.005,
            horizon: 10,
            fee: 0.0006,
            entry_slip: 0.0,
            exit_slip: 0.0,
        },
        overlap: Overlap::default(),
        candles: &book,
        intrabar: Some(Timeframe::M1),
        funding: &funding,
        notional: 50.0,
    };
    let (trades, dropped) = judge.judge(&mut entries.clone(), &names);
    let mean_r = trades.iter().map(|trade| trade.r).sum::<f64>() / trades.len() as f64;
    assert_eq!(trades.len() as u64 + dropped.total(), count as u64);
    // A driftless market gives nothing and takes the fees: 2 × 6 bps of a stop of 50.
    assert!((mean_r + 0.24).abs() < 0.03, "mean R {mean_r}");
    let mut group = criterion.benchmark_group("backtest");
    group.sample_size(10);
    group.bench_function(format!("{count} signals, first touch"), |bench| {
        bench.iter(|| black_box(judge.judge(&mut entries.clone(), &names)));
    });
    group.bench_function(format!("{count} signals, whole report"), |bench| {
        bench.iter(|| {
            let (trades, _) = judge.judge(&mut entries.clone(), &names);
            let random = controls(&judge, &trades, &names, 200, 1);
            let mut report = Report::new("backtest", String::new(), trades, &names, 1);
            report.controls = random;
            black_box(report)
        });
    });
    group.finish();
}

/// A crossing of two averages, always in the market after the first one, entered at the next open.
#[derive(Debug, Default, PartialEq)]
struct Crossed {
    trades: u64,
    /// Sum over trades of the price's change in the direction held, fractions.
    profit: f64,
}

/// One candle at a time, with the scanner's own averages.
fn ema_cross(candles: &[Candle], fast: u64, slow: u64) -> Crossed {
    let (mut fast, mut slow) = (Ema::new(fast), Ema::new(slow));
    let mut crossed = Crossed::default();
    let mut held: Option<(bool, f64)> = None;
    let mut wanted: Option<bool> = None;
    for candle in candles {
        if let Some(is_long) = wanted.take() {
            if let Some((was_long, entry)) = held {
                let change = candle.open / entry - 1.0;
                crossed.profit += if was_long { change } else { -change };
                crossed.trades += 1;
            }
            held = Some((is_long, candle.open));
        }
        if let (Some(fast), Some(slow)) = (fast.commit(candle.close), slow.commit(candle.close)) {
            let is_long = fast > slow;
            if held.is_none_or(|(was_long, _)| was_long != is_long) {
                wanted = Some(is_long);
            }
        }
    }
    crossed
}

/// The same from whole columns, written down as the textbook has it.
fn plain_ema_cross(candles: &[Candle], fast: usize, slow: usize) -> Crossed {
    let average = |length: usize| -> Vec<f64> {
        let weight = 2.0 / (length as f64 + 1.0);
        let mut column = vec![f64::NAN; candles.len()];
        let mut value = 0.0;
        for candle in &candles[..length] {
            value += candle.close;
        }
        value /= length as f64;
        column[length - 1] = value;
        for (index, candle) in candles.iter().enumerate().skip(length) {
            value += weight * (candle.close - value);
            column[index] = value;
        }
        column
    };
    let (fast, slow_column) = (average(fast), average(slow));
    let mut entries: Vec<(usize, bool)> = Vec::new();
    for index in slow - 1..candles.len() - 1 {
        let is_long = fast[index] > slow_column[index];
        if entries.last().is_none_or(|(_, was_long)| *was_long != is_long) {
            entries.push((index + 1, is_long));
        }
    }
    let mut crossed = Crossed::default();
    for pair in entries.windows(2) {
        let change = candles[pair[1].0].open / candles[pair[0].0].open - 1.0;
        crossed.profit += if pair[0].1 { change } else { -change };
        crossed.trades += 1;
    }
    crossed
}

fn cross(criterion: &mut Criterion) {
    let candles = walk(42, 1_000_000);
    let (ours, plain) = (ema_cross(&candles, 10, 30), plain_ema_cross(&candles, 10, 30));
    assert_eq!(ours, plain, "the same trades and the same profit");
    println!(
        "EMA 10/30 cross, 1,000,000 candles of seed 42: {} trades, profit {:+.9}",
        ours.trades, ours.profit
    );
    let mut group = criterion.benchmark_group("ema_cross");
    group.bench_function("1000000 candles", |bench| {
        bench.iter(|| black_box(ema_cross(black_box(&candles), 10, 30)))
    });
    group.bench_function("1000000 candles, plain", |bench| {
        bench.iter(|| black_box(plain_ema_cross(black_box(&candles), 10, 30)))
    });
    group.finish();
}

criterion_group!(benches, backtest, cross);
criterion_main!(benches);
