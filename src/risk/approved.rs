//! Proof that something went through the one door, and the commands that may be made of it.
//!
//! An [`Approved`] is made by the checks of `risk::gate` and nowhere else, and a command for `send` is made
//! of an approved order, addition or exit, or is one that makes no order at all. What was approved is
//! written over what the caller filled in: side, size, prices and triggers are the approved ones.

use super::gate::{Addition, Exit, Order};
use crate::model::OrderType;
use crate::model::message::{CommandKind, OrderCommand};
use std::ops::Deref;

/// Proof that its content passed the checks of `risk::gate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Approved<T>(T);

impl<T: Copy> Approved<T> {
    /// For the checks alone.
    pub(super) fn by_check(content: T) -> Self {
        Approved(content)
    }

    pub fn get(&self) -> T {
        self.0
    }
}

impl<T> Deref for Approved<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Approved<Order> {
    /// The command that places this entry; the rest of it is as in `base`.
    pub fn command(&self, base: OrderCommand) -> Approved<OrderCommand> {
        let order = &self.0;
        Approved(OrderCommand {
            kind: CommandKind::Place as u8,
            reduce_only: 0,
            instrument: order.instrument.0,
            side: order.side as u8,
            order_type: order.order_type as u8,
            leverage: order.leverage,
            price_ticks: worst_price(order.order_type, order.price.0),
            size_lots: order.lots.0,
            sl_ticks: order.sl_ticks(),
            tp_ticks: order.tp_ticks(),
            ..base
        })
    }
}

impl Approved<Addition> {
    /// The command that adds to a position; the rest of it, its triggers too, is as in `base`.
    pub fn command(&self, base: OrderCommand) -> Approved<OrderCommand> {
        let addition = &self.0;
        Approved(OrderCommand {
            kind: CommandKind::Place as u8,
            reduce_only: 0,
            side: addition.side as u8,
            order_type: addition.order_type as u8,
            price_ticks: worst_price(addition.order_type, addition.price.0),
            size_lots: addition.lots.0,
            ..base
        })
    }
}

impl Approved<Exit> {
    /// The command of this exit, which can only reduce; its kind and the rest are as in `base`.
    pub fn command(&self, base: OrderCommand) -> Approved<OrderCommand> {
        let exit = &self.0;
        Approved(OrderCommand {
            reduce_only: 1,
            instrument: exit.instrument.0,
            side: exit.side as u8,
            size_lots: exit.lots,
            sl_ticks: exit.sl_ticks,
            tp_ticks: exit.tp_ticks,
            ..base
        })
    }
}

impl Approved<OrderCommand> {
    /// The same as call `number`, void after `expires_ns` where that is sooner.
    pub fn as_call(self, number: u64, expires_ns: u64) -> Self {
        Approved(OrderCommand {
            call: number,
            expires_ns: self.0.expires_ns.min(expires_ns),
            ..self.0
        })
    }
}

/// `command` when its kind makes no order, so that there is nothing to check: a cancel, or what sets the
/// leverage or a mode.
pub fn makes_no_order(command: OrderCommand) -> Option<Approved<OrderCommand>> {
    match CommandKind::from_code(command.kind)? {
        CommandKind::Cancel
        | CommandKind::CancelBracket
        | CommandKind::SetLeverage
        | CommandKind::SetMarginMode
        | CommandKind::SetPositionMode => Some(Approved(command)),
        CommandKind::Place
        | CommandKind::PlaceBracket
        | CommandKind::AmendBracket
        | CommandKind::ClosePosition => None,
    }
}

fn worst_price(order_type: OrderType, ticks: i64) -> i64 {
    if order_type == OrderType::Market { 0 } else { ticks }
}

#[cfg(test)]
mod tests {
    use super::super::gate::check_exit;
    use super::*;
    use crate::model::{InstrumentId, Side};
    use bytemuck::Zeroable;

    #[test]
    fn an_exit_stays_what_was_approved_whatever_the_caller_wrote() {
        let exit = Exit {
            instrument: InstrumentId(3),
            side: Side::Sell,
            lots: 5,
            sl_ticks: 90,
            tp_ticks: 110,
        };
        let mut base = OrderCommand::zeroed();
        base.kind = CommandKind::Place as u8;
        (base.side, base.size_lots, base.instrument) = (Side::Buy as u8, 500, 7);
        let command = check_exit(exit, 5).expect("it reduces").command(base);
        assert_eq!((command.reduce_only, command.instrument), (1, 3));
        assert_eq!((command.side, command.size_lots), (Side::Sell as u8, 5));
        assert_eq!((command.sl_ticks, command.tp_ticks), (90, 110));
    }

    #[test]
    fn what_makes_an_order_needs_an_approval() {
        let of = |kind: CommandKind| {
            let mut command = OrderCommand::zeroed();
            command.kind = kind as u8;
            makes_no_order(command).is_some()
        };
        use CommandKind::*;
        for kind in [Place, PlaceBracket, AmendBracket, ClosePosition] {
            assert!(!of(kind), "{kind:?}");
        }
        for kind in [Cancel, CancelBracket, SetLeverage, SetMarginMode, SetPositionMode] {
            assert!(of(kind), "{kind:?}");
        }
        assert!(makes_no_order(OrderCommand::zeroed()).is_none(), "no kind at all");
    }
}
