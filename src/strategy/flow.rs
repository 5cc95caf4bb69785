//! The order-flow gates of a candidate: is its instrument liquid enough to be worth a signal?
//!
//! `indicate` leaves order-flow features out of a row unless the book and the tape are whole and
//! fresh, so an absent rate of trades means "not ready". Equality passes; a bound of 0 or less is off.

use crate::model::{Feature, FeatureRow, Reason};

/// `[order_flow]` as far as candidates are concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowParams {
    /// USE_WS_ORDERFLOW: off, every candidate passes.
    pub is_on: bool,
    /// ORDERFLOW_STRICT: absent or stale order flow refuses.
    pub strict: bool,
    /// MAX_SPREAD_BPS, MIN_TRADES_PER_MIN, MIN_NOTIONAL_PER_MIN_USD, MIN_DEPTH_NOTIONAL_USD.
    pub spread_bps_max: f64,
    pub trades_per_min_min: f64,
    pub notional_per_min_usd_min: f64,
    pub depth_usd_min: f64,
    /// ORDERFLOW_WINDOW_SEC.
    pub window_sec: u32,
}

impl Default for FlowParams {
    fn default() -> Self {
        FlowParams {
            is_on: false,
            strict: true,
            spread_bps_max: 8.0,
            trades_per_min_min: 2.0,
            notional_per_min_usd_min: 5_000.0,
            depth_usd_min: 10_000.0,
            window_sec: 60,
        }
    }
}

/// The first gate that `row` does not pass, in the order of the settings.
pub fn refusal(row: &FeatureRow, params: &FlowParams) -> Option<Reason> {
    if !params.is_on {
        return None;
    }
    let Some(trades_per_min) = row.get(Feature::TradesPerMin) else {
        return params.strict.then_some(Reason::OrderFlowNotReady);
    };
    let value = |feature: Feature, absent: f64| row.get(feature).unwrap_or(absent);
    let below = |value: f64, bound: f64| bound > 0.0 && value < bound;
    let spread_bps = value(Feature::SpreadBps, f64::INFINITY);
    if params.spread_bps_max > 0.0 && spread_bps > params.spread_bps_max {
        Some(Reason::Spread)
    } else if below(trades_per_min, params.trades_per_min_min) {
        Some(Reason::TradesFew)
    } else if below(
        value(Feature::NotionalPerMin, 0.0),
        params.notional_per_min_usd_min,
    ) {
        Some(Reason::NotionalLow)
    } else if below(value(Feature::DepthUsd, 0.0), params.depth_usd_min) {
        Some(Reason::DepthLow)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [f64; 4]) -> FeatureRow {
        let mut row = FeatureRow::default();
        row.set(Feature::SpreadBps, Some(values[0]));
        row.set(Feature::TradesPerMin, Some(values[1]));
        row.set(Feature::NotionalPerMin, Some(values[2]));
        row.set(Feature::DepthUsd, Some(values[3]));
        row
    }

    #[test]
    fn each_gate_names_itself_equality_passes_and_zero_is_off() {
        let on = FlowParams {
            is_on: true,
            ..FlowParams::default()
        };
        let good = [8.0, 2.0, 5_000.0, 10_000.0];
        assert_eq!(refusal(&row(good), &on), None);
        for (index, value, reason) in [
            (0, 8.01, Reason::Spread),
            (1, 1.99, Reason::TradesFew),
            (2, 4_999.0, Reason::NotionalLow),
            (3, 9_999.0, Reason::DepthLow),
        ] {
            let mut values = good;
            values[index] = value;
            assert_eq!(refusal(&row(values), &on), Some(reason));
            let off = FlowParams {
                spread_bps_max: 0.0,
                trades_per_min_min: 0.0,
                notional_per_min_usd_min: 0.0,
                depth_usd_min: 0.0,
                ..on
            };
            assert_eq!(refusal(&row(values), &off), None);
        }
    }

    #[test]
    fn absent_order_flow_refuses_only_when_strict() {
        let absent = FeatureRow::default();
        let strict = FlowParams {
            is_on: true,
            ..FlowParams::default()
        };
        assert_eq!(refusal(&absent, &strict), Some(Reason::OrderFlowNotReady));
        let lenient = FlowParams {
            strict: false,
            ..strict
        };
        assert_eq!(refusal(&absent, &lenient), None);
        let unused = FlowParams::default();
        assert_eq!(refusal(&absent, &unused), None);
    }
}
