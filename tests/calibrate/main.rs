//! Promise: `calibrate` fits what other programs fit, and replaces a calibration only by a better one.

mod fixture;
mod refusals;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Knuth's linear congruential generator; the seed is printed by the test that uses it.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn draw(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How made-up signals come out.
#[derive(Clone, Copy, PartialEq)]
pub enum World {
    /// As their features say.
    Learnable,
    /// By a coin.
    Shuffled,
    /// Almost always well.
    OneSided,
}

const START_MS: i64 = 1_748_169_360_000;
const MINUTE_MS: i64 = 60_000;

/// Signals and labels as the scanner writes them, one signal a minute.
pub fn metrics(seed: u64, count: usize, world: World) -> String {
    println!("seed {seed}");
    let mut random = Lcg(seed);
    let mut text = String::new();
    for at in 0..count {
        let created = START_MS + at as i64 * MINUTE_MS;
        let side = if random.draw() < 0.5 { "buy" } else { "sell" };
        let (score, ret_5) = (3.0 + 4.0 * random.draw(), 0.008 * (random.draw() - 0.5));
        let (atr, adx) = (0.002 + 0.006 * random.draw(), 10.0 + 35.0 * random.draw());
        let z = -4.4 + 0.8 * score + 120.0 * ret_5 + 60.0 * (0.005 - atr);
        let chance = match world {
            World::Learnable => 1.0 / (1.0 + (-z).exp()),
            World::Shuffled => 0.4,
            World::OneSided => 0.999,
        };
        let r = if random.draw() < chance { 1.3 } else { -1.2 };
        let heuristic = 0.2 + 0.1 * random.draw();
        let depth = if random.draw() < 0.5 {
            r#","depth_imb":0.1"#
        } else {
            ""
        };
        let regime = if random.draw() < 0.3 { "chop" } else { "trend_up" };
        text += &format!(
            "{{\"v\":1,\"ts\":{0},\"ts_ms\":{created},\"kind\":\"signal\",\"id\":\"{at:016x}\",\"symbol\":\"BTC-USDT\",\
             \"timeframe\":\"1m\",\"side\":\"{side}\",\"score\":{score},\"price\":1.0,\"components\":[\"breakout_donchian\"],\
             \"prob\":{heuristic},\"prob_src\":\"heuristic\",\"regime\":\"{regime}\",\"features\":{{\"score\":{score},\
             \"ret_5\":{ret_5},\"atr14_pct\":{atr},\"adx14\":{adx},\"cost_R\":0.2{depth}}}}}\n",
            created as f64 / 1e3
        );
        let ended = created + MINUTE_MS * (1 + (random.draw() * 19.0) as i64);
        text += &format!(
            "{{\"v\":1,\"ts\":{0},\"ts_ms\":{ended},\"kind\":\"label\",\"signal_id\":\"{at:016x}\",\"symbol\":\"BTC-USDT\",\
             \"timeframe\":\"1m\",\"side\":\"{side}\",\"created_ts\":{1},\"end_ts\":{0},\"horizon_sec\":1200,\
             \"entry_price\":1.0,\"r\":{r},\"outcome\":\"tp\"}}\n",
            ended as f64 / 1e3,
            created as f64 / 1e3
        );
    }
    text
}

/// A temporary folder with a metrics file, and the command on it.
pub struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub fn new(metrics: &str) -> Desk {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(folder.path().join("metrics.jsonl"), metrics).expect("a temporary file");
        Desk { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn calibrate(&self, more: &[&str]) -> Output {
        program(
            &[
                &["calibrate", "--metrics", text(&self.path("metrics.jsonl"))][..],
                &["--out", text(&self.path("calibration.json"))],
                more,
            ]
            .concat(),
        )
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("it was written")
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

pub fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

/// What the command said, on both streams.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
