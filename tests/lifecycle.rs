//! The life of an order does not depend on the order in which we hear of it.

use proptest::prelude::*;
use smart_scanner::model::OrderState;
use smart_scanner::orders::lifecycle::{Event, Progress, Report, State, apply, fill_between};

fn report(state: OrderState, filled_lots: i64, price: f64, update_ms: i64) -> Report {
    Report {
        state,
        filled_lots,
        average_price: price,
        fee: filled_lots as f64 * 0.01,
        update_ms,
        venue_id: 7,
    }
}

/// Every event, once.
fn events() -> Vec<Event> {
    vec![
        Event::Accepted { venue_id: 7 },
        Event::Rejected,
        Event::NotSent,
        Event::Ambiguous,
        Event::Duplicate,
        Event::Reported(report(OrderState::Live, 0, 0.0, 1)),
        Event::Reported(report(OrderState::Filled, 10, 100.0, 1)),
        Event::Reported(report(OrderState::Canceled, 0, 0.0, 1)),
        Event::Reported(report(OrderState::Effective, 0, 0.0, 1)),
        Event::CancelSent,
        Event::CancelFailed,
        Event::ProvenDead,
    ]
}

/// Where each event leads from each state; `-` is an error. Columns as in `events`.
const TABLE: &[(State, &str)] = &[
    (State::Sent, "L R D U U L F C - - - D"),
    (State::Unknown, "L U U U U L F C - - U D"),
    (State::Live, "L - - L L L F C - p - C"),
    (State::PartiallyFilled, "P - - P P P F C - p - C"),
    (State::PendingCancel, "p - - p p p F C - p U C"),
    (State::Filled, "F - - F F F F - - - F -"),
    (State::Canceled, "C - - C C C - C - - C -"),
    (State::Rejected, "- - - - - - - - - - - -"),
    (State::Dead, "- - - - - L F C - - - -"),
];

#[test]
fn every_pair_of_state_and_event() {
    for (state, row) in TABLE {
        for (event, expected) in events().into_iter().zip(row.split(' ')) {
            let filled_lots = match state {
                State::PartiallyFilled => 4,
                State::Filled => 10,
                _ => 0,
            };
            let order = Progress {
                state: *state,
                filled_lots,
                average_price: 100.0,
                ..Progress::sent(10)
            };
            let to = match expected {
                "-" => None,
                "L" => Some(State::Live),
                "P" => Some(State::PartiallyFilled),
                "p" => Some(State::PendingCancel),
                "F" => Some(State::Filled),
                "C" => Some(State::Canceled),
                "R" => Some(State::Rejected),
                "U" => Some(State::Unknown),
                "D" => Some(State::Dead),
                other => panic!("{other}"),
            };
            let got = apply(order, event).ok().map(|next| next.state);
            assert_eq!(got, to, "{state:?} on {event:?}");
        }
    }
    assert_eq!(TABLE.len(), State::ALL.len());
}

#[test]
fn what_the_venue_has_acknowledged_is_never_dead() {
    let known = Progress {
        state: State::Unknown,
        venue_id: 7,
        ..Progress::sent(10)
    };
    let filled = Progress {
        state: State::Unknown,
        filled_lots: 4,
        ..Progress::sent(10)
    };
    for order in [known, filled] {
        let after = apply(order, Event::ProvenDead).expect("it is over");
        assert_eq!(after.state, State::Canceled);
    }
}

#[test]
fn an_illegal_pair_says_what_to_do() {
    let filled = Progress {
        state: State::Filled,
        ..Progress::sent(10)
    };
    let text = apply(filled, Event::Rejected).expect_err("illegal").to_string();
    assert!(
        text.contains("Filled") && text.contains("Rejected") && text.contains("look it up"),
        "{text}"
    );
}

#[test]
fn fills_are_differences_of_what_is_cumulative() {
    let before = Progress {
        filled_lots: 4,
        average_price: 100.0,
        fee: 0.04,
        ..Progress::sent(10)
    };
    let after = Progress {
        filled_lots: 10,
        average_price: 103.0,
        fee: 0.10,
        ..before
    };
    let fill = fill_between(&before, &after).expect("a fill");
    assert_eq!(fill.lots, 6);
    // (103 × 10 − 100 × 4) / 6
    assert!((fill.price - 105.0).abs() < 1e-9);
    assert!((fill.fee - 0.06).abs() < 1e-12);
    assert_eq!(fill_between(&after, &after), None);
    assert_eq!(fill_between(&after, &before), None);
}

/// What the venue would say over the life of one order, in order.
fn history(fills: &[(i64, f64)], end: u8) -> Vec<Report> {
    let mut told = vec![report(OrderState::Live, 0, 0.0, 1)];
    let (mut lots, mut value) = (0, 0.0);
    for (index, (size, price)) in fills.iter().enumerate() {
        lots += size;
        value += *size as f64 * price;
        told.push(report(
            OrderState::PartiallyFilled,
            lots,
            value / lots as f64,
            2 + index as i64,
        ));
    }
    let at = 2 + fills.len() as i64;
    let average = if lots > 0 { value / lots as f64 } else { 0.0 };
    match end {
        0 => {}
        1 if lots > 0 => told.push(report(OrderState::Filled, lots, average, at)),
        _ if lots > 0 => told.push(report(OrderState::PartiallyCanceled, lots, average, at)),
        _ => told.push(report(OrderState::Canceled, 0, 0.0, at)),
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Any order and any number of copies of the same reports end in the same place, with the same
    /// lots, value and fee, and the fills that were told add up to it.
    #[test]
    fn reordered_and_repeated_reports_change_nothing(
        fills in prop::collection::vec((1i64..20, 1.0f64..1_000.0), 0..6),
        end in 0u8..3,
        shuffle in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
        start in 0usize..3,
    ) {
        let told = history(&fills, end);
        let from = [State::Sent, State::Unknown, State::Live][start];
        let order = Progress { state: from, ..Progress::sent(1_000) };
        let run = |reports: &[Report]| {
            let mut now = order;
            let (mut lots, mut value, mut fee) = (0i64, 0.0f64, 0.0f64);
            for report in reports {
                let next = apply(now, Event::Reported(*report)).expect("reports of one life never contradict");
                if let Some(fill) = fill_between(&now, &next) {
                    lots += fill.lots;
                    value += fill.lots as f64 * fill.price;
                    fee += fill.fee;
                }
                now = next;
            }
            (now, lots, value, fee)
        };
        let (straight, lots, value, fee) = run(&told);
        // Every report at least once, in an order and with copies drawn by the test.
        let mut mixed: Vec<Report> = shuffle.iter().map(|index| *index.get(&told)).collect();
        for (position, report) in told.iter().enumerate() {
            let at = shuffle.get(position).map_or(0, |index| index.index(mixed.len() + 1));
            mixed.insert(at, *report);
        }
        let (crooked, mixed_lots, mixed_value, mixed_fee) = run(&mixed);
        prop_assert_eq!(straight, crooked);
        prop_assert_eq!(lots, mixed_lots);
        prop_assert!((value - mixed_value).abs() <= 1e-6 * value.abs().max(1.0));
        prop_assert!((fee - mixed_fee).abs() <= 1e-9);
        prop_assert_eq!(crooked.filled_lots, lots);
    }

    /// Whatever happens, fills never shrink, a final state stays final (but for the dead who turn
    /// out to live), and nothing panics.
    #[test]
    fn any_sequence_is_safe(picks in prop::collection::vec((0usize..12, 0i64..12, 0i64..50), 0..60)) {
        let all = events();
        let mut order = Progress::sent(10);
        for (pick, filled, at) in picks {
            let event = match all[pick] {
                Event::Reported(base) => Event::Reported(Report { filled_lots: filled, update_ms: at, ..base }),
                other => other,
            };
            if let Ok(next) = apply(order, event) {
                prop_assert!(next.filled_lots >= order.filled_lots);
                if order.state.is_final() && order.state != State::Dead {
                    prop_assert_eq!(next.state, order.state);
                }
                order = next;
            }
        }
    }
}
