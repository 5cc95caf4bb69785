//! One number that two runs of the same market must agree on.
//!
//! BLAKE3 over what entered (ticks, quotes, depth sums) and over what left (orders and fills, in
//! order). No ids and no wall time go in, so the digest survives a restart and another machine.

use crate::model::Instruments;
use crate::model::message::{CommandKind, GateEvent, GateEventKind, Tick};

/// Hash of the market data that entered a run.
#[derive(Clone, Default)]
pub struct TickDigest {
    hasher: blake3::Hasher,
    pub tick_count: u64,
}

impl TickDigest {
    /// Takes one tick in, without its header: sequence numbers and latencies are no market data.
    pub fn take(&mut self, tick: &Tick) {
        self.tick_count += 1;
        let bytes = bytemuck::bytes_of(tick);
        self.hasher.update(&bytes[size_of::<crate::model::Header>()..]);
    }

    pub fn finish(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

/// Hash of the orders and fills of a run.
#[derive(Default)]
pub struct OrderDigest {
    hasher: blake3::Hasher,
    line: String,
    pub order_count: u64,
    pub fill_count: u64,
}

impl OrderDigest {
    /// Takes one event in; only orders sent and fills count.
    pub fn take(&mut self, event: &GateEvent, instruments: &Instruments) {
        use std::fmt::Write;
        let word = match GateEventKind::from_code(event.kind) {
            Some(GateEventKind::OrderSent)
                if CommandKind::from_code(event.command).is_some_and(CommandKind::is_order) =>
            {
                self.order_count += 1;
                "order"
            }
            Some(GateEventKind::Fill) => {
                self.fill_count += 1;
                "fill"
            }
            _ => return,
        };
        let symbol = instruments
            .get(crate::model::InstrumentId(event.instrument))
            .map_or("?", |instrument| instrument.symbol.as_str());
        self.line.clear();
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.line,
            "{word},{},{symbol},{},{},{},{},{},{},{},{}",
            event.market_ms,
            event.side,
            event.order_type,
            event.price_ticks,
            event.size_lots,
            event.filled_lots,
            event.reduce_only,
            event.tp_ticks,
            event.sl_ticks
        );
        self.hasher.update(self.line.as_bytes());
    }

    /// The digest of the whole run, 32 hexadecimal digits.
    pub fn finish(&self, ticks: [u8; 32]) -> String {
        let mut both = blake3::Hasher::new();
        both.update(&ticks);
        both.update(self.hasher.finalize().as_bytes());
        both.finalize().to_hex()[..32].to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn digest_of(change: impl Fn(&mut GateEvent, &mut Tick)) -> String {
        let (mut event, mut tick) = (GateEvent::zeroed(), Tick::zeroed());
        event.kind = GateEventKind::OrderSent as u8;
        event.command = CommandKind::Place as u8;
        change(&mut event, &mut tick);
        let (mut orders, mut ticks) = (OrderDigest::default(), TickDigest::default());
        orders.take(&event, &Instruments::new());
        ticks.take(&tick);
        orders.finish(ticks.finish())
    }

    #[test]
    fn money_moves_the_digest_and_clocks_do_not() {
        let plain = digest_of(|_, _| {});
        assert_eq!(
            plain,
            digest_of(|event, tick| {
                event.header.publish_ns = 5;
                event.venue_id = 9;
                tick.header.receive_ns = 7;
            })
        );
        assert_ne!(plain, digest_of(|event, _| event.price_ticks = 1));
        assert_ne!(plain, digest_of(|event, _| event.sl_ticks = 1));
        let set_up = digest_of(|event, _| event.command = CommandKind::SetLeverage as u8);
        let longer = digest_of(|event, _| {
            event.command = CommandKind::SetLeverage as u8;
            event.size_lots = 1;
        });
        assert!(set_up != plain && set_up == longer, "it is no order");
        assert_ne!(plain, digest_of(|_, tick| tick.v[4] = 1.0));
    }
}
