//! `paper`: the real market's ticks into the paper venue.
//!
//! It plays the paper venue's time on as well, so that fills and pushes are ready when the ports of
//! `send` and `account` ask for them.

use crate::driver::{Inlet, Progress, Stage};
use crate::model::message::Tick;
use crate::model::{INSTRUMENTS_MAX, Wall};
use crate::universe::live::InstrumentView;
use crate::venue::loopback::SharedVenue;
use crate::venue::paper::PaperMarket;

/// Ticks taken in one poll.
const TAKE_MAX: usize = 256;

/// The stage.
pub struct Paper {
    ticks: Inlet<Tick>,
    market: PaperMarket,
    instruments: InstrumentView,
    venue: SharedVenue,
}

impl Paper {
    pub fn new(ticks: Inlet<Tick>, instruments: InstrumentView, venue: SharedVenue) -> Self {
        let market = PaperMarket::new(INSTRUMENTS_MAX);
        Paper {
            ticks,
            market,
            instruments,
            venue,
        }
    }
}

impl Stage for Paper {
    fn name(&self) -> &'static str {
        "paper"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        self.instruments.refresh();
        let mut progress = Progress::Idle;
        for _ in 0..TAKE_MAX {
            let Some(tick) = self.ticks.take() else { break };
            self.market.take(&tick, now, &self.instruments, &self.venue);
            progress = Progress::Busy;
        }
        self.venue.advance(now);
        progress
    }

    fn next_timer(&self) -> Option<Wall> {
        self.venue.next_event()
    }
}
