//! The records that travel on rings. Plain words: no padding, bool, enum or Option; codes are
//! checked by the reader, after the copy.

mod account;
mod event;
mod market;
mod order;
mod signal;

pub use account::{AccountEvent, AccountKind, FetchRequest, ListKind, NO_INSTRUMENT};
pub use event::{GateEvent, GateEventKind, JournalEntry};
pub use market::{Holding, Tick, TickKind, tick_flag};
pub use order::{CommandKind, Lane, OrderCommand, Outcome, PROTECTIVE_CALLS, SendReply};
pub use signal::{
    Alert, AlertAnswer, IndicatorUpdate, MODEL_FEATURES_MAX, Signal, SignalLabel, TradeOutcome, VOTES_MAX,
    Vote, tape,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Candle, InstrumentId, Timeframe};

    #[test]
    fn a_candle_survives_the_tick() {
        let candle = Candle {
            high: 3.0,
            volume: 7.0,
            volume_quote: 9.0,
            ..Candle::flat(60_000, 2.0)
        };
        let tick = Tick::of_candle(InstrumentId(7), Timeframe::M5, &candle, tick_flag::CONFIRMED);
        assert_eq!(tick.candle(), Some(candle));
        assert_eq!(tick.instrument(), InstrumentId(7));
        assert_eq!(Tick::new(TickKind::Mark, InstrumentId(0), 0).candle(), None);
    }

    #[test]
    fn unknown_codes_are_refused() {
        assert_eq!(TickKind::from_code(0), None);
        assert_eq!(CommandKind::from_code(99), None);
        assert_eq!(Outcome::from_code(0), None);
        assert_eq!(AccountKind::from_code(15), None);
        assert_eq!(GateEventKind::from_code(0), None);
    }
}
