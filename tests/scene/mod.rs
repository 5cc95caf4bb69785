//! A gate with one instrument, a clock that the test turns, and words for what the venue says.
//!
//! Every input is followed by the gate's own invariants, so each scenario is also a check of them.

#![allow(dead_code)] // Each test file uses its part of the words.

use bytemuck::Zeroable;
use smart_scanner::model::client_id::{ClientOrderId, instance_tag};
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::orders::bracket::Capabilities;
use smart_scanner::risk::{BracketMode, BracketParams, Limits, TrailMode, TrailParams};
use smart_scanner::stage::gate::core::{Gate, GateParams};
use smart_scanner::stage::gate::core_outputs::Outputs;

pub const BTC: InstrumentId = InstrumentId(0);
pub const START_MS: i64 = 1_800_000_000_000;

pub fn decimal(text: &str) -> Decimal {
    Decimal::parse(text.as_bytes()).expect("a decimal")
}

pub fn instrument(symbol: &str) -> Instrument {
    Instrument {
        symbol: Symbol::parse(symbol).expect("a symbol"),
        tick_size: decimal("0.1"),
        lot_size: decimal("0.1"),
        contract_value: decimal("0.001"),
        min_lots: Lots(1),
        max_limit_lots: Lots(1_000_000),
        max_market_lots: Lots(100_000),
        max_leverage: 150,
        live: true,
        list_ms: 0,
    }
}

/// Autotrade on, brackets of 50 and 80 bps, no trailing: round numbers for scenarios.
pub fn params() -> GateParams {
    GateParams {
        limits: Limits {
            enable_autotrade: true,
            cooldown_sec: 120,
            ..Limits::default()
        },
        brackets: BracketParams {
            mode: BracketMode::Bps,
            ..BracketParams::default()
        },
        trail: TrailParams {
            enabled: false,
            ..TrailParams::default()
        },
        ..GateParams::default()
    }
}

pub fn two_brackets(params: GateParams) -> GateParams {
    GateParams {
        capabilities: Capabilities {
            two_brackets: true,
            ..Capabilities::default()
        },
        ..params
    }
}

/// A trailing stop 35 bps behind the best mark.
pub fn trailing(capabilities: Capabilities) -> GateParams {
    GateParams {
        capabilities,
        trail: TrailParams {
            mode: TrailMode::Bps,
            ..TrailParams::default()
        },
        ..params()
    }
}

/// 0.8 contracts of 0.001 BTC, 8 lots; the ask of 60,000.1 less and plus 50 and 80 bps.
pub const LONG_SL: i64 = 597_001;
pub const LONG_TP: i64 = 604_801;

/// The latest lookup of an order, not of a list.
pub fn lookup_of(scene: &Scene) -> Option<FetchRequest> {
    scene
        .fetches
        .iter()
        .rev()
        .find(|request| request.list == ListKind::OrderDetail as u8)
        .copied()
}

pub struct Scene {
    pub gate: Gate,
    pub now: Wall,
    pub commands: Vec<OrderCommand>,
    pub fetches: Vec<FetchRequest>,
    pub events: Vec<GateEvent>,
    pub outcomes: Vec<TradeOutcome>,
    pub answers: Vec<AlertAnswer>,
    pub update_ms: i64,
    signals: u64,
    venue_ids: u64,
    /// Lists are answered as empty or from these rows without the test's doing.
    pub answers_lists: bool,
    pub listed: Vec<AccountEvent>,
    /// What the venue's list of fills holds: an execution for each step of each order's lots.
    pub fills: Vec<AccountEvent>,
}

impl Scene {
    /// A gate that is synced, with a quote of 60,000.0 / 60,000.1 and 1,000 USDT.
    pub fn new(params: GateParams) -> Scene {
        let mut scene = Scene::unsynced(params);
        scene.sync();
        let mut config = scene.fact(AccountKind::Config);
        config.margin_mode = MarginMode::Cross as u8;
        config.detail = PositionMode::Net as u8;
        scene.account(config);
        config.detail = 0;
        config.leverage = 3;
        scene.account(config);
        scene.quote(60_000.0, 60_000.1);
        assert!(
            scene.gate.entries_enabled(),
            "{:?}",
            scene.gate.entries_off_reason()
        );
        scene.clear();
        scene
    }

    pub fn unsynced(params: GateParams) -> Scene {
        let mut instruments = Instruments::new();
        for symbol in ["BTC-USDT", "ETH-USDT", "SOL-USDT"] {
            instruments.insert(instrument(symbol));
        }
        Scene {
            gate: Gate::new(params, instruments, instance_tag("default"), 1),
            now: Wall::from_ms(START_MS),
            commands: Vec::new(),
            fetches: Vec::new(),
            events: Vec::new(),
            outcomes: Vec::new(),
            answers: Vec::new(),
            update_ms: START_MS,
            signals: 0,
            venue_ids: 1_000,
            answers_lists: true,
            listed: Vec::new(),
            fills: Vec::new(),
        }
    }

    /// The socket comes up and every list is read.
    pub fn sync(&mut self) {
        let up = self.fact(AccountKind::SocketUp);
        self.account(up);
        let mut balance = self.fact(AccountKind::Balance);
        balance.equity = 1_000.0;
        balance.available = 1_000.0;
        self.account(balance);
        self.run_ms(10);
    }

    pub fn clear(&mut self) {
        self.commands.clear();
        self.fetches.clear();
        self.events.clear();
        self.outcomes.clear();
    }

    fn input(&mut self, act: impl FnOnce(&mut Gate, Wall, &mut Outputs)) {
        let mut out = Outputs::default();
        act(&mut self.gate, self.now, &mut out);
        self.gate.check_invariants().expect("the gate's invariants");
        let is_sent = |event: &&GateEvent| event.kind == GateEventKind::OrderSent as u8;
        let told: Vec<u8> = out
            .events
            .iter()
            .filter(is_sent)
            .map(|event| event.command)
            .collect();
        let sent: Vec<u8> = out.commands.iter().map(|command| command.kind).collect();
        assert_eq!(told, sent, "a line for every command, in their order");
        self.commands.extend(out.commands.iter().copied());
        self.events.extend(out.events.iter().copied());
        self.outcomes.extend(out.outcomes.iter().copied());
        self.answers.extend(out.answers.iter().copied());
        let fetches: Vec<FetchRequest> = out.fetches.iter().copied().collect();
        self.fetches.extend(&fetches);
        if self.answers_lists {
            for request in fetches {
                self.answer_list(&request);
            }
        }
    }

    /// Ends a list well, with the rows of `listed` that belong to it.
    pub fn answer_list(&mut self, request: &FetchRequest) {
        let kind = match ListKind::from_code(request.list) {
            Some(ListKind::OrdersPending | ListKind::OrdersHistory) => AccountKind::Order,
            Some(ListKind::BracketsPending | ListKind::AlgosPending) => AccountKind::Bracket,
            Some(ListKind::Positions) => AccountKind::Position,
            Some(ListKind::Balance | ListKind::Config) => AccountKind::Balance,
            Some(ListKind::Leverage) => AccountKind::Config,
            Some(ListKind::Fills) => AccountKind::Fill,
            _ => return,
        };
        if kind == AccountKind::Fill {
            for mut fill in self.fills.clone() {
                fill.token = request.token;
                if request.venue_id == fill.order_id {
                    self.account(fill);
                }
            }
        }
        for row in self.listed.clone() {
            // A row that names no list stands in every one of its kind but that of trigger orders.
            let anywhere = row.list == 0 && request.list != ListKind::AlgosPending as u8;
            let matches_list = anywhere || row.list == request.list;
            let is_untrusted = row.kind == AccountKind::Untrusted as u8;
            if (row.kind == kind as u8 || is_untrusted) && matches_list {
                let mut row = row;
                row.token = request.token;
                row.list = request.list;
                self.account(row);
            }
        }
        let mut end = self.fact(AccountKind::ListComplete);
        end.token = request.token;
        end.list = request.list;
        self.account(end);
    }

    pub fn run_ms(&mut self, ms: i64) {
        let target = Wall::from_ms(self.now.ms() + ms);
        let mut turns = 0;
        while let Some(at) = self.gate.next_timer().filter(|at| *at <= target) {
            self.now = Wall(self.now.0.max(at.0));
            self.input(|gate, now, out| gate.on_timer(now, out));
            turns += 1;
            assert!(
                turns < 10_000,
                "a timer does not move: {at:?}, now {:?}",
                self.now
            );
        }
        self.now = target;
    }

    pub fn signal(&mut self, side: Side) -> u64 {
        let signal = self.make_signal(BTC, side);
        self.input(|gate, now, out| gate.on_signal(&signal, now, out));
        signal.id
    }

    pub fn send_signal(&mut self, signal: &Signal) {
        self.input(|gate, now, out| gate.on_signal(signal, now, out));
    }

    pub fn send_alert(&mut self, alert: &Alert) {
        self.input(|gate, now, out| gate.on_alert(alert, now, out));
    }

    pub fn make_signal(&mut self, instrument: InstrumentId, side: Side) -> Signal {
        self.signals += 1;
        let mut signal = Signal::zeroed();
        signal.id = (1 << 40) | self.signals;
        signal.instrument = instrument.0;
        signal.timeframe = Timeframe::M5 as u8;
        signal.side = side as u8;
        signal.open_ms = self.now.ms() - Timeframe::M5.ms();
        signal.score = 5.0;
        signal.probability = 0.7;
        signal.ev_r = 0.4;
        signal.cost_r = 0.24;
        signal.price = 60_000.0;
        signal.quote_volume = 1e7;
        signal
    }

    pub fn quote(&mut self, bid: f64, ask: f64) {
        self.quote_of(BTC, bid, ask);
    }

    pub fn quote_of(&mut self, instrument: InstrumentId, bid: f64, ask: f64) {
        let mut tick = Tick::new(TickKind::Quote, instrument, self.now.ms());
        tick.v[0] = bid;
        tick.v[1] = ask;
        tick.v[4] = (bid + ask) / 2.0;
        self.tick(&tick);
        let mut mark = Tick::new(TickKind::Mark, instrument, self.now.ms());
        mark.v[0] = (bid + ask) / 2.0;
        self.tick(&mark);
    }

    pub fn tick(&mut self, tick: &Tick) {
        self.input(|gate, now, out| gate.on_tick(tick, now, out));
    }

    pub fn fact(&self, kind: AccountKind) -> AccountEvent {
        let mut fact = AccountEvent::zeroed();
        fact.kind = kind as u8;
        fact.position_side = PositionSide::Net as u8;
        fact.update_ms = self.now.ms();
        fact
    }

    /// One fact of the venue; what an order has filled more is in the list of fills from now on.
    pub fn account(&mut self, fact: AccountEvent) {
        if fact.kind == AccountKind::Order as u8 {
            self.note_fill(&fact);
        }
        self.input(|gate, now, out| gate.on_account(&fact, now, out));
    }

    fn note_fill(&mut self, order: &AccountEvent) {
        let of_order = |fill: &&AccountEvent| fill.order_id == order.venue_id;
        let known: Vec<&AccountEvent> = self.fills.iter().filter(of_order).collect();
        let lots = order.filled_lots - known.iter().map(|fill| fill.size_lots).sum::<i64>();
        if lots <= 0 {
            return;
        }
        let value: f64 = known
            .iter()
            .map(|fill| fill.size_lots as f64 * fill.average_price)
            .sum();
        let fee: f64 = known.iter().map(|fill| fill.fee).sum();
        let mut fill = self.fact(AccountKind::Fill);
        fill.venue_id = 500_000 + self.fills.len() as u64;
        fill.order_id = order.venue_id;
        fill.side = order.side;
        fill.size_lots = lots;
        fill.average_price = (order.average_price * order.filled_lots as f64 - value) / lots as f64;
        fill.fee = order.fee - fee;
        self.fills.push(fill);
    }

    pub fn venue_id(&mut self) -> u64 {
        self.venue_ids += 1;
        self.venue_ids
    }

    /// The last command of `kind`; panics with all commands when there is none.
    pub fn last(&self, kind: CommandKind) -> OrderCommand {
        *self
            .commands
            .iter()
            .rev()
            .find(|command| command.kind == kind as u8)
            .unwrap_or_else(|| panic!("no {kind:?} among {:?}", self.kinds()))
    }

    pub fn kinds(&self) -> Vec<CommandKind> {
        self.commands
            .iter()
            .map(|command| CommandKind::from_code(command.kind).expect("a kind"))
            .collect()
    }

    pub fn count(&self, kind: CommandKind) -> usize {
        self.kinds().into_iter().filter(|sent| *sent == kind).count()
    }

    pub fn reply(&mut self, command: &OrderCommand, outcome: Outcome, venue_id: u64) {
        self.reply_code(command, outcome, venue_id, 0);
    }

    pub fn reply_code(&mut self, command: &OrderCommand, outcome: Outcome, venue_id: u64, code: u32) {
        let mut reply = SendReply::zeroed();
        reply.call = command.call;
        reply.kind = command.kind;
        reply.outcome = outcome as u8;
        reply.instrument = command.instrument;
        reply.venue_id = venue_id;
        reply.venue_code = code;
        reply.signed_ns = self.now.0;
        reply.client_id = command.client_id;
        self.input(|gate, now, out| gate.on_reply(&reply, now, out));
    }

    pub fn send_reply(&mut self, reply: &SendReply) {
        self.input(|gate, now, out| gate.on_reply(reply, now, out));
    }

    /// The state of an order of ours, as pushed.
    pub fn order(
        &mut self,
        command: &OrderCommand,
        venue_id: u64,
        state: OrderState,
        filled: i64,
        price: f64,
    ) -> AccountEvent {
        let mut fact = self.fact(AccountKind::Order);
        fact.client_id = command.client_id;
        fact.venue_id = venue_id;
        fact.side = command.side;
        fact.reduce_only = command.reduce_only;
        fact.state = state as u8;
        fact.size_lots = command.size_lots;
        fact.filled_lots = filled;
        fact.average_price = if filled > 0 { price } else { 0.0 };
        fact.fee = filled as f64 * 0.0001 * price * 0.0006;
        fact
    }

    /// An order that somebody else made: a bracket (1 tp, 2 sl), a liquidation (5), the user (0).
    pub fn foreign_order(&mut self, side: Side, lots: i64, price: f64, category: u8) -> AccountEvent {
        let mut fact = self.fact(AccountKind::Order);
        fact.venue_id = self.venue_id();
        fact.side = side as u8;
        fact.reduce_only = 1;
        fact.state = OrderState::Filled as u8;
        fact.size_lots = lots;
        fact.filled_lots = lots;
        fact.average_price = price;
        fact.fee = lots as f64 * 0.0001 * price * 0.0006;
        fact.category = category;
        fact
    }

    pub fn bracket(
        &mut self,
        venue_id: u64,
        side: Side,
        lots: i64,
        sl: i64,
        tp: i64,
        state: OrderState,
    ) -> AccountEvent {
        let mut fact = self.fact(AccountKind::Bracket);
        fact.venue_id = venue_id;
        fact.side = side as u8;
        fact.size_lots = lots;
        fact.sl_ticks = sl;
        fact.tp_ticks = tp;
        fact.state = state as u8;
        fact.reduce_only = 1;
        fact
    }

    /// The complete set of positions is: BTC with `lots` at `price`, or nothing.
    pub fn position(&mut self, lots: i64, price: f64) {
        if lots != 0 {
            let mut row = self.fact(AccountKind::Position);
            row.size_lots = lots;
            row.average_price = price;
            row.mark_price = price;
            self.account(row);
        }
        let end = self.fact(AccountKind::PositionsComplete);
        self.account(end);
    }

    /// Enters on a signal and fills it whole at `price`, the attached bracket standing. Returns the
    /// entry and the id of the bracket.
    pub fn enter(&mut self, side: Side, price: f64) -> (OrderCommand, u64) {
        self.signal(side);
        let entry = self.last(CommandKind::Place);
        let venue_id = self.venue_id();
        self.reply(&entry, Outcome::Accepted, venue_id);
        let filled = self.order(&entry, venue_id, OrderState::Filled, entry.size_lots, price);
        self.account(filled);
        let lots = side.sign() * entry.size_lots;
        self.position(lots, price);
        let bracket_id = self.venue_id();
        let row = self.bracket(
            bracket_id,
            side.opposite(),
            entry.size_lots,
            entry.sl_ticks,
            entry.tp_ticks,
            OrderState::Live,
        );
        self.account(row);
        self.listed = vec![row];
        let mut held = self.fact(AccountKind::Position);
        held.size_lots = lots;
        held.average_price = price;
        held.mark_price = price;
        self.listed.push(held);
        (entry, bracket_id)
    }

    /// The bracket fires: the row ends, its order fills, the position is gone.
    pub fn trigger(&mut self, entry: &OrderCommand, bracket_id: u64, leg: u8, price: f64) {
        let side = Side::from_code(entry.side).expect("a side").opposite();
        let mut row = self.bracket(
            bracket_id,
            side,
            entry.size_lots,
            entry.sl_ticks,
            entry.tp_ticks,
            OrderState::Effective,
        );
        row.detail = leg;
        self.account(row);
        let fill = self.foreign_order(side, entry.size_lots, price, leg);
        self.account(fill);
        self.listed.clear();
        self.position(0, 0.0);
    }

    /// The bracket fires and the venue refuses its order: the gate closes the position. Returns the close.
    pub fn leave(&mut self, entry: &OrderCommand, bracket_id: u64) -> OrderCommand {
        let side = Side::from_code(entry.side).expect("a side").opposite();
        let (sl, tp) = (entry.sl_ticks, entry.tp_ticks);
        let failed = OrderState::OrderFailed;
        let row = self.bracket(bracket_id, side, entry.size_lots, sl, tp, failed);
        self.clear();
        self.account(row);
        self.commands[0]
    }

    pub fn closed(&self) -> Vec<GateEvent> {
        self.events
            .iter()
            .copied()
            .filter(|event| event.kind == GateEventKind::TradeClosed as u8)
            .collect()
    }

    pub fn refusals(&self, reason: Reason) -> u64 {
        self.gate.counters().refusals[reason.index()]
    }

    pub fn id_of(&self, text: &str) -> ClientOrderId {
        ClientOrderId::parse(text.as_bytes()).expect("an id")
    }
}
