//! The rows of a snapshot, word by word: plain data without padding.
//!
//! A change here is a new `VERSION`; an old image is refused, never guessed at.

use super::core_snapshot::SnapshotFault;
use crate::model::client_id::ClientOrderId;
use crate::model::instrument::SYMBOL_MAX;
use bytemuck::{Pod, Zeroable};

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"ssc-gate");
/// Raised with every change of an image.
pub const VERSION: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Head {
    pub(super) magic: u64,
    pub(super) version: u32,
    pub(super) epoch: u32,
    pub(super) instance: u32,
    pub(super) kill_switch: u32,
    pub(super) trades: u32,
    pub(super) orders: u32,
    pub(super) brackets: u32,
    pub(super) activities: u32,
    pub(super) seen: u32,
    pub(super) entries: u32,
    /// Bits of `Ability`: those that are known, and those of them that the venue has.
    pub(super) abilities_known: u32,
    pub(super) abilities: u32,
    pub(super) sequence: u64,
    pub(super) next_trade: u64,
    pub(super) next_alert: u64,
    pub(super) day: u64,
    pub(super) realised_usd: f64,
    pub(super) losses_in_row: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct TradeImage {
    pub(super) symbol: [u8; SYMBOL_MAX],
    pub(super) entry_id: ClientOrderId,
    pub(super) number: u64,
    pub(super) signal: u64,
    pub(super) stage: u8,
    pub(super) adopted: u8,
    pub(super) position_side: u8,
    pub(super) side: u8,
    pub(super) timeframe: u8,
    pub(super) panic: u8,
    pub(super) order_type: u8,
    pub(super) exit_kind: u8,
    pub(super) closing: u8,
    pub(super) has_trail: u8,
    pub(super) trailing: u8,
    pub(super) external_cancels: u8,
    pub(super) leverage: u16,
    pub(super) zero: u16,
    pub(super) score: f64,
    pub(super) probability: f64,
    pub(super) atr: f64,
    pub(super) level: f64,
    pub(super) reference: f64,
    pub(super) risk: f64,
    pub(super) entry_value: f64,
    pub(super) entry_fee: f64,
    pub(super) exit_value: f64,
    pub(super) exit_fee: f64,
    pub(super) trail_entry: f64,
    pub(super) trail_risk: f64,
    pub(super) trail_best: f64,
    pub(super) price_ticks: i64,
    pub(super) planned_lots: i64,
    pub(super) attached_sl_ticks: i64,
    pub(super) attached_tp_ticks: i64,
    pub(super) want_sl_ticks: i64,
    pub(super) want_tp_ticks: i64,
    pub(super) replaced_sl_ticks: i64,
    pub(super) entry_lots: i64,
    pub(super) exit_lots: i64,
    pub(super) expires: u64,
    pub(super) decided: u64,
    pub(super) first_fill: u64,
    pub(super) last_fill: u64,
    pub(super) flat_since: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct OrderImage {
    pub(super) symbol: [u8; SYMBOL_MAX],
    pub(super) client_id: ClientOrderId,
    pub(super) role: u8,
    pub(super) position_side: u8,
    pub(super) side: u8,
    pub(super) reduce_only: u8,
    pub(super) state: u8,
    pub(super) category: u8,
    pub(super) cancel_wanted: u8,
    pub(super) zero: u8,
    pub(super) size_lots: i64,
    pub(super) filled_lots: i64,
    pub(super) average_price: f64,
    pub(super) fee: f64,
    pub(super) update_ms: i64,
    pub(super) venue_id: u64,
    pub(super) price_ticks: i64,
    pub(super) trade: u64,
    pub(super) since: u64,
    pub(super) signed: u64,
    pub(super) position_before: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct BracketImage {
    pub(super) symbol: [u8; SYMBOL_MAX],
    pub(super) client_id: ClientOrderId,
    pub(super) venue_id: u64,
    pub(super) lots: i64,
    pub(super) tp_ticks: i64,
    pub(super) sl_ticks: i64,
    pub(super) position_side: u8,
    pub(super) side: u8,
    pub(super) linked: u8,
    pub(super) zero: [u8; 5],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct ActivityImage {
    pub(super) symbol: [u8; SYMBOL_MAX],
    pub(super) at: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct SeenImage {
    pub(super) key: [u64; 2],
    pub(super) at: u64,
}

/// Writes images one after the other.
pub(super) struct Writer<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) at: usize,
}

impl Writer<'_> {
    pub(super) fn put<T: Pod>(&mut self, image: &T) -> Result<(), SnapshotFault> {
        let end = self.at + size_of::<T>();
        let given = self.bytes.len();
        let room = self
            .bytes
            .get_mut(self.at..end)
            .ok_or(SnapshotFault::TooSmall { given, needed: end })?;
        room.copy_from_slice(bytemuck::bytes_of(image));
        self.at = end;
        Ok(())
    }
}

/// Reads them back; the bytes need no alignment.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Reader<'_> {
    pub(super) fn take<T: Pod>(&mut self) -> Result<T, SnapshotFault> {
        let end = self.at + size_of::<T>();
        let bytes = self.bytes.get(self.at..end).ok_or(SnapshotFault::Broken)?;
        self.at = end;
        Ok(bytemuck::pod_read_unaligned(bytes))
    }
}
