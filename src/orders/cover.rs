//! What the brackets that stand for a position are worth to it: ours, and other people's.

use super::book::BracketRow;
use super::bracket::Guard;
use crate::model::{PositionSide, Wall};

/// Brackets that stand for one position.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cover {
    /// Stops cover every lot.
    pub covered: bool,
    /// The wanted stop and target stand, and are ours.
    pub wanted: bool,
    /// Tightest stop that stands, whoever placed it, and a target; 0 = none.
    pub sl_ticks: i64,
    pub tp_ticks: i64,
    /// Tightest stop of ours for the whole position that is not being cancelled; 0 = none.
    pub own_sl_ticks: i64,
    /// A bracket of ours that is not the wanted one; 0 = none.
    pub surplus: u64,
    /// Of our brackets the one with the loosest stop, or none: the first to go where they cannot stand side by
    /// side. 0 = none.
    pub own: u64,
    /// One of those that is for the whole position and has a stop; 0 = none.
    pub own_whole: u64,
    /// How many of those are not being cancelled, and the loosest of them; 0 = none.
    pub own_whole_count: u32,
    pub own_loosest: u64,
    /// A stop of somebody else stands.
    pub foreign: bool,
    /// Stops of ours alone cover every lot.
    pub ours: bool,
}

/// Reads the rows that guard a position of `lots` (signed).
pub fn cover<'a>(
    rows: impl Iterator<Item = &'a BracketRow> + Clone,
    position_side: PositionSide,
    lots: i64,
    guard: &Guard,
    instance: u16,
) -> Cover {
    let sign = lots.signum();
    let guards = move |row: &&BracketRow| {
        row.position_side == position_side && (sign == 0 || row.side.sign() == -sign)
    };
    let full = |row: &BracketRow| row.lots == -1 || row.lots >= lots.abs();
    let is_own = |row: &BracketRow| row.is_own(instance);
    let mut cover = Cover::default();
    let (mut stop_lots, mut own_lots, mut stop_wanted) = (0i64, 0i64, false);
    let mut loosest_ticks = 0i64;
    let mut target_wanted = guard.want_tp_ticks == 0;
    let mut own_sl = 0;
    for row in rows.clone().filter(guards) {
        cover.foreign |= row.sl_ticks != 0 && !is_own(row);
        if row.sl_ticks != 0 {
            let row_lots = if full(row) { lots.abs() } else { row.lots };
            stop_lots = stop_lots.saturating_add(row_lots);
            if is_own(row) {
                own_lots = own_lots.saturating_add(row_lots);
            }
            let tighter = cover.sl_ticks == 0 || (row.sl_ticks - cover.sl_ticks) * sign > 0;
            if tighter {
                cover.sl_ticks = row.sl_ticks;
            }
            stop_wanted |= is_own(row) && full(row) && row.sl_ticks == guard.want_sl_ticks;
        }
        if row.tp_ticks != 0 {
            cover.tp_ticks = row.tp_ticks;
            target_wanted |= is_own(row) && full(row) && row.tp_ticks == guard.want_tp_ticks;
        }
        let is_looser = row.sl_ticks == 0 || (own_sl != 0 && (row.sl_ticks - own_sl) * sign < 0);
        if is_own(row) && (cover.own == 0 || is_looser) {
            cover.own = row.venue_id;
            own_sl = row.sl_ticks;
        }
        if is_own(row) && full(row) && row.sl_ticks != 0 {
            cover.own_whole = row.venue_id;
            if row.cancel_sent == Wall(0) {
                cover.own_whole_count += 1;
                if cover.own_sl_ticks == 0 || (row.sl_ticks - cover.own_sl_ticks) * sign > 0 {
                    cover.own_sl_ticks = row.sl_ticks;
                }
                let looser = loosest_ticks == 0 || (row.sl_ticks - loosest_ticks) * sign < 0;
                if looser {
                    loosest_ticks = row.sl_ticks;
                    cover.own_loosest = row.venue_id;
                }
            }
        }
    }
    cover.covered = lots != 0 && stop_lots >= lots.abs();
    cover.ours = lots != 0 && own_lots >= lots.abs();
    cover.wanted = cover.covered && stop_wanted && target_wanted;
    cover.surplus = surplus(rows.filter(guards).filter(|row| is_own(row)), &full, guard);
    cover
}

/// A row of ours that is not needed, 0 = none. One row with both wanted legs makes all others
/// surplus; without one, a stop and a target may stand apart. The first of equals is kept.
fn surplus<'a>(
    rows: impl Iterator<Item = &'a BracketRow> + Clone,
    full: &impl Fn(&BracketRow) -> bool,
    guard: &Guard,
) -> u64 {
    let is_stop = |row: &BracketRow| full(row) && row.sl_ticks != 0 && row.sl_ticks == guard.want_sl_ticks;
    let is_target = |row: &BracketRow| full(row) && row.tp_ticks != 0 && row.tp_ticks == guard.want_tp_ticks;
    let no_target = guard.want_tp_ticks == 0;
    let whole = rows
        .clone()
        .find(|row| is_stop(row) && (no_target || is_target(row)))
        .map(|row| row.venue_id);
    let (mut stop_kept, mut target_kept) = (false, no_target);
    let mut found = 0;
    for row in rows {
        let useful = match whole {
            Some(venue_id) => row.venue_id == venue_id,
            None => (is_stop(row) && !stop_kept) || (is_target(row) && !target_kept),
        };
        stop_kept |= is_stop(row);
        target_kept |= is_target(row);
        if !useful && row.cancel_sent == Wall(0) {
            found = row.venue_id;
        }
    }
    found
}
