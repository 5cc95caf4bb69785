//! Candles for tests: recorded ones where they are present, and made-up markets from a seed.

use super::MINUTE_MS;
use flate2::read::GzDecoder;
use smart_scanner::model::Candle;
use std::fs::File;
use std::path::Path;

/// A Monday, 00:00 UTC.
pub const START_MS: i64 = 1_700_438_400_000;

/// The first `count` candles of a recording after `skip`, without holes; `None` when it is not there.
pub fn recorded(file: &Path, skip: usize, count: usize) -> Option<Vec<Candle>> {
    let mut reader = csv::Reader::from_reader(GzDecoder::new(File::open(file).ok()?));
    let candle = |row: csv::StringRecord| {
        let number = |column: usize| row[column].parse::<f64>().unwrap_or(0.0);
        Candle {
            open_ms: row[0].parse().expect("ms"),
            open: number(1),
            high: number(2),
            low: number(3),
            close: number(4),
            volume: number(5),
            volume_base: number(5),
            volume_quote: number(5) * number(4),
        }
    };
    let rows = reader.records().skip(skip).take(count);
    Some(rows.map(|row| candle(row.expect("a row"))).collect())
}

/// Knuth's linear congruential generator; the test that seeds it prints the seed.
pub struct Lcg(pub u64);

impl Lcg {
    /// In 0..1.
    pub fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mean 0, deviation 1, nearly normal.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

/// How a made-up market moves.
#[derive(Clone, Copy)]
pub struct World {
    pub price: f64,
    /// Deviation of a minute's log return in quiet times.
    pub sigma: f64,
    /// Largest drift of a stretch, in deviations a minute; 0 = none, ever.
    pub drift: f64,
}

/// A market with quiet and wild stretches: each minute is made of 24 steps, so that the order of
/// events inside a candle is as random as everything else.
pub fn market(seed: u64, minutes: usize, world: World) -> Vec<Candle> {
    const STEPS: usize = 24;
    let mut random = Lcg(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (mut price, mut sigma, mut drift) = (world.price, world.sigma, 0.0);
    (0..minutes)
        .map(|minute| {
            if minute % 45 == 0 {
                drift = 2.0 * world.drift * (random.next() - 0.5);
                sigma = world.sigma * (0.5 + 2.0 * random.next().powi(3));
            }
            let open = price;
            let (mut high, mut low) = (open, open);
            for _ in 0..STEPS {
                let step = sigma * (random.normal() / (STEPS as f64).sqrt() + drift / STEPS as f64);
                // A multiplicative step whose mean is exactly 1 without drift.
                price *= 1.0 + step;
                high = high.max(price);
                low = low.min(price);
            }
            let burst = if random.next() < 0.05 { 15.0 } else { 1.0 };
            let volume = 1.0 + 200.0 * random.next() * burst * (1.0 + (price / open - 1.0).abs() / sigma);
            Candle {
                open_ms: START_MS + minute as i64 * MINUTE_MS,
                open,
                high,
                low,
                close: price,
                volume,
                volume_base: volume,
                volume_quote: volume * price,
            }
        })
        .collect()
}
