//! The embedded exchange: a pure machine with BloFin's rules behind any wire.
//!
//! It owns instruments, the market they trade on, accounts with their orders, brackets (TP/SL),
//! trigger orders and positions, and the ledger that judges them. It never reads a clock or opens a
//! socket: time comes in as [`Wall`], randomness from a seed, and what happened leaves as [`Event`]s.
//! The same calls in the same order give the same answers and events, on every machine.

mod account;
mod advance;
pub mod amount;
mod attach;
mod code;
mod command;
mod event;
mod fills;
mod funding;
mod ledger;
mod liquidation;
pub mod market;
mod matching;
mod order;
mod play;
mod position;
mod publish;
mod push;
mod query;
mod trigger;
mod validate;

use crate::model::{Instrument, InstrumentId, Instruments, Lots, Price, Timeframe, Wall};
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
    AccountId, Ack, Amend, Bracket, CancelSource, Category, Fill, Leg, LegKind, NewBracket, NewOrder,
    NewTrigger, Order, Trigger,
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
    stands_still: bool,
    accounts: Vec<account::Account>,
    ledger: ledger::Ledger,
    ids: Ids,
    now: Wall,
    outbox: Vec<Event>,
    /// Accounts whose positions and balance changed since the last push.
    touched: Vec<AccountId>,
    scratch_levels: Vec<(Price, Lots)>,
    scratch_ids: Vec<u64>,
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

impl Exchange {
    /// What fills cost from now on, in basis points of their notional: of an order that rested, and of one
    /// that did not. Below zero is a rebate.
    pub fn set_fees_bps(&mut self, maker: f64, taker: f64) {
        self.config.maker_fee = amount::of_f64(maker / 1e4);
        self.config.taker_fee = amount::of_f64(taker / 1e4);
    }

    /// An exchange on `market`, standing at the market's start. Levels a book are held to 5..=200.
    pub fn new(config: ExchangeConfig, market: Market) -> Exchange {
        let (driver, instruments, smallest) = advance::Driver::new(market);
        let mut markets = Vec::with_capacity(instruments.len());
        for (id, row) in instruments.iter() {
            let mut state = market::state::MarketState::new(id, row, smallest);
            for candle in driver.seed_rows(id) {
                state.candles.replace(candle);
                state.candles.close(candle.open_ms + smallest.ms(), |_, _| {});
            }
            if driver.remakes_past() {
                state.candles.forget_rows_but(Timeframe::H1);
            }
            markets.push(state);
        }
        let now = driver.start();
        let depth = config.book_depth.clamp(5, 200);
        let mut exchange = Exchange {
            config: ExchangeConfig {
                book_depth: depth,
                ..config
            },
            terms: instruments.iter().map(|(_, row)| Terms::of(row)).collect(),
            instruments,
            markets,
            driver,
            stands_still: false,
            accounts: Vec::new(),
            ledger: ledger::Ledger::default(),
            ids: Ids::new(),
            now,
            outbox: Vec::new(),
            touched: Vec::new(),
            scratch_levels: Vec::with_capacity(depth),
            scratch_ids: Vec::new(),
        };
        for index in 0..exchange.markets.len() {
            exchange.open_market(InstrumentId(index as u16));
        }
        exchange
    }

    /// The first instant of the market.
    pub fn start(&self) -> Wall {
        self.driver.start()
    }

    /// The latest time any call has brought.
    pub fn now(&self) -> Wall {
        self.now
    }

    pub fn config(&self) -> &ExchangeConfig {
        &self.config
    }

    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// The ledger's numbers of an instrument, its maintenance rate among them.
    pub fn terms(&self, instrument: InstrumentId) -> Option<&Terms> {
        self.terms.get(instrument.index())
    }

    /// A new account with `balance` USDT; a key that is known already keeps its account.
    pub fn add_account(&mut self, key: &str, balance: Amount) -> AccountId {
        if let Some(known) = self.account_of(key) {
            return known;
        }
        self.accounts.push(account::Account::new(key, balance));
        self.ledger.add_account();
        AccountId((self.accounts.len() - 1) as u16)
    }

    /// The account with this key.
    pub fn account_of(&self, key: &str) -> Option<AccountId> {
        let index = self.accounts.iter().position(|account| account.key == key)?;
        Some(AccountId(index as u16))
    }

    /// Adds `amount` to an account's cash (negative takes it away).
    pub fn deposit(&mut self, account: AccountId, amount: Amount) {
        if let Some(holder) = self.accounts.get_mut(account.index()) {
            holder.balance += amount;
            holder.deposits += amount;
            self.touch(account);
            self.flush();
        }
    }

    /// Says which market data of an instrument somebody listens to from now on.
    pub fn set_interest(&mut self, instrument: InstrumentId, interest: Interest) {
        let (depth, now_ms) = (self.config.book_depth, self.now.ms());
        let Some(market) = self.markets.get_mut(instrument.index()) else {
            return;
        };
        market.interest = interest;
        if !interest.has(channel::BOOK) {
            market.image = None;
        } else if market.image.is_none() {
            market.image = Some(Box::new(market.fresh_book(depth, now_ms)));
        }
    }

    /// What somebody listens to on an instrument.
    pub fn interest(&self, instrument: InstrumentId) -> Interest {
        self.markets
            .get(instrument.index())
            .map_or_else(Interest::default, |market| market.interest)
    }

    /// Lists an instrument that came after the start, in a market that somebody else plays. Its id, which
    /// follows the last one; `None` when the market makes its own instruments or the table is full.
    pub fn list(&mut self, row: Instrument) -> Option<InstrumentId> {
        if !self.driver.is_external() {
            return None;
        }
        let id = self.instruments.insert(row)?;
        if id.index() == self.markets.len() {
            let state = market::state::MarketState::new(id, &row, Timeframe::M1);
            self.markets.push(state);
            self.terms.push(Terms::of(&row));
        }
        Some(id)
    }

    /// Changes limits, leverage or the live flag of a known instrument; `false` for an unknown one
    /// and when tick, lot or contract value differ (positions are counted in them).
    pub fn set_instrument(&mut self, row: Instrument) -> bool {
        let known = self
            .instruments
            .id_of(row.symbol.as_bytes())
            .and_then(|id| self.instruments.get(id));
        let fits = known.is_some_and(|known| {
            known.tick_size == row.tick_size
                && known.lot_size == row.lot_size
                && known.contract_value == row.contract_value
        });
        fits && self.instruments.insert(row).is_some()
    }
}
