//! A made-up market for the laws: walks on an exact grid, their mirror image, and the way from 1m
//! candles to feature rows.

use smart_scanner::indicators::{Board, Builder, Params, SeriesPlan};
use smart_scanner::model::message::tick_flag;
use smart_scanner::model::{Candle, FeatureRow, InstrumentId, Timeframe};

pub const MINUTE_MS: i64 = 60_000;
/// A Monday, 00:00 UTC.
pub const START_MS: i64 = 1_700_438_400_000;

pub struct Lcg(pub u64);

impl Lcg {
    pub fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn pick(&mut self, count: usize) -> usize {
        (self.next() * count as f64) as usize
    }
}

/// Prices are multiples of this, so that mirroring them is exact.
pub const GRID: f64 = 1.0 / 4096.0;

/// A walk around 1024 with changing volatility and drift; every price on the grid.
pub fn walk(seed: u64, count: usize) -> Vec<Candle> {
    let mut random = Lcg(seed);
    let (mut price, mut size, mut drift) = (1024.0f64, 1.0, 0.0);
    let snap = |value: f64| (value / GRID).round() * GRID;
    (0..count)
        .map(|index| {
            if index % 40 == 0 {
                drift = 0.5 * (random.next() - 0.5);
                size = 0.3 + 2.0 * random.next() * random.next();
            }
            let open = price;
            let step = size * (random.next() + random.next() + random.next() - 1.5 + drift);
            let close = snap((open + step).clamp(600.0, 1400.0));
            let tail = |random: &mut Lcg| size * random.next().powi(3);
            let high = snap(open.max(close) + tail(&mut random));
            let low = snap(open.min(close) - tail(&mut random));
            price = close;
            let burst = if random.next() < 0.05 { 20.0 } else { 1.0 };
            Candle {
                open_ms: START_MS + index as i64 * MINUTE_MS,
                open,
                high,
                low,
                close,
                volume: (1.0 + 300.0 * random.next().powi(2) * burst * step.abs()).round(),
                volume_base: 1.0,
                volume_quote: 1.0,
            }
        })
        .collect()
}

/// The market upside down: p becomes 2048 − p.
pub fn mirrored(candle: &Candle) -> Candle {
    Candle {
        open: 2048.0 - candle.open,
        high: 2048.0 - candle.low,
        low: 2048.0 - candle.high,
        close: 2048.0 - candle.close,
        ..*candle
    }
}

pub const PLANS: [SeriesPlan; 3] = [
    SeriesPlan {
        timeframe: Timeframe::M1,
        warmup: 240,
        context_only: false,
    },
    SeriesPlan {
        timeframe: Timeframe::M5,
        warmup: 240,
        context_only: false,
    },
    SeriesPlan {
        timeframe: Timeframe::M15,
        warmup: 64,
        context_only: true,
    },
];

/// One instrument's way from 1m candles to rows of every timeframe, higher ones first.
pub struct Feed {
    pub board: Board,
    builders: Vec<[Builder; 2]>,
}

impl Feed {
    pub fn new(instruments: usize) -> Self {
        Feed {
            board: Board::new(Params::default(), instruments, &PLANS),
            builders: vec![[Builder::new(Timeframe::M15), Builder::new(Timeframe::M5)]; instruments],
        }
    }

    pub fn push(&mut self, instrument: usize, minute: &Candle, mut take: impl FnMut(&FeatureRow)) {
        let id = InstrumentId(instrument as u16);
        let mut rows = Vec::new();
        for builder in &mut self.builders[instrument] {
            if let Some((candle, _)) = builder.push(minute, tick_flag::CONFIRMED) {
                rows.push((builder.timeframe(), candle));
            }
        }
        rows.push((Timeframe::M1, *minute));
        for (timeframe, candle) in rows {
            let series = self.board.series(id, timeframe).expect("planned");
            let mut row = FeatureRow::default();
            self.board
                .commit(series, &candle, 0, &mut row)
                .expect("a good candle");
            take(&row);
        }
    }
}
