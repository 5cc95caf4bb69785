//! Modes and leverages are read before the first entry, so that what is already so is not set again,
//! and what differs is set before an order relies on it.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::risk::OrderFlowLimits;
use smart_scanner::stage::gate::core::GateParams;

/// A scene whose venue lists this leverage of BTC when it is asked for leverages.
fn listed(leverage: u16, margin_mode: MarginMode) -> Scene {
    listed_at(leverage, margin_mode, params())
}

fn listed_at(leverage: u16, margin_mode: MarginMode, params: GateParams) -> Scene {
    let mut scene = Scene::unsynced(params);
    let mut row = scene.fact(AccountKind::Config);
    row.leverage = leverage;
    row.margin_mode = margin_mode as u8;
    row.list = ListKind::Leverage as u8;
    scene.listed = vec![row];
    scene.sync();
    scene.quote(60_000.0, 60_000.1);
    let asked: Vec<&FetchRequest> = scene
        .fetches
        .iter()
        .filter(|request| request.list == ListKind::Leverage as u8)
        .collect();
    assert_eq!(asked.len(), 1, "once, after the account is known");
    assert_eq!(asked[0].margin_mode, MarginMode::Cross as u8);
    assert_eq!(asked[0].lane, Lane::Entry as u8, "behind lookups and stops");
    scene
}

#[test]
fn a_leverage_that_is_right_costs_no_call() {
    let mut scene = listed(3, MarginMode::Cross);
    scene.signal(Side::Buy);
    assert_eq!(scene.kinds(), [CommandKind::Place]);
}

#[test]
fn a_leverage_that_differs_or_is_of_another_mode_is_set_first() {
    for (leverage, mode) in [(10, MarginMode::Cross), (3, MarginMode::Isolated)] {
        let mut scene = listed(leverage, mode);
        scene.signal(Side::Buy);
        assert_eq!(scene.kinds(), [CommandKind::SetLeverage], "{leverage} {mode:?}");
        let set = scene.last(CommandKind::SetLeverage);
        assert_eq!((set.leverage, set.margin_mode), (3, MarginMode::Cross as u8));
        scene.reply(&set, Outcome::Accepted, 0);
        assert_eq!(scene.kinds(), [CommandKind::SetLeverage, CommandKind::Place]);
    }
}

#[test]
fn leverages_are_read_again_after_a_reconnect_and_after_a_failure() {
    let mut scene = listed(3, MarginMode::Cross);
    let count = |scene: &Scene| {
        let reads = scene.fetches.iter();
        reads
            .filter(|request| request.list == ListKind::Leverage as u8)
            .count()
    };
    let up = scene.fact(AccountKind::SocketUp);
    scene.account(up);
    scene.run_ms(10);
    assert_eq!(count(&scene), 2);
    scene.answers_lists = false;
    let up = scene.fact(AccountKind::SocketUp);
    scene.account(up);
    scene.run_ms(10);
    for request in scene.fetches.clone() {
        scene.answer_list(&request);
    }
    scene.run_ms(10);
    let last = *scene.fetches.last().expect("a read");
    assert_eq!(last.list, ListKind::Leverage as u8);
    let mut failed = scene.fact(AccountKind::ListFailed);
    failed.list = last.list;
    failed.token = last.token;
    scene.account(failed);
    scene.run_ms(1_000);
    assert_eq!(count(&scene), 3, "not at once");
    scene.answers_lists = true;
    scene.run_ms(61_000);
    assert_eq!(count(&scene), 4);
}

#[test]
fn a_position_tells_its_leverage_too() {
    let mut scene = listed(3, MarginMode::Cross);
    let mut held = scene.fact(AccountKind::Position);
    held.instrument = 1;
    held.size_lots = 5;
    held.average_price = 3_000.0;
    held.leverage = 20;
    held.margin_mode = MarginMode::Cross as u8;
    scene.account(held);
    let flat = scene.fact(AccountKind::PositionsComplete);
    scene.account(flat);
    scene.listed.clear();
    scene.position(0, 0.0);
    scene.run_ms(130_000);
    scene.quote_of(InstrumentId(1), 60_000.0, 60_000.1);
    scene.clear();
    let signal = scene.make_signal(InstrumentId(1), Side::Buy);
    scene.send_signal(&signal);
    assert!(
        scene.kinds().contains(&CommandKind::SetLeverage),
        "{:?}",
        scene.kinds()
    );
}

/// What may have changed while the leverage was being set, one thing at a time.
#[test]
fn an_entry_that_waited_for_its_leverage_is_weighed_again_before_it_leaves() {
    let flow = |params: &mut GateParams| {
        params.limits.order_flow = OrderFlowLimits {
            enabled: true,
            strict: true,
            ..OrderFlowLimits::default()
        };
    };
    let book = |scene: &mut Scene, depth_usd: f64| {
        let mut depth = Tick::new(TickKind::Depth, BTC, scene.now.ms());
        depth.v[..6].copy_from_slice(&[60_000.0, 60_000.1, 5.0, 5.0, depth_usd, depth_usd]);
        scene.tick(&depth);
        let mut told: IndicatorUpdate = bytemuck::Zeroable::zeroed();
        told.tape = tape::READY;
        (told.trades_per_min, told.notional_per_min_usd) = (100.0, 1e6);
        scene.gate.on_indicators(&told, scene.now);
    };
    type Change<'a> = &'a dyn Fn(&mut Scene);
    let balance = |scene: &mut Scene| {
        let mut balance = scene.fact(AccountKind::Balance);
        (balance.equity, balance.available) = (5.0, 5.0);
        scene.account(balance);
    };
    let stale = |scene: &mut Scene| scene.tick(&Tick::new(TickKind::Stale, BTC, scene.now.ms()));
    let held = |scene: &mut Scene| {
        let mut held = scene.fact(AccountKind::Position);
        held.instrument = 1;
        // 0.48 contracts short of TRADE_MAX_EXPOSURE_USD.
        (held.size_lots, held.average_price, held.mark_price) = (83, 60_000.0, 60_000.0);
        scene.account(held);
    };
    let cases: [(Change, Option<Reason>); 7] = [
        (&|_| {}, None),
        (&|scene| book(scene, 9_999.0), Some(Reason::DepthLow)),
        (&|scene| scene.quote(60_500.0, 60_500.1), Some(Reason::PriceMoved)),
        (&stale, Some(Reason::DataStale)),
        (&held, Some(Reason::ExposureMax)),
        (&balance, Some(Reason::BalanceLow)),
        (
            &|scene| scene.gate.set_kill_switch(true),
            Some(Reason::KillSwitch),
        ),
    ];
    for (change, reason) in cases {
        let mut params = params();
        flow(&mut params);
        // Its own entry must not be what stands in its way.
        params.limits.entries_per_hour_max = 1;
        params.limits.positions_max = 2;
        let mut scene = listed_at(10, MarginMode::Cross, params);
        book(&mut scene, 50_000.0);
        scene.signal(Side::Buy);
        let set = scene.last(CommandKind::SetLeverage);
        scene.run_ms(500);
        change(&mut scene);
        scene.reply(&set, Outcome::Accepted, 0);
        let skipped = scene
            .events
            .iter()
            .filter(|event| event.kind == GateEventKind::Skipped as u8);
        let reasons: Vec<Option<Reason>> = skipped.map(|event| Reason::from_code(event.reason)).collect();
        match reason {
            None => assert_eq!((reasons, scene.count(CommandKind::Place)), (vec![], 1)),
            Some(_) => assert_eq!((reasons, scene.count(CommandKind::Place)), (vec![reason], 0)),
        }
        let mut status = Default::default();
        scene.gate.status(scene.now, &mut status);
        assert_eq!(
            status.entries_in_flight,
            u32::from(reason.is_none()),
            "{reason:?}"
        );
    }
}

#[test]
fn what_leaves_after_the_leverage_is_priced_and_sized_by_the_market_of_then() {
    let mut scene = listed(10, MarginMode::Cross);
    scene.signal(Side::Buy);
    let set = scene.last(CommandKind::SetLeverage);
    scene.run_ms(500);
    scene.quote(59_950.0, 59_950.1);
    scene.reply(&set, Outcome::Accepted, 0);
    let entry = scene.last(CommandKind::Place);
    assert_eq!(entry.price_ticks, (59_950.1_f64 * 1.0008 * 10.0).floor() as i64);
    assert_eq!(entry.sl_ticks, 596_504, "50 bps below the ask of then");
    assert_eq!(entry.leverage, 3);
}
