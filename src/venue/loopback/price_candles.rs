//! Mark and index candles of the channels somebody listens to, built from the prices as they come.

use super::channel::Channel;
use crate::model::{Candle, InstrumentId, Timeframe};
use std::collections::BTreeMap;

/// The forming candle of each channel.
#[derive(Default)]
pub struct PriceCandles {
    forming: BTreeMap<(InstrumentId, Channel), Candle>,
}

impl PriceCandles {
    /// Takes a price in; returns the candle that it closed, if any, and the one now forming.
    pub fn absorb(
        &mut self,
        instrument: InstrumentId,
        channel: Channel,
        timeframe: Timeframe,
        time_ms: i64,
        price: f64,
    ) -> (Option<Candle>, Candle) {
        let open_ms = timeframe.open_of(time_ms);
        let fresh = Candle::flat(open_ms, price);
        let forming = self.forming.entry((instrument, channel)).or_insert(fresh);
        if forming.open_ms < open_ms {
            let closed = std::mem::replace(forming, fresh);
            return (Some(closed), fresh);
        }
        forming.absorb(&fresh);
        (None, *forming)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_interval_closes_the_old_candle() {
        let mut candles = PriceCandles::default();
        let channel = Channel::MarkPriceCandle(Timeframe::M1);
        let mut take = |ms, price| candles.absorb(InstrumentId(0), channel, Timeframe::M1, ms, price);
        assert_eq!(take(0, 10.0).0, None);
        assert_eq!(take(30_000, 12.0).1.high, 12.0);
        let (closed, forming) = take(60_000, 11.0);
        assert_eq!(
            closed.map(|candle| (candle.open, candle.close)),
            Some((10.0, 12.0))
        );
        assert_eq!((forming.open_ms, forming.open), (60_000, 11.0));
    }
}
