//! One OHLCV interval, and what makes it valid.

use bytemuck::{Pod, Zeroable};

/// One candle. Prices are quote per base, `volume` is in contracts, `volume_base` in base coins,
/// `volume_quote` in quote currency (USD gates use this one).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Candle {
    /// Unix ms at which the interval opens.
    pub open_ms: i64,
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub volume: f64,
    pub volume_base: f64,
    pub volume_quote: f64,
}

impl Candle {
    /// Whether the row can be believed: all finite, prices positive, volumes not negative,
    /// `low ≤ min(open, close) ≤ max(open, close) ≤ high`.
    pub fn is_valid(&self) -> bool {
        let prices = [self.open, self.high, self.low, self.close];
        let volumes = [self.volume, self.volume_base, self.volume_quote];
        prices.iter().all(|price| price.is_finite() && *price > 0.0)
            && volumes.iter().all(|volume| volume.is_finite() && *volume >= 0.0)
            && self.low <= self.open.min(self.close)
            && self.open.max(self.close) <= self.high
    }

    /// A candle without a trade: every price is `price`, no volume.
    pub fn flat(open_ms: i64, price: f64) -> Self {
        Candle {
            open_ms,
            open: price,
            high: price,
            low: price,
            close: price,
            ..Candle::default()
        }
    }

    /// Takes `later`, which follows inside the same interval, into this candle.
    pub fn absorb(&mut self, later: &Candle) {
        self.high = self.high.max(later.high);
        self.low = self.low.min(later.low);
        self.close = later.close;
        self.volume += later.volume;
        self.volume_base += later.volume_base;
        self.volume_quote += later.volume_quote;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_row_is_refused() {
        let good = Candle {
            open: 10.0,
            high: 12.0,
            low: 9.0,
            close: 11.0,
            volume: 1.0,
            ..Candle::flat(0, 10.0)
        };
        assert!(good.is_valid());
        for bad in [
            Candle { high: 10.5, ..good },
            Candle { low: 10.5, ..good },
            Candle {
                close: f64::NAN,
                ..good
            },
            Candle { volume: -1.0, ..good },
            Candle {
                volume_quote: f64::INFINITY,
                ..good
            },
            Candle {
                open: 0.0,
                low: 0.0,
                ..good
            },
        ] {
            assert!(!bad.is_valid(), "{bad:?}");
        }
    }
}
