//! The one door: nothing leaves for the venue that has not passed `check` or `check_exit`.
//!
//! [`Approved`] has a private field, so only this file can make one. `check` takes a proposal and
//! everything the decision may depend on, and returns the order to send or the first limit that it
//! breaks. It never reads a clock, keeps no state and sends nothing.

use super::bracket_plan::{self, Plan, PlanRequest, ceil_tick, floor_tick};
use super::params::{BracketParams, EntryStyle, Limits};
use super::scales::{Notes, Scales};
use super::sizing::{self, SizeRequest};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{Instrument, InstrumentId, Lots, OrderType, Price, Reason, Side, Wall};
use arrayvec::ArrayVec;

/// Proof that its content passed the checks of this file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Approved<T>(T);

impl<T: Copy> Approved<T> {
    pub fn get(&self) -> T {
        self.0
    }
}

/// A wish to enter, from a signal or an alert.
#[derive(Clone, Copy, Debug)]
pub struct Proposal {
    pub instrument: InstrumentId,
    pub side: Side,
    pub score: f64,
    pub probability: f64,
    /// Expected value as the proposer reckoned it; `None` = computed from the plan.
    pub ev_r: Option<f64>,
    /// Cost as the proposer reckoned it; the plan's own counts when it is higher.
    pub cost_r: f64,
    /// Price the opinion was formed at; 0 when it has none.
    pub price: f64,
    /// ATR14 of its series, 0 when absent.
    pub atr: f64,
    /// Level for the stop, 0 when none.
    pub level: f64,
    /// 24 h quote volume, 0 when unknown.
    pub quote_volume: f64,
    pub panic: bool,
    /// When the opinion was formed: the close of its candle, or the arrival of the alert.
    pub formed: Wall,
    /// It was proposed before.
    pub duplicate: bool,
}

/// The market of the instrument at the moment of decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Market {
    /// 0 when there has been no quote.
    pub bid: f64,
    pub ask: f64,
    pub last: f64,
    pub mark: f64,
    pub quote_time: Wall,
    /// `decode` said that the data cannot be believed.
    pub stale: bool,
    pub flow: OrderFlow,
}

impl Market {
    pub fn has_quote(&self) -> bool {
        self.bid > 0.0 && self.ask > self.bid && self.ask.is_finite()
    }

    /// Distance between the best prices in basis points of their middle.
    pub fn spread_bps(&self) -> f64 {
        2e4 * (self.ask - self.bid) / (self.ask + self.bid)
    }
}

/// Order flow as last known.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderFlow {
    /// False when the book is absent or stale.
    pub ready: bool,
    pub depth_bid_usd: f64,
    pub depth_ask_usd: f64,
    /// False when the tape is absent, young, thin or stale.
    pub tape_ready: bool,
    pub trades_per_min: f64,
    pub notional_per_min_usd: f64,
}

/// Our account at the moment of decision, seen from one instrument.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountView {
    pub kill_switch: bool,
    pub shutting_down: bool,
    pub journal_full: bool,
    pub synced: bool,
    /// Margin or position mode of the account is not ours.
    pub modes_differ: bool,
    /// The venue refused our credentials.
    pub auth_refused: bool,
    /// Another daemon has orders on the account.
    pub other_instance: bool,
    /// The account holds something in an instrument that is not followed.
    pub holding_unknown: bool,
    /// A row of the account about this instrument cannot be read.
    pub row_unreadable: bool,
    pub private_feed_up: bool,
    /// A position that a second entry would merge with.
    pub position_open: bool,
    /// An entry of this instrument that may still execute.
    pub order_in_flight: bool,
    /// Open positions and entries in flight, of all instruments.
    pub open_count: u32,
    /// USD of open positions at mark and of entries in flight, unknown ones included.
    pub exposure_usd: f64,
    pub available_usd: f64,
    /// Last entry or exit of this instrument; 0 = never.
    pub last_activity: Wall,
    pub entries_last_hour: u32,
    /// Realised result of the UTC day, net of fees.
    pub realised_today_usd: f64,
    pub consecutive_losses: u32,
    /// Calls the entry itself needs.
    pub calls_needed: u32,
    pub calls_left_entry: u32,
    pub calls_left_protect: u32,
    /// The venue refused the leverage we want for this instrument.
    pub leverage_refused: bool,
    /// The commands would not fit on their way.
    pub send_busy: bool,
}

/// Calls that protecting one entry may take: placing a stop of its own, and closing.
pub const PROTECTION_CALLS: u32 = 2;

/// Everything a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub limits: &'a Limits,
    pub brackets: &'a BracketParams,
    pub instrument: &'a Instrument,
    pub market: &'a Market,
    pub account: &'a AccountView,
    pub now: Wall,
}

/// An entry that may be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    pub instrument: InstrumentId,
    pub side: Side,
    pub order_type: OrderType,
    /// Worst price accepted; sent with limit types only.
    pub price: Price,
    pub lots: Lots,
    pub leverage: u16,
    pub plan: Plan,
    /// Price the bracket was planned from.
    pub reference: f64,
    pub notional_usd: f64,
    pub ev_r: f64,
}

/// One comparison of the gate, for explanations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateLine {
    pub gate: Reason,
    pub value: f64,
    pub limit: f64,
    pub passed: bool,
}

/// Every comparison up to and including the one that failed.
pub type GateReport = ArrayVec<GateLine, 40>;

/// The order that `proposal` becomes, or the first limit it breaks. Fills `report` when given.
pub fn check(
    proposal: &Proposal,
    context: &Context<'_>,
    report: Option<&mut GateReport>,
) -> Result<Approved<Order>, Reason> {
    match report {
        Some(report) => weigh(Scales { report }, proposal, context),
        None => weigh(Scales { report: () }, proposal, context),
    }
}

fn weigh<R: Notes>(
    mut scales: Scales<R>,
    proposal: &Proposal,
    context: &Context<'_>,
) -> Result<Approved<Order>, Reason> {
    check_switches(&mut scales, proposal.duplicate, context)?;
    check_opinion(&mut scales, proposal, context)?;
    check_market(&mut scales, context)?;
    check_account(&mut scales, context)?;

    let entry = match proposal.side {
        Side::Buy => context.market.ask,
        Side::Sell => context.market.bid,
    };
    let leverage = context.limits.leverage.min(context.instrument.max_leverage);
    scales.holds(
        Reason::LeverageHigh,
        leverage > 0 && !context.account.leverage_refused,
    )?;
    let plan = check_plan(&mut scales, proposal, context, entry, leverage)?;
    let ev_r = proposal
        .ev_r
        .unwrap_or_else(|| expected_value(proposal.probability, &plan));
    scales.at_least(Reason::ExpectedValueLow, ev_r, context.limits.ev_r_min)?;

    let worst = worst_price(context.limits, context.market, proposal.side);
    let lot_price = if proposal.side == Side::Buy { worst } else { entry };
    let request = size_request(context, lot_price, leverage, plan.sl_fraction);
    let size = scales.result(sizing::size(context.instrument, context.limits, &request))?;
    Ok(Approved(Order {
        instrument: proposal.instrument,
        side: proposal.side,
        order_type: order_type(context.limits),
        price: worst_ticks(context, worst, proposal.side),
        lots: size.lots,
        leverage,
        plan,
        reference: entry,
        notional_usd: size.notional_usd,
        ev_r,
    }))
}

/// ev_R = p·(TP/SL − cost) − (1 − p)·(1 + cost), quant §5.
pub fn expected_value(probability: f64, plan: &Plan) -> f64 {
    probability * (plan.reward_r - plan.cost_r) - (1.0 - probability) * (1.0 + plan.cost_r)
}

fn check_switches<R: Notes>(
    scales: &mut Scales<R>,
    duplicate: bool,
    context: &Context<'_>,
) -> Result<(), Reason> {
    let account = context.account;
    scales.holds(Reason::AutotradeOff, context.limits.enable_autotrade)?;
    scales.holds(Reason::KillSwitch, !account.kill_switch)?;
    scales.holds(Reason::ShuttingDown, !account.shutting_down)?;
    scales.holds(Reason::JournalFull, !account.journal_full)?;
    scales.holds(Reason::Duplicate, !duplicate)?;
    scales.holds(Reason::PrivateFeedDown, account.private_feed_up)?;
    scales.holds(Reason::AuthRefused, !account.auth_refused)?;
    scales.holds(Reason::ModesDiffer, !account.modes_differ)?;
    scales.holds(Reason::OtherInstance, !account.other_instance)?;
    scales.holds(Reason::AccountUnsynced, account.synced)?;
    scales.holds(Reason::HoldingUnknown, !account.holding_unknown)?;
    scales.holds(Reason::RowUnreadable, !account.row_unreadable)?;
    scales.holds(Reason::InstrumentSuspended, context.instrument.live)
}

fn check_opinion<R: Notes>(
    scales: &mut Scales<R>,
    proposal: &Proposal,
    context: &Context<'_>,
) -> Result<(), Reason> {
    let limits = context.limits;
    let age_ms = context.now.since(proposal.formed) / NS_PER_MS;
    scales.at_most(
        Reason::Expired,
        age_ms as f64,
        f64::from(limits.signal_age_ms_max),
    )?;
    scales.at_least(Reason::ScoreLow, proposal.score, limits.score_min)?;
    scales.at_least(
        Reason::ProbabilityLow,
        proposal.probability,
        limits.probability_min,
    )?;
    if limits.quote_volume_min > 0.0 {
        scales.at_least(Reason::VolumeLow, proposal.quote_volume, limits.quote_volume_min)?;
    }
    Ok(())
}

fn check_market<R: Notes>(scales: &mut Scales<R>, context: &Context<'_>) -> Result<(), Reason> {
    let market = context.market;
    scales.holds(Reason::DataStale, !market.stale)?;
    scales.holds(Reason::QuoteAbsent, market.has_quote())?;
    let age_ms = context.now.since(market.quote_time) / NS_PER_MS;
    scales.at_most(
        Reason::DataStale,
        age_ms as f64,
        f64::from(context.limits.quote_age_ms_max),
    )?;
    let limits = &context.limits.order_flow;
    if !limits.enabled {
        return Ok(());
    }
    let flow = &market.flow;
    if !flow.ready {
        // Absent data blocks when strict, and otherwise neither blocks nor passes.
        return scales.holds(Reason::OrderFlowNotReady, !limits.strict);
    }
    if limits.spread_bps_max > 0.0 {
        scales.at_most(Reason::Spread, market.spread_bps(), limits.spread_bps_max)?;
    }
    let notional_usd = flow.notional_per_min_usd;
    if flow.tape_ready {
        at_least_if_on(
            scales,
            Reason::TradesFew,
            flow.trades_per_min,
            limits.trades_per_min_min,
        )?;
        at_least_if_on(
            scales,
            Reason::NotionalLow,
            notional_usd,
            limits.notional_per_min_usd_min,
        )?;
    } else {
        scales.holds(Reason::OrderFlowNotReady, !limits.strict)?;
    }
    let depth_usd = flow.depth_bid_usd.min(flow.depth_ask_usd);
    at_least_if_on(scales, Reason::DepthLow, depth_usd, limits.depth_usd_min)
}

/// A limit of 0 is off.
fn at_least_if_on<R: Notes>(
    scales: &mut Scales<R>,
    gate: Reason,
    value: f64,
    limit: f64,
) -> Result<(), Reason> {
    if limit > 0.0 {
        scales.at_least(gate, value, limit)?;
    }
    Ok(())
}

fn check_account<R: Notes>(scales: &mut Scales<R>, context: &Context<'_>) -> Result<(), Reason> {
    let (limits, account) = (context.limits, context.account);
    scales.holds(Reason::OrderInFlight, !account.order_in_flight)?;
    scales.holds(Reason::PositionOpen, !account.position_open)?;
    let quiet_sec = context.now.since(account.last_activity) / NS_PER_SEC;
    if account.last_activity > Wall(0) {
        scales.at_least(Reason::Cooldown, quiet_sec as f64, f64::from(limits.cooldown_sec))?;
    }
    let count = |value: u32| f64::from(value);
    scales.line(
        Reason::PositionsMax,
        count(account.open_count),
        count(limits.positions_max),
        account.open_count < limits.positions_max,
    )?;
    scales.below(
        Reason::EntriesPerHour,
        count(account.entries_last_hour),
        count(limits.entries_per_hour_max),
    )?;
    scales.below(
        Reason::DailyLoss,
        -account.realised_today_usd,
        limits.daily_loss_usd_max,
    )?;
    scales.below(
        Reason::ConsecutiveLosses,
        count(account.consecutive_losses),
        count(limits.consecutive_losses_max),
    )?;
    scales.holds(Reason::SendBusy, !account.send_busy)?;
    scales.at_least(
        Reason::BudgetSpent,
        count(account.calls_left_entry),
        count(account.calls_needed),
    )?;
    scales.at_least(
        Reason::BudgetSpent,
        count(account.calls_left_protect),
        count(account.calls_needed + PROTECTION_CALLS),
    )
}

/// The bracket at `entry`, if its risk, its cost and the way of the price allow one.
fn check_plan<R: Notes>(
    scales: &mut Scales<R>,
    proposal: &Proposal,
    context: &Context<'_>,
    entry: f64,
    leverage: u16,
) -> Result<Plan, Reason> {
    let limits = context.limits;
    let plan = bracket_plan::plan(
        context.brackets,
        &PlanRequest {
            side: proposal.side,
            entry,
            tick: context.instrument.tick_f64(),
            atr: proposal.atr,
            level: proposal.level,
            spread_bps: context.market.spread_bps(),
            panic: proposal.panic,
            leverage,
        },
    );
    let plan = scales.result(plan)?;
    if proposal.price > 0.0 {
        let moved_r = (entry - proposal.price).abs() / plan.risk;
        scales.at_most(Reason::PriceMoved, moved_r, limits.price_moved_r_max)?;
    }
    // A NaN cost must not hide behind `max`.
    let cost_r = if proposal.cost_r > plan.cost_r || proposal.cost_r.is_nan() {
        proposal.cost_r
    } else {
        plan.cost_r
    };
    scales.at_most(Reason::CostHigh, cost_r, limits.cost_r_max)?;
    Ok(plan)
}

/// The touch, worse by ORDER_SLIPPAGE_BPS.
fn worst_price(limits: &Limits, market: &Market, side: Side) -> f64 {
    let slip = limits.slippage_bps / 1e4;
    match side {
        Side::Buy => market.ask * (1.0 + slip),
        Side::Sell => market.bid * (1.0 - slip),
    }
}

/// A wish to raise a position of ours to the smallest margin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopUp {
    pub side: Side,
    /// Lots that are open.
    pub held: i64,
    pub leverage: u16,
}

/// Lots that may be added to a position, and the worst price for them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Addition {
    pub order_type: OrderType,
    pub price: Price,
    pub lots: Lots,
}

/// What may be added, if everything that stops an entry, apart from the opinion, lets it.
pub fn check_top_up(top_up: TopUp, context: &Context<'_>) -> Result<Approved<Addition>, Reason> {
    let mut scales = Scales { report: () };
    check_switches(&mut scales, false, context)?;
    check_market(&mut scales, context)?;
    let account = context.account;
    scales.holds(Reason::SendBusy, !account.send_busy)?;
    let calls = f64::from(1 + PROTECTION_CALLS);
    scales.at_least(Reason::BudgetSpent, f64::from(account.calls_left_entry), 1.0)?;
    scales.at_least(Reason::BudgetSpent, f64::from(account.calls_left_protect), calls)?;
    let worst = worst_price(context.limits, context.market, top_up.side);
    let touch = match top_up.side {
        Side::Buy => worst,
        Side::Sell => context.market.bid,
    };
    let size = sizing::top_up(
        context.instrument,
        context.limits,
        &size_request(context, touch, top_up.leverage, 0.0),
        top_up.held,
    )?;
    Ok(Approved(Addition {
        order_type: order_type(context.limits),
        price: worst_ticks(context, worst, top_up.side),
        lots: size.lots,
    }))
}

fn size_request(context: &Context<'_>, price: f64, leverage: u16, sl_fraction: f64) -> SizeRequest {
    let (limits, account) = (context.limits, context.account);
    SizeRequest {
        price,
        leverage,
        exposure_room_usd: limits.exposure_usd_max - account.exposure_usd,
        available_usd: limits.check_balance.then_some(account.available_usd),
        taker_fee_bps: context.brackets.taker_fee_bps,
        sl_fraction,
    }
}

fn order_type(limits: &Limits) -> OrderType {
    match limits.entry_style {
        EntryStyle::Market => OrderType::Market,
        EntryStyle::IocLimit => OrderType::Ioc,
    }
}

/// Never worse than the settings say: a buy rounds down, a sell up.
fn worst_ticks(context: &Context<'_>, worst: f64, side: Side) -> Price {
    let ticks = worst / context.instrument.tick_f64();
    let price = match side {
        Side::Buy => floor_tick(ticks),
        Side::Sell => ceil_tick(ticks),
    };
    Price(price.max(1))
}

/// A wish to reduce or protect a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exit {
    pub instrument: InstrumentId,
    /// Side of the order: the opposite of the position's.
    pub side: Side,
    /// Lots to close, −1 = all of it.
    pub lots: i64,
    /// Triggers; both 0 = at market, now.
    pub sl_ticks: i64,
    pub tp_ticks: i64,
}

/// Why an exit may not leave. It would be a bug of the caller, not a choice of the trader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitRefused {
    NoPosition,
    WrongSide,
    TooLarge,
    BadTrigger,
}

/// The exit, if all it can do is reduce the position of `position_lots` (signed).
pub fn check_exit(exit: Exit, position_lots: i64) -> Result<Approved<Exit>, ExitRefused> {
    if position_lots == 0 {
        return Err(ExitRefused::NoPosition);
    }
    if exit.side.sign() == position_lots.signum() {
        return Err(ExitRefused::WrongSide);
    }
    if exit.lots != -1 && (exit.lots < 1 || exit.lots > position_lots.abs()) {
        return Err(ExitRefused::TooLarge);
    }
    let below = |low: i64, high: i64| low == 0 || high == 0 || low < high;
    let ordered = match exit.side {
        Side::Sell => below(exit.sl_ticks, exit.tp_ticks),
        Side::Buy => below(exit.tp_ticks, exit.sl_ticks),
    };
    if exit.sl_ticks < 0 || exit.tp_ticks < 0 || !ordered {
        return Err(ExitRefused::BadTrigger);
    }
    Ok(Approved(exit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_only_reduce() {
        let exit = Exit {
            instrument: InstrumentId(0),
            side: Side::Sell,
            lots: 5,
            sl_ticks: 90,
            tp_ticks: 110,
        };
        assert!(check_exit(exit, 5).is_ok());
        assert!(check_exit(Exit { lots: -1, ..exit }, 5).is_ok());
        assert_eq!(check_exit(exit, 0), Err(ExitRefused::NoPosition));
        assert_eq!(check_exit(exit, -5), Err(ExitRefused::WrongSide));
        assert_eq!(check_exit(exit, 4), Err(ExitRefused::TooLarge));
        assert_eq!(
            check_exit(Exit { lots: 0, ..exit }, 4),
            Err(ExitRefused::TooLarge)
        );
        assert_eq!(
            check_exit(
                Exit {
                    sl_ticks: 120,
                    ..exit
                },
                5
            ),
            Err(ExitRefused::BadTrigger)
        );
        let cover = Exit {
            side: Side::Buy,
            sl_ticks: 110,
            tp_ticks: 90,
            ..exit
        };
        assert!(check_exit(cover, -5).is_ok());
    }
}
