//! The venue's positions: one net position an instrument, or a long and a short side by side.
//!
//! Rows arrive in sets. A set that is complete says that everything it does not name is flat; a set
//! that failed says nothing at all. Pushed sets and sets read by REST are told apart, because their
//! rows may interleave.

use crate::model::time::NS_PER_SEC;
use crate::model::{INSTRUMENTS_MAX, InstrumentId, PositionSide, Side, Wall};

/// How far what is read may lie behind what is so (E18 of the failure modes). A position that was known
/// to be open since is not called flat by a list that lacks it, unless something else says that it was
/// closed: believed, such a list would take the stops of a position that stands, and let another entry in.
pub const READ_LAG_NS: u64 = 120 * NS_PER_SEC;

/// How far a pushed set may lie behind a list. What only a list has shown so far, and that lately, is not flat
/// because a set lacks it that was made before the position was opened.
const PUSH_LAG_NS: u64 = 5 * NS_PER_SEC;

/// One slot for the net or long position of an instrument and one for the short.
pub const SLOTS: usize = 2 * INSTRUMENTS_MAX;

/// Where a set of rows comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Push = 0,
    Read = 1,
}

/// One position.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// Signed: negative = short.
    pub lots: i64,
    pub average_price: f64,
    pub mark_price: f64,
    pub liquidation_price: f64,
    pub update_ms: i64,
    /// When we last heard of a change.
    pub changed: Wall,
    /// When we last heard of it at all.
    pub heard: Wall,
    /// Since when it cannot be missing from a list unless it was closed: a push named it, or, when there is no
    /// such feed, it was opened. 0 = no push named it, or something of it was closed.
    stood: Wall,
    /// When it became what is open now; 0 = flat.
    opened: Wall,
    /// When a list showed it that no push has named yet; 0 = one has, or it is flat.
    listed: Wall,
    /// When a push called it flat; 0 = it is open, or the feed broke off since.
    pushed_flat: Wall,
    seen: [u32; 2],
}

/// All positions.
#[derive(Debug)]
pub struct Positions {
    slots: Vec<Position>,
    /// Slots that are not flat, ascending.
    open: Vec<u16>,
    generation: [u32; 2],
    /// What changes is pushed. Else what a list shows first may be missing from the next, which lags.
    is_fed: bool,
    /// Slots whose lots changed since `take_changed`.
    changed: Vec<u16>,
}

impl Default for Positions {
    fn default() -> Self {
        Positions {
            slots: vec![Position::default(); SLOTS],
            open: Vec::with_capacity(SLOTS),
            generation: [1, 1],
            is_fed: true,
            changed: Vec::with_capacity(SLOTS),
        }
    }
}

/// Slot of an instrument's net or long (0), or short (1) position.
pub fn slot_of(instrument: InstrumentId, position_side: PositionSide) -> usize {
    2 * instrument.index() + usize::from(position_side == PositionSide::Short)
}

/// The instrument of a slot.
pub fn instrument_of(slot: usize) -> InstrumentId {
    InstrumentId((slot / 2) as u16)
}

/// What one row says.
#[derive(Clone, Copy, Debug)]
pub struct PositionReport {
    pub instrument: InstrumentId,
    pub position_side: PositionSide,
    /// As the venue writes it: signed in net mode, positive otherwise.
    pub lots: i64,
    pub average_price: f64,
    pub mark_price: f64,
    pub liquidation_price: f64,
    pub update_ms: i64,
}

impl Positions {
    /// None yet. Without `is_fed` nothing will ever be pushed.
    pub fn of_feed(is_fed: bool) -> Self {
        Positions {
            is_fed,
            ..Positions::default()
        }
    }

    /// Signed lots of a slot.
    pub fn lots(&self, slot: usize) -> i64 {
        self.slots[slot].lots
    }

    pub fn get(&self, slot: usize) -> &Position {
        &self.slots[slot]
    }

    /// Slots that are not flat, ascending.
    pub fn open(&self) -> &[u16] {
        &self.open
    }

    /// Takes one row in. Rows older than what is known are ignored.
    pub fn on_row(&mut self, source: Source, report: &PositionReport, now: Wall) {
        if report.instrument.index() >= INSTRUMENTS_MAX {
            return;
        }
        let slot = slot_of(report.instrument, report.position_side);
        let lots = match report.position_side {
            PositionSide::Net => report.lots,
            PositionSide::Long => report.lots.abs(),
            PositionSide::Short => -report.lots.abs(),
        };
        let generation = self.generation[source as usize];
        let row = &mut self.slots[slot];
        row.seen[source as usize] = generation;
        // A list that lags shows what a push has called flat since, and as it was then.
        let is_over = row.pushed_flat > Wall(0) && now.since(row.pushed_flat) < READ_LAG_NS;
        let is_old = source == Source::Read && is_over && report.update_ms <= row.update_ms;
        if report.update_ms < row.update_ms || is_old {
            return;
        }
        row.update_ms = report.update_ms;
        row.average_price = report.average_price;
        row.mark_price = report.mark_price;
        row.liquidation_price = report.liquidation_price;
        row.heard = now;
        self.set_lots(slot, lots, now);
        let row = &mut self.slots[slot];
        match source {
            _ if lots == 0 => {}
            Source::Push => (row.stood, row.listed) = (now, Wall(0)),
            Source::Read if row.opened == now && !self.is_fed => row.stood = now,
            Source::Read if row.opened == now => row.listed = now,
            Source::Read => {}
        }
    }

    /// What changes is pushed from now on.
    pub fn on_feed_up(&mut self) {
        self.is_fed = true;
    }

    /// The feed broke off, or there is none: what it said may have changed unheard. A list still shows whatever
    /// was open for longer than lists lag.
    pub fn on_feed_lost(&mut self) {
        self.is_fed = false;
        for row in &mut self.slots {
            row.pushed_flat = Wall(0);
        }
        for slot in &self.open {
            let row = &mut self.slots[usize::from(*slot)];
            row.stood = row.stood.min(row.opened);
        }
    }

    /// Something of this position was closed: a list that lacks it may well be right.
    pub fn on_exit(&mut self, slot: usize) {
        let row = &mut self.slots[slot];
        (row.stood, row.listed) = (Wall(0), Wall(0));
    }

    /// The set is complete: what it did not name is flat. `asked` protects positions that changed
    /// after a read was asked for, or that were known to be open shortly before; a push leaves it at `now`.
    /// True when a push lacks what a list has just shown: one of the two is old, and a further list says which.
    pub fn on_complete(&mut self, source: Source, asked: Wall, now: Wall) -> bool {
        let generation = self.generation[source as usize];
        let mut is_in_doubt = false;
        let mut index = 0;
        while index < self.open.len() {
            let slot = usize::from(self.open[index]);
            let row = &self.slots[slot];
            let named = row.seen[source as usize] == generation;
            let may_lag = row.stood > Wall(0) && asked.0 < row.stood.0 + READ_LAG_NS;
            let is_listed = row.listed > Wall(0) && now.since(row.listed) < PUSH_LAG_NS;
            let keeps = match source {
                Source::Push => is_listed,
                Source::Read => may_lag || row.changed >= asked,
            };
            if named || keeps {
                is_in_doubt |= !named && source == Source::Push;
                index += 1;
            } else {
                self.slots[slot].heard = now;
                self.set_lots(slot, 0, now);
                if source == Source::Push {
                    self.slots[slot].pushed_flat = now;
                }
            }
        }
        self.generation[source as usize] += 1;
        is_in_doubt
    }

    /// A row of the set could not be read: open positions of the instruments that it may be about are not
    /// flat for want of it.
    pub fn on_unreadable(&mut self, source: Source, is_about: impl Fn(InstrumentId) -> bool) {
        let generation = self.generation[source as usize];
        for slot in self.open.iter().map(|slot| usize::from(*slot)) {
            if is_about(instrument_of(slot)) {
                self.slots[slot].seen[source as usize] = generation;
            }
        }
    }

    /// The set broke off: forget what it named.
    pub fn on_broken(&mut self, source: Source) {
        self.generation[source as usize] += 1;
    }

    /// A slot that changed since it was last asked, `None` when there is none.
    pub fn take_changed(&mut self) -> Option<usize> {
        self.changed.pop().map(usize::from)
    }

    fn set_lots(&mut self, slot: usize, lots: i64, now: Wall) {
        let row = &mut self.slots[slot];
        if row.lots == lots {
            return;
        }
        row.pushed_flat = Wall(0);
        if lots == 0 {
            (row.stood, row.opened, row.listed) = (Wall(0), Wall(0), Wall(0));
        } else if row.lots.signum() != lots.signum() {
            (row.stood, row.opened, row.listed) = (Wall(0), now, Wall(0));
        }
        row.lots = lots;
        row.changed = now;
        let key = slot as u16;
        match (self.open.binary_search(&key), lots) {
            (Ok(at), 0) => {
                self.open.remove(at);
            }
            (Err(at), lots) if lots != 0 => self.open.insert(at, key),
            (Ok(_) | Err(_), _) => {}
        }
        if !self.changed.contains(&key) {
            self.changed.push(key);
        }
    }

    /// What must hold after every step; the text names the first breach.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        if !self.open.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err("the open positions are not in order");
        }
        let listed = |slot: usize| self.open.binary_search(&(slot as u16)).is_ok();
        if (0..SLOTS).any(|slot| (self.slots[slot].lots != 0) != listed(slot)) {
            return Err("a position is open and not listed, or the other way round");
        }
        Ok(())
    }
}

/// The side of a position of `lots`; `None` when flat.
pub fn side_of(lots: i64) -> Option<Side> {
    match lots.signum() {
        1 => Some(Side::Buy),
        -1 => Some(Side::Sell),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(instrument: u16, side: PositionSide, lots: i64, update_ms: i64) -> PositionReport {
        PositionReport {
            instrument: InstrumentId(instrument),
            position_side: side,
            lots,
            average_price: 100.0,
            mark_price: 100.0,
            liquidation_price: 0.0,
            update_ms,
        }
    }

    #[test]
    fn a_complete_push_flattens_what_it_does_not_name() {
        let mut positions = Positions::default();
        positions.on_row(Source::Push, &row(3, PositionSide::Net, -5, 10), Wall(1));
        positions.on_row(Source::Push, &row(4, PositionSide::Net, 7, 10), Wall(1));
        positions.on_complete(Source::Push, Wall(1), Wall(1));
        assert_eq!(positions.open(), &[6, 8]);
        positions.on_row(Source::Push, &row(4, PositionSide::Net, 7, 11), Wall(2));
        positions.on_complete(Source::Push, Wall(2), Wall(2));
        assert_eq!((positions.lots(6), positions.lots(8)), (0, 7));
        positions.check_invariants().expect("sound");
    }

    #[test]
    fn a_read_asked_before_a_change_does_not_undo_it() {
        let mut positions = Positions::default();
        positions.on_row(Source::Read, &row(3, PositionSide::Long, 5, 10), Wall(100));
        positions.on_complete(Source::Read, Wall(100), Wall(120));
        positions.on_complete(Source::Read, Wall(50), Wall(120));
        assert_eq!(positions.lots(6), 5);
        positions.on_complete(Source::Read, Wall(110), Wall(130));
        assert_eq!(positions.lots(6), 0);
    }

    /// Found by `simulate`: reads that lagged half a minute called positions flat that stood, and their
    /// stops were cancelled as leftovers.
    #[test]
    fn a_list_that_lags_does_not_overrule_a_living_feed() {
        let pushed = || {
            let mut positions = Positions::default();
            positions.on_row(Source::Push, &row(3, PositionSide::Net, 5, 10), Wall(100));
            positions
        };
        let read_at = |positions: &mut Positions, ns: u64| {
            positions.on_complete(Source::Read, Wall(ns), Wall(ns));
            positions.lots(6)
        };
        let mut positions = pushed();
        assert_eq!(read_at(&mut positions, 60 * NS_PER_SEC), 5, "it lags");
        assert_eq!(
            read_at(&mut positions, 121 * NS_PER_SEC),
            0,
            "no list lags so far"
        );
        // Seed 1603: the feed was gone for twenty seconds, and the list that was read instead lagged.
        let mut positions = pushed();
        positions.on_row(
            Source::Push,
            &row(3, PositionSide::Net, 5, 11),
            Wall(100 * NS_PER_SEC),
        );
        positions.on_feed_lost();
        assert_eq!(
            read_at(&mut positions, 119 * NS_PER_SEC),
            5,
            "it was opened so lately that a list may lack it"
        );
        assert_eq!(
            read_at(&mut positions, 121 * NS_PER_SEC),
            0,
            "no list lags so far, and the feed may have missed its end"
        );
        let mut positions = pushed();
        positions.on_exit(6);
        assert_eq!(
            read_at(&mut positions, 60 * NS_PER_SEC),
            0,
            "its exit was heard of"
        );
        let mut positions = pushed();
        positions.on_complete(Source::Push, Wall(200), Wall(200));
        positions.on_complete(Source::Push, Wall(300), Wall(300));
        assert_eq!(positions.lots(6), 0, "the feed itself says so");
    }

    /// Found by `simulate`, seed 512: a set that was pushed before the position was opened came after the
    /// list that showed it; the trade was over, and another took its place.
    #[test]
    fn a_late_push_does_not_overrule_the_list_that_found_a_position() {
        let listed = || {
            let mut positions = Positions::default();
            positions.on_row(Source::Read, &row(3, PositionSide::Net, 5, 10), Wall(100));
            positions.on_complete(Source::Read, Wall(90), Wall(100));
            positions
        };
        let push_at = |positions: &mut Positions, ns: u64| {
            let is_in_doubt = positions.on_complete(Source::Push, Wall(ns), Wall(ns));
            (positions.lots(6), is_in_doubt)
        };
        let mut positions = listed();
        assert_eq!(push_at(&mut positions, 200), (5, true), "a further list decides");
        positions.on_complete(Source::Read, Wall(300), Wall(400));
        assert_eq!(positions.lots(6), 0, "and this one says that it is gone");
        let mut positions = listed();
        let late = 100 + PUSH_LAG_NS;
        assert_eq!(push_at(&mut positions, late), (0, false), "no push is so late");
        let mut positions = listed();
        positions.on_exit(6);
        assert_eq!(push_at(&mut positions, 200), (0, false), "its exit was heard of");
        let mut positions = listed();
        positions.on_row(Source::Push, &row(3, PositionSide::Net, 5, 11), Wall(150));
        positions.on_complete(Source::Push, Wall(150), Wall(150));
        assert_eq!(push_at(&mut positions, 200), (0, false), "the feed knew of it");
    }

    /// Found by `simulate` (seed 1) once nothing was pushed any more: the list that opened a position was followed
    /// by one that lagged, its stop was cancelled as a leftover, and the next one was looser.
    #[test]
    fn a_list_that_lags_does_not_overrule_an_earlier_one_where_nothing_is_pushed() {
        let opened = 1_000 * NS_PER_SEC;
        let lots_after = |seconds: u64, act: fn(&mut Positions)| {
            let mut positions = Positions::default();
            positions.on_feed_lost();
            positions.on_row(Source::Read, &row(3, PositionSide::Net, 5, 10), Wall(opened));
            positions.on_complete(Source::Read, Wall(opened), Wall(opened));
            act(&mut positions);
            let at = Wall(opened + seconds * NS_PER_SEC);
            positions.on_complete(Source::Read, at, at);
            positions.lots(6)
        };
        assert_eq!(lots_after(119, |_| {}), 5, "it was opened so lately");
        assert_eq!(lots_after(121, |_| {}), 0, "no list lags so far");
        assert_eq!(
            lots_after(10, |positions| positions.on_exit(6)),
            0,
            "its exit was heard of"
        );
        let fed = |positions: &mut Positions| {
            positions.on_feed_up();
            positions.on_row(
                Source::Push,
                &row(3, PositionSide::Net, 0, 11),
                Wall(2_000 * NS_PER_SEC),
            );
        };
        assert_eq!(lots_after(10, fed), 0, "a push says so");
    }

    #[test]
    fn a_list_that_lags_does_not_bring_back_what_a_push_has_closed() {
        let closed = 1_000 * NS_PER_SEC;
        let lots_after = |seconds: u64, update_ms: i64, act: fn(&mut Positions)| {
            let mut positions = Positions::default();
            positions.on_row(Source::Push, &row(3, PositionSide::Net, 5, 10), Wall(100));
            positions.on_complete(Source::Push, Wall(100), Wall(100));
            positions.on_complete(Source::Push, Wall(closed), Wall(closed));
            act(&mut positions);
            let at = Wall(closed + seconds * NS_PER_SEC);
            positions.on_row(Source::Read, &row(3, PositionSide::Net, 5, update_ms), at);
            positions.lots(6)
        };
        assert_eq!(lots_after(119, 10, |_| {}), 0, "as it was");
        assert_eq!(lots_after(119, 11, |_| {}), 5, "it was opened again");
        assert_eq!(lots_after(121, 10, |_| {}), 5, "no list lags so far");
        assert_eq!(
            lots_after(119, 10, Positions::on_feed_lost),
            5,
            "nothing is pushed that could say so"
        );
    }

    #[test]
    fn older_rows_and_broken_sets_change_nothing() {
        let mut positions = Positions::default();
        positions.on_row(Source::Push, &row(3, PositionSide::Short, 5, 10), Wall(1));
        assert_eq!(positions.lots(7), -5);
        positions.on_row(Source::Push, &row(3, PositionSide::Short, 9, 9), Wall(2));
        assert_eq!(positions.lots(7), -5);
        positions.on_broken(Source::Read);
        assert_eq!(positions.lots(7), -5);
        assert_eq!(positions.take_changed(), Some(7));
        assert_eq!(positions.take_changed(), None);
    }
}
