//! What `gate` shows of itself in the latest-state tables of the bus: for the screen, for
//! `latency-report`, for a script of the user's. Nothing decides by these rows.

use super::header::Header;
use bytemuck::{Pod, Zeroable};

/// Rows of the position table. TRADE_MAX_POSITIONS is below it; adopted ones fit too.
pub const POSITION_ROWS: usize = 64;

/// One open position. A row with `lots` 0 is free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct PositionRow {
    pub header: Header,
    pub instrument: u16,
    /// `Side` code of the entry.
    pub side: u8,
    /// 0 = no live stop known, 1 = attached or placed, 2 = being replaced, 3 = being closed.
    pub protection: u8,
    pub zero: u32,
    pub lots: i64,
    pub entry_price: f64,
    pub stop_price: f64,
    pub target_price: f64,
    pub mark_price: f64,
    /// Open result in units of the initial risk.
    pub r: f64,
    pub opened_ms: i64,
    pub signal: u64,
}

/// The account and the day so far.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct StatusRow {
    pub header: Header,
    pub equity: f64,
    pub available: f64,
    /// 1 = entries may leave.
    pub entries_on: u64,
    /// `Reason` code of why they may not; 0 when they may.
    pub entries_off_reason: u64,
    pub positions: u64,
    pub orders_in_flight: u64,
    pub signal_count: u64,
    pub order_count: u64,
    pub fill_count: u64,
    pub entry_filled_count: u64,
    pub closed_tp_count: u64,
    pub closed_sl_count: u64,
    pub closed_other_count: u64,
    pub refused_count: u64,
    /// Trading calls left in the current window of 10 s, and of those how many entries may use.
    pub budget_left: u64,
    pub budget_left_entry: u64,
    pub realised_pnl: f64,
    pub exposure_usd: f64,
}
