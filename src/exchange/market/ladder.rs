//! The book that orders trade against: made up around a quote, or kept from recorded levels.
//!
//! What our own orders take stays taken until the market moves the book again.

use crate::model::{Lots, Price, Side};
use std::collections::BTreeMap;

/// A book of one instrument. `Side::Buy` names the bids, `Side::Sell` the asks.
#[derive(Clone, Debug)]
pub enum Ladder {
    Synthetic(Synthetic),
    Kept(Kept),
}

/// A book around a bid and an ask, with sizes that depend on price and time alone: most levels stay
/// as they are from one step to the next.
#[derive(Clone, Debug)]
pub struct Synthetic {
    bid: i64,
    ask: i64,
    /// Ticks between two levels beyond the best.
    gap: i64,
    /// Mean lots of a level.
    level_lots: f64,
    /// Part by which bids are thicker and asks thinner, −1..1.
    lean: f64,
    /// Makes the sizes of two instruments differ.
    key: u64,
    /// Advances with every step; a level changes its size every 16 of them.
    epoch: u64,
    taken: [i64; 2],
}

/// A book kept level by level.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    taken: [i64; 2],
    /// Levels came in; quotes alone no longer count.
    has_depth: bool,
    in_snapshot: bool,
}

fn mix(mut value: u64) -> u64 {
    // SplitMix64's finisher.
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn side_index(side: Side) -> usize {
    match side {
        Side::Buy => 0,
        Side::Sell => 1,
    }
}

impl Synthetic {
    pub fn new(key: u64) -> Synthetic {
        Synthetic {
            bid: 0,
            ask: 0,
            gap: 1,
            level_lots: 1.0,
            lean: 0.0,
            key,
            epoch: 0,
            taken: [0; 2],
        }
    }

    /// Moves the book: new best prices, and everything taken is back.
    pub fn set(&mut self, bid: Price, ask: Price, level_lots: f64) {
        self.bid = bid.0;
        self.ask = ask.0.max(bid.0 + 1);
        // 200 levels then reach about 1 % from the best price.
        self.gap = (bid.0 / 20_000).max(1);
        self.level_lots = level_lots.max(1.0);
        self.epoch += 1;
        self.taken = [0; 2];
    }

    /// Lets the book lean to a side from now on: bids are thicker by this part and asks thinner, −1..1.
    pub fn lean_to(&mut self, lean: f64) {
        self.lean = lean.clamp(-1.0, 1.0);
    }

    fn lots(&self, price: i64) -> i64 {
        let place = mix(self.key ^ (price as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let age = (self.epoch + (place & 15)) >> 4;
        let part = (mix(place ^ age) >> 11) as f64 / (1u64 << 53) as f64;
        let lean = if price <= self.bid { self.lean } else { -self.lean };
        ((self.level_lots * (1.0 + lean) * (0.4 + 1.2 * part)) as i64).max(1)
    }

    fn price(&self, side: Side, index: usize) -> i64 {
        let index = index as i64;
        match side {
            _ if index == 0 && side == Side::Buy => self.bid,
            _ if index == 0 => self.ask,
            // The grid stands still while the best price moves, so levels keep their sizes.
            Side::Buy => ((self.bid - 1).div_euclid(self.gap) - (index - 1)) * self.gap,
            Side::Sell => ((self.ask + self.gap).div_euclid(self.gap) + (index - 1)) * self.gap,
        }
    }
}

impl Kept {
    /// Sets one level; the first level of a snapshot empties the book.
    pub fn set_level(&mut self, side: Side, price: Price, lots: Lots, snapshot: bool, last: bool) {
        if snapshot && !self.in_snapshot || !self.has_depth {
            self.bids.clear();
            self.asks.clear();
        }
        self.has_depth = true;
        self.in_snapshot = snapshot;
        let levels = match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        if lots.0 > 0 {
            levels.insert(price.0, lots.0);
        } else {
            levels.remove(&price.0);
        }
        if last {
            self.taken = [0; 2];
        }
    }

    /// A quote makes a book of one level a side, unless there is a real one.
    pub fn set_quote(&mut self, bid: (Price, Lots), ask: (Price, Lots)) {
        if self.has_depth {
            return;
        }
        self.bids.clear();
        self.asks.clear();
        self.bids.insert(bid.0.0, bid.1.0.max(1));
        self.asks.insert(ask.0.0, ask.1.0.max(1));
        self.taken = [0; 2];
    }
}

impl Ladder {
    /// Hands each level of a side to `each`, best first, until it returns false; what was taken is
    /// gone from the top.
    fn walk(&self, side: Side, mut each: impl FnMut(i64, i64) -> bool) {
        let (mut taken, mut index) = match self {
            Ladder::Synthetic(book) => (book.taken[side_index(side)], 0),
            Ladder::Kept(book) => (book.taken[side_index(side)], 0),
        };
        let mut left = |price: i64, lots: i64| {
            let eaten = taken.min(lots);
            taken -= eaten;
            lots == eaten || each(price, lots - eaten)
        };
        match self {
            Ladder::Synthetic(book) if book.bid > 0 => loop {
                let price = book.price(side, index);
                index += 1;
                if price <= 0 || index > 4_096 || !left(price, book.lots(price)) {
                    return;
                }
            },
            Ladder::Synthetic(_) => {}
            Ladder::Kept(book) => match side {
                Side::Buy => {
                    book.bids.iter().rev().all(|(price, lots)| left(*price, *lots));
                }
                Side::Sell => {
                    book.asks.iter().all(|(price, lots)| left(*price, *lots));
                }
            },
        }
    }

    /// Appends the best `depth` levels of a side.
    pub fn levels(&self, side: Side, depth: usize, out: &mut Vec<(Price, Lots)>) {
        let end = out.len() + depth;
        if depth == 0 {
            return;
        }
        self.walk(side, |price, lots| {
            out.push((Price(price), Lots(lots)));
            out.len() < end
        });
    }

    /// The best level of a side; `None` when it is empty.
    pub fn best(&self, side: Side) -> Option<(Price, Lots)> {
        let mut best = None;
        self.walk(side, |price, lots| {
            best = Some((Price(price), Lots(lots)));
            false
        });
        best
    }

    /// Lots that stand at `price`.
    pub fn lots_at(&self, side: Side, price: Price) -> Lots {
        let mut found = Lots(0);
        self.walk(side, |level, lots| {
            if level == price.0 {
                found = Lots(lots);
            }
            match side {
                Side::Buy => level > price.0,
                Side::Sell => level < price.0,
            }
        });
        found
    }

    /// Takes `lots` from the top of a side.
    pub fn take(&mut self, side: Side, lots: Lots) {
        let taken = match self {
            Ladder::Synthetic(book) => &mut book.taken,
            Ladder::Kept(book) => &mut book.taken,
        };
        taken[side_index(side)] += lots.0.max(0);
    }

    /// The made-up book, starting one when a kept one was there.
    pub fn synthetic(&mut self, key: u64) -> &mut Synthetic {
        if !matches!(self, Ladder::Synthetic(_)) {
            *self = Ladder::Synthetic(Synthetic::new(key));
        }
        match self {
            Ladder::Synthetic(book) => book,
            Ladder::Kept(_) => unreachable!("it was made synthetic just above"),
        }
    }

    /// The kept book, starting one when a made-up one was there.
    pub fn kept(&mut self) -> &mut Kept {
        if !matches!(self, Ladder::Kept(_)) {
            *self = Ladder::Kept(Kept::default());
        }
        match self {
            Ladder::Kept(book) => book,
            Ladder::Synthetic(_) => unreachable!("it was made a kept book just above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up() -> Ladder {
        let mut book = Synthetic::new(3);
        book.set(Price(600_000), Price(600_001), 500.0);
        Ladder::Synthetic(book)
    }

    fn asks(ladder: &Ladder, depth: usize) -> Vec<(Price, Lots)> {
        let mut out = Vec::new();
        ladder.levels(Side::Sell, depth, &mut out);
        out
    }

    #[test]
    fn a_made_up_book_is_ordered_and_what_is_taken_stays_taken() {
        let mut ladder = made_up();
        let mut bids = Vec::new();
        ladder.levels(Side::Buy, 200, &mut bids);
        let before = asks(&ladder, 200);
        assert_eq!((bids.len(), before.len()), (200, 200));
        assert!(bids.windows(2).all(|pair| pair[0].0 > pair[1].0));
        assert!(before.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(bids[0].0 < before[0].0);
        let first = before[0].1;
        ladder.take(Side::Sell, Lots(first.0 + 1));
        let after = asks(&ladder, 1)[0];
        assert_eq!(after, (before[1].0, Lots(before[1].1.0 - 1)));
        assert_eq!(ladder.lots_at(Side::Sell, before[0].0), Lots(0));
    }

    #[test]
    fn a_kept_book_follows_its_levels() {
        let mut ladder = made_up();
        let book = ladder.kept();
        book.set_level(Side::Buy, Price(10), Lots(5), true, false);
        book.set_level(Side::Sell, Price(12), Lots(7), true, true);
        book.set_level(Side::Sell, Price(11), Lots(1), false, true);
        assert_eq!(ladder.best(Side::Sell), Some((Price(11), Lots(1))));
        ladder
            .kept()
            .set_level(Side::Sell, Price(11), Lots(0), false, true);
        assert_eq!(ladder.best(Side::Sell), Some((Price(12), Lots(7))));
        ladder.kept().set_quote((Price(1), Lots(1)), (Price(2), Lots(1)));
        assert_eq!(
            ladder.best(Side::Buy),
            Some((Price(10), Lots(5))),
            "depth outranks quotes"
        );
        ladder.kept().set_level(Side::Buy, Price(8), Lots(2), true, true);
        assert_eq!(ladder.best(Side::Sell), None, "a new snapshot empties the book");
    }
}
