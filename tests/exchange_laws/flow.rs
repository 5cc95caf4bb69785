//! No flow of orders breaks the books, and every run repeats.

use super::bench::*;
use proptest::prelude::*;
use smart_scanner::exchange::*;
use smart_scanner::model::{
    ClientOrderId, InstrumentId, Lots, MarginMode, OrderType, PositionMode, PositionSide, Price, Side,
    TriggerType, Wall,
};

/// One random request or move of the market.
#[derive(Clone, Debug)]
enum Act {
    Move {
        instrument: u16,
        change: i64,
        lots: i64,
    },
    Order {
        instrument: u16,
        buy: bool,
        kind: u8,
        lots: i64,
        offset: i64,
        reduce: bool,
        legs: u8,
    },
    Bracket {
        instrument: u16,
        buy: bool,
        lots: Option<i64>,
        tp: i64,
        sl: i64,
    },
    Trigger {
        instrument: u16,
        buy: bool,
        lots: i64,
        offset: i64,
        reduce: bool,
    },
    CancelOldest,
    Close {
        instrument: u16,
    },
    Wait {
        ms: i64,
    },
    Leverage {
        instrument: u16,
        leverage: u16,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let instrument = 0u16..3;
    prop_oneof![
        6 => (instrument.clone(), -150i64..150, 1i64..60)
            .prop_map(|(instrument, change, lots)| Act::Move { instrument, change, lots }),
        6 => (instrument.clone(), any::<bool>(), 0u8..5, 1i64..80, -30i64..30, any::<bool>(), 0u8..4)
            .prop_map(|(instrument, buy, kind, lots, offset, reduce, legs)| Act::Order {
                instrument, buy, kind, lots, offset, reduce, legs
            }),
        2 => (instrument.clone(), any::<bool>(), proptest::option::of(1i64..80), 1i64..200, 1i64..200)
            .prop_map(|(instrument, buy, lots, tp, sl)| Act::Bracket { instrument, buy, lots, tp, sl }),
        1 => (instrument.clone(), any::<bool>(), 1i64..50, -100i64..100, any::<bool>())
            .prop_map(|(instrument, buy, lots, offset, reduce)| Act::Trigger { instrument, buy, lots, offset, reduce }),
        1 => Just(Act::CancelOldest),
        1 => instrument.clone().prop_map(|instrument| Act::Close { instrument }),
        1 => (1i64..8_000_000).prop_map(|ms| Act::Wait { ms }),
        1 => (instrument, 1u16..100).prop_map(|(instrument, leverage)| Act::Leverage { instrument, leverage }),
    ]
}

fn side_of(buy: bool) -> Side {
    if buy { Side::Buy } else { Side::Sell }
}

/// The account's settings and the prices it trades at.
struct Flow {
    mode: MarginMode,
    hedged: bool,
    prices: [i64; 3],
}

impl Flow {
    fn position_side(&self, long: bool) -> PositionSide {
        match (self.hedged, long) {
            (false, _) => PositionSide::Net,
            (true, true) => PositionSide::Long,
            (true, false) => PositionSide::Short,
        }
    }

    fn price(&self, instrument: u16) -> i64 {
        self.prices[usize::from(instrument)]
    }

    /// `form`: which order type, and which legs (1 target, 2 stop, 3 both).
    fn order(
        &self,
        instrument: u16,
        buy: bool,
        form: (u8, u8),
        lots: i64,
        offset: i64,
        reduce: bool,
    ) -> NewOrder {
        let (kind, legs) = form;
        let price = self.price(instrument) + offset;
        let sign = side_of(buy).sign();
        let leg = |bit: u8, price: i64| (legs & bit != 0).then(|| Leg::market(Price(price)));
        NewOrder {
            margin_mode: self.mode,
            position_side: self.position_side(buy != reduce),
            order_type: OrderType::ALL[usize::from(kind)],
            reduce_only: reduce,
            take_profit: leg(1, price + sign * 80),
            stop_loss: leg(2, price - sign * 80),
            ..limit(InstrumentId(instrument), side_of(buy), lots, price)
        }
    }

    fn bracket(&self, instrument: u16, buy: bool, lots: Option<i64>, tp: i64, sl: i64) -> NewBracket {
        let price = self.price(instrument);
        let sign = side_of(buy).sign();
        let (target, stop) = (Some(price - sign * tp), Some(price + sign * sl));
        NewBracket {
            margin_mode: self.mode,
            position_side: self.position_side(!buy),
            ..bracket(InstrumentId(instrument), side_of(buy), lots, target, stop)
        }
    }

    fn trigger(&self, instrument: u16, buy: bool, lots: i64, offset: i64, reduce: bool) -> NewTrigger {
        NewTrigger {
            instrument: InstrumentId(instrument),
            margin_mode: self.mode,
            position_side: self.position_side(true),
            side: side_of(buy),
            lots: Some(Lots(lots)),
            trigger: Price(self.price(instrument) + offset),
            trigger_type: TriggerType::Last,
            order_price: None,
            reduce_only: reduce,
            client_id: ClientOrderId::default(),
            take_profit: None,
            stop_loss: None,
        }
    }

    /// Does one act; what the exchange refuses is part of the flow.
    fn perform(&mut self, bench: &mut Bench, act: &Act) {
        let (account, now, mode) = (bench.account, bench.now(), self.mode);
        match *act {
            Act::Move {
                instrument,
                change,
                lots,
            } => {
                let price = (self.price(instrument) + change).max(500);
                self.prices[usize::from(instrument)] = price;
                bench.quote(InstrumentId(instrument), price, price + 2, lots);
            }
            Act::Order {
                instrument,
                buy,
                kind,
                lots,
                offset,
                reduce,
                legs,
            } => {
                let _ = bench.place(self.order(instrument, buy, (kind, legs), lots, offset, reduce));
            }
            Act::Bracket {
                instrument,
                buy,
                lots,
                tp,
                sl,
            } => {
                let row = self.bracket(instrument, buy, lots, tp, sl);
                let _ = bench.exchange.place_bracket(account, now, &row);
            }
            Act::Trigger {
                instrument,
                buy,
                lots,
                offset,
                reduce,
            } => {
                let row = self.trigger(instrument, buy, lots, offset, reduce);
                let _ = bench.exchange.place_trigger(account, now, &row);
            }
            Act::CancelOldest => {
                let oldest = bench.exchange.orders_open(account).last().map(|order| order.id);
                if let Some(id) = oldest {
                    bench.exchange.cancel(account, now, id).expect("it is alive");
                }
            }
            Act::Close { instrument } => {
                let (id, none) = (InstrumentId(instrument), ClientOrderId::default());
                for side in PositionSide::ALL {
                    let _ = bench.exchange.close_position(account, now, id, mode, side, none);
                }
            }
            Act::Wait { ms } => {
                bench.ms += ms;
                bench.exchange.advance(Wall::from_ms(bench.ms), &mut Vec::new());
            }
            Act::Leverage { instrument, leverage } => {
                for side in PositionSide::ALL {
                    let id = InstrumentId(instrument);
                    let _ = bench
                        .exchange
                        .set_leverage(account, now, id, mode, side, leverage);
                }
            }
        }
    }
}

/// What a run did, as text: two runs of the same acts must give the same.
fn run(acts: &[Act], hedged: bool, isolated: bool, config: ExchangeConfig) -> Result<String, String> {
    let mut bench = Bench::with(config, "2000");
    let mode = if isolated {
        MarginMode::Isolated
    } else {
        MarginMode::Cross
    };
    bench
        .exchange
        .set_margin_mode(bench.account, mode)
        .expect("nothing is open");
    if hedged {
        bench
            .exchange
            .set_position_mode(bench.account, PositionMode::LongShort)
            .expect("nothing is open");
    }
    let mut flow = Flow {
        mode,
        hedged,
        prices: [10_000, 100_000, 20_000],
    };
    for (index, price) in flow.prices.iter().enumerate() {
        bench.quote(InstrumentId(index as u16), *price, price + 2, 50);
    }
    let mut trace = String::new();
    for act in acts {
        bench.ms += 250;
        flow.perform(&mut bench, act);
        bench
            .exchange
            .check_invariants()
            .map_err(|broken| format!("after {act:?}: {broken}"))?;
        let mut events = Vec::new();
        bench.exchange.drain(&mut events);
        trace.push_str(&format!("{events:?}"));
    }
    trace.push_str(&format!("{:?}", bench.exchange.report()));
    Ok(trace)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_flow_of_orders_breaks_the_books_and_every_run_repeats(
        acts in proptest::collection::vec(act(), 1..120),
        hedged: bool,
        isolated: bool,
        full_fill: bool,
        keep: bool,
    ) {
        let config = ExchangeConfig {
            attach: if full_fill { AttachPolicy::FullFill } else { AttachPolicy::FirstFill },
            leftovers: if keep { Leftovers::Keep } else { Leftovers::CancelWhole },
            ..ExchangeConfig::default()
        };
        let first = run(&acts, hedged, isolated, config);
        prop_assert!(first.is_ok(), "{}", first.unwrap_err());
        prop_assert_eq!(first, run(&acts, hedged, isolated, config));
    }
}

#[test]
fn the_random_flow_reaches_every_way_a_position_can_end() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut total = [0u64; 6];
    for round in 0..300 {
        let acts = proptest::collection::vec(act(), 120)
            .new_tree(&mut runner)
            .expect("a value")
            .current();
        let mut bench = Bench::new("2000");
        let isolated = round % 2 == 1;
        let mode = if isolated {
            MarginMode::Isolated
        } else {
            MarginMode::Cross
        };
        bench
            .exchange
            .set_margin_mode(bench.account, mode)
            .expect("nothing is open");
        let mut flow = Flow {
            mode,
            hedged: false,
            prices: [10_000, 100_000, 20_000],
        };
        for act in &acts {
            bench.ms += 250;
            flow.perform(&mut bench, act);
        }
        bench.sound();
        let report = bench.exchange.report();
        let counts = [
            report.entries_filled,
            report.closed_tp,
            report.closed_sl,
            report.closed_liquidation,
            report.closed_other,
            bench.exchange.funding_payments(bench.account).count() as u64,
        ];
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    println!("entries, tp, sl, liquidations, other, funding payments: {total:?}");
    assert!(total.iter().all(|count| *count > 20), "{total:?}");
}
