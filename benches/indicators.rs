//! What a candle costs: six common indicators beside other crates, all 85 features of a series, and
//! thirteen components on one row.
//!
//! `cargo bench --bench indicators` measures; with `-- --test` everything runs once. Before measuring
//! it says who computes the same numbers: a faster other number is no comparison.

use bytemuck::Zeroable;
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use smart_scanner::indicators::atr::{Atr, true_range};
use smart_scanner::indicators::bollinger::Bollinger;
use smart_scanner::indicators::ema::Ema;
use smart_scanner::indicators::macd::Macd;
use smart_scanner::indicators::mean::Sma;
use smart_scanner::indicators::rsi::Rsi;
use smart_scanner::indicators::window::WINDOW_ROWS;
use smart_scanner::indicators::{Board, Params, SeriesPlan, Window};
use smart_scanner::model::message::Signal;
use smart_scanner::model::{Candle, FeatureRow, InstrumentId, Timeframe};
use smart_scanner::strategy::aggregate::Tally;
use smart_scanner::strategy::{Bandit, Scorer};
use std::hint::black_box;

const CANDLES: usize = 4096;
/// After this many candles no seed is left in any average.
const SETTLED: usize = 2000;
const NAMES: [&str; 6] = ["sma20", "ema21", "rsi14", "atr14", "macd", "bb upper"];

type Six = [f64; 6];

/// A random walk; the same on every machine.
fn candles() -> Vec<Candle> {
    let mut state = 20_251_122u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut price = 60_000.0;
    (0..CANDLES)
        .map(|index| {
            let open = price;
            let close = open * (1.0 + 0.002 * (random() + random() + random() - 1.5));
            price = close;
            Candle {
                open_ms: index as i64 * 60_000,
                open,
                high: open.max(close) * (1.0 + 0.001 * random()),
                low: open.min(close) * (1.0 - 0.001 * random()),
                close,
                volume: (50.0 + 400.0 * random().powi(3)).round(),
                ..Candle::default()
            }
        })
        .collect()
}

/// One way of computing the six, a candle at a time.
trait Indicators {
    fn next(&mut self, candle: &Candle) -> Six;
}

struct Ours {
    rows: [Candle; WINDOW_ROWS],
    count: u64,
    sma: Sma,
    ema: Ema,
    rsi: Rsi,
    atr: Atr,
    macd: Macd,
    bands: Bollinger,
}

impl Ours {
    fn new(_: &Candle) -> Self {
        Ours {
            rows: [Candle::default(); WINDOW_ROWS],
            count: 0,
            sma: Sma::new(20),
            ema: Ema::new(21),
            rsi: Rsi::new(14, 50.0),
            atr: Atr::new(14),
            macd: Macd::new(12, 26, 9),
            bands: Bollinger::new(20, 2.0),
        }
    }
}

impl Indicators for Ours {
    fn next(&mut self, candle: &Candle) -> Six {
        let past = Window::new(&self.rows, self.count);
        let close = candle.close;
        let range = past.last().map(|before| true_range(candle, before.close));
        let six = [
            self.sma.commit(close, |steps| past.ago(steps).close),
            self.ema.commit(close),
            self.rsi.commit(close),
            self.atr.commit(range),
            self.macd.commit(close).map(|lines| lines.histogram),
            self.bands.commit(close, &past).map(|bands| bands.upper),
        ];
        self.rows[self.count as usize % WINDOW_ROWS] = *candle;
        self.count += 1;
        six.map(|value| value.unwrap_or(0.0))
    }
}

/// kand is functions over the previous values; the caller keeps them, and the window.
struct Kand {
    closes: [f64; 20],
    count: usize,
    close: f64,
    sma: f64,
    ema: f64,
    gain: f64,
    loss: f64,
    atr: f64,
    fast: f64,
    slow: f64,
    signal: f64,
    band: [f64; 3],
}

impl Kand {
    fn new(first: &Candle) -> Self {
        let price = first.close;
        Kand {
            closes: [price; 20],
            count: 0,
            close: price,
            sma: price,
            ema: price,
            gain: 1.0,
            loss: 1.0,
            atr: 1.0,
            fast: price,
            slow: price,
            signal: 0.0,
            band: [price, 20.0 * price, 20.0 * price * price],
        }
    }
}

impl Indicators for Kand {
    fn next(&mut self, candle: &Candle) -> Six {
        use kand::ta::ohlcv::{atr::atr_inc, bbands::bbands_inc, ema::ema_inc, rsi::rsi_inc, sma::sma_inc};
        let (close, oldest) = (candle.close, self.closes[self.count % 20]);
        self.closes[self.count % 20] = close;
        self.count += 1;
        self.sma = sma_inc(self.sma, close, oldest, 20).expect("a valid period");
        self.ema = ema_inc(close, self.ema, 21, None).expect("a valid period");
        let rsi = rsi_inc(close, self.close, self.gain, self.loss, 14).expect("a valid period");
        (self.gain, self.loss) = (rsi.1, rsi.2);
        self.atr = atr_inc(candle.high, candle.low, self.close, self.atr, 14).expect("a valid period");
        self.fast = ema_inc(close, self.fast, 12, None).expect("a valid period");
        self.slow = ema_inc(close, self.slow, 26, None).expect("a valid period");
        let macd = self.fast - self.slow;
        self.signal = ema_inc(macd, self.signal, 9, None).expect("a valid period");
        let [mean, sum, squares] = self.band;
        let band = bbands_inc(close, mean, sum, squares, oldest, 20, 2.0, 2.0).expect("a valid period");
        self.band = [band.3, band.4, band.5];
        self.close = close;
        [self.sma, self.ema, rsi.0, self.atr, macd - self.signal, band.0]
    }
}

/// The row as yata wants it.
fn yata_candle(candle: &Candle) -> yata::core::Candle {
    yata::core::Candle {
        open: candle.open,
        high: candle.high,
        low: candle.low,
        close: candle.close,
        volume: candle.volume,
    }
}

type YataRsi = <yata::indicators::RelativeStrengthIndex as yata::core::IndicatorConfig>::Instance;

struct Yata {
    sma: yata::methods::SMA,
    ema: yata::methods::EMA,
    rsi: YataRsi,
    range: yata::methods::TR,
    atr: yata::methods::RMA,
    fast: yata::methods::EMA,
    slow: yata::methods::EMA,
    signal: yata::methods::EMA,
    mean: yata::methods::SMA,
    deviation: yata::methods::StDev,
}

impl Yata {
    fn new(first: &Candle) -> Self {
        use yata::core::{IndicatorConfig, Method};
        use yata::methods::{EMA, RMA, SMA, StDev, TR};
        let (first, price) = (yata_candle(first), first.close);
        let rsi = yata::indicators::RelativeStrengthIndex {
            ma: yata::helpers::MA::RMA(14),
            ..Default::default()
        };
        Yata {
            sma: SMA::new(20, &price).expect("a valid period"),
            ema: EMA::new(21, &price).expect("a valid period"),
            rsi: rsi.init(&first).expect("a valid period"),
            range: TR::new(&first).expect("a candle"),
            atr: RMA::new(14, &1.0).expect("a valid period"),
            fast: EMA::new(12, &price).expect("a valid period"),
            slow: EMA::new(26, &price).expect("a valid period"),
            signal: EMA::new(9, &0.0).expect("a valid period"),
            mean: SMA::new(20, &price).expect("a valid period"),
            deviation: StDev::new(20, &price).expect("a valid period"),
        }
    }
}

impl Indicators for Yata {
    fn next(&mut self, candle: &Candle) -> Six {
        use yata::core::{IndicatorInstance, Method};
        let (row, close) = (yata_candle(candle), candle.close);
        let macd = self.fast.next(&close) - self.slow.next(&close);
        [
            self.sma.next(&close),
            self.ema.next(&close),
            100.0 * self.rsi.next(&row).value(0),
            self.atr.next(&self.range.next(&row)),
            macd - self.signal.next(&macd),
            self.mean.next(&close) + 2.0 * self.deviation.next(&close),
        ]
    }
}

struct Ta {
    sma: ta::indicators::SimpleMovingAverage,
    ema: ta::indicators::ExponentialMovingAverage,
    rsi: ta::indicators::RelativeStrengthIndex,
    atr: ta::indicators::AverageTrueRange,
    macd: ta::indicators::MovingAverageConvergenceDivergence,
    bands: ta::indicators::BollingerBands,
}

impl Ta {
    fn new(_: &Candle) -> Self {
        use ta::indicators::*;
        Ta {
            sma: SimpleMovingAverage::new(20).expect("a valid period"),
            ema: ExponentialMovingAverage::new(21).expect("a valid period"),
            rsi: RelativeStrengthIndex::new(14).expect("a valid period"),
            atr: AverageTrueRange::new(14).expect("a valid period"),
            macd: MovingAverageConvergenceDivergence::new(12, 26, 9).expect("valid periods"),
            bands: BollingerBands::new(20, 2.0).expect("a valid period"),
        }
    }
}

impl Indicators for Ta {
    fn next(&mut self, candle: &Candle) -> Six {
        use ta::Next;
        let close = candle.close;
        let row = ta::DataItem::builder()
            .open(candle.open)
            .high(candle.high)
            .low(candle.low)
            .close(close)
            .volume(candle.volume)
            .build()
            .expect("a valid candle");
        [
            self.sma.next(close),
            self.ema.next(close),
            self.rsi.next(close),
            self.atr.next(&row),
            self.macd.next(close).histogram,
            self.bands.next(close).upper,
        ]
    }
}

fn run<I: Indicators>(mut indicators: I, candles: &[Candle]) -> Vec<Six> {
    candles.iter().map(|candle| indicators.next(candle)).collect()
}

/// Prints how far each crate is from ours once the seeds are forgotten, and holds those that should
/// agree to it.
fn say_who_agrees(candles: &[Candle]) {
    let first = &candles[0];
    let ours = run(Ours::new(first), candles);
    let others = [
        ("kand", run(Kand::new(first), candles)),
        ("yata", run(Yata::new(first), candles)),
        ("ta", run(Ta::new(first), candles)),
    ];
    for (name, theirs) in others {
        for (index, indicator) in NAMES.iter().enumerate() {
            let scale = if indicator.starts_with("macd") { 1.0 } else { 0.0 };
            let error = ours[SETTLED..]
                .iter()
                .zip(&theirs[SETTLED..])
                .map(|(one, other)| (one[index] - other[index]).abs() / one[index].abs().max(scale))
                .fold(0.0, f64::max);
            // ta smooths RSI and ATR with 2/(n+1) instead of Wilder's 1/n; yata's deviation is the sample's.
            let verdict = match (name, *indicator) {
                ("ta", "rsi14" | "atr14") => "not Wilder's: another number",
                ("yata", "bb upper") => "sample deviation: another number",
                _ => {
                    assert!(error < 1e-6, "{name} {indicator} is {error:e} away");
                    "the same"
                }
            };
            println!("{name:<5} {indicator:<9} {verdict:<32} (largest relative difference {error:.1e})");
        }
    }
}

fn six_indicators(criterion: &mut Criterion) {
    let candles = candles();
    say_who_agrees(&candles);
    let mut group = criterion.benchmark_group("six_indicators_per_candle");
    group.throughput(Throughput::Elements(CANDLES as u64));
    fn drive<I: Indicators>(candles: &[Candle], start: impl Fn(&Candle) -> I) -> f64 {
        let mut indicators = start(&candles[0]);
        candles
            .iter()
            .map(|candle| black_box(indicators.next(candle))[5])
            .sum()
    }
    group.bench_function("ours", |bencher| bencher.iter(|| drive(&candles, Ours::new)));
    group.bench_function("kand", |bencher| bencher.iter(|| drive(&candles, Kand::new)));
    group.bench_function("yata", |bencher| bencher.iter(|| drive(&candles, Yata::new)));
    group.bench_function("ta", |bencher| bencher.iter(|| drive(&candles, Ta::new)));
    group.finish();
}

fn board() -> Board {
    let plan = SeriesPlan {
        timeframe: Timeframe::M1,
        warmup: 240,
        context_only: false,
    };
    Board::new(Params::default(), 1, &[plan])
}

fn all_features(criterion: &mut Criterion) {
    let candles = candles();
    let mut group = criterion.benchmark_group("all_features_per_candle");
    group.throughput(Throughput::Elements(CANDLES as u64));
    let mut board = board();
    let series = board.series(InstrumentId(0), Timeframe::M1).expect("planned");
    let mut row = FeatureRow::default();
    group.bench_function("commit", |bencher| {
        bencher.iter(|| {
            board.reset(series);
            for candle in &candles {
                board.commit(series, candle, 0, &mut row).expect("a good candle");
                black_box(&row);
            }
        });
    });
    let forming = Candle {
        open_ms: CANDLES as i64 * 60_000,
        ..candles[CANDLES - 1]
    };
    group.throughput(Throughput::Elements(1));
    group.bench_function("peek", |bencher| {
        bencher.iter(|| {
            board
                .peek(series, black_box(&forming), &mut row)
                .expect("a good candle")
        });
    });
    group.finish();
}

/// The budget's line: a confirmed candle through all indicators and all components.
fn candle_to_votes(criterion: &mut Criterion) {
    let candles = candles();
    let mut board = board();
    let series = board.series(InstrumentId(0), Timeframe::M1).expect("planned");
    let mut row = FeatureRow::default();
    let mut group = criterion.benchmark_group("candle_to_votes");
    group.throughput(Throughput::Elements(CANDLES as u64));
    group.bench_function("all_features_and_thirteen_components", |bencher| {
        bencher.iter(|| {
            board.reset(series);
            let points = |candle: &Candle| {
                board.commit(series, candle, 0, &mut row).expect("a good candle");
                long_points(&row)
            };
            candles.iter().map(points).sum::<f64>()
        });
    });
    group.finish();
}

/// What all components say from both sides, of which one number is kept.
fn long_points(row: &FeatureRow) -> f64 {
    let mut tally = Tally::silent();
    tally.hear(row, |_, _| (1.0, 1.0));
    black_box(&tally).long.points
}

fn components(criterion: &mut Criterion) {
    let mut board = board();
    let series = board.series(InstrumentId(0), Timeframe::M1).expect("planned");
    let rows: Vec<FeatureRow> = candles()
        .iter()
        .map(|candle| {
            let mut row = FeatureRow::default();
            board.commit(series, candle, 0, &mut row).expect("a good candle");
            row
        })
        .collect();
    let mut group = criterion.benchmark_group("score_per_row");
    group.throughput(Throughput::Elements(CANDLES as u64));
    group.bench_function("thirteen_components_both_sides", |bencher| {
        bencher.iter(|| rows.iter().map(|row| long_points(black_box(row))).sum::<f64>());
    });
    let scorer = || {
        let params = smart_scanner::strategy::Params::default();
        let bandit = Bandit::new(params.bandit);
        Scorer::new(params, 1, &[Timeframe::M1], bandit)
    };
    // A new one each time: rows that go back in time would leave its virtual trades open for ever.
    group.bench_function("scorer_with_regime_labels_and_weights", |bencher| {
        bencher.iter_batched_ref(
            scorer,
            |scorer| {
                let mut candidate = Signal::zeroed();
                for row in &rows {
                    black_box(scorer.on_row(black_box(row), &mut candidate));
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, six_indicators, all_features, candle_to_votes, components);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
