//! The promises of docs/simulate.md that can be seen from outside, held against the exchange's truth after
//! every step; I2 and I9 are watched where calls leave.
//!
//! The exchange knows everything; the process knows what it was told. Where a promise allows for
//! not knowing (a lost push, a call that hangs), the check says how long.

use super::watch::Watch;
use crate::app::agreement::stop_of;
use crate::exchange::{AccountId, Bracket, Exchange, Order, PositionRow};
use crate::model::time::NS_PER_SEC;
use crate::model::{ClientOrderId, InstrumentId, PositionSide, Side, Wall};
use crate::orders::State;
use crate::orders::positions::slot_of;
use crate::stage::gate::core::Gate;
use crate::stage::gate::core_status::Status;
use crate::venue::loopback::LoopbackVenue;
use std::collections::BTreeMap;

/// A position that the gate knows to be bare must be acted on this often.
const ACT_NS: u64 = 6 * NS_PER_SEC;
/// A stop that went away unheard must be missed by then: a reconcile round on a bad network, and time to act.
const NOTICE_NS: u64 = 90 * NS_PER_SEC;
/// A bracket of ours without a position must be cancelled so soon after the gate knows both.
const ORPHAN_NS: u64 = 10 * NS_PER_SEC;
/// After an entry's fill its stop may be planned anew; from then on it only tightens.
const REPLAN_NS: u64 = 15 * NS_PER_SEC;
/// Prices move between the decision and the fill.
const EXPOSURE_SLACK: f64 = 1.03;
/// Steps between two looks that cost more.
const DEEP_EVERY: u64 = 64;

/// Bounds that the settings of the run promise.
#[derive(Clone, Copy, Debug)]
pub struct Promised {
    pub positions_max: usize,
    pub exposure_usd_max: f64,
    /// Two stops may stand, so that replacing one leaves no gap.
    pub no_gap: bool,
}

/// What is known of the process at this step; `None` while it is down.
pub struct Alive<'a> {
    pub gate: &'a Gate,
    pub status: &'a Status,
}

/// One position between two steps.
#[derive(Clone, Copy, Debug)]
struct Held {
    id: u64,
    lots: i64,
    grown: Wall,
    /// Without a full stop since then; 0 = covered.
    bare: Wall,
    /// The gate has known of that since then; 0 = it does not.
    known: Wall,
    /// The tightest stop so far, in ticks, also before it was bare; 0 = none.
    best: i64,
    /// Only looser ones stand since then; 0 = it stands.
    looser: Wall,
}

/// One bracket of ours that guards nothing.
#[derive(Clone, Copy, Debug)]
struct Orphan {
    since: Wall,
    /// The gate has known of it and of the position's end, and could act, since then; 0 = not so.
    known: Wall,
}

/// What the checks remember.
pub struct Checker {
    account: AccountId,
    instance: u16,
    promised: Promised,
    newest_order: u64,
    accepted: BTreeMap<u64, ClientOrderId>,
    held: BTreeMap<(InstrumentId, PositionSide), Held>,
    orphans: BTreeMap<u64, Orphan>,
    limited: u64,
    /// Since when the process has been up and the venue within reach.
    pub reachable_since: Wall,
    /// How far reads have lagged in a run without a private socket, in ns: so much later anything is noticed.
    pub unheard_ns: u64,
}

impl Checker {
    pub fn new(account: AccountId, instance: u16, promised: Promised, start: Wall) -> Self {
        Checker {
            account,
            instance,
            promised,
            newest_order: 0,
            accepted: BTreeMap::new(),
            held: BTreeMap::new(),
            orphans: BTreeMap::new(),
            limited: 0,
            reachable_since: start,
            unheard_ns: 0,
        }
    }

    /// The venue took a stop of `instrument` away: what is left of its stops may be looser.
    pub fn on_stop_taken(&mut self, instrument: InstrumentId) {
        for (_, held) in self.held.iter_mut().filter(|(key, _)| key.0 == instrument) {
            (held.best, held.looser) = (0, Wall(0));
        }
    }

    /// Looks at everything once.
    pub fn step(&mut self, venue: &LoopbackVenue, alive: Option<&Alive<'_>>, watch: &mut Watch) {
        let exchange = venue.exchange();
        self.new_orders(exchange, watch);
        self.ended_orders(exchange, watch);
        self.exposure(exchange, watch);
        self.protection(exchange, alive, watch);
        self.orphans(exchange, alive, watch);
        let limited = venue.traffic().limited;
        if limited > self.limited {
            self.limited = limited;
            watch.broken("I10", format!("{limited} calls went beyond the venue's limits"));
        }
        if watch.counts.steps.is_multiple_of(DEEP_EVERY) {
            if let Err(text) = exchange.check_invariants() {
                watch.broken("I19", format!("the exchange's books do not add up: {text}"));
            }
            if let Some(Err(text)) = alive.map(|alive| alive.gate.check_invariants()) {
                watch.broken("gate", text.to_owned());
            }
        }
    }

    /// I1 and I7: what the venue has accepted since the last step.
    fn new_orders(&mut self, exchange: &Exchange, watch: &mut Watch) {
        let newest = self.newest_order;
        let is_new = |order: &&Order| order.id > newest;
        let open = exchange.orders_open(self.account).take_while(is_new);
        let ended = exchange.orders_final(self.account).take_while(is_new);
        let mut orders: Vec<Order> = open.chain(ended).copied().collect();
        orders.sort_by_key(|order| order.id);
        for order in orders {
            self.newest_order = self.newest_order.max(order.id);
            if !order.client_id.is_of(self.instance) {
                continue;
            }
            let id = order.client_id;
            if !is_entry_id(&id) {
                if !order.reduce_only {
                    watch.broken("I7", format!("exit order {} may open a position", id.as_str()));
                }
                continue;
            }
            watch.counts.entries_accepted += 1;
            watch.story.note(
                "venue",
                format_args!("accepted entry {} on {}", id.as_str(), order.instrument.0),
            );
            let Some(signal) = watch.signal_of.get(&id).copied() else {
                watch.broken(
                    "I1",
                    format!("entry {} was accepted, and no signal asked for it", id.as_str()),
                );
                continue;
            };
            if let Some(first) = self.accepted.insert(signal, id) {
                let text = format!(
                    "signal {signal} has two entries: {} and {}",
                    first.as_str(),
                    id.as_str()
                );
                watch.broken("I1", text);
            }
        }
    }

    /// I8: an entry that was called over without effect must never have had one.
    fn ended_orders(&mut self, exchange: &Exchange, watch: &mut Watch) {
        let alive = watch
            .ended
            .iter()
            .find(|(id, _)| exchange.order_by_client(self.account, id).is_some());
        if let Some((id, state)) = alive.map(|(id, state)| (*id, *state)) {
            let word = if state == State::Dead { "dead" } else { "rejected" };
            watch.broken(
                "I8",
                format!("entry {} was called {word}, and the venue has it", id.as_str()),
            );
        }
    }

    /// I3: positions and entries that may still fill stay within the bounds of the settings.
    fn exposure(&self, exchange: &Exchange, watch: &mut Watch) {
        let positions = exchange.positions(self.account);
        let worth = |instrument: InstrumentId, lots: i64, price: f64| {
            exchange
                .instruments()
                .get(instrument)
                .map_or(0.0, |row| row.notional_f64(crate::model::Lots(lots.abs()), price))
        };
        let price_of = |text: crate::exchange::amount::Amount| crate::exchange::amount::to_f64(text);
        let mut usd: f64 = positions
            .iter()
            .map(|row| worth(row.instrument, row.lots.0, price_of(row.average_price)))
            .sum();
        let mut count = positions.len();
        for order in exchange.orders_open(self.account) {
            if order.reduce_only || !order.client_id.is_of(self.instance) {
                continue;
            }
            let price = exchange.mark(order.instrument).map_or(0.0, |row| row.mark);
            usd += worth(order.instrument, order.open_lots().0, price);
            let is_counted = positions.iter().any(|row| row.instrument == order.instrument);
            count += usize::from(!is_counted);
        }
        let Promised {
            positions_max,
            exposure_usd_max,
            ..
        } = self.promised;
        if count > positions_max {
            watch.broken(
                "I3",
                format!("{count} positions and entries, {positions_max} allowed"),
            );
        }
        if usd > exposure_usd_max * EXPOSURE_SLACK {
            watch.broken("I3", format!("{usd:.2} USDT exposed, {exposure_usd_max} allowed"));
        }
    }

    /// I4 and I5: every position has its stop, or is being acted on; and the stop only tightens.
    fn protection(&mut self, exchange: &Exchange, alive: Option<&Alive<'_>>, watch: &mut Watch) {
        let positions = exchange.positions(self.account);
        self.held
            .retain(|key, _| positions.iter().any(|row| key_of(row) == *key));
        for row in &positions {
            let (covered, stop) = stop_of(exchange, self.account, row);
            let now = watch.now;
            let fresh = Held {
                id: row.id,
                lots: row.lots.0,
                grown: now,
                bare: Wall(0),
                known: Wall(0),
                best: 0,
                looser: Wall(0),
            };
            let mut held = self
                .held
                .get(&key_of(row))
                .copied()
                .filter(|held| held.id == row.id)
                .unwrap_or(fresh);
            if row.lots.0.abs() > held.lots.abs() {
                held.grown = now;
                held.best = 0;
            }
            held.lots = row.lots.0;
            if covered {
                (held.bare, held.known) = (Wall(0), Wall(0));
                self.ratchet(&mut held, row, stop, watch);
            } else {
                self.bare(&mut held, row, alive, watch);
            }
            self.held.insert(key_of(row), held);
        }
    }

    /// The tightest stop may give way for a moment where only one may stand at a time; otherwise never.
    fn ratchet(&self, held: &mut Held, row: &PositionRow, stop: i64, watch: &mut Watch) {
        let now = watch.now;
        if now.since(held.grown) < REPLAN_NS || stop == 0 {
            return;
        }
        let is_looser = held.best != 0 && (stop - held.best) * row.lots.0.signum() < 0;
        if !is_looser {
            (held.best, held.looser) = (stop, Wall(0));
            return;
        }
        if held.looser == Wall(0) {
            held.looser = now;
        }
        let for_ns = now.since(held.looser.max(self.reachable_since));
        let can_act = watch.can_protect();
        if self.promised.no_gap || (can_act && for_ns > ACT_NS) {
            let text = format!(
                "the stop on {} loosened from {} to {stop} {} ms ago",
                row.instrument.0,
                held.best,
                now.since(held.looser) / 1_000_000
            );
            watch.broken("I5", text);
        }
    }

    /// I6: what guards nothing any more is cancelled, like a stop that is missing is placed: soon where the gate
    /// knows of both, later where it must find out.
    fn orphans(&mut self, exchange: &Exchange, alive: Option<&Alive<'_>>, watch: &mut Watch) {
        let positions = exchange.positions(self.account);
        // It would close a position of the other side; one that was turned around leaves it without any.
        let guards = |row: &Bracket, lots: i64| lots.signum() == -row.side.sign();
        let is_held = |row: &Bracket| {
            let slot = slot_of(row.instrument, row.position_side);
            let mut rows = positions.iter();
            rows.any(|held| slot_of(held.instrument, held.position_side) == slot && guards(row, held.lots.0))
        };
        let is_ours = |row: &&Bracket| row.parent_id != 0 || row.client_id.is_of(self.instance);
        let rows = exchange.brackets_open(self.account).filter(is_ours);
        let rows: Vec<Bracket> = rows.filter(|row| !is_held(row)).copied().collect();
        self.orphans.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let now = watch.now;
        for row in rows {
            let fresh = Orphan {
                since: now,
                known: Wall(0),
            };
            let orphan = self.orphans.entry(row.id).or_insert(fresh);
            let is_known = alive.is_some_and(|alive| {
                let mut brackets = alive.gate.brackets().iter();
                brackets.any(|seen| seen.venue_id == row.id && alive.gate.is_orphan(seen))
            });
            let can_act =
                alive.is_some_and(|alive| alive.status.calls_left_protect > 0) && !watch.is_sweeping();
            orphan.known = match (is_known && can_act, orphan.known) {
                (false, _) => Wall(0),
                (true, Wall(0)) => now,
                (true, since) => since,
            };
            if alive.is_none() {
                continue;
            }
            let tried = watch.swept_at.get(&row.id).copied().unwrap_or(Wall(0));
            let known_for = now.since(orphan.known.max(tried).max(self.reachable_since));
            let could_hear = self.reachable_since.max(watch.reads_rest_until.min(now));
            let stood_for = now.since(orphan.since.max(tried).max(could_hear));
            let is_late = orphan.known > Wall(0) && known_for > ORPHAN_NS;
            if is_late || stood_for > NOTICE_NS + self.unheard_ns {
                let text = format!(
                    "bracket {} guards nothing on {} for {} ms, {} by the gate, and was not cancelled",
                    row.id,
                    row.instrument.0,
                    now.since(orphan.since) / 1_000_000,
                    if is_known { "known" } else { "unknown" }
                );
                watch.broken("I6", text);
            }
        }
    }

    fn bare(&self, held: &mut Held, row: &PositionRow, alive: Option<&Alive<'_>>, watch: &mut Watch) {
        let now = watch.now;
        // The next stop must not be looser than the one that went: `best` stays.
        held.looser = Wall(0);
        if held.bare == Wall(0) {
            held.bare = now;
            watch.story.note(
                "venue",
                format_args!("position on {} has no full stop", row.instrument.0),
            );
        }
        let Some(alive) = alive else {
            held.known = Wall(0);
            return;
        };
        let mine =
            alive.status.positions.iter().find(|mine| {
                mine.instrument == row.instrument && (mine.side == Side::Buy) == (row.lots.0 > 0)
            });
        let is_known = mine.is_some_and(|mine| !mine.protected) && !alive.gate.awaits_truth();
        held.known = match (is_known, held.known) {
            (false, _) => Wall(0),
            (true, Wall(0)) => now,
            (true, since) => since,
        };
        let tried = watch
            .protected_at
            .get(&row.instrument.0)
            .copied()
            .unwrap_or(Wall(0));
        // Every connection may be held by a call that hangs; none may be left of the budget.
        let can_act = watch.can_protect() && alive.status.calls_left_protect > 0;
        let known_for = now.since(held.known.max(tried).max(self.reachable_since));
        let could_hear = self.reachable_since.max(watch.reads_rest_until.min(now));
        let bare_for = now.since(held.bare.max(tried).max(could_hear));
        let late = is_known && can_act && known_for > ACT_NS;
        if late || bare_for > NOTICE_NS + self.unheard_ns {
            let text = format!(
                "the position on {} has had no full stop for {} ms, {} by the gate, and nothing was sent",
                row.instrument.0,
                now.since(held.bare) / 1_000_000,
                if is_known { "known" } else { "unknown" }
            );
            watch.broken("I4", text);
        }
    }
}

fn key_of(row: &PositionRow) -> (InstrumentId, PositionSide) {
    (row.instrument, row.position_side)
}

/// Whether an id of ours is an entry's: prefix 3, instance 2, epoch 6, then the letter.
fn is_entry_id(id: &ClientOrderId) -> bool {
    id.as_bytes().get(11) == Some(&b'E')
}
