//! The universe in words: which instruments were dropped and why (PRINT_LIQUIDITY_DEBUG), how many
//! passed each rule (PRINT_DIAGNOSTICS), and what changed while running.
//!
//! It makes lines; printing them is the caller's.

use super::changes::{Changes, Delisted};
use super::rules::Rules;
use super::select::{DropWhy, Dropped, MARKET_SYMBOL, Selection};

/// One line for each instrument that was left out: symbol, reason, value and the key to change.
pub fn dropped_lines(selection: &Selection, rules: &Rules) -> Vec<String> {
    let held = held_symbols(selection);
    let lines = selection.dropped.iter();
    lines
        .map(|dropped| dropped_line(dropped, rules, held.contains(&dropped.symbol.as_str())))
        .collect()
}

/// What is followed although the rules dropped it, because the account holds something in it.
fn held_symbols(selection: &Selection) -> Vec<&str> {
    let rows = selection.context_only.iter();
    let rows = rows.filter_map(|id| selection.instruments.get(*id));
    let symbols = rows.map(|row| row.symbol.as_str());
    symbols.filter(|symbol| *symbol != MARKET_SYMBOL).collect()
}

fn dropped_line(dropped: &Dropped, rules: &Rules, is_held: bool) -> String {
    let (symbol, why) = (&dropped.symbol, dropped.why);
    let what = if is_held {
        "held, followed without entries"
    } else {
        "dropped"
    };
    format!(
        "universe: {symbol} {what}, {}: {}",
        why.name(),
        because(why, rules)
    )
}

/// The rule in words, with the value that broke it.
fn because(why: DropWhy, rules: &Rules) -> String {
    match why {
        DropWhy::Unreadable(reason) => format!("its row cannot be read ({})", reason.text()),
        DropWhy::Duplicate => "listed twice, the first row counts".to_owned(),
        DropWhy::NotSwap => "no perpetual swap, and SWAP_ONLY=1".to_owned(),
        DropWhy::NotLinear => "inverse contracts are not traded".to_owned(),
        DropWhy::NotUsdt => "not quoted and settled in USDT".to_owned(),
        DropWhy::NotLive => "the venue has it suspended".to_owned(),
        DropWhy::Excluded(index) => {
            format!("matches {} of EXCLUDE_PATTERNS", rules.exclude.text(index))
        }
        DropWhy::NotBluechip => "its base is not in BLUECHIP_BASES, and BLUECHIP_ONLY=1".to_owned(),
        DropWhy::NoTicker => "the venue gave no ticker for it".to_owned(),
        DropWhy::TickerUnreadable(reason) => format!("its ticker cannot be read ({})", reason.text()),
        DropWhy::PriceLow(last) => {
            format!(
                "last price {last} is below MIN_LAST_PRICE={}",
                rules.min_last_price
            )
        }
        DropWhy::VolumeLow(volume) => format!(
            "{volume:.0} USDT in 24 h is below MIN_QUOTE_VOL_USDT={}",
            rules.min_quote_volume_usdt
        ),
        DropWhy::RankedOut(rank) => {
            format!(
                "rank {rank} by volume is beyond TOP_SYMBOLS={}",
                rules.top_symbols
            )
        }
    }
}

/// One line: how many are scanned, what is followed for context, and the counts of the reasons,
/// largest first.
pub fn summary(selection: &Selection) -> String {
    let (kept, listed) = (selection.ranking.len(), selection.listed_count());
    let mut text = format!("universe: {kept} of {listed} instruments scanned");
    let context = selection.context_only.iter();
    let symbols: Vec<&str> = context
        .filter_map(|id| selection.instruments.get(*id))
        .map(|row| row.symbol.as_str())
        .collect();
    if !symbols.is_empty() {
        text += &format!(", {} followed without entries", symbols.join(" "));
    }
    if !selection.dropped.is_empty() {
        text += &format!("; dropped: {}", most_dropped(selection));
    }
    text
}

/// The reasons with their counts, largest first, as `not_live 12, volume_low 3`.
pub fn most_dropped(selection: &Selection) -> String {
    let mut counts: Vec<(usize, &str)> = selection.counts().into_iter().zip(DropWhy::NAMES).collect();
    counts.retain(|(count, _)| *count > 0);
    // Stable: equal counts stay in the order of the rules.
    counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let words: Vec<String> = counts
        .iter()
        .map(|(count, name)| format!("{name} {count}"))
        .collect();
    words.join(", ")
}

/// One line: how many passed each rule, in the order in which they are asked.
pub fn funnel(selection: &Selection) -> String {
    let mut left = selection.listed_count();
    let mut text = format!("universe: {left} listed");
    for (count, name) in selection.counts().into_iter().zip(DropWhy::NAMES) {
        left -= count;
        text += &format!(", {left} after {name}");
    }
    text
}

/// An instrument that is left with the next reading, unless something is opened in it until then.
pub fn closing_line(closing: &Delisted, rules: &Rules) -> String {
    format!(
        "universe: {} takes no new entries and is left with the next reading: {}",
        closing.symbol,
        why_left(closing, rules)
    )
}

fn why_left(delisted: &Delisted, rules: &Rules) -> String {
    match delisted.why {
        Some(why) => because(why, rules),
        None => "the venue lists it no more".to_owned(),
    }
}

/// A line for each thing that changed; none when nothing did.
pub fn change_lines(changes: &Changes, rules: &Rules) -> Vec<String> {
    let why = |delisted: &Delisted| why_left(delisted, rules);
    let mut lines = Vec::new();
    for listed in &changes.listed {
        let what = match (listed.is_back, listed.is_context) {
            (_, true) => "followed from now on, without entries",
            (true, false) => "scanned again",
            (false, false) => "new, scanned from now on",
        };
        lines.push(format!("universe: {} {what}", listed.instrument.symbol));
    }
    for delisted in &changes.delisted {
        lines.push(format!(
            "universe: {} dropped: {}",
            delisted.symbol,
            why(delisted)
        ));
    }
    for held in &changes.held {
        lines.push(format!(
            "universe: {} kept for its position, no new entries: {}",
            held.symbol,
            why(held)
        ));
    }
    for refreshed in &changes.refreshed {
        let (before, after) = (&refreshed.before, &refreshed.after);
        let mut line = format!("universe: {} has new terms", after.symbol);
        if refreshed.is_rescaled {
            line += &format!(
                ": tick size {} to {}, lot size {} to {}, contract value {} to {}",
                before.tick_size,
                after.tick_size,
                before.lot_size,
                after.lot_size,
                before.contract_value,
                after.contract_value
            );
        }
        lines.push(line);
    }
    for symbol in &changes.no_room {
        lines.push(format!(
            "universe: {symbol} not followed: all ids of this run are given out, restart to follow it"
        ));
    }
    lines
}
