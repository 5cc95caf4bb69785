//! What one seed draws: the market, the venue's habits, the settings, and what goes wrong when.
//!
//! Everything comes from the seed and nothing else. Half of the kinds of fault are switched on in a
//! run (a swarm finds more than everything at once); one run in twenty has none at all, and is held
//! to the numbers of a sound network.

use crate::exchange::{AttachPolicy, ExchangeConfig, Leftovers, TwoStops};
use crate::model::Wall;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::venue::loopback::{Fault, FaultRule, Latency};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Virtual time in which things go wrong.
pub const FAULTY_NS: u64 = 480 * NS_PER_SEC;
/// Virtual time without faults in which everything must come to rest: reads pause for five minutes
/// after a ban and for longer when banned again; then come the 185 s after which an order may be
/// called dead, and two reconcile rounds. The run ends as soon as it is at rest.
pub const SETTLE_NS: u64 = 1_800 * NS_PER_SEC;
/// Of these at least so many are played.
pub const SETTLE_NS_MIN: u64 = 75 * NS_PER_SEC;
/// 2026-01-01 07:57 UTC: three minutes before a funding time.
const START_MS: i64 = 1_767_254_220_000;
const MILLION: u32 = 1_000_000;

/// What is done to the run at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// The process dies at that point, and is started again after `down_ns`.
    Kill {
        when: KillPoint,
        down_ns: u64,
    },
    CutPublic,
    CutPrivate,
    Begin(Window),
    End(Window),
    /// The venue itself cancels the stop of position number `pick`.
    CancelStop {
        pick: u32,
    },
    /// The user closes position number `pick` in the venue's app.
    CloseByHand {
        pick: u32,
    },
}

/// Where exactly the process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KillPoint {
    /// After so many polls of stages.
    Polls(u32),
    /// When the next order call has just been written to its connection.
    Call,
    /// When the next entry is on record and has not left.
    Intent,
}

/// Something that lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Window {
    /// No connection can be made and none lives.
    Outage,
    /// Every call is answered with 429, or with the firewall's 403.
    Suspended,
    Forbidden,
    /// Reads do not show what is younger than this.
    Lag {
        ns: u64,
    },
}

impl Act {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Act::Kill { .. } => "kill",
            Act::CutPublic => "public socket cut",
            Act::CutPrivate => "private socket cut",
            Act::Begin(Window::Outage) => "outage",
            Act::Begin(Window::Suspended) => "suspension (429)",
            Act::Begin(Window::Forbidden) => "ban (403)",
            Act::Begin(Window::Lag { .. }) => "queries lag",
            Act::End(_) => "end of a window",
            Act::CancelStop { .. } => "stop cancelled by the venue",
            Act::CloseByHand { .. } => "position closed by hand",
        }
    }
}

/// One run, laid out before it begins.
#[derive(Clone, Debug)]
pub struct Draw {
    pub seed: u64,
    pub instruments: usize,
    /// Time between two trades of an instrument.
    pub step_ms: u32,
    /// How many times as far prices move as in a generated market otherwise.
    pub loudness: f64,
    /// Mean time between two alerts from outside.
    pub alert_every_ms: u64,
    pub exchange: ExchangeConfig,
    pub rejects_as_rows: bool,
    pub latency: Latency,
    /// Settings that differ from the research overlay.
    pub set: Vec<String>,
    /// In force during the whole faulty part.
    pub rules: Vec<FaultRule>,
    /// In order of time.
    pub schedule: Vec<(Wall, Act)>,
    pub start: Wall,
    pub settle: Wall,
    pub end: Wall,
}

impl Draw {
    /// The run of `seed`.
    pub fn of(seed: u64) -> Draw {
        // Streams of their own, so that a new kind of fault does not shift the market.
        let mut venue = stream(seed, 1);
        let start = Wall::from_ms(START_MS);
        let settle = Wall(start.0 + FAULTY_NS);
        let mut draw = Draw {
            seed,
            instruments: venue.random_range(12..=24),
            step_ms: 5_000,
            loudness: 1.0,
            alert_every_ms: 1_000,
            exchange: exchange(&mut venue),
            rejects_as_rows: venue.random_range(0..2) == 1,
            latency: latency(&mut venue),
            set: settings(&mut stream(seed, 2)),
            rules: Vec::new(),
            schedule: Vec::new(),
            start,
            settle,
            end: Wall(settle.0 + SETTLE_NS),
        };
        let mut pace = stream(seed, 6);
        draw.loudness = f64::from(pace.random_range(4..=12));
        draw.alert_every_ms = pace.random_range(800..=2_500);
        let mut faults = stream(seed, 3);
        if faults.random_range(0..20) > 0 {
            draw.rules = rules(&mut faults);
            draw.schedule = schedule(&mut stream(seed, 4), start);
        }
        draw
    }

    /// Whether nothing goes wrong in this run.
    pub fn is_calm(&self) -> bool {
        self.rules.is_empty() && self.schedule.is_empty()
    }
}

fn stream(seed: u64, name: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(name);
    generator
}

fn pick<T: Copy>(dice: &mut ChaCha8Rng, from: &[T]) -> T {
    from[dice.random_range(0..from.len())]
}

fn exchange(dice: &mut ChaCha8Rng) -> ExchangeConfig {
    ExchangeConfig {
        attach: pick(dice, &[AttachPolicy::FirstFill, AttachPolicy::FullFill]),
        two_stops: pick(dice, &[TwoStops::Allow, TwoStops::Refuse]),
        leftovers: pick(
            dice,
            &[Leftovers::CancelWhole, Leftovers::CancelAll, Leftovers::Keep],
        ),
        amend: dice.random_range(0..4) == 0,
        book_depth: 5,
        ..ExchangeConfig::default()
    }
}

fn latency(dice: &mut ChaCha8Rng) -> Latency {
    let min_ms = dice.random_range(1..30);
    let max_ms = min_ms + pick(dice, &[5, 40, 400]);
    Latency {
        min_ns: min_ms * NS_PER_MS,
        max_ns: max_ms * NS_PER_MS,
    }
}

/// Tight stops and short rests: much must happen in eight minutes.
fn settings(dice: &mut ChaCha8Rng) -> Vec<String> {
    let positions = dice.random_range(3..=10);
    let notional = 50;
    let mut set = vec![
        "SCAN_TIMEFRAMES=1m".to_owned(),
        "WARMUP_BARS=60".to_owned(),
        "SIGNAL_COOLDOWN_SEC=0".to_owned(),
        "MAX_ENTRIES_PER_HOUR=0".to_owned(),
        "DEDUPE_TTL_SEC=3600".to_owned(),
        "SCORE_MIN=0.2".to_owned(),
        "TRADE_MIN_SCORE=0.2".to_owned(),
        "TRADE_MIN_PROB=0".to_owned(),
        format!("TRADE_MAX_POSITIONS={positions}"),
        format!("TRADE_MAX_EXPOSURE_USD={}", notional * (positions + 1)),
        format!("TRADE_NOTIONAL_USD={notional}"),
        format!("TRADE_COOLDOWN_SEC={}", pick(dice, &[0, 1, 10])),
        "MIN_INITIAL_MARGIN_USD=0".to_owned(),
        "TPSL_MODE=bps".to_owned(),
        format!("SL_BPS={}", dice.random_range(15..60)),
        format!("TP_BPS={}", dice.random_range(15..80)),
        "TRAIL_MODE=bps".to_owned(),
        format!("TRAIL_BPS={}", dice.random_range(8..30)),
        format!("TRAIL_MIN_STEP_BPS={}", pick(dice, &[1, 5])),
        format!("BREAK_EVEN_AFTER_R={}", pick(dice, &["0.2", "0.5", "1"])),
        format!("ENABLE_TRAILING={}", pick(dice, &[1, 1, 1, 0])),
        format!("ENABLE_PRIVATE_WS={}", pick(dice, &[1, 1, 1, 1, 0])),
    ];
    let mode = pick(dice, &["net", "net", "net", "long_short"]);
    set.push(format!("TRADING_POSITION_MODE={mode}"));
    set
}

/// Kinds that a call or a push may meet at any time: name of the path or channel, most in a million.
const KINDS: [(Fault, &str, u32); 20] = [
    (Fault::Unreachable, "/api", 40_000),
    (Fault::DropBefore, "/api", 40_000),
    (Fault::AckLost, "/trade/order", 150_000),
    (Fault::AckLost, "/api", 30_000),
    (Fault::Twice, "/trade/order", 150_000),
    (Fault::TryAgain, "/trade/", 40_000),
    (Fault::TryAgainAfter, "/trade/", 100_000),
    (Fault::GatewayError, "/api", 40_000),
    (Fault::GatewayErrorAfter, "/trade/", 100_000),
    (Fault::TooMany, "/api", 8_000),
    (Fault::Forbidden, "/api", 4_000),
    (Fault::InnerError, "/trade/order", 40_000),
    (Fault::Truncated, "/api", 40_000),
    (Fault::DataAsObject, "/trade/", 200_000),
    (Fault::HoldReply { ns: 0 }, "/api", 60_000),
    (Fault::HoldCall { ns: 0 }, "/trade/order", 80_000),
    (Fault::DuplicatePush, "", 200_000),
    (Fault::LosePush, "", 30_000),
    (Fault::CutSession, "", 3_000),
    (Fault::SkipSequence, "", 20_000),
];

fn rules(dice: &mut ChaCha8Rng) -> Vec<FaultRule> {
    let mut rules = Vec::new();
    for (fault, contains, most) in KINDS {
        let (on, part) = (dice.random_range(0..2) == 1, dice.random_range(1..=10));
        let seconds = dice.random_range(1..59);
        if !on {
            continue;
        }
        let fault = match fault {
            // A late call runs when its client has long given it up; a late reply comes as late.
            Fault::HoldCall { .. } => Fault::HoldCall {
                ns: seconds * NS_PER_SEC,
            },
            Fault::HoldReply { .. } => Fault::HoldReply {
                ns: seconds * NS_PER_SEC,
            },
            other => other,
        };
        rules.push(FaultRule::chance(
            fault,
            contains,
            (most / 10 * part).min(MILLION),
        ));
    }
    rules
}

fn schedule(dice: &mut ChaCha8Rng, start: Wall) -> Vec<(Wall, Act)> {
    let mut acts = Vec::new();
    let at = |dice: &mut ChaCha8Rng| {
        let ms = dice.random_range(5_000..FAULTY_NS / NS_PER_MS);
        Wall(start.0 + ms * NS_PER_MS)
    };
    let mut several = |dice: &mut ChaCha8Rng, most: u32, make: &mut dyn FnMut(&mut ChaCha8Rng) -> Act| {
        let (on, count) = (dice.random_range(0..2) == 1, dice.random_range(1..=most));
        for _ in 0..if on { count } else { 0 } {
            let (time, act) = (at(dice), make(dice));
            acts.push((time, act));
        }
    };
    several(dice, 4, &mut |dice| Act::Kill {
        when: match dice.random_range(0..3) {
            0 => KillPoint::Polls(dice.random_range(0..60)),
            1 => KillPoint::Call,
            _ => KillPoint::Intent,
        },
        down_ns: dice.random_range(200..30_000) * NS_PER_MS,
    });
    several(dice, 3, &mut |_| Act::CutPublic);
    several(dice, 3, &mut |_| Act::CutPrivate);
    several(dice, 4, &mut |dice| Act::CancelStop {
        pick: dice.random_range(0..100),
    });
    several(dice, 3, &mut |dice| Act::CloseByHand {
        pick: dice.random_range(0..100),
    });
    several(dice, 2, &mut |_| Act::Begin(Window::Outage));
    several(dice, 1, &mut |_| Act::Begin(Window::Suspended));
    several(dice, 1, &mut |_| Act::Begin(Window::Forbidden));
    several(dice, 2, &mut |dice| {
        Act::Begin(Window::Lag {
            ns: dice.random_range(500..120_000) * NS_PER_MS,
        })
    });
    let begun: Vec<(Wall, Window)> = acts
        .iter()
        .filter_map(|(time, act)| match act {
            Act::Begin(window) => Some((*time, *window)),
            _ => None,
        })
        .collect();
    for (time, window) in begun {
        let most_ms = match window {
            Window::Outage => 60_000,
            Window::Suspended | Window::Forbidden => 90_000,
            Window::Lag { .. } => 120_000,
        };
        let length_ns = dice.random_range(1_000..most_ms) * NS_PER_MS;
        acts.push((Wall(time.0 + length_ns), Act::End(window)));
    }
    acts.retain(|(time, _)| time.0 < start.0 + FAULTY_NS);
    acts.sort_by_key(|(time, _)| *time);
    acts
}

/// A fault's kind without its numbers.
pub fn kind_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Unreachable => "unreachable",
        Fault::DropBefore => "reset before execution",
        Fault::AckLost => "answer lost",
        Fault::HoldCall { .. } => "call late",
        Fault::HoldReply { .. } => "answer late",
        Fault::Twice => "call twice",
        Fault::TryAgain => "103013, not executed",
        Fault::TryAgainAfter => "103013, executed",
        Fault::GatewayError => "500, not executed",
        Fault::GatewayErrorAfter => "500, executed",
        Fault::TooMany => "429",
        Fault::Forbidden => "403",
        Fault::InnerError => "inner error under outer 0",
        Fault::Truncated => "truncated body",
        Fault::DataAsObject => "object instead of array",
        Fault::DuplicatePush => "push twice",
        Fault::LosePush => "push lost",
        Fault::SkipSequence => "book update lost",
        Fault::CutSession => "session cut at a push",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_run_and_another_seed_another() {
        let texts: Vec<String> = [7, 7, 8].map(|seed| format!("{:?}", Draw::of(seed))).into();
        assert_eq!(texts[0], texts[1]);
        assert_ne!(texts[0], texts[2]);
    }

    #[test]
    fn every_kind_is_drawn_and_some_runs_are_calm() {
        let draws: Vec<Draw> = (0..400).map(Draw::of).collect();
        let calm = draws.iter().filter(|draw| draw.is_calm()).count();
        assert!((5..60).contains(&calm), "{calm} calm runs of 400");
        for (fault, contains, _) in KINDS {
            let kind = std::mem::discriminant(&fault);
            let is_same = |rule: &&FaultRule| std::mem::discriminant(&rule.fault) == kind;
            let found = draws
                .iter()
                .flat_map(|draw| &draw.rules)
                .filter(is_same)
                .any(|rule| rule.contains == contains);
            assert!(found, "{fault:?} on {contains:?}");
        }
        let names: std::collections::BTreeSet<&str> = draws
            .iter()
            .flat_map(|draw| &draw.schedule)
            .map(|(_, act)| act.name())
            .collect();
        assert_eq!(names.len(), 10, "{names:?}");
    }
}
