//! Order flow of one instrument: a book's top and depth, and the trades of a sliding window.
//!
//! Every update is O(1): trades fall into buckets of one second whose sums are kept, and a second that
//! leaves the window is taken off. All sizes come in contracts; every notional has the contract value
//! applied. Nothing is a number until book and tape are whole and fresh.

/// What `[order_flow]` says of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowParams {
    /// USE_WS_ORDERFLOW: off, nothing is kept and nothing is ready.
    pub is_on: bool,
    /// ORDERFLOW_WINDOW_SEC.
    pub window_sec: u32,
    /// OF_READY_MIN_TRADES in the window.
    pub trades_min: u32,
    /// OF_READY_MAX_AGE_SEC, in ms: of the book and of the last trade.
    pub age_max_ms: i64,
}

impl Default for FlowParams {
    fn default() -> Self {
        FlowParams {
            is_on: false,
            window_sec: 60,
            trades_min: 1,
            age_max_ms: 180_000,
        }
    }
}

/// Order flow when it is ready.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowReading {
    pub spread_bps: f64,
    /// USD of the thinner side.
    pub depth_usd: f64,
    /// (bids − asks) / (bids + asks), in −1..=1.
    pub depth_imbalance: f64,
    pub trades_per_min: f64,
    pub notional_per_min_usd: f64,
    /// Part of the window's notional whose taker bought; ½ without any.
    pub aggressor_buy: f64,
    /// (bought − sold) / (bought + sold), 0 without any.
    pub cvd_norm: f64,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    count: u32,
    buy_usd: f64,
    sell_usd: f64,
}

/// A trade as the tape has it.
#[derive(Clone, Copy, Debug)]
pub struct TapeTrade {
    pub price: f64,
    /// In contracts.
    pub size: f64,
    pub taker_bought: bool,
    /// Number of the venue; 0 when it gives none.
    pub id: f64,
    /// Venue time and time of receipt, Unix ms.
    pub venue_ms: i64,
    pub receive_ms: i64,
}

/// Trades whose numbers are remembered, so that none counts twice after a reconnect.
const REMEMBERED: usize = 64;
/// A venue's clock may run ahead of ours by so much.
const AHEAD_MAX_MS: i64 = 2_000;

#[derive(Clone, Copy)]
struct Depth {
    bid: f64,
    ask: f64,
    bids_usd: f64,
    asks_usd: f64,
    receive_ms: i64,
}

/// The state of one instrument.
pub struct OrderFlow {
    params: FlowParams,
    contract_value: f64,
    buckets: Box<[Bucket]>,
    total: Bucket,
    /// Second of the newest bucket.
    newest_sec: i64,
    /// When the first message came: the window is not longer than that.
    since_ms: Option<i64>,
    last_trade_ms: i64,
    /// Trades are missing until the next one comes.
    is_tape_broken: bool,
    depth: Option<Depth>,
    seen: [f64; REMEMBERED],
    seen_at: usize,
}

impl OrderFlow {
    /// Without order flow this allocates nothing and is never ready.
    pub fn new(params: FlowParams, contract_value: f64) -> Self {
        let seconds = if params.is_on {
            params.window_sec.max(1) as usize
        } else {
            0
        };
        OrderFlow {
            params,
            contract_value,
            buckets: vec![Bucket::default(); seconds].into_boxed_slice(),
            total: Bucket::default(),
            newest_sec: i64::MIN,
            since_ms: None,
            last_trade_ms: i64::MIN,
            is_tape_broken: false,
            depth: None,
            seen: [0.0; REMEMBERED],
            seen_at: 0,
        }
    }

    /// A whole book: best prices, and the USD of the levels that are summed.
    pub fn on_depth(&mut self, bid: f64, ask: f64, bids_usd: f64, asks_usd: f64, receive_ms: i64) {
        if !self.params.is_on {
            return;
        }
        if !self.is_tape_broken {
            self.since_ms.get_or_insert(receive_ms);
        }
        let is_good =
            bid > 0.0 && ask > bid && bids_usd >= 0.0 && asks_usd >= 0.0 && bids_usd + asks_usd > 0.0;
        self.depth = is_good.then_some(Depth {
            bid,
            ask,
            bids_usd,
            asks_usd,
            receive_ms,
        });
    }

    /// Trades are missing: the window begins anew with the next one. Without this a missed trade would
    /// count as none.
    pub fn break_tape(&mut self) {
        self.is_tape_broken = true;
        self.since_ms = None;
        self.last_trade_ms = i64::MIN;
        self.buckets.fill(Bucket::default());
        self.total = Bucket::default();
    }

    /// The book cannot be believed until the next whole one.
    pub fn invalidate(&mut self) {
        self.depth = None;
    }

    /// One trade of the public tape.
    pub fn on_trade(&mut self, trade: &TapeTrade) {
        let usd = trade.price * trade.size * self.contract_value;
        let is_repeat = trade.id != 0.0 && self.seen.contains(&trade.id);
        if !self.params.is_on || !usd.is_finite() || usd <= 0.0 || is_repeat {
            return;
        }
        self.seen[self.seen_at] = trade.id;
        self.seen_at = (self.seen_at + 1) % REMEMBERED;
        self.is_tape_broken = false;
        self.since_ms.get_or_insert(trade.receive_ms);
        self.last_trade_ms = self.last_trade_ms.max(trade.receive_ms);
        let at_ms = trade.venue_ms.min(trade.receive_ms + AHEAD_MAX_MS);
        let second = at_ms.div_euclid(1_000);
        self.roll(second);
        if self.newest_sec - second >= self.buckets.len() as i64 {
            return;
        }
        let length = self.buckets.len() as i64;
        let bucket = &mut self.buckets[second.rem_euclid(length) as usize];
        for sums in [bucket, &mut self.total] {
            sums.count += 1;
            if trade.taker_bought {
                sums.buy_usd += usd;
            } else {
                sums.sell_usd += usd;
            }
        }
    }

    /// What is known at `now_ms`; `None` while book or tape are absent, young, thin or stale.
    pub fn read(&mut self, now_ms: i64) -> Option<FlowReading> {
        let depth = self.depth?;
        self.roll(now_ms.div_euclid(1_000));
        let window_ms = i64::from(self.params.window_sec) * 1_000;
        let effective_ms = (now_ms - self.since_ms?).min(window_ms);
        let age_ms = (now_ms - depth.receive_ms).max(now_ms.saturating_sub(self.last_trade_ms));
        let is_ready = 2 * effective_ms >= window_ms
            && age_ms <= self.params.age_max_ms
            && self.total.count >= self.params.trades_min;
        if !is_ready || effective_ms <= 0 {
            return None;
        }
        let minutes = effective_ms as f64 / 60_000.0;
        let (bought, sold) = (self.total.buy_usd, self.total.sell_usd);
        let traded = bought + sold;
        Some(FlowReading {
            spread_bps: 2e4 * (depth.ask - depth.bid) / (depth.ask + depth.bid),
            depth_usd: depth.bids_usd.min(depth.asks_usd),
            depth_imbalance: (depth.bids_usd - depth.asks_usd) / (depth.bids_usd + depth.asks_usd),
            trades_per_min: f64::from(self.total.count) / minutes,
            notional_per_min_usd: traded / minutes,
            aggressor_buy: if traded > 0.0 { bought / traded } else { 0.5 },
            cvd_norm: if traded > 0.0 {
                (bought - sold) / traded
            } else {
                0.0
            },
        })
    }

    /// Lets seconds pass: those that leave the window are taken off the sums.
    fn roll(&mut self, second: i64) {
        if second <= self.newest_sec || self.buckets.is_empty() {
            return;
        }
        let length = self.buckets.len() as i64;
        if self.newest_sec == i64::MIN || second - self.newest_sec >= length {
            self.buckets.fill(Bucket::default());
            self.total = Bucket::default();
        } else {
            for passed in self.newest_sec + 1..=second {
                let place = passed.rem_euclid(length) as usize;
                let old = std::mem::take(&mut self.buckets[place]);
                self.total.count -= old.count;
                self.total.buy_usd -= old.buy_usd;
                self.total.sell_usd -= old.sell_usd;
                if place == 0 {
                    // Once a turn the sums are made anew, so that rounding does not grow.
                    self.total = self.sum();
                }
            }
        }
        self.newest_sec = second;
    }

    fn sum(&self) -> Bucket {
        let add = |mut total: Bucket, bucket: &Bucket| {
            total.count += bucket.count;
            total.buy_usd += bucket.buy_usd;
            total.sell_usd += bucket.sell_usd;
            total
        };
        self.buckets.iter().fold(Bucket::default(), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_748_000_000_000;

    fn flow(contract_value: f64) -> OrderFlow {
        let params = FlowParams {
            is_on: true,
            ..FlowParams::default()
        };
        OrderFlow::new(params, contract_value)
    }

    fn trade(id: u32, at_ms: i64, size: f64, taker_bought: bool) -> TapeTrade {
        TapeTrade {
            price: 100.0,
            size,
            taker_bought,
            id: f64::from(id),
            venue_ms: at_ms,
            receive_ms: at_ms,
        }
    }

    #[test]
    fn contract_values_of_a_thousandth_and_of_a_thousand_give_usd() {
        for contract_value in [0.001, 1_000.0] {
            let mut flow = flow(contract_value);
            flow.on_depth(99.99, 100.01, 3_000.0, 1_000.0, T);
            for id in 0..60 {
                flow.on_trade(&trade(id + 1, T + i64::from(id) * 1_000, 2.0, id % 4 != 0));
            }
            flow.on_depth(99.99, 100.01, 3_000.0, 1_000.0, T + 60_000);
            let read = flow.read(T + 59_999).expect("ready");
            assert!(
                (read.notional_per_min_usd - 60.0 * 200.0 * contract_value * (60_000.0 / 59_999.0)).abs()
                    < 1e-6 * contract_value.max(1.0)
            );
            assert!((read.trades_per_min - 60.0 * 60_000.0 / 59_999.0).abs() < 1e-9);
            assert!((read.spread_bps - 2.0).abs() < 1e-9);
            assert_eq!((read.depth_usd, read.depth_imbalance), (1_000.0, 0.5));
            assert!((read.aggressor_buy - 0.75).abs() < 1e-12 && (read.cvd_norm - 0.5).abs() < 1e-12);
        }
    }

    #[test]
    fn the_window_slides_and_equals_a_batch_over_its_seconds() {
        let mut flow = flow(1.0);
        let mut tape: Vec<TapeTrade> = Vec::new();
        let mut draw = 12_345_u64;
        let mut at_ms = T;
        for id in 0..5_000 {
            draw = draw
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            at_ms += ((draw >> 33) % 900) as i64;
            let size = 1.0 + ((draw >> 40) % 100) as f64 / 7.0;
            let one = trade(id + 1, at_ms, size, draw >> 62 & 1 == 1);
            flow.on_trade(&one);
            flow.on_depth(99.0, 101.0, 1.0, 1.0, at_ms);
            tape.push(one);
            if id % 97 == 0 && at_ms > T + 60_000 {
                let read = flow.read(at_ms).expect("ready");
                let first = at_ms / 1_000 - 59;
                let inside = || tape.iter().filter(|trade| trade.venue_ms / 1_000 >= first);
                assert_eq!(read.trades_per_min, inside().count() as f64);
                let usd: f64 = inside().map(|trade| trade.price * trade.size).sum();
                assert!((read.notional_per_min_usd - usd).abs() < 1e-9 * usd);
            }
        }
    }

    #[test]
    fn it_is_not_ready_when_young_thin_stale_or_crossed() {
        let mut flow = flow(1.0);
        assert_eq!(flow.read(T), None, "nothing has come");
        flow.on_depth(99.0, 101.0, 5.0, 5.0, T);
        flow.on_trade(&trade(1, T, 1.0, true));
        assert_eq!(flow.read(T + 29_999), None, "less than half a window");
        assert!(flow.read(T + 30_000).is_some());
        assert_eq!(flow.read(T + 70_000), None, "no trade in the window");
        flow.on_trade(&trade(2, T + 200_000, 1.0, true));
        assert_eq!(flow.read(T + 200_000), None, "the book is older than 180 s");
        flow.on_depth(99.0, 101.0, 5.0, 5.0, T + 200_000);
        assert!(flow.read(T + 200_000).is_some());
        flow.on_depth(101.0, 101.0, 5.0, 5.0, T + 200_001);
        assert_eq!(flow.read(T + 200_002), None, "locked");
        flow.on_depth(99.0, 101.0, 5.0, 5.0, T + 200_003);
        flow.invalidate();
        assert_eq!(flow.read(T + 200_004), None, "broken chain");
        let mut off = OrderFlow::new(FlowParams::default(), 1.0);
        off.on_depth(99.0, 101.0, 5.0, 5.0, T);
        off.on_trade(&trade(1, T, 1.0, true));
        assert_eq!(off.read(T + 60_000), None);
    }

    #[test]
    fn after_missed_trades_the_window_begins_anew() {
        let mut flow = flow(1.0);
        let second = |second: i64| T + second * 1_000;
        for at in 0..60 {
            flow.on_depth(99.0, 101.0, 5.0, 5.0, second(at));
            flow.on_trade(&trade(at as u32 + 1, second(at), 1.0, true));
        }
        assert!(flow.read(second(60)).is_some());
        flow.break_tape();
        for at in 60..130 {
            flow.on_depth(99.0, 101.0, 5.0, 5.0, second(at));
        }
        assert_eq!(
            flow.read(second(130)),
            None,
            "a book alone does not say that nobody traded"
        );
        flow.on_trade(&trade(1_000, second(130), 1.0, true));
        assert_eq!(flow.read(second(159)), None, "less than half a window");
        flow.on_depth(99.0, 101.0, 5.0, 5.0, second(160));
        let read = flow.read(second(160)).expect("ready");
        assert!(
            (read.trades_per_min - 2.0).abs() < 1e-9,
            "one in half a minute: {read:?}"
        );
    }

    #[test]
    fn a_repeated_trade_counts_once_and_one_from_the_future_is_held_back() {
        let mut flow = flow(1.0);
        flow.on_depth(99.0, 101.0, 5.0, 5.0, T);
        for _ in 0..3 {
            flow.on_trade(&trade(7, T, 1.0, true));
        }
        let mut ahead = trade(8, T + 500_000, 1.0, true);
        ahead.receive_ms = T + 1_000;
        flow.on_trade(&ahead);
        let read = flow.read(T + 60_000 - 1_000).expect("ready");
        assert!((read.trades_per_min - 2.0 * 60.0 / 59.0).abs() < 1e-9, "{read:?}");
    }
}
