//! The conflation before `gate`: the latest quote, mark, depth and health of each instrument, until the
//! link has room.

use crate::model::INSTRUMENTS_MAX;
use crate::model::message::{Tick, TickKind};

const KINDS: usize = 4;

/// Latest ticks that have not been published yet, in the order in which they became dirty.
pub struct Latest {
    ticks: Vec<Tick>,
    is_dirty: Vec<bool>,
    /// Ring of dirty places, capacity = every place.
    queue: Vec<u32>,
    first: usize,
    len: usize,
}

impl Latest {
    pub fn new() -> Self {
        let places = INSTRUMENTS_MAX * KINDS;
        Latest {
            ticks: vec![bytemuck::Zeroable::zeroed(); places],
            is_dirty: vec![false; places],
            queue: vec![0; places],
            first: 0,
            len: 0,
        }
    }

    /// Keeps `tick` as the latest of its kind; ticks of other kinds are not for `gate`.
    pub fn put(&mut self, tick: &Tick) {
        let kind = match TickKind::from_code(tick.kind) {
            Some(TickKind::Quote) => 0,
            Some(TickKind::Mark) => 1,
            Some(TickKind::Stale | TickKind::Fresh) => 2,
            Some(TickKind::Depth) => 3,
            Some(TickKind::Candle | TickKind::Trade | TickKind::Funding) | None => return,
        };
        let place = tick.instrument().index() * KINDS + kind;
        let Some(slot) = self.ticks.get_mut(place) else {
            return;
        };
        *slot = *tick;
        if !self.is_dirty[place] {
            self.is_dirty[place] = true;
            let at = (self.first + self.len) % self.queue.len();
            self.queue[at] = place as u32;
            self.len += 1;
        }
    }

    /// The next tick to publish, oldest dirty place first.
    pub fn take(&mut self) -> Option<Tick> {
        if self.len == 0 {
            return None;
        }
        let place = self.queue[self.first] as usize;
        self.first = (self.first + 1) % self.queue.len();
        self.len -= 1;
        self.is_dirty[place] = false;
        Some(self.ticks[place])
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

impl Default for Latest {
    fn default() -> Self {
        Latest::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InstrumentId;

    #[test]
    fn only_the_latest_of_a_kind_goes_out() {
        let mut latest = Latest::new();
        for (instrument, price) in [(1, 10.0), (2, 20.0), (1, 11.0)] {
            let mut tick = Tick::new(TickKind::Quote, InstrumentId(instrument), 0);
            tick.v[0] = price;
            latest.put(&tick);
        }
        latest.put(&Tick::new(TickKind::Mark, InstrumentId(1), 0));
        latest.put(&Tick::new(TickKind::Candle, InstrumentId(1), 0));
        assert_eq!(latest.len(), 3);
        let first = latest.take().expect("a tick");
        assert_eq!((first.instrument, first.v[0]), (1, 11.0));
        assert_eq!(latest.take().expect("a tick").instrument, 2);
        assert_eq!(latest.take().expect("a tick").kind, TickKind::Mark as u8);
        assert!(latest.take().is_none());
        assert_eq!(latest.len(), 0);
    }
}
