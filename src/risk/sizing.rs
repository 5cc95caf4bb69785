//! How many lots an entry gets: notional, minimums, margin, balance.
//!
//! Sizes on BloFin are contracts, so one lot is worth `price × contract value × lot size`. Returns
//! whole lots or the reason why no size fits; never a size above what the limits allow.

use super::params::Limits;
use crate::model::money::floor_i64;
use crate::model::{Instrument, Lots, Reason};

/// What a size is computed from. Money in USDT.
#[derive(Clone, Copy, Debug)]
pub struct SizeRequest {
    /// Price at which a lot is valued: for a buy the ask plus the accepted slippage.
    pub price: f64,
    pub leverage: u16,
    /// Room left under the exposure limit.
    pub exposure_room_usd: f64,
    /// What a new order may use, `None` when it is not to be checked.
    pub available_usd: Option<f64>,
    pub taker_fee_bps: f64,
    /// Distance of the stop as a part of the price.
    pub sl_fraction: f64,
}

/// A size that fits, and what it ties up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub lots: Lots,
    pub notional_usd: f64,
    pub margin_usd: f64,
}

/// Lots are counted after adding this, so that 8 lots worth of money are not 7.999999.
const WHOLE: f64 = 1e-9;

/// The size of an entry, or why there is none: `BelowMinSize`, `MarginLow`, `ExposureMax`,
/// `BalanceLow`, `LeverageHigh` (no leverage at all), `QuoteAbsent` (no usable price).
pub fn size(instrument: &Instrument, limits: &Limits, request: &SizeRequest) -> Result<Size, Reason> {
    let lot_usd = instrument.lot_base_f64() * request.price;
    if !(lot_usd.is_finite() && lot_usd > 0.0) {
        return Err(Reason::QuoteAbsent);
    }
    if request.leverage == 0 {
        return Err(Reason::LeverageHigh);
    }
    let wanted_usd = wanted_notional(limits, request.sl_fraction);
    let upsized_usd_max = if limits.upsize_to_min_margin {
        wanted_usd * limits.upsize_max_mult
    } else {
        wanted_usd
    };
    let mut lots = whole_lots(wanted_usd / lot_usd);
    if lots < instrument.min_lots.0 {
        let min_usd = instrument.min_lots.0 as f64 * lot_usd;
        if !limits.upsize_to_min_margin || min_usd > upsized_usd_max + WHOLE {
            return Err(Reason::BelowMinSize);
        }
        lots = instrument.min_lots.0;
    }
    let mut size = sized(lots.min(instrument.max_market_lots.0), lot_usd, request.leverage);
    if size.margin_usd + WHOLE < limits.margin_usd_min {
        let needed = (limits.margin_usd_min * f64::from(request.leverage) / lot_usd - WHOLE).ceil();
        size = sized(needed as i64, lot_usd, request.leverage);
        let fits = limits.upsize_to_min_margin
            && size.notional_usd <= upsized_usd_max + WHOLE
            && size.lots <= instrument.max_market_lots;
        if !fits {
            return Err(Reason::MarginLow);
        }
    }
    if size.notional_usd > request.exposure_room_usd + WHOLE {
        return Err(Reason::ExposureMax);
    }
    let Some(available_usd) = request.available_usd else {
        return Ok(size);
    };
    fit_balance(instrument, limits, request, size, lot_usd, available_usd)
}

/// Lots that raise a position of `held` lots to the smallest margin, or why they may not be bought:
/// `BelowMinSize` never, `MarginLow` when the whole would be larger than upsizing may make it,
/// `ExposureMax` and `BalanceLow` as for an entry. `request.price` values a lot.
pub fn top_up(
    instrument: &Instrument,
    limits: &Limits,
    request: &SizeRequest,
    held: i64,
) -> Result<Size, Reason> {
    let lot_usd = instrument.lot_base_f64() * request.price;
    if !(lot_usd.is_finite() && lot_usd > 0.0) {
        return Err(Reason::QuoteAbsent);
    }
    if request.leverage == 0 {
        return Err(Reason::LeverageHigh);
    }
    let whole = (limits.margin_usd_min * f64::from(request.leverage) / lot_usd - WHOLE).ceil() as i64;
    let lots = (whole - held).max(instrument.min_lots.0).max(1);
    let most_usd = limits.notional_usd * limits.upsize_max_mult;
    let whole_usd = (held + lots) as f64 * lot_usd;
    if whole_usd > most_usd + WHOLE || lots > instrument.max_market_lots.0 {
        return Err(Reason::MarginLow);
    }
    let size = sized(lots, lot_usd, request.leverage);
    if size.notional_usd > request.exposure_room_usd + WHOLE {
        return Err(Reason::ExposureMax);
    }
    let need = size.margin_usd * (1.0 + limits.margin_safety_bps / 1e4)
        + size.notional_usd * 2.0 * request.taker_fee_bps / 1e4;
    match request.available_usd {
        Some(available_usd) if need > available_usd => Err(Reason::BalanceLow),
        Some(_) | None => Ok(size),
    }
}

/// TRADE_NOTIONAL_USD, less when the stop would lose more than RISK_PER_TRADE_USD.
fn wanted_notional(limits: &Limits, sl_fraction: f64) -> f64 {
    if limits.risk_usd > 0.0 && sl_fraction > 0.0 {
        limits.notional_usd.min(limits.risk_usd / sl_fraction)
    } else {
        limits.notional_usd
    }
}

/// Shrinks the size until margin, safety and the fees of both ways are covered.
fn fit_balance(
    instrument: &Instrument,
    limits: &Limits,
    request: &SizeRequest,
    size: Size,
    lot_usd: f64,
    available_usd: f64,
) -> Result<Size, Reason> {
    let lot_need = lot_usd
        * ((1.0 + limits.margin_safety_bps / 1e4) / f64::from(request.leverage)
            + 2.0 * request.taker_fee_bps / 1e4);
    let affordable = whole_lots(available_usd / lot_need);
    if affordable >= size.lots.0 {
        return Ok(size);
    }
    let smaller = sized(affordable, lot_usd, request.leverage);
    let too_small = smaller.lots < instrument.min_lots || smaller.margin_usd + WHOLE < limits.margin_usd_min;
    if affordable < 1 || too_small {
        return Err(Reason::BalanceLow);
    }
    Ok(smaller)
}

fn whole_lots(lots: f64) -> i64 {
    // A float beyond i64 saturates; NaN becomes 0 and is refused as too small.
    floor_i64(lots + WHOLE)
}

fn sized(lots: i64, lot_usd: f64, leverage: u16) -> Size {
    let notional_usd = lots as f64 * lot_usd;
    Size {
        lots: Lots(lots),
        notional_usd,
        margin_usd: notional_usd / f64::from(leverage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decimal, Symbol};

    fn instrument(contract_value: &str, lot: &str, min_lots: i64) -> Instrument {
        let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
        Instrument {
            symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
            tick_size: decimal("0.1"),
            lot_size: decimal(lot),
            contract_value: decimal(contract_value),
            min_lots: Lots(min_lots),
            max_limit_lots: Lots(1_000_000),
            max_market_lots: Lots(100_000),
            max_leverage: 150,
            live: true,
            list_ms: 0,
        }
    }

    fn request(price: f64) -> SizeRequest {
        SizeRequest {
            price,
            leverage: 3,
            exposure_room_usd: 500.0,
            available_usd: None,
            taker_fee_bps: 6.0,
            sl_fraction: 0.005,
        }
    }

    fn limits(margin_usd_min: f64) -> Limits {
        Limits {
            margin_usd_min,
            ..Limits::default()
        }
    }

    #[test]
    fn the_worked_example_of_the_specification() {
        let btc = instrument("0.001", "0.1", 1);
        let plain = size(&btc, &limits(10.0), &request(60_000.0)).expect("fits");
        assert_eq!(plain.lots, Lots(8));
        assert!((plain.notional_usd - 48.0).abs() < 1e-9);
        assert!((plain.margin_usd - 16.0).abs() < 1e-9);
        let upsized = size(&btc, &limits(20.0), &request(60_000.0)).expect("1.2 times the notional");
        assert_eq!(upsized.lots, Lots(10));
        assert!((upsized.notional_usd - 60.0).abs() < 1e-9);
        let strict = Limits {
            upsize_to_min_margin: false,
            ..limits(20.0)
        };
        assert_eq!(size(&btc, &strict, &request(60_000.0)), Err(Reason::MarginLow));
    }

    #[test]
    fn contract_values_of_a_thousandth_and_of_a_thousand() {
        let small = instrument("0.001", "1", 1);
        assert_eq!(
            size(&small, &limits(0.0), &request(100.0)).expect("fits").lots,
            Lots(500)
        );
        let large = instrument("1000", "0.1", 1);
        // A lot is 100 coins at 0.012 = 1.2 USD.
        assert_eq!(
            size(&large, &limits(0.0), &request(0.012)).expect("fits").lots,
            Lots(41)
        );
    }

    #[test]
    fn a_minimum_above_the_notional_is_reached_only_within_the_multiple() {
        // One lot is 60 USD.
        let met = instrument("0.001", "1", 1);
        assert_eq!(
            size(&met, &limits(0.0), &request(75_000.0))
                .expect("exactly 1.5 times")
                .lots,
            Lots(1)
        );
        assert_eq!(
            size(&met, &limits(0.0), &request(75_001.0)),
            Err(Reason::BelowMinSize)
        );
    }

    #[test]
    fn caps_and_room() {
        let mut capped = instrument("0.001", "0.1", 1);
        capped.max_market_lots = Lots(5);
        assert_eq!(
            size(&capped, &limits(0.0), &request(60_000.0))
                .expect("capped")
                .lots,
            Lots(5)
        );
        let btc = instrument("0.001", "0.1", 1);
        let mut tight = request(60_000.0);
        tight.exposure_room_usd = 48.0;
        assert!(size(&btc, &limits(10.0), &tight).is_ok(), "equality is allowed");
        tight.exposure_room_usd = 47.99;
        assert_eq!(size(&btc, &limits(10.0), &tight), Err(Reason::ExposureMax));
    }

    #[test]
    fn a_thin_balance_shrinks_the_size_and_then_refuses() {
        let btc = instrument("0.001", "0.1", 1);
        let mut request = request(60_000.0);
        // One lot: 6 USD → margin 2.02 + fees 0.0072 = 2.0272.
        request.available_usd = Some(8.0 * 2.0272 + 1e-6);
        assert_eq!(size(&btc, &limits(10.0), &request).expect("fits").lots, Lots(8));
        request.available_usd = Some(8.0 * 2.0272 - 1e-3);
        assert_eq!(size(&btc, &limits(10.0), &request).expect("shrunk").lots, Lots(7));
        request.available_usd = Some(4.0 * 2.0272);
        assert_eq!(size(&btc, &limits(10.0), &request), Err(Reason::BalanceLow));
        request.available_usd = Some(0.0);
        assert_eq!(size(&btc, &limits(0.0), &request), Err(Reason::BalanceLow));
    }

    #[test]
    fn a_position_is_topped_up_to_the_smallest_margin_within_the_bounds() {
        let btc = instrument("0.001", "0.1", 1);
        let limits = limits(10.0);
        // A lot is 6 USD, 2 USD of margin: five make 10.
        let request = request(60_000.0);
        for (held, lots) in [(1, 4), (4, 1)] {
            assert_eq!(
                top_up(&btc, &limits, &request, held).expect("fits").lots,
                Lots(lots)
            );
        }
        let tight = |change: &dyn Fn(&mut SizeRequest)| {
            let mut request = request;
            change(&mut request);
            top_up(&btc, &limits, &request, 1)
        };
        assert_eq!(tight(&|r| r.exposure_room_usd = 23.9), Err(Reason::ExposureMax));
        assert_eq!(tight(&|r| r.available_usd = Some(8.0)), Err(Reason::BalanceLow));
        assert!(tight(&|r| r.available_usd = Some(8.2)).is_ok());
        // 25 times leverage: 250 USD would be needed, 75 are allowed.
        assert_eq!(tight(&|r| r.leverage = 25), Err(Reason::MarginLow));
        assert_eq!(tight(&|r| r.price = f64::NAN), Err(Reason::QuoteAbsent));
    }

    #[test]
    fn risk_per_trade_bounds_the_notional() {
        let btc = instrument("0.001", "0.1", 1);
        let risk = Limits {
            risk_usd: 0.12,
            ..limits(0.0)
        };
        // 0.12 / 0.005 = 24 USD = 4 lots.
        assert_eq!(size(&btc, &risk, &request(60_000.0)).expect("fits").lots, Lots(4));
    }

    #[test]
    fn nonsense_is_refused() {
        let btc = instrument("0.001", "0.1", 1);
        assert_eq!(
            size(&btc, &limits(0.0), &request(f64::NAN)),
            Err(Reason::QuoteAbsent)
        );
        assert_eq!(size(&btc, &limits(0.0), &request(0.0)), Err(Reason::QuoteAbsent));
        let none = SizeRequest {
            leverage: 0,
            ..request(60_000.0)
        };
        assert_eq!(size(&btc, &limits(0.0), &none), Err(Reason::LeverageHigh));
    }
}
