//! The gate's decision on one signal: refused early, refused late, and approved with its commands.
//!
//! Runs as a test with `--test`; the approved path is checked to produce exactly one entry.

use bytemuck::Zeroable;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use smart_scanner::model::client_id::instance_tag;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::risk::{BracketMode, BracketParams, Limits};
use smart_scanner::stage::gate::core::{Gate, GateParams};
use smart_scanner::stage::gate::core_outputs::Outputs;
use std::hint::black_box;

const NOW: Wall = Wall(1_800_000_000_000_000_000);

fn instrument(index: usize) -> Instrument {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    Instrument {
        symbol: Symbol::parse(&format!("C{index}-USDT")).expect("a symbol"),
        tick_size: decimal("0.1"),
        lot_size: decimal("0.1"),
        contract_value: decimal("0.001"),
        min_lots: Lots(1),
        max_limit_lots: Lots(1_000_000),
        max_market_lots: Lots(100_000),
        max_leverage: 150,
        live: true,
        list_ms: 0,
    }
}

/// A synced gate over 450 instruments, with a quote and the leverage of each known.
fn gate() -> Gate {
    let mut instruments = Instruments::new();
    for index in 0..450 {
        instruments.insert(instrument(index));
    }
    let params = GateParams {
        limits: Limits {
            enable_autotrade: true,
            cooldown_sec: 0,
            entries_per_hour_max: 0,
            ..Limits::default()
        },
        brackets: BracketParams {
            mode: BracketMode::Bps,
            ..BracketParams::default()
        },
        ..GateParams::default()
    };
    let mut gate = Gate::new(params, instruments, instance_tag("bench"), 1);
    let mut out = Outputs::default();
    let mut fact = AccountEvent::zeroed();
    fact.kind = AccountKind::SocketUp as u8;
    gate.on_account(&fact, NOW, &mut out);
    for request in std::mem::take(&mut out.fetches) {
        let mut end = AccountEvent::zeroed();
        end.kind = AccountKind::ListComplete as u8;
        end.token = request.token;
        gate.on_account(&end, NOW, &mut out);
    }
    fact.kind = AccountKind::Balance as u8;
    (fact.equity, fact.available) = (1_000.0, 1_000.0);
    gate.on_account(&fact, NOW, &mut out);
    for index in 0..450 {
        let mut tick = Tick::new(TickKind::Quote, InstrumentId(index), NOW.ms());
        (tick.v[0], tick.v[1], tick.v[4]) = (60_000.0, 60_000.1, 60_000.0);
        gate.on_tick(&tick, NOW, &mut out);
        fact.kind = AccountKind::Config as u8;
        fact.margin_mode = GateParams::default().margin_mode as u8;
        (fact.instrument, fact.leverage) = (index, 3);
        gate.on_account(&fact, NOW, &mut out);
    }
    assert!(gate.entries_enabled(), "{:?}", gate.entries_off_reason());
    gate
}

fn signal(score: f64) -> Signal {
    let mut signal = Signal::zeroed();
    signal.id = 1;
    signal.timeframe = Timeframe::M5 as u8;
    signal.side = Side::Buy as u8;
    signal.open_ms = NOW.ms() - Timeframe::M5.ms();
    signal.score = score;
    signal.probability = 0.7;
    signal.ev_r = 0.4;
    signal.cost_r = 0.24;
    signal.price = 60_000.0;
    signal
}

fn bench(criterion: &mut Criterion) {
    let mut out = Outputs::default();
    let mut fresh = gate();
    let weak = signal(1.0);
    criterion.bench_function("gate/refused_on_score", |bencher| {
        bencher.iter(|| {
            out.clear();
            fresh.on_signal(black_box(&weak), NOW, &mut out);
            assert!(out.commands.is_empty());
        });
    });
    let moved = Signal {
        price: 59_000.0,
        ..signal(5.0)
    };
    criterion.bench_function("gate/refused_on_price", |bencher| {
        bencher.iter(|| {
            out.clear();
            fresh.on_signal(black_box(&moved), NOW, &mut out);
            assert!(out.commands.is_empty());
        });
    });
    let strong = signal(5.0);
    criterion.bench_function("gate/approved", |bencher| {
        bencher.iter_batched_ref(
            gate,
            |gate| {
                out.clear();
                gate.on_signal(black_box(&strong), NOW, &mut out);
                assert_eq!(out.commands.len(), 1);
                assert_eq!(out.commands[0].kind, CommandKind::Place as u8);
            },
            BatchSize::LargeInput,
        );
    });
    let mut quiet = gate();
    let mut tick = Tick::new(TickKind::Quote, InstrumentId(7), NOW.ms());
    (tick.v[0], tick.v[1]) = (60_000.0, 60_000.1);
    criterion.bench_function("gate/quote_without_position", |bencher| {
        bencher.iter(|| {
            out.clear();
            quiet.on_tick(black_box(&tick), NOW, &mut out);
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
