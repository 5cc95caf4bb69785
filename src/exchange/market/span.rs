//! Which part of a recording plays.

use super::recorded::{Data, Recorded};
use crate::model::Wall;

impl Recorded {
    /// Lets candles begin at the first interval at or after `from`; what lies before is the past. False
    /// for ticks, whose books need everything from their start on.
    pub fn begin_at(&mut self, from: Wall) -> bool {
        let Data::Candles(data) = &mut self.data else {
            return false;
        };
        let step = data.timeframe.ms();
        let first_ms = data.timeframe.open_of(from.ms() + step - 1);
        data.start_ms = data.start_ms.max(first_ms).min(data.end_ms);
        true
    }
}
