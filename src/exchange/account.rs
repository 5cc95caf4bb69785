//! One account: its settings, its rows and its cash; and the rows it shows.

use super::amount::Amount;
use super::order::{Bracket, Fill, Order, Trigger};
use super::position::Position;
use crate::model::{ClientOrderId, InstrumentId, Lots, MarginMode, PositionMode, PositionSide};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Final rows of each kind an account remembers; the oldest are forgotten beyond it.
pub const HISTORY_MAX: usize = 50_000;
/// Leverage of an instrument nobody has set.
pub const LEVERAGE_DEFAULT: u16 = 3;

/// An open position as the venue shows it; every figure exact (reference formulas §8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PositionRow {
    pub id: u64,
    pub instrument: InstrumentId,
    pub margin_mode: MarginMode,
    pub position_side: PositionSide,
    /// Signed: negative = short, in hedge mode too (the wire drops the sign there).
    pub lots: Lots,
    /// Lots still closable: not bound by resting reduce-only or closing orders. Same sign.
    pub available_lots: Lots,
    /// Contracts of `lots`, signed.
    pub contracts: Amount,
    pub average_price: Amount,
    pub mark_price: Amount,
    /// Isolated only, else 0.
    pub margin: Amount,
    /// Cross only, else 0.
    pub initial_margin: Amount,
    pub maintenance_margin: Amount,
    pub margin_ratio: Amount,
    /// `None` = there is none.
    pub liquidation_price: Option<Amount>,
    pub unrealized_pnl: Amount,
    pub unrealized_pnl_ratio: Amount,
    pub leverage: u16,
    pub create_ms: i64,
    pub update_ms: i64,
}

/// How a position of the past ended, or that it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionEnd {
    PartiallyClosed,
    Closed,
    Liquidated,
}

/// A row of `positions-history`: quantities in base coins, `fee` negative when paid,
/// `realized_pnl` net of fees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PositionHistoryRow {
    pub id: u64,
    pub position_id: u64,
    pub instrument: InstrumentId,
    pub margin_mode: MarginMode,
    pub position_side: PositionSide,
    /// +1 it was long, −1 short.
    pub sign: i8,
    pub end: PositionEnd,
    pub close_base: Amount,
    pub max_base: Amount,
    pub liquidation_base: Amount,
    pub open_average_price: Amount,
    pub close_average_price: Amount,
    pub realized_pnl: Amount,
    pub realized_pnl_ratio: Amount,
    pub fee: Amount,
    pub leverage: u16,
    pub create_ms: i64,
    pub update_ms: i64,
}

/// The USDT row of the balance (one currency: every instrument settles in it).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BalanceRow {
    /// balance + Σ unrealised profit.
    pub equity: Amount,
    pub balance: Amount,
    /// Isolated margin + isolated unrealised profit.
    pub isolated_equity: Amount,
    /// equity − isolated_equity − order_frozen − Σ cross initial margin.
    pub available: Amount,
    /// order_frozen + isolated margin.
    pub frozen: Amount,
    pub order_frozen: Amount,
    pub unrealized_pnl: Amount,
    pub isolated_unrealized_pnl: Amount,
    pub time_ms: i64,
}

/// One payment of funding; negative = the account paid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FundingPayment {
    pub id: u64,
    pub instrument: InstrumentId,
    pub amount: Amount,
    pub rate: f64,
    pub time_ms: i64,
}

/// Which position: net mode has one an instrument, hedge mode a long and a short.
pub(super) type PositionKey = (InstrumentId, PositionSide);

/// Everything the exchange holds for one key.
#[derive(Debug)]
pub(super) struct Account {
    pub key: String,
    pub margin_mode: MarginMode,
    pub position_mode: PositionMode,
    /// By instrument, margin mode code and position side code; 0 = `LEVERAGE_DEFAULT`.
    pub leverage: BTreeMap<(InstrumentId, u8, u8), u16>,
    /// Cash, isolated margin included.
    pub balance: Amount,
    pub deposits: Amount,
    pub positions: BTreeMap<PositionKey, Position>,
    pub position_history: VecDeque<PositionHistoryRow>,
    pub orders: BTreeMap<u64, Order>,
    pub brackets: BTreeMap<u64, Bracket>,
    pub triggers: BTreeMap<u64, Trigger>,
    /// Ids of the rows above that are not final, in id order.
    pub open_orders: BTreeSet<u64>,
    pub open_brackets: BTreeSet<u64>,
    pub open_triggers: BTreeSet<u64>,
    pub fills: VecDeque<Fill>,
    pub funding: VecDeque<FundingPayment>,
    /// Every client id ever used: reuse is refused for ever.
    pub client_ids: BTreeMap<ClientOrderId, u64>,
    pub algo_client_ids: BTreeMap<ClientOrderId, u64>,
}

impl Account {
    pub fn new(key: &str, balance: Amount) -> Account {
        Account {
            key: key.to_owned(),
            margin_mode: MarginMode::Cross,
            position_mode: PositionMode::Net,
            leverage: BTreeMap::new(),
            balance,
            deposits: balance,
            positions: BTreeMap::new(),
            position_history: VecDeque::new(),
            orders: BTreeMap::new(),
            brackets: BTreeMap::new(),
            triggers: BTreeMap::new(),
            open_orders: BTreeSet::new(),
            open_brackets: BTreeSet::new(),
            open_triggers: BTreeSet::new(),
            fills: VecDeque::new(),
            funding: VecDeque::new(),
            client_ids: BTreeMap::new(),
            algo_client_ids: BTreeMap::new(),
        }
    }

    /// Leverage set for an instrument; hedge-mode sides differ for isolated margin only.
    pub fn leverage_of(&self, instrument: InstrumentId, mode: MarginMode, side: PositionSide) -> u16 {
        let key = Self::leverage_key(instrument, mode, side);
        self.leverage.get(&key).copied().unwrap_or(LEVERAGE_DEFAULT)
    }

    pub fn leverage_key(
        instrument: InstrumentId,
        mode: MarginMode,
        side: PositionSide,
    ) -> (InstrumentId, u8, u8) {
        let side = if mode == MarginMode::Cross {
            PositionSide::Net
        } else {
            side
        };
        (instrument, mode as u8, side as u8)
    }

    /// Adds `row` to a history, forgetting the oldest beyond `HISTORY_MAX`.
    pub fn remember<T>(history: &mut VecDeque<T>, row: T) {
        if history.len() >= HISTORY_MAX {
            history.pop_front();
        }
        history.push_back(row);
    }

    /// Forgets the oldest final rows of a table beyond `HISTORY_MAX`.
    pub fn trim<T>(rows: &mut BTreeMap<u64, T>, open: &BTreeSet<u64>) {
        while rows.len() > HISTORY_MAX + open.len() {
            let Some(oldest) = rows.keys().find(|id| !open.contains(id)).copied() else {
                return;
            };
            rows.remove(&oldest);
        }
    }
}
