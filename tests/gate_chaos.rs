//! Whatever the venue says, the gate keeps its invariants; and both sides are each other's mirror.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::orders::bracket::Capabilities;
use smart_scanner::stage::gate::core_outputs::Outputs;
use smart_scanner::stage::gate::core_status::Status;

/// A short in a mirrored market does, step by step, what the long does.
#[test]
fn both_sides_mirror() {
    // Prices are mirrored around 60,000.05, the middle of the quote.
    let mirror = |price: f64, side: Side| {
        if side == Side::Buy {
            price
        } else {
            120_000.1 - price
        }
    };
    let run = |side: Side| {
        let mut scene = Scene::new(trailing(two_brackets(params()).capabilities));
        let at = |price: f64| mirror(price, side);
        scene.enter(side, at(60_000.1));
        scene.run_ms(2_000);
        for price in [60_100.0, 60_250.0, 60_320.0, 60_500.0, 60_400.0] {
            let (near, far) = (at(price - 0.05), at(price + 0.05));
            scene.quote(near.min(far), near.max(far));
            for command in std::mem::take(&mut scene.commands) {
                let venue_id = scene.venue_id();
                scene.reply(&command, Outcome::Accepted, venue_id);
            }
            scene.run_ms(1_000);
        }
        let mut status = Status::default();
        scene.gate.status(scene.now, &mut status);
        let stop = status.positions[0].sl_ticks;
        (stop, status.positions[0].r)
    };
    let (long, long_r) = run(Side::Buy);
    let (short, short_r) = run(Side::Sell);
    // The trailing distance is relative to the price, so it differs by 35 bps of twice the move.
    assert!((long + short - 1_200_001).abs() <= 36, "{long} {short}");
    assert!((long_r - short_r).abs() < 0.02, "{long_r} {short_r}");
    assert!(long > 600_000, "the stop has locked a profit");
}

#[test]
fn the_gate_never_writes_more_than_it_promises() {
    let room = Outputs::PER_INPUT;
    let out = Outputs::default();
    assert_eq!(room.commands, out.commands.capacity());
    assert_eq!(room.fetches, out.fetches.capacity());
    assert_eq!(room.events, out.events.capacity());
    assert_eq!(room.outcomes, out.outcomes.capacity());
    assert_eq!(room.answers, out.answers.capacity());
}

/// A small generator of its own: the same seed gives the same run everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Whatever the venue says, in whatever order: invariants hold, timers move, and no command of an
/// exit can do more than reduce.
#[test]
fn nothing_that_the_venue_says_breaks_the_gate() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let mut chaotic = trailing(Capabilities {
            amend: seed % 3 == 0,
            two_brackets: seed % 2 == 0,
            trigger_types: seed % 5 == 0,
            attach_partial: seed % 7 == 0,
            leftovers_cancelled: seed % 11 == 0,
        });
        chaotic.limits.cooldown_sec = 1;
        chaotic.limits.entries_per_hour_max = 0;
        let mut scene = Scene::new(chaotic);
        scene.answers_lists = false;
        let mut mid = 60_000.0;
        for _ in 0..400 {
            chaos(&mut scene, &mut dice, &mut mid);
        }
        let entries: Vec<u64> = scene
            .commands
            .iter()
            .filter(|command| command.kind == CommandKind::Place as u8 && command.reduce_only == 0)
            .map(|command| command.signal)
            .collect();
        let mut once = entries.clone();
        once.dedup();
        assert_eq!(entries, once, "one entry a signal");
        for command in &scene.commands {
            let exit = matches!(
                CommandKind::from_code(command.kind),
                Some(CommandKind::PlaceBracket | CommandKind::ClosePosition)
            );
            assert!(!exit || command.reduce_only == 1);
        }
    }
}

fn chaos(scene: &mut Scene, dice: &mut Dice, mid: &mut f64) {
    match dice.below(10) {
        0 => {
            let side = if dice.below(2) == 0 { Side::Buy } else { Side::Sell };
            scene.signal(side);
        }
        1 => {
            *mid += dice.below(400) as f64 - 200.0;
            scene.quote(*mid, *mid + 0.1);
        }
        2 => scene.run_ms(dice.below(3_000) as i64),
        3 | 4 => {
            if let Some(command) = pick(&scene.commands, dice) {
                let outcome = Outcome::from_code(1 + dice.below(7) as u8).expect("a code");
                let code = [0, 102_038, 102_022, 102_068, 152_002][dice.below(5) as usize];
                let id = scene.venue_id();
                scene.reply_code(&command, outcome, id, code);
            }
        }
        5 => {
            if let Some(command) = pick(&scene.commands, dice) {
                let state = OrderState::from_code(1 + dice.below(7) as u8).expect("a code");
                let filled = dice.below(command.size_lots.unsigned_abs() + 1) as i64;
                let id = 5_000 + dice.below(5);
                let fact = scene.order(&command, id, state, filled, *mid);
                scene.account(fact);
            }
        }
        6 => {
            let state = OrderState::from_code(1 + dice.below(7) as u8).expect("a code");
            let side = if dice.below(2) == 0 { Side::Buy } else { Side::Sell };
            let command = pick(&scene.commands, dice);
            let (sl, tp) = command.map_or((590_000, 610_000), |command| (command.sl_ticks, command.tp_ticks));
            let lots = dice.below(10) as i64 - 1;
            let mut fact = scene.bracket(1_000 + dice.below(60), side, lots, sl, tp, state);
            if let (Some(command), 0) = (command, dice.below(3)) {
                fact.client_id = command.client_id;
            }
            fact.detail = dice.below(3) as u8;
            scene.account(fact);
        }
        7 => {
            let lots = dice.below(17) as i64 - 8;
            scene.position(lots, *mid);
        }
        8 => {
            if let Some(request) = pick(&scene.fetches, dice) {
                let kind = [
                    AccountKind::ListComplete,
                    AccountKind::ListFailed,
                    AccountKind::NotFound,
                ];
                let mut end = scene.fact(kind[dice.below(3) as usize]);
                end.token = request.token;
                end.list = request.list;
                scene.account(end);
            }
        }
        _ => {
            let kind = [
                AccountKind::SocketUp,
                AccountKind::SocketDown,
                AccountKind::SocketUp,
            ];
            let fact = scene.fact(kind[dice.below(3) as usize]);
            scene.account(fact);
            let requests = std::mem::take(&mut scene.fetches);
            for request in &requests {
                scene.answer_list(request);
            }
        }
    }
}

fn pick<T: Copy>(from: &[T], dice: &mut Dice) -> Option<T> {
    let recent = &from[from.len().saturating_sub(8)..];
    recent
        .get(dice.below(recent.len().max(1) as u64) as usize)
        .copied()
}
