//! The gate's memory as bytes: intents, trades, cooldowns, and what must not be forgotten.
//!
//! Written after every decision to enter and before the first byte of it leaves, so that a killed
//! run is never surprised by its own orders. Instruments are named by symbol, because their numbers
//! belong to one run. What the venue knows better (positions, stops that stand) is read from it.
//!
//! ```text
//! Head · trades × TradeImage · orders × OrderImage · brackets × BracketImage
//!      · activities × ActivityImage · seen × SeenImage · entries × u64
//! ```

use super::core::{Day, Desk, ENTRIES_MAX, Gate, SEEN_MAX};
use super::core_image::{
    ActivityImage, BracketImage, Head, MAGIC, OrderImage, Reader, SeenImage, TradeImage, VERSION, Writer,
};
use super::core_trust::Distrust;
use crate::model::instrument::SYMBOL_MAX;
use crate::model::message::{ListKind, NO_INSTRUMENT};
use crate::model::{INSTRUMENTS_MAX, InstrumentId, OrderType, PositionSide, Reason, Side, Symbol, Wall};
use crate::orders::book::{BRACKETS_MAX, BracketRow, FillRead, ORDERS_MAX, Order, OrderRole};
use crate::orders::bracket::{CloseCause, Guard};
use crate::orders::lifecycle::{Progress, State};
use crate::orders::lookup::Lookup;
use crate::orders::trade::{ExitKind, Filled, Stage, TRADES_MAX, Trade};
use crate::risk::trailing::{TrailStage, TrailState};
use std::collections::BTreeSet;

/// Bytes that a snapshot can need at most.
pub const SNAPSHOT_MAX: usize = size_of::<Head>()
    + TRADES_MAX * size_of::<TradeImage>()
    + ORDERS_MAX * size_of::<OrderImage>()
    + BRACKETS_MAX * size_of::<BracketImage>()
    + INSTRUMENTS_MAX * size_of::<ActivityImage>()
    + SEEN_MAX * size_of::<SeenImage>()
    + ENTRIES_MAX * size_of::<u64>();

/// The instruments in which an image has a trade, an order or a bracket.
pub fn symbols(bytes: &[u8]) -> Result<BTreeSet<Symbol>, SnapshotFault> {
    let mut reader = Reader { bytes, at: 0 };
    let head: Head = reader.take()?;
    if head.magic != MAGIC {
        return Err(SnapshotFault::NotOurs);
    }
    if head.version != VERSION {
        return Err(SnapshotFault::Version(head.version));
    }
    let mut symbols = BTreeSet::new();
    let mut note = |symbol: &[u8; SYMBOL_MAX]| {
        let length = symbol.iter().position(|byte| *byte == 0).unwrap_or(SYMBOL_MAX);
        let text = std::str::from_utf8(&symbol[..length]).ok();
        symbols.extend(text.and_then(Symbol::parse));
    };
    for _ in 0..head.trades {
        note(&reader.take::<TradeImage>()?.symbol);
    }
    for _ in 0..head.orders {
        note(&reader.take::<OrderImage>()?.symbol);
    }
    for _ in 0..head.brackets {
        note(&reader.take::<BracketImage>()?.symbol);
    }
    Ok(symbols)
}

/// Why a snapshot cannot be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFault {
    #[error("gate snapshot: {given} bytes given, {needed} needed; give SNAPSHOT_MAX")]
    TooSmall { given: usize, needed: usize },
    #[error("gate snapshot: not a snapshot of the gate; start without it and let reconcile rebuild")]
    NotOurs,
    #[error("gate snapshot: version {0} is not {VERSION}; start without it and let reconcile rebuild")]
    Version(u32),
    #[error("gate snapshot: instance tag {0} is another daemon's; check STATE_DIR and INSTANCE")]
    Instance(u32),
    #[error("gate snapshot: cut off or with impossible counts; start without it and let reconcile rebuild")]
    Broken,
    #[error("gate snapshot: epoch {saved} is not before this run's {this}; write the epoch durably first")]
    Epoch { saved: u32, this: u32 },
}

impl Gate {
    /// Writes the snapshot to the front of `bytes` and returns its length, at most `SNAPSHOT_MAX`.
    pub fn snapshot_bytes(&self, bytes: &mut [u8]) -> Result<usize, SnapshotFault> {
        let active = || {
            self.rows
                .iter()
                .enumerate()
                .filter(|(_, row)| row.activity > Wall(0))
        };
        let (abilities_known, abilities) = self.ability_words();
        let mut writer = Writer { bytes, at: 0 };
        writer.put(&Head {
            magic: MAGIC,
            version: VERSION,
            epoch: self.epoch,
            instance: u32::from(self.instance),
            kill_switch: u32::from(self.kill_switch),
            trades: self.desks.iter().flatten().count() as u32,
            orders: self.orders.len() as u32,
            brackets: self.brackets.len() as u32,
            activities: active().count() as u32,
            seen: self.seen.len() as u32,
            entries: self.entries.len() as u32,
            abilities_known,
            abilities,
            sequence: self.sequence,
            next_trade: self.next_trade,
            next_alert: self.next_alert,
            day: self.day.day,
            realised_usd: self.day.realised_usd,
            losses_in_row: u64::from(self.day.losses_in_row),
        })?;
        for desk in self.desks.iter().flatten() {
            writer.put(&self.trade_image(desk))?;
        }
        for (_, order) in self.orders.iter() {
            writer.put(&self.order_image(order))?;
        }
        for row in self.brackets.iter() {
            writer.put(&BracketImage {
                symbol: self.symbol_bytes(row.instrument),
                client_id: row.client_id,
                venue_id: row.venue_id,
                lots: row.lots,
                tp_ticks: row.tp_ticks,
                sl_ticks: row.sl_ticks,
                position_side: row.position_side as u8,
                side: row.side as u8,
                linked: u8::from(row.linked),
                zero: [0; 5],
            })?;
        }
        for (index, row) in active() {
            writer.put(&ActivityImage {
                symbol: self.symbol_bytes(InstrumentId(index as u16)),
                at: row.activity.0,
            })?;
        }
        for (key, at) in &self.seen {
            writer.put(&SeenImage { key: *key, at: at.0 })?;
        }
        for at in &self.entries {
            writer.put(&at.0)?;
        }
        Ok(writer.at)
    }

    /// Takes over what an earlier run left. Nothing is believed of the venue: entries stay off and
    /// no trade is touched until the first reconcile round is complete. On a fault the gate is as
    /// it was.
    pub fn restore(&mut self, bytes: &[u8], now: Wall) -> Result<(), SnapshotFault> {
        let mut reader = Reader { bytes, at: 0 };
        let head: Head = reader.take()?;
        self.check_head(&head)?;
        let mut fresh = Gate::new(self.params, self.instruments.clone(), self.instance, self.epoch);
        fresh.kill_switch = self.kill_switch || head.kill_switch == 1;
        fresh.restore_abilities(head.abilities_known, head.abilities);
        fresh.next_trade = head.next_trade;
        fresh.next_alert = head.next_alert;
        fresh.day = Day {
            day: head.day,
            realised_usd: head.realised_usd,
            losses_in_row: head.losses_in_row as u32,
        };
        for _ in 0..head.trades {
            fresh.restore_trade(&reader.take()?, now);
        }
        for _ in 0..head.orders {
            fresh.restore_order(&reader.take()?, now);
        }
        for _ in 0..head.brackets {
            fresh.restore_bracket(&reader.take()?, now);
        }
        for _ in 0..head.activities {
            let image: ActivityImage = reader.take()?;
            if let Some(id) = fresh.id_of(&image.symbol) {
                fresh.rows[id.index()].activity = Wall(image.at);
            }
        }
        for _ in 0..head.seen {
            let image: SeenImage = reader.take()?;
            fresh.seen.push((image.key, Wall(image.at)));
        }
        for _ in 0..head.entries {
            fresh.entries.push(Wall(reader.take()?));
        }
        fresh.drop_unsent();
        // The run before this may have called until a moment ago.
        fresh.budget.assume_spent(now);
        fresh.awaits_truth = true;
        fresh.reconcile.restart(now);
        *self = fresh;
        Ok(())
    }

    fn check_head(&self, head: &Head) -> Result<(), SnapshotFault> {
        if head.magic != MAGIC {
            return Err(SnapshotFault::NotOurs);
        }
        if head.version != VERSION {
            return Err(SnapshotFault::Version(head.version));
        }
        if head.instance != u32::from(self.instance) {
            return Err(SnapshotFault::Instance(head.instance));
        }
        if head.epoch >= self.epoch {
            return Err(SnapshotFault::Epoch {
                saved: head.epoch,
                this: self.epoch,
            });
        }
        let within = |count: u32, most: usize| count as usize <= most;
        let sound = within(head.trades, TRADES_MAX)
            && within(head.orders, ORDERS_MAX)
            && within(head.brackets, BRACKETS_MAX)
            && within(head.activities, INSTRUMENTS_MAX)
            && within(head.seen, SEEN_MAX)
            && within(head.entries, ENTRIES_MAX)
            && head.realised_usd.is_finite();
        if sound { Ok(()) } else { Err(SnapshotFault::Broken) }
    }

    /// Trades whose entry never got as far as an order are over: nothing of them left.
    fn drop_unsent(&mut self) {
        for index in 0..self.desks.len() {
            let unsent = self.desks[index].as_ref().is_some_and(|desk| {
                let trade = &desk.trade;
                let ordered = self.orders.find(&trade.entry_id, 0).is_some();
                matches!(trade.stage, Stage::Leverage | Stage::Entering) && !ordered
            });
            if unsent {
                self.clear_desk(index);
            }
        }
    }

    fn trade_image(&self, desk: &Desk) -> TradeImage {
        let trade = &desk.trade;
        let (trail_entry, trail_risk) = desk.trail.map_or((0.0, 0.0), |trail| trail.frozen_ticks());
        TradeImage {
            symbol: self.symbol_bytes(trade.instrument),
            entry_id: trade.entry_id,
            number: trade.number,
            signal: trade.signal,
            stage: trade.stage as u8,
            adopted: u8::from(trade.adopted),
            position_side: trade.position_side as u8,
            side: trade.side as u8,
            timeframe: trade.timeframe,
            panic: u8::from(trade.panic),
            order_type: trade.order_type as u8,
            exit_kind: trade.exit_kind.map_or(0, |exit| exit as u8),
            closing: trade.guard.closing.map_or(0, |cause| cause as u8),
            has_trail: u8::from(desk.trail.is_some()),
            trailing: u8::from(
                desk.trail
                    .is_some_and(|trail| trail.stage == TrailStage::Trailing),
            ),
            external_cancels: trade.guard.external_cancels,
            leverage: trade.leverage,
            zero: 0,
            score: trade.score,
            probability: trade.probability,
            atr: trade.atr,
            level: trade.level,
            reference: trade.reference,
            risk: trade.risk,
            entry_value: trade.entry.value,
            entry_fee: trade.entry.fee,
            exit_value: trade.exit.value,
            exit_fee: trade.exit.fee,
            trail_entry,
            trail_risk,
            trail_best: desk.trail.map_or(0.0, |trail| trail.best_ticks()),
            price_ticks: trade.price_ticks,
            planned_lots: trade.planned_lots,
            attached_sl_ticks: trade.attached_sl_ticks,
            attached_tp_ticks: trade.attached_tp_ticks,
            want_sl_ticks: trade.guard.want_sl_ticks,
            want_tp_ticks: trade.guard.want_tp_ticks,
            replaced_sl_ticks: trade.guard.replaced_sl_ticks,
            entry_lots: trade.entry.lots,
            exit_lots: trade.exit.lots,
            expires: trade.expires.0,
            decided: trade.decided.0,
            first_fill: trade.first_fill.0,
            last_fill: trade.last_fill.0,
            flat_since: trade.flat_since.0,
        }
    }

    /// What an earlier run left in an instrument that this one does not follow: nothing is entered until
    /// the venue's list is without it.
    fn note_unknown(&mut self, symbol: &[u8; SYMBOL_MAX], list: ListKind, now: Wall) {
        self.counters.events_invalid += 1;
        if self.id_of(symbol).is_none() {
            // No room means that enough of them are named already.
            let _ = self.distrusts.try_push(Distrust {
                symbol: *symbol,
                instrument: NO_INSTRUMENT,
                list: list as u8,
                reason: Reason::InstrumentUnknown as u16,
                token: 0,
                seen: now,
            });
        }
    }

    /// A trade with a code that means nothing is left out: reconcile finds its position.
    fn restore_trade(&mut self, image: &TradeImage, now: Wall) {
        let codes = (
            self.id_of(&image.symbol),
            Stage::from_code(image.stage),
            PositionSide::from_code(image.position_side),
            Side::from_code(image.side),
            OrderType::from_code(image.order_type),
        );
        let (Some(instrument), Some(stage), Some(position_side), Some(side), Some(order_type)) = codes else {
            self.note_unknown(&image.symbol, ListKind::Positions, now);
            return;
        };
        let mut guard = Guard::new(image.want_sl_ticks, image.want_tp_ticks);
        guard.closing = CloseCause::from_code(image.closing);
        guard.external_cancels = image.external_cancels;
        guard.restored = true;
        guard.replaced_sl_ticks = image.replaced_sl_ticks;
        let trade = Trade {
            number: image.number,
            stage,
            adopted: image.adopted == 1,
            instrument,
            position_side,
            side,
            signal: image.signal,
            timeframe: image.timeframe,
            score: image.score,
            probability: image.probability,
            atr: image.atr,
            level: image.level,
            panic: image.panic == 1,
            leverage: image.leverage,
            order_type,
            price_ticks: image.price_ticks,
            planned_lots: image.planned_lots,
            reference: image.reference,
            attached_sl_ticks: image.attached_sl_ticks,
            attached_tp_ticks: image.attached_tp_ticks,
            risk: image.risk,
            entry_id: image.entry_id,
            expires: Wall(image.expires),
            entry: Filled {
                lots: image.entry_lots,
                value: image.entry_value,
                fee: image.entry_fee,
            },
            exit: Filled {
                lots: image.exit_lots,
                value: image.exit_value,
                fee: image.exit_fee,
            },
            exit_kind: ExitKind::from_code(image.exit_kind),
            decided: Wall(image.decided),
            first_fill: Wall(image.first_fill),
            last_fill: Wall(image.last_fill),
            seen_open: false,
            flat_since: if stage == Stage::Settling { now } else { Wall(0) },
            history_asked: 0,
            margin_lots: 0,
            margin_seen: 0,
            margin_since: Wall(0),
            guard,
        };
        let trail = restored_trail(image, side);
        if self.open_desk(trade, trail, now).is_none() {
            self.counters.tables_full += 1;
        }
    }

    fn order_image(&self, order: &Order) -> OrderImage {
        OrderImage {
            symbol: self.symbol_bytes(order.instrument),
            client_id: order.client_id,
            role: order.role as u8,
            position_side: order.position_side as u8,
            side: order.side as u8,
            reduce_only: u8::from(order.reduce_only),
            state: order.progress.state as u8,
            category: order.category,
            cancel_wanted: u8::from(order.cancel_wanted),
            zero: 0,
            size_lots: order.progress.size_lots,
            filled_lots: order.progress.filled_lots,
            average_price: order.progress.average_price,
            fee: order.progress.fee,
            update_ms: order.progress.update_ms,
            venue_id: order.progress.venue_id,
            price_ticks: order.price_ticks,
            trade: order.trade,
            since: order.since.0,
            signed: order.signed.0,
            position_before: order.position_before,
        }
    }

    fn restore_order(&mut self, image: &OrderImage, now: Wall) {
        let codes = (
            self.id_of(&image.symbol),
            OrderRole::from_code(image.role),
            PositionSide::from_code(image.position_side),
            Side::from_code(image.side),
            State::from_code(image.state),
        );
        let (Some(instrument), Some(role), Some(position_side), Some(side), Some(state)) = codes else {
            self.note_unknown(&image.symbol, ListKind::OrdersPending, now);
            return;
        };
        // Whether the bytes left is not known, nor what a cancel came to.
        let unsure = matches!(state, State::Sent | State::Unknown | State::PendingCancel);
        let mut lookup = Lookup::default();
        if !state.is_final() {
            lookup.start(now);
        }
        let restored = self.orders.insert(Order {
            client_id: image.client_id,
            role,
            instrument,
            position_side,
            side,
            reduce_only: image.reduce_only == 1,
            progress: Progress {
                state: if unsure { State::Unknown } else { state },
                size_lots: image.size_lots,
                filled_lots: image.filled_lots,
                average_price: image.average_price,
                fee: image.fee,
                update_ms: image.update_ms,
                venue_id: image.venue_id,
            },
            price_ticks: image.price_ticks,
            trade: image.trade,
            since: Wall(image.since),
            touched: Wall(image.since),
            // It may have been signed at any time before the end of that run.
            signed: if unsure { now } else { Wall(image.signed) },
            position_before: image.position_before,
            category: image.category,
            lookup,
            seen_token: 0,
            cancel_wanted: image.cancel_wanted == 1,
            cancel_sent: Wall(0),
            fills: FillRead::default(),
        });
        if restored.is_none() {
            self.counters.tables_full += 1;
        }
    }

    fn restore_bracket(&mut self, image: &BracketImage, now: Wall) {
        let codes = (
            self.id_of(&image.symbol),
            PositionSide::from_code(image.position_side),
            Side::from_code(image.side),
        );
        let (Some(instrument), Some(position_side), Some(side)) = codes else {
            self.note_unknown(&image.symbol, ListKind::BracketsPending, now);
            return;
        };
        let fits = self.brackets.insert(BracketRow {
            venue_id: image.venue_id,
            client_id: image.client_id,
            instrument,
            position_side,
            side,
            lots: image.lots,
            tp_ticks: image.tp_ticks,
            sl_ticks: image.sl_ticks,
            linked: image.linked == 1,
            since: Wall(1),
            touched: Wall(1),
            update_ms: 0,
            seen_token: 0,
            cancel_sent: Wall(0),
        });
        self.counters.tables_full += u64::from(!fits);
    }

    pub(super) fn symbol_bytes(&self, id: InstrumentId) -> [u8; SYMBOL_MAX] {
        let mut bytes = [0; SYMBOL_MAX];
        if let Some(instrument) = self.instruments.get(id) {
            let symbol = instrument.symbol.as_bytes();
            bytes[..symbol.len()].copy_from_slice(symbol);
        }
        bytes
    }

    fn id_of(&self, symbol: &[u8; SYMBOL_MAX]) -> Option<InstrumentId> {
        let length = symbol.iter().position(|byte| *byte == 0).unwrap_or(SYMBOL_MAX);
        self.instruments.id_of(&symbol[..length])
    }
}

fn restored_trail(image: &TradeImage, side: Side) -> Option<TrailState> {
    let stage = if image.trailing == 1 {
        TrailStage::Trailing
    } else {
        TrailStage::Initial
    };
    (image.has_trail == 1)
        .then(|| TrailState::restore(side, image.trail_entry, image.trail_risk, image.trail_best, stage))
}
