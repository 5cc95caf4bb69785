//! The ledger that judges: how long positions stood without a stop, which rows were left behind,
//! how trades ended, and an account of its own that every balance must agree with.

use super::Exchange;
use super::account::PositionKey;
use super::amount::{Amount, to_f64};
use super::order::{AccountId, Category, Fill};
use crate::model::{InstrumentId, Lots, OrderState, PositionMode, PositionSide};
use std::collections::{BTreeMap, BTreeSet};

/// A row of a flat symbol may live on this long before it counts as an orphan.
pub const ORPHAN_MS: i64 = 10_000;
/// Finished positions whose unprotected time is kept one by one; beyond it the oldest are dropped
/// from the list (never from the maximum).
pub const GAPS_MAX: usize = 100_000;

/// The longest time one position stood without a live stop covering its whole size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionGap {
    pub account: AccountId,
    pub position_id: u64,
    pub instrument: InstrumentId,
    pub unprotected_ms: i64,
}

/// What a run is judged by, over all accounts.
#[derive(Clone, Debug, Default)]
pub struct LedgerReport {
    /// Longest time any position had no live stop covering its full size.
    pub unprotected_ms_max: i64,
    /// Median and 99th percentile over positions of each one's longest such time.
    pub unprotected_ms_p50: i64,
    pub unprotected_ms_p99: i64,
    /// One a position, in order of closing, open ones last.
    pub unprotected: Vec<PositionGap>,
    /// Live entry, TP/SL or trigger rows of a flat symbol: more than 10 s after it went flat, or now.
    pub orphan_orders: u64,
    /// Quote money: Σ balances and Σ unrealised profit.
    pub equity: f64,
    pub deposits: f64,
    /// Orders that opened or enlarged a position.
    pub entries_filled: u64,
    pub closed_tp: u64,
    pub closed_sl: u64,
    pub closed_liquidation: u64,
    pub closed_other: u64,
    pub open_positions: u64,
    pub fills: u64,
    /// Positive = paid.
    pub fees: f64,
    /// Negative = paid.
    pub funding: f64,
    /// Gross.
    pub realized_pnl: f64,
}

/// How a position ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCause {
    TakeProfit,
    StopLoss,
    Liquidation,
    Other,
}

impl CloseCause {
    pub fn of(category: Category) -> CloseCause {
        match category {
            Category::TakeProfit => CloseCause::TakeProfit,
            Category::StopLoss => CloseCause::StopLoss,
            Category::FullLiquidation => CloseCause::Liquidation,
            Category::Normal | Category::CarriesBracket => CloseCause::Other,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Watch {
    position_id: u64,
    unprotected_since_ms: Option<i64>,
    longest_ms: i64,
}

impl Watch {
    fn until(&self, now_ms: i64) -> i64 {
        let running = self.unprotected_since_ms.map_or(0, |since| now_ms - since);
        self.longest_ms.max(running)
    }
}

/// Cash flow of one account as its fills tell it, kept apart from positions and balances.
#[derive(Clone, Debug, Default)]
struct Oracle {
    /// −Σ signed base × price of all fills.
    trade_cash: Amount,
    fees: Amount,
    funding: Amount,
    lots: BTreeMap<PositionKey, i64>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    watches: BTreeMap<(AccountId, PositionKey), Watch>,
    finished: Vec<PositionGap>,
    longest_ms: i64,
    orphans: u64,
    /// (deadline, flat since, account, instrument) of symbols that went flat, in time order.
    flat: Vec<(i64, i64, AccountId, InstrumentId)>,
    oracles: Vec<Oracle>,
    entries_filled: u64,
    closed: [u64; 4],
    fills: u64,
    realized: Amount,
    /// First broken rule seen while running; kept for `check_invariants`.
    broken: Option<String>,
}

impl Ledger {
    pub fn add_account(&mut self) {
        self.oracles.push(Oracle::default());
    }

    /// Books one fill; called once each, before anything is derived from it.
    pub fn record_fill(&mut self, account: AccountId, fill: &Fill, lot_base: Amount) {
        self.fills += 1;
        self.realized += fill.pnl;
        let Some(oracle) = self.oracles.get_mut(account.index()) else {
            return;
        };
        let signed = fill.side.sign() * fill.lots.0;
        oracle.trade_cash -= lot_base * Amount::from(signed) * fill.price;
        oracle.fees += fill.fee;
        *oracle
            .lots
            .entry((fill.instrument, fill.position_side))
            .or_default() += signed;
    }

    pub fn record_funding(&mut self, account: AccountId, amount: Amount) {
        if let Some(oracle) = self.oracles.get_mut(account.index()) {
            oracle.funding += amount;
        }
    }

    pub fn record_entry(&mut self) {
        self.entries_filled += 1;
    }

    pub fn record_break(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// A position is open and `covered` says whether live stops cover all of it.
    pub fn watch(
        &mut self,
        account: AccountId,
        key: PositionKey,
        position_id: u64,
        covered: bool,
        now_ms: i64,
    ) {
        let watch = self.watches.entry((account, key)).or_insert(Watch {
            position_id,
            unprotected_since_ms: None,
            longest_ms: 0,
        });
        watch.position_id = position_id;
        match (watch.unprotected_since_ms, covered) {
            (None, false) => watch.unprotected_since_ms = Some(now_ms),
            (Some(since), true) => {
                watch.longest_ms = watch.longest_ms.max(now_ms - since);
                watch.unprotected_since_ms = None;
            }
            (None, true) | (Some(_), false) => {}
        }
        self.longest_ms = self.longest_ms.max(watch.until(now_ms));
    }

    /// A position closed.
    pub fn close(
        &mut self,
        account: AccountId,
        key: PositionKey,
        cause: CloseCause,
        flat: bool,
        now_ms: i64,
    ) {
        self.closed[cause as usize] += 1;
        if let Some(watch) = self.watches.remove(&(account, key)) {
            let unprotected_ms = watch.until(now_ms);
            self.longest_ms = self.longest_ms.max(unprotected_ms);
            if self.finished.len() >= GAPS_MAX {
                self.finished.remove(0);
            }
            self.finished.push(PositionGap {
                account,
                position_id: watch.position_id,
                instrument: key.0,
                unprotected_ms,
            });
        }
        if flat {
            self.flat.push((now_ms + ORPHAN_MS, now_ms, account, key.0));
        }
    }
}

impl Exchange {
    /// Looks again at whether the stops of an account cover its positions on an instrument.
    pub(super) fn review_protection(&mut self, account: AccountId, instrument: InstrumentId) {
        let now_ms = self.now.ms();
        for side in PositionSide::ALL {
            let Some(holder) = self.accounts.get(account.index()) else {
                return;
            };
            let Some(position) = holder.positions.get(&(instrument, side)) else {
                continue;
            };
            let covered = self.stop_lots(account, instrument, side) >= position.size().0;
            let id = position.id;
            self.ledger
                .watch(account, (instrument, side), id, covered, now_ms);
        }
    }

    /// Lots that live stops would close, `i64::MAX` for a whole-position stop.
    fn stop_lots(&self, account: AccountId, instrument: InstrumentId, side: PositionSide) -> i64 {
        let Some(holder) = self.accounts.get(account.index()) else {
            return 0;
        };
        let Some(position) = holder.positions.get(&(instrument, side)) else {
            return 0;
        };
        let closing = position.closing_side();
        let size_of = |lots: Option<Lots>| lots.map_or(i64::MAX, |lots| lots.0);
        let brackets = holder
            .open_brackets
            .iter()
            .filter_map(|id| holder.brackets.get(id))
            .filter(|row| row.instrument == instrument && row.position_side == side && row.side == closing)
            .filter(|row| row.stop_loss.is_some())
            .map(|row| size_of(row.lots));
        let triggers = holder
            .open_triggers
            .iter()
            .filter_map(|id| holder.triggers.get(id))
            .filter(|row| row.instrument == instrument && row.position_side == side && row.side == closing)
            .filter(|row| row.fires_above != position.is_long())
            .map(|row| size_of(row.lots));
        brackets.chain(triggers).fold(0i64, i64::saturating_add)
    }

    /// Counts the rows that outlived their position by more than `ORPHAN_MS`.
    pub(super) fn count_orphans(&mut self, now_ms: i64) {
        while let Some(&(deadline, flat_ms, account, instrument)) = self.ledger.flat.first() {
            if deadline > now_ms {
                return;
            }
            self.ledger.flat.remove(0);
            self.ledger.orphans += self.mark_orphans(account, instrument, flat_ms);
        }
    }

    fn is_flat(&self, account: AccountId, instrument: InstrumentId) -> bool {
        self.accounts.get(account.index()).is_none_or(|holder| {
            PositionSide::ALL
                .into_iter()
                .all(|side| !holder.positions.contains_key(&(instrument, side)))
        })
    }

    fn mark_orphans(&mut self, account: AccountId, instrument: InstrumentId, flat_ms: i64) -> u64 {
        if !self.is_flat(account, instrument) {
            return 0;
        }
        let Some(holder) = self.accounts.get_mut(account.index()) else {
            return 0;
        };
        let mut count = 0;
        for id in &holder.open_brackets {
            if let Some(row) = holder.brackets.get_mut(id)
                && row.instrument == instrument
                && row.create_ms <= flat_ms
                && !row.orphaned
            {
                row.orphaned = true;
                count += 1;
            }
        }
        for id in &holder.open_triggers {
            if let Some(row) = holder.triggers.get_mut(id)
                && row.instrument == instrument
                && row.create_ms <= flat_ms
                && !row.orphaned
            {
                row.orphaned = true;
                count += 1;
            }
        }
        for id in &holder.open_orders {
            if let Some(row) = holder.orders.get_mut(id)
                && row.instrument == instrument
                && row.create_ms <= flat_ms
                && !row.orphaned
            {
                row.orphaned = true;
                count += 1;
            }
        }
        count
    }

    /// Live rows that would be orphans if the run ended now and have not been counted yet: brackets
    /// and trigger orders that can only reduce a position that is not there, and orders older than
    /// the moment their symbol went flat.
    fn orphans_now(&self) -> u64 {
        let mut count = 0;
        for (index, holder) in self.accounts.iter().enumerate() {
            let account = AccountId(index as u16);
            let flat = |instrument| self.is_flat(account, instrument);
            let brackets = holder
                .open_brackets
                .iter()
                .filter_map(|id| holder.brackets.get(id));
            count += brackets
                .filter(|row| !row.orphaned && flat(row.instrument))
                .count();
            let triggers = holder
                .open_triggers
                .iter()
                .filter_map(|id| holder.triggers.get(id));
            count += triggers
                .filter(|row| row.reduce_only && !row.orphaned && flat(row.instrument))
                .count();
            let orders = holder.open_orders.iter().filter_map(|id| holder.orders.get(id));
            count += orders
                .filter(|row| !row.orphaned && flat(row.instrument))
                .filter(|row| {
                    let outlived = |entry: &&(i64, i64, AccountId, InstrumentId)| {
                        entry.2 == account && entry.3 == row.instrument && row.create_ms <= entry.1
                    };
                    row.reduce_only || self.ledger.flat.iter().any(|entry| outlived(&entry))
                })
                .count();
        }
        count as u64
    }

    /// The judgement so far, at the exchange's own time.
    pub fn report(&self) -> LedgerReport {
        let now_ms = self.now.ms();
        let mut unprotected = self.ledger.finished.clone();
        unprotected.extend(
            self.ledger
                .watches
                .iter()
                .map(|((account, key), watch)| PositionGap {
                    account: *account,
                    position_id: watch.position_id,
                    instrument: key.0,
                    unprotected_ms: watch.until(now_ms),
                }),
        );
        let mut sorted: Vec<i64> = unprotected.iter().map(|gap| gap.unprotected_ms).collect();
        sorted.sort_unstable();
        let rank = |percent: usize| match sorted.len() {
            0 => 0,
            count => sorted[(count * percent).div_ceil(100).clamp(1, count) - 1],
        };
        let accounts = || (0..self.accounts.len()).map(|index| AccountId(index as u16));
        let sum = |of: fn(&Oracle) -> Amount| to_f64(self.ledger.oracles.iter().map(of).sum());
        LedgerReport {
            unprotected_ms_max: self.ledger.longest_ms.max(sorted.last().copied().unwrap_or(0)),
            unprotected_ms_p50: rank(50),
            unprotected_ms_p99: rank(99),
            unprotected,
            orphan_orders: self.ledger.orphans + self.orphans_now(),
            equity: accounts()
                .map(|account| to_f64(self.balance(account).equity))
                .sum(),
            deposits: to_f64(self.accounts.iter().map(|account| account.deposits).sum()),
            entries_filled: self.ledger.entries_filled,
            closed_tp: self.ledger.closed[CloseCause::TakeProfit as usize],
            closed_sl: self.ledger.closed[CloseCause::StopLoss as usize],
            closed_liquidation: self.ledger.closed[CloseCause::Liquidation as usize],
            closed_other: self.ledger.closed[CloseCause::Other as usize],
            open_positions: self
                .accounts
                .iter()
                .map(|account| account.positions.len() as u64)
                .sum(),
            fills: self.ledger.fills,
            fees: sum(|oracle| oracle.fees),
            funding: sum(|oracle| oracle.funding),
            realized_pnl: to_f64(self.ledger.realized),
        }
    }

    /// Whether the books agree: positions are the sum of their fills, every balance and equity is
    /// what the cash flow of the fills says, states fit their lists. The text names what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        if let Some(broken) = &self.ledger.broken {
            return Err(broken.clone());
        }
        for (index, (holder, oracle)) in self.accounts.iter().zip(&self.ledger.oracles).enumerate() {
            self.check_positions(index, oracle)?;
            self.check_equity(index, oracle)?;
            let mut trades = BTreeSet::new();
            for fill in &holder.fills {
                if !trades.insert(fill.trade_id) {
                    return Err(format!(
                        "account {index}: trade {} was booked twice",
                        fill.trade_id
                    ));
                }
            }
            for (id, order) in &holder.orders {
                let open = holder.open_orders.contains(id);
                if open == order.state.is_final() || order.filled > order.lots || order.filled.0 < 0 {
                    return Err(format!(
                        "account {index}: order {id} is {:?}, open {open}",
                        order.state
                    ));
                }
                let filled = order.filled.0 > 0;
                if filled == matches!(order.state, OrderState::Live | OrderState::Canceled) {
                    return Err(format!(
                        "account {index}: order {id} is {:?}, filled {filled}",
                        order.state
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_positions(&self, index: usize, oracle: &Oracle) -> Result<(), String> {
        let holder = &self.accounts[index];
        for (key, position) in &holder.positions {
            let sum = oracle.lots.get(key).copied().unwrap_or(0);
            if position.lots.0 != sum || sum == 0 {
                return Err(format!(
                    "account {index}, {key:?}: position {} is not the sum of its fills {sum}",
                    position.lots.0
                ));
            }
            let wrong_way = match key.1 {
                PositionSide::Net => holder.position_mode == PositionMode::LongShort,
                PositionSide::Long => position.lots.0 < 0,
                PositionSide::Short => position.lots.0 > 0,
            };
            if wrong_way {
                return Err(format!(
                    "account {index}, {key:?}: position {} lies on the wrong side",
                    sum
                ));
            }
        }
        for (key, sum) in &oracle.lots {
            if *sum != 0 && !holder.positions.contains_key(key) {
                return Err(format!(
                    "account {index}, {key:?}: fills sum to {sum} but there is no position"
                ));
            }
        }
        Ok(())
    }

    fn check_equity(&self, index: usize, oracle: &Oracle) -> Result<(), String> {
        let holder = &self.accounts[index];
        let mut worth = Amount::ZERO;
        for (key, position) in &holder.positions {
            let (Some(terms), Some(mark)) = (self.terms.get(key.0.index()), self.mark_amount(key.0)) else {
                return Err(format!(
                    "account {index}: position on an instrument without a mark"
                ));
            };
            worth += terms.lot_base * Amount::from(position.lots.0) * mark;
        }
        let expected = holder.deposits + oracle.trade_cash - oracle.fees + oracle.funding + worth;
        let equity = self.balance(AccountId(index as u16)).equity;
        // Entry prices are kept to 18 digits: each fill may lose one unit of the last digit a lot.
        let tolerance = Amount::new(1, 9);
        if (expected - equity).abs() > tolerance {
            return Err(format!(
                "account {index}: equity {equity}, its cash flow says {expected}"
            ));
        }
        Ok(())
    }
}
