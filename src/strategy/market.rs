//! The regime of the whole market: that of BTC-USDT, confirmed by how many instruments trend along.

use super::regime::{Regime, RegimeState};

/// Part of all instruments in panic that means market panic.
const PANIC_SHARE: f64 = 0.3;
/// Breadth (trending up minus down) that confirms BTC's trend.
const BREADTH_MIN: f64 = 0.1;

/// Counts over the instruments on the market timeframe, and the regime that follows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Market {
    ready_count: u32,
    up_count: u32,
    down_count: u32,
    panic_count: u32,
    state: RegimeState,
    /// BTC's regime on a candle that has not been taken into account yet.
    news: Option<Regime>,
}

impl Market {
    pub fn regime(&self) -> Regime {
        self.state.regime()
    }

    /// Share of instruments trending up minus down, −1..=1; `None` before any is ready.
    pub fn breadth(&self) -> Option<f64> {
        let balance = f64::from(self.up_count) - f64::from(self.down_count);
        (self.ready_count > 0).then(|| balance / f64::from(self.ready_count))
    }

    /// Takes one instrument's change on the market timeframe.
    pub fn on_series(&mut self, before: &RegimeState, after: &RegimeState) {
        self.count(before, -1);
        self.count(after, 1);
    }

    /// Takes BTC's regime after a closed candle; it is weighed by `settle`, when the rows of that close
    /// have all been counted, so their order does not matter.
    pub fn on_leader(&mut self, regime: Regime) {
        self.news = Some(regime);
    }

    /// Weighs the last candle of BTC, if there was one since the last call.
    pub fn settle(&mut self, confirm_candles: u32) {
        let Some(leader) = self.news.take() else {
            return;
        };
        let breadth = self.breadth().unwrap_or(0.0);
        let panicking = f64::from(self.panic_count) > PANIC_SHARE * f64::from(self.ready_count);
        let wanted = match leader {
            _ if panicking => Regime::Panic,
            Regime::Panic => Regime::Panic,
            Regime::TrendUp if breadth >= BREADTH_MIN => Regime::TrendUp,
            Regime::TrendDown if breadth <= -BREADTH_MIN => Regime::TrendDown,
            Regime::Chop => Regime::Chop,
            Regime::TrendUp | Regime::TrendDown | Regime::Neutral => Regime::Neutral,
        };
        // The leader's panic has been confirmed by its own rules.
        let confirm = if wanted == Regime::Panic {
            1
        } else {
            confirm_candles
        };
        self.state.agree(wanted, confirm);
    }

    fn count(&mut self, state: &RegimeState, by: i32) {
        if !state.is_ready() {
            return;
        }
        let add = |count: &mut u32| *count = count.saturating_add_signed(by);
        add(&mut self.ready_count);
        match state.regime() {
            Regime::TrendUp => add(&mut self.up_count),
            Regime::TrendDown => add(&mut self.down_count),
            Regime::Panic => add(&mut self.panic_count),
            Regime::Chop | Regime::Neutral => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(regime: Regime) -> RegimeState {
        RegimeState::of(regime)
    }

    /// A market in which so many instruments are in each regime.
    fn market(regimes: &[(Regime, usize)]) -> Market {
        let mut market = Market::default();
        for (regime, count) in regimes {
            for _ in 0..*count {
                market.on_series(&RegimeState::default(), &ready(*regime));
            }
        }
        market
    }

    fn after(market: &mut Market, leader: Regime, candles: usize) -> Regime {
        for _ in 0..candles {
            market.on_leader(leader);
            market.settle(2);
        }
        market.regime()
    }

    #[test]
    fn the_leaders_trend_needs_breadth_and_two_candles() {
        use Regime::*;
        let mut along = market(&[(TrendUp, 3), (TrendDown, 1), (Neutral, 6)]);
        assert_eq!(along.breadth(), Some(0.2));
        assert_eq!(after(&mut along, TrendUp, 1), Neutral);
        assert_eq!(after(&mut along, TrendUp, 1), TrendUp);
        assert_eq!(after(&mut along, TrendDown, 2), Neutral, "the others go up");
        let mut alone = market(&[(TrendUp, 1), (TrendDown, 1), (Neutral, 8)]);
        assert_eq!(after(&mut alone, TrendUp, 5), Neutral);
        assert_eq!(after(&mut alone, Chop, 2), Chop);
        assert_eq!(market(&[]).breadth(), None);
    }

    #[test]
    fn panic_comes_from_the_leader_or_from_a_third_of_the_others() {
        use Regime::*;
        assert_eq!(after(&mut market(&[(Neutral, 10)]), Panic, 1), Panic);
        assert_eq!(after(&mut market(&[(Panic, 4), (Neutral, 6)]), TrendUp, 1), Panic);
        assert_eq!(
            after(&mut market(&[(Panic, 3), (Neutral, 7)]), Neutral, 3),
            Neutral,
            "equal is not more"
        );
    }

    #[test]
    fn a_series_that_changes_is_counted_once() {
        use Regime::*;
        let mut market = market(&[(TrendUp, 2)]);
        market.on_series(&ready(TrendUp), &ready(TrendDown));
        assert_eq!(market.breadth(), Some(0.0));
        market.on_series(&ready(TrendDown), &RegimeState::default());
        assert_eq!(market.breadth(), Some(1.0));
    }

    #[test]
    fn without_news_nothing_changes() {
        let mut market = market(&[(Regime::Panic, 9)]);
        market.settle(2);
        assert_eq!(market.regime(), Regime::Neutral);
    }
}
