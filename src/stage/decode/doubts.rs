//! Which channels of an instrument cannot be believed just now.
//!
//! An instrument is in doubt while any of its channels is, and whole again with the first good data of the
//! last of them.

use crate::model::{INSTRUMENTS_MAX, InstrumentId};
use crate::venue::blofin::codec::Channel;
use crate::venue::blofin::subscriptions::{CHANNEL_COUNT, channel_index};

const _: () = assert!(
    CHANNEL_COUNT < 32,
    "a bit for every channel, and one for the silence of quotes"
);
const SILENCE: u32 = 1 << 31;

/// The doubts about every instrument.
pub struct Doubts {
    of: Vec<u32>,
}

impl Doubts {
    pub fn new() -> Self {
        Doubts {
            of: vec![0; INSTRUMENTS_MAX],
        }
    }

    /// Bad data came on `channel`.
    pub fn on_bad(&mut self, instrument: InstrumentId, channel: Channel) {
        self.set(instrument, bit(channel));
    }

    /// Good data came on `channel`. Returns whether the instrument is whole with it and was not before.
    pub fn on_good(&mut self, instrument: InstrumentId, channel: Channel) -> bool {
        self.clear(instrument, bit(channel))
    }

    /// Quotes stay away.
    pub fn on_silence(&mut self, instrument: InstrumentId) {
        self.set(instrument, SILENCE);
    }

    /// Quotes are back. Returns whether nothing else is in doubt.
    pub fn on_quotes(&mut self, instrument: InstrumentId) -> bool {
        self.clear(instrument, SILENCE);
        self.of.get(instrument.index()).is_none_or(|doubts| *doubts == 0)
    }

    fn set(&mut self, instrument: InstrumentId, bit: u32) {
        if let Some(doubts) = self.of.get_mut(instrument.index()) {
            *doubts |= bit;
        }
    }

    #[inline]
    fn clear(&mut self, instrument: InstrumentId, bit: u32) -> bool {
        let Some(doubts) = self.of.get_mut(instrument.index()).filter(|doubts| **doubts != 0) else {
            return false;
        };
        *doubts &= !bit;
        *doubts == 0
    }
}

fn bit(channel: Channel) -> u32 {
    channel_index(channel).map_or(0, |index| 1 << index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timeframe;

    #[test]
    fn an_instrument_is_whole_when_the_last_channel_in_doubt_is() {
        let (btc, eth) = (InstrumentId(0), InstrumentId(1));
        let candles = Channel::Candle(Timeframe::M1);
        let mut doubts = Doubts::new();
        assert!(!doubts.on_good(btc, candles), "it was never in doubt");
        doubts.on_bad(btc, candles);
        doubts.on_bad(btc, Channel::Tickers);
        assert!(!doubts.on_good(btc, Channel::Tickers));
        assert!(!doubts.on_good(eth, candles), "nothing of the other");
        doubts.on_silence(btc);
        assert!(!doubts.on_good(btc, candles), "quotes stay away");
        assert!(doubts.on_quotes(btc));
        doubts.on_bad(btc, candles);
        assert!(!doubts.on_quotes(btc), "the candles are still in doubt");
        assert!(doubts.on_good(btc, candles));
    }
}
