//! The embedded exchange: a pure machine with BloFin's rules behind any wire.
//!
//! It owns instruments, the market they trade on, accounts with their orders, brackets (TP/SL),
//! trigger orders and positions, and the ledger that judges them. It never reads a clock or opens a
//! socket: time comes in as [`Wall`], randomness from a seed, and what happened leaves as [`Event`]s.
//! The same calls in the same order give the same answers and events, on every machine.

mod account;
mod advance;
pub mod amount;
mod code;
mod command;
mod event;
mod ledger;
pub mod market;
mod matching;
mod order;
mod position;
mod query;
mod trigger;
mod validate;

use crate::model::{Instrument, InstrumentId, Instruments, MarginMode, PositionMode, PositionSide, Wall};
use amount::{Amount, Terms};

pub use account::{
    BalanceRow, FundingPayment, HISTORY_MAX, LEVERAGE_DEFAULT, PositionEnd, PositionHistoryRow, PositionRow,
};
pub use code::Code;
pub use event::{BookDelta, Event, Interest, channel};
pub use ledger::{LedgerReport, PositionGap};
pub use market::{
    BookRow, FundingRow, Generated, GeneratedOptions, MarkRow, Market, MarketEvent, MarketKind, MarketSource,
    PublicTrade, Recorded, RecordedError, RecordedOptions, TickerRow,
};
pub use order::{
    AccountId, Ack, Amend, Bracket, CancelSource, Category, Fill, Leg, LegKind, NewBracket, NewOrder, NewTrigger,
    Order, Trigger,
};

/// When the TP/SL attached to an entry comes alive as a row of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachPolicy {
    /// At the first fill, sized to what is filled and growing with it.
    FirstFill,
    /// When the entry is final; until then a partly filled entry has no stop.
    FullFill,
}

/// Whether two full-size brackets with the same leg may live on one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoStops {
    Allow,
    /// The second is refused with code 542.
    Refuse,
}

/// What becomes of live brackets when their position closes otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// Whole-position rows are cancelled by the system; sized rows live on until somebody cancels
    /// them, and fail when they fire.
    CancelWhole,
    CancelAll,
    Keep,
}

/// How this exchange behaves where the venue's behaviour is a choice or unknown.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeConfig {
    pub attach: AttachPolicy,
    pub two_stops: TwoStops,
    pub leftovers: Leftovers,
    /// Fraction of notional, positive = paid.
    pub maker_fee: Amount,
    pub taker_fee: Amount,
    /// Whether orders and brackets can be amended (else 404, as before the venue's 2026 additions).
    pub amend: bool,
    /// Levels a side in books, 5 to 200.
    pub book_depth: usize,
}

impl Default for ExchangeConfig {
    fn default() -> Self {
        ExchangeConfig {
            attach: AttachPolicy::FirstFill,
            two_stops: TwoStops::Allow,
            leftovers: Leftovers::CancelWhole,
            maker_fee: Amount::new(2, 4),
            taker_fee: Amount::new(6, 4),
            amend: false,
            book_depth: 200,
        }
    }
}

/// The machine. Calls must come with times that do not go back; an earlier time counts as the last.
pub struct Exchange {
    config: ExchangeConfig,
    instruments: Instruments,
    terms: Vec<Terms>,
    markets: Vec<market::state::MarketState>,
    driver: advance::Driver,
    accounts: Vec<account::Account>,
    ledger: ledger::Ledger,
    ids: Ids,
    now: Wall,
    outbox: Vec<Event>,
    /// Accounts whose positions and balance changed since the last push.
    touched: Vec<AccountId>,
}

/// Running numbers, one sequence a kind, strictly increasing.
#[derive(Debug)]
struct Ids {
    order: u64,
    algo: u64,
    trade: u64,
    position: u64,
    history: u64,
    bill: u64,
}

impl Ids {
    fn new() -> Ids {
        Ids {
            order: 1_000_000_000_000,
            algo: 10_000_000,
            trade: 1_000_000,
            position: 700_000,
            history: 110_000_000,
            bill: 500_000,
        }
    }

    fn next(counter: &mut u64) -> u64 {
        *counter += 1;
        *counter
    }
}

// ---- Signatures (bodies in the files named) -------------------------------------------------
//
// mod.rs      Exchange::new(config: ExchangeConfig, market: Market) -> Exchange
//             start(&self) -> Wall              first instant of the market
//             now(&self) -> Wall
//             instruments(&self) -> &Instruments
//             terms(&self, InstrumentId) -> Option<&Terms>
//             config(&self) -> &ExchangeConfig
//             add_account(&mut self, key: &str, balance: Amount) -> AccountId
//             account_of(&self, key: &str) -> Option<AccountId>
//             deposit(&mut self, AccountId, Amount)          (demo-apply-money; negative = take)
//             set_interest(&mut self, InstrumentId, Interest)
//             set_instrument(&mut self, Instrument) -> bool  (suspend, limits; fault injection)
// advance.rs  advance(&mut self, now: Wall, events: &mut Vec<Event>)
//             next_event(&self) -> Option<Wall>
//             on_market(&mut self, now: Wall, &MarketEvent)  (Market::External)
//             drain(&mut self, events: &mut Vec<Event>)      (after a command, without playing on)
// command.rs  place(&mut self, AccountId, now: Wall, &NewOrder) -> Result<Ack, Code>
//             cancel(&mut self, AccountId, Wall, order_id: u64) -> Result<Ack, Code>
//             cancel_by_client(&mut self, AccountId, Wall, &ClientOrderId) -> Result<Ack, Code>
//             amend_order(&mut self, AccountId, Wall, order_id: u64, &Amend) -> Result<Ack, Code>
//             place_bracket(&mut self, AccountId, Wall, &NewBracket) -> Result<Ack, Code>
//             cancel_bracket(&mut self, AccountId, Wall, id: u64) -> Result<Ack, Code>
//             amend_bracket(&mut self, AccountId, Wall, id: u64, &Amend) -> Result<Ack, Code>
//             place_trigger(&mut self, AccountId, Wall, &NewTrigger) -> Result<Ack, Code>
//             cancel_trigger(&mut self, AccountId, Wall, id: u64) -> Result<Ack, Code>
//             close_position(&mut self, AccountId, Wall, InstrumentId, MarginMode, PositionSide,
//                            client_id: ClientOrderId) -> Result<Ack, Code>
//             set_leverage(&mut self, AccountId, Wall, InstrumentId, MarginMode, PositionSide, leverage: u16)
//                            -> Result<(), Code>
//             set_margin_mode(&mut self, AccountId, MarginMode) -> Result<(), Code>
//             set_position_mode(&mut self, AccountId, PositionMode) -> Result<(), Code>
//             system_cancel_bracket(&mut self, AccountId, Wall, id: u64) -> bool   (fault injection)
// query.rs    all lists newest first:
//             orders_open(&self, AccountId) -> impl Iterator<Item = &Order>
//             orders_final(&self, AccountId) -> impl Iterator<Item = &Order>
//             order(&self, AccountId, id: u64) -> Option<&Order>
//             order_by_client(&self, AccountId, &ClientOrderId) -> Option<&Order>
//             order_by_algo_client(&self, AccountId, &ClientOrderId) -> Option<&Order>
//             brackets_open / brackets_final / bracket / bracket_by_client     the same for brackets
//             triggers_open / triggers_final / trigger / trigger_by_client     the same for triggers
//             fills(&self, AccountId) -> impl Iterator<Item = &Fill>
//             positions(&self, AccountId) -> Vec<PositionRow>
//             position_history(&self, AccountId) -> impl Iterator<Item = &PositionHistoryRow>
//             funding_payments(&self, AccountId) -> impl Iterator<Item = &FundingPayment>
//             balance(&self, AccountId) -> BalanceRow
//             leverage / margin_mode / position_mode
//             price_range(&self, InstrumentId, Side) -> Option<(Amount, Amount)>     min, max
//             ticker(&self, InstrumentId) -> Option<TickerRow>
//             book(&self, InstrumentId, depth: usize) -> Option<BookRow>
//             trades(&self, InstrumentId) -> impl Iterator<Item = &PublicTrade>      last 100
//             mark(&self, InstrumentId) -> Option<MarkRow>
//             funding(&self, InstrumentId) -> Option<FundingRow>
//             funding_history(&self, InstrumentId) -> impl Iterator<Item = &FundingRow>
//             candles(&self, InstrumentId, Timeframe, after_ms: Option<i64>, before_ms: Option<i64>,
//                     limit: usize) -> Vec<(Candle, bool)>     bool = confirmed; both bounds exclusive
// ledger.rs   report(&self) -> LedgerReport
//             check_invariants(&self) -> Result<(), String>

impl Exchange {
    /// The margin mode of an account with no such id is cross; see `query.rs` for the other reads.
    pub fn margin_mode(&self, account: AccountId) -> MarginMode {
        self.accounts.get(account.index()).map_or(MarginMode::Cross, |account| account.margin_mode)
    }
}
