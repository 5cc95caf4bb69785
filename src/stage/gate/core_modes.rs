//! How the account is set up at the venue: margin mode, position mode, and each instrument's leverage.
//!
//! All of it is read at the start and after every reconnect, so that an entry need not first set what
//! is already so. What differs is set; while the modes differ, entries are off.

use super::core::{Call, Desk, Gate, Purpose};
use super::core_outputs::{Outputs, command, fetch, sent};
use crate::model::client_id::ClientOrderId;
use crate::model::message::{AccountEvent, CommandKind, Lane, ListKind, NO_INSTRUMENT};
use crate::model::time::NS_PER_SEC;
use crate::model::{InstrumentId, MarginMode, PositionMode, PositionSide, Wall};
use crate::risk::Spend;

/// How far the reading of the leverages is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LeverageRead {
    /// Not before then.
    Wanted(Wall),
    Asked(u32),
    Done,
}

impl Default for LeverageRead {
    fn default() -> Self {
        LeverageRead::Wanted(Wall(0))
    }
}

/// Leverages that could not be read are set before each entry meanwhile.
const AGAIN_NS: u64 = 30 * NS_PER_SEC;

impl Gate {
    /// Brings the venue's modes in line once, while nothing is open; otherwise entries stay off.
    pub(super) fn set_modes(&mut self, now: Wall, out: &mut Outputs) {
        // A trade that is only accounted for any more holds nothing.
        let is_over = |(index, desk): (usize, &Option<Desk>)| {
            let over = |desk: &Desk| !self.is_at_slot(index, &desk.trade);
            desk.as_ref().is_none_or(over)
        };
        let idle = self.positions.open().is_empty() && self.desks.iter().enumerate().all(is_over);
        let wanted = self.account.modes_differ && !self.account.modes_tried && self.reconcile.is_complete();
        if !wanted || !idle || out.commands.remaining_capacity() < 2 {
            return;
        }
        self.account.modes_tried = true;
        for kind in [CommandKind::SetPositionMode, CommandKind::SetMarginMode] {
            if !self.budget.try_spend(Spend::Entry, now) {
                return;
            }
            let mut set = command(kind, Lane::Entry, InstrumentId(0), now);
            set.margin_mode = self.params.margin_mode as u8;
            set.position_side = match self.params.position_mode {
                PositionMode::Net => PositionSide::Net as u8,
                PositionMode::LongShort => PositionSide::Long as u8,
            };
            let call = self.open_call(Call {
                number: 0,
                purpose: Purpose::Mode,
                trade: 0,
                instrument: InstrumentId(0),
                client_id: ClientOrderId::default(),
                venue_id: 0,
                since: now,
            });
            let Some(call) = call else { return };
            set.call = call;
            let _ = out.commands.try_push(set);
            let mut line = sent(&set, now);
            // It is about the account and no instrument.
            line.instrument = NO_INSTRUMENT;
            out.event(line);
        }
    }

    /// Asks for the leverage of every instrument, once the account itself is known.
    pub(super) fn read_leverage(&mut self, now: Wall, out: &mut Outputs) {
        let due = matches!(self.account.leverage_read, LeverageRead::Wanted(at) if at <= now);
        if !due || !self.reconcile.is_complete() || out.fetches.is_full() {
            return;
        }
        let token = self.reconcile.token();
        // After everything that a position may need.
        let mut request = fetch(ListKind::Leverage, Lane::Entry, token, now);
        request.margin_mode = self.params.margin_mode as u8;
        let _ = out.fetches.try_push(request);
        self.account.leverage_read = LeverageRead::Asked(token);
    }

    /// The leverages were read, or could not be and are asked for again later. False when the token is
    /// another read's.
    pub(super) fn on_leverage_end(&mut self, token: u32, whole: bool, now: Wall) -> bool {
        let mine = self.account.leverage_read == LeverageRead::Asked(token);
        if mine {
            self.account.leverage_read = if whole {
                LeverageRead::Done
            } else {
                LeverageRead::Wanted(Wall(now.0 + AGAIN_NS))
            };
        }
        mine
    }

    /// What the venue says an instrument's leverage is, in one margin mode.
    pub(super) fn note_leverage(
        &mut self,
        instrument: u16,
        margin: Option<MarginMode>,
        position_side: u8,
        leverage: u16,
    ) {
        // The two sides of an isolated hedge have leverages of their own: set before each entry.
        let split = self.params.position_mode == PositionMode::LongShort
            && self.params.margin_mode == MarginMode::Isolated;
        let shared = !split || position_side == PositionSide::Net as u8;
        if margin == Some(self.params.margin_mode)
            && shared
            && leverage > 0
            && let Some(row) = self.rows.get_mut(usize::from(instrument))
        {
            row.leverage = leverage;
        }
    }

    /// Account-wide modes, which come one at a time, or the leverage of one instrument.
    pub(super) fn on_config(&mut self, fact: &AccountEvent) {
        let margin = MarginMode::from_code(fact.margin_mode);
        if fact.leverage > 0 {
            self.note_leverage(fact.instrument, margin, fact.position_side, fact.leverage);
            return;
        }
        if let Some(margin) = margin {
            self.account.margin_differs = margin != self.params.margin_mode;
        }
        // `detail` carries the position mode's code.
        let position = [PositionMode::Net, PositionMode::LongShort];
        if let Some(mode) = position.into_iter().find(|mode| *mode as u8 == fact.detail) {
            self.account.position_differs = mode != self.params.position_mode;
        }
        let differ = self.account.margin_differs || self.account.position_differs;
        if !differ {
            self.account.modes_tried = false;
        }
        self.account.modes_differ = differ;
    }
}
