//! One position, and the contract mathematics of the venue (reference §8.2–§8.6), exact.

use super::account::{PositionEnd, PositionHistoryRow};
use super::amount::{Amount, Terms, cut, ratio};
use crate::model::{InstrumentId, Lots, MarginMode, PositionSide, Side};

/// An open position. `lots` carries the sign: negative = short, in hedge mode too.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    pub id: u64,
    pub instrument: InstrumentId,
    pub side: PositionSide,
    pub margin_mode: MarginMode,
    pub leverage: u16,
    pub lots: Lots,
    /// Size-weighted mean of what opened it; reductions leave it alone.
    pub entry: Amount,
    /// Funding paid out of isolated margin so far (negative = paid).
    pub margin_change: Amount,
    /// Σ fees, positive = paid.
    pub fee: Amount,
    /// Gross realised profit so far.
    pub realized: Amount,
    pub max_lots: Lots,
    pub closed_lots: Lots,
    /// Σ base × price of the closing fills.
    pub closed_value: Amount,
    pub liquidated_lots: Lots,
    /// Its row of the history; 0 = nothing closed yet.
    pub history_id: u64,
    pub create_ms: i64,
    pub update_ms: i64,
}

/// What decides margins: +1/−1, base quantity, entry and mark.
#[derive(Clone, Copy, Debug)]
pub struct Exposure {
    pub long: bool,
    pub base: Amount,
    pub entry: Amount,
    pub mark: Amount,
    pub leverage: u16,
    pub maintenance_rate: Amount,
}

impl Exposure {
    /// `s·(M − E)·Q`.
    pub fn unrealized_pnl(&self) -> Amount {
        profit(self.long, self.entry, self.mark, self.base)
    }

    /// Cross: `Q·M / L`, moves with the mark.
    pub fn initial_margin(&self) -> Amount {
        self.base * self.mark / Amount::from(self.leverage)
    }

    /// Isolated: `Q·E / L`, fixed at entry.
    pub fn entry_margin(&self) -> Amount {
        self.base * self.entry / Amount::from(self.leverage)
    }

    /// `Q·M·mmr`.
    pub fn maintenance_margin(&self) -> Amount {
        self.base * self.mark * self.maintenance_rate
    }

    /// What must be left at the mark: maintenance margin and the fee of closing.
    pub fn required(&self, taker_fee: Amount) -> Amount {
        self.maintenance_margin() + self.base * self.mark * taker_fee
    }

    /// Price at which `backing` (cross balance or isolated margin) is down to what is required;
    /// `None` when no positive price does it.
    pub fn liquidation_price(&self, backing: Amount, taker_fee: Amount) -> Option<Amount> {
        let one = Amount::ONE;
        let rates = self.maintenance_rate + taker_fee;
        let cost = self.entry * self.base;
        let price = if self.long {
            ratio(cost - backing, self.base * (one - rates))
        } else {
            ratio(cost + backing, self.base * (one + rates))
        };
        (price > Amount::ZERO).then(|| cut(price))
    }

    /// Price at which closing, fee included, leaves nothing of `backing`; 0 when none is positive.
    pub fn bankruptcy_price(&self, backing: Amount, taker_fee: Amount) -> Amount {
        let cost = self.entry * self.base;
        let price = if self.long {
            ratio(cost - backing, self.base * (Amount::ONE - taker_fee))
        } else {
            ratio(cost + backing, self.base * (Amount::ONE + taker_fee))
        };
        cut(price.max(Amount::ZERO))
    }
}

/// Gross profit of `base` coins bought (long) or sold (short) at `entry` and valued at `price`.
pub fn profit(long: bool, entry: Amount, price: Amount, base: Amount) -> Amount {
    if long {
        (price - entry) * base
    } else {
        (entry - price) * base
    }
}

impl Position {
    pub fn is_long(&self) -> bool {
        self.lots.0 > 0
    }

    /// The side that closes it.
    pub fn closing_side(&self) -> Side {
        if self.is_long() { Side::Sell } else { Side::Buy }
    }

    /// Lots without the sign.
    pub fn size(&self) -> Lots {
        Lots(self.lots.0.abs())
    }

    pub fn exposure(&self, terms: &Terms, mark: Amount) -> Exposure {
        Exposure {
            long: self.is_long(),
            base: terms.base(self.lots),
            entry: self.entry,
            mark,
            leverage: self.leverage,
            maintenance_rate: terms.maintenance_rate,
        }
    }

    /// Isolated margin: entry based, plus the funding it has paid or received.
    pub fn isolated_margin(&self, terms: &Terms) -> Amount {
        match self.margin_mode {
            MarginMode::Cross => Amount::ZERO,
            MarginMode::Isolated => {
                cut(terms.base(self.lots) * self.entry / Amount::from(self.leverage)) + self.margin_change
            }
        }
    }

    /// Takes `lots` (unsigned) more in at `price`: the entry becomes the size-weighted mean.
    pub fn enlarge(&mut self, sign: i64, lots: Lots, price: Amount, fee: Amount, now_ms: i64) {
        let before = Amount::from(self.size().0);
        let more = Amount::from(lots.0);
        self.entry = if before.is_zero() {
            price
        } else {
            cut((self.entry * before + price * more) / (before + more))
        };
        self.lots = Lots(self.lots.0 + sign * lots.0);
        self.max_lots = self.max_lots.max(self.size());
        self.fee += fee;
        self.update_ms = now_ms;
    }

    /// Takes `lots` (unsigned, at most its size) out at `price`; returns the gross profit.
    pub fn reduce(&mut self, terms: &Terms, lots: Lots, price: Amount, fee: Amount, now_ms: i64) -> Amount {
        debug_assert!(lots.0 > 0 && lots <= self.size());
        let base = terms.base(lots);
        let pnl = profit(self.is_long(), self.entry, price, base);
        if self.margin_mode == MarginMode::Isolated && !self.margin_change.is_zero() {
            let kept = Amount::from(self.size().0 - lots.0) / Amount::from(self.size().0);
            self.margin_change = cut(self.margin_change * kept);
        }
        self.lots = Lots(self.lots.0 - self.lots.0.signum() * lots.0);
        self.closed_lots = Lots(self.closed_lots.0 + lots.0);
        self.closed_value += base * price;
        self.realized += pnl;
        self.fee += fee;
        self.update_ms = now_ms;
        pnl
    }

    /// Its row of the history as it stands; `sign` because a closed position has none.
    pub fn history_row(&self, terms: &Terms, sign: i8, end: PositionEnd) -> PositionHistoryRow {
        let close_base = terms.base(self.closed_lots);
        let net = self.realized - self.fee;
        let margin = close_base * self.entry / Amount::from(self.leverage);
        PositionHistoryRow {
            id: self.history_id,
            position_id: self.id,
            instrument: self.instrument,
            margin_mode: self.margin_mode,
            position_side: self.side,
            sign,
            end,
            close_base,
            max_base: terms.base(self.max_lots),
            liquidation_base: terms.base(self.liquidated_lots),
            open_average_price: self.entry,
            close_average_price: cut(ratio(self.closed_value, close_base)),
            realized_pnl: net,
            realized_pnl_ratio: cut(ratio(net, margin)),
            fee: -self.fee,
            leverage: self.leverage,
            create_ms: self.create_ms,
            update_ms: self.update_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn amount(text: &str) -> Amount {
        Amount::from_str(text).expect("a decimal")
    }

    fn exposure(base: &str, entry: &str, mark: &str, leverage: u16, maintenance: &str) -> Exposure {
        Exposure {
            long: true,
            base: amount(base),
            entry: amount(entry),
            mark: amount(mark),
            leverage,
            maintenance_rate: amount(maintenance),
        }
    }

    #[test]
    fn the_recorded_ltc_position_comes_out_digit_for_digit() {
        let fee = amount("0.0006");
        let balance = amount("61.298033775651804468");
        let ltc = exposure("1", "67.85", "67.83143340000001", 3, "0.005");
        assert_eq!(cut(ltc.initial_margin()), amount("22.610477800000003333"));
        assert_eq!(ltc.maintenance_margin(), amount("0.33915716700000005"));
        assert_eq!(ltc.unrealized_pnl(), amount("-0.01856659999999"));
        let pnl_ratio = ratio(ltc.unrealized_pnl(), ltc.entry_margin());
        assert_eq!(cut(pnl_ratio), amount("-0.000820925571112306"));
        let margin_ratio = ratio(balance + ltc.unrealized_pnl(), ltc.required(fee));
        assert_eq!(cut(margin_ratio), amount("161.322877125756096924"));
        assert_eq!(
            ltc.liquidation_price(balance, fee),
            Some(amount("6.588863861975256971"))
        );
    }

    #[test]
    fn the_documented_isolated_eth_position_comes_out_digit_for_digit() {
        let fee = amount("0.0006");
        let eth = exposure("0.1", "1591.8", "1591.69", 3, "0.004");
        assert_eq!(eth.entry_margin(), amount("53.06"));
        assert_eq!(eth.unrealized_pnl(), amount("-0.011"));
        assert_eq!(eth.maintenance_margin(), amount("0.636676"));
        let margin_ratio = ratio(amount("53.06") + eth.unrealized_pnl(), eth.required(fee));
        assert_eq!(cut(margin_ratio), amount("72.453752328329172684"));
        assert_eq!(
            eth.liquidation_price(amount("53.06"), fee),
            Some(amount("1066.104078762306610407"))
        );
    }

    #[test]
    fn nothing_is_left_at_the_bankruptcy_price() {
        let fee = amount("0.0006");
        for long in [true, false] {
            let exposure = Exposure {
                long,
                ..exposure("2", "100", "100", 10, "0.005")
            };
            let price = exposure.bankruptcy_price(amount("20"), fee);
            let left =
                amount("20") + profit(long, amount("100"), price, amount("2")) - amount("2") * price * fee;
            assert!(
                left.abs() < amount("0.000000000000001"),
                "long {long}: {left} left"
            );
        }
    }

    #[test]
    fn a_long_that_cash_covers_has_no_liquidation_price() {
        let ltc = exposure("1", "67.85", "67.83", 3, "0.005");
        assert_eq!(ltc.liquidation_price(amount("100"), amount("0.0006")), None);
    }
}
