//! How much each component's word is worth, learned from outcomes.
//!
//! Every component that fires gets feedback, so nothing has to be explored: the state is a discounted
//! Beta posterior per component, pooled over context (component → regime → timeframe), and a weight
//! says how much better than its peers a component is (Thompson 1933; discounting after Garivier &
//! Moulines 2011; rewards in [0, 1] after Agrawal & Goyal 2012). Pure arithmetic, no randomness.

use super::components::COMPONENT_COUNT;
use super::explore;
use super::params::BanditParams;
use super::regime::{RELATIVE_COUNT, Relative};
use crate::model::Timeframe;
use bytemuck::{Pod, Zeroable};

const MS_PER_HOUR: f64 = 3_600_000.0;
const TIMEFRAME_COUNT: usize = Timeframe::ALL.len();
/// Nodes of one component: itself, one a regime, one a regime and timeframe.
const NODES_PER_ARM: usize = 1 + RELATIVE_COUNT + RELATIVE_COUNT * TIMEFRAME_COUNT;

/// Discounted evidence at one node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Node {
    /// Mass of success and of failure.
    pub success: f64,
    pub failure: f64,
    /// Labels ever seen.
    pub count: u64,
    /// Decision time of the last label, Unix ms.
    pub updated_ms: i64,
}

/// Half-lives of one span; 2^64 is far inside the range of a float.
const SPAN_HALF_LIVES: f64 = 64.0;

/// How evidence fades, with the exponentials kept: what is left at `now` of what was learned at `then`
/// is 2^((then − start)/h) · 2^((start − now)/h). The first factor is kept with the node, the second
/// one serves all nodes of a moment. `start` is the begin of the span of 64 half-lives that `then`
/// lies in, so that both depend on the times alone and a reloaded node goes on bit for bit.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now_ms: i64,
    start_ms: i64,
    half_life_h: f64,
    /// 2^((start − now)/h).
    fall: f64,
}

/// Begin of the span that `at_ms` lies in.
fn span_start_ms(at_ms: i64, half_life_h: f64) -> i64 {
    let span_ms = (SPAN_HALF_LIVES * half_life_h * MS_PER_HOUR).max(1.0) as i64;
    at_ms.div_euclid(span_ms).saturating_mul(span_ms)
}

impl Moment {
    fn new(now_ms: i64, half_life_h: f64) -> Moment {
        let start_ms = span_start_ms(now_ms, half_life_h);
        let past_ms = (now_ms - start_ms) as f64;
        Moment {
            now_ms,
            start_ms,
            half_life_h,
            fall: (-past_ms / (half_life_h * MS_PER_HOUR)).exp2(),
        }
    }

    /// Part of the mass of `node` that is left; `lift` is the node's kept factor.
    fn left(&self, node: &Node, lift: f64) -> f64 {
        if node.updated_ms < self.start_ms || node.updated_ms > self.now_ms {
            return node.left(self.now_ms, self.half_life_h);
        }
        lift * self.fall
    }
}

impl Node {
    /// 2^((updated − start)/h), see `Moment`.
    fn lift(&self, half_life_h: f64) -> f64 {
        let past_ms = self.updated_ms - span_start_ms(self.updated_ms, half_life_h);
        (past_ms as f64 / (half_life_h * MS_PER_HOUR)).exp2()
    }

    /// Part of the mass that is left at `now_ms`.
    fn left(&self, now_ms: i64, half_life_h: f64) -> f64 {
        if self.count == 0 {
            return 1.0;
        }
        let idle_ms = now_ms.saturating_sub(self.updated_ms).max(0) as f64;
        (-idle_ms / (half_life_h * MS_PER_HOUR)).exp2()
    }

    fn add(&mut self, reward: f64, mass: f64, now_ms: i64, params: &BanditParams) {
        let left = self.left(now_ms, params.half_life_h);
        self.success = self.success * left + mass * reward;
        self.failure = self.failure * left + mass * (1.0 - reward);
        let total = self.success + self.failure;
        if total > params.mass_max {
            self.success *= params.mass_max / total;
            self.failure *= params.mass_max / total;
        }
        // A file may say any number, and one more label must not end the program.
        self.count = self.count.saturating_add(1);
        self.updated_ms = self.updated_ms.max(now_ms);
    }
}

/// What is believed of one component in one context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Expected result in R.
    pub expected_r: f64,
    /// Its standard deviation in R.
    pub deviation_r: f64,
}

/// What every component counts for in one context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    pub weights: [f64; COMPONENT_COUNT],
    /// Expected result in R.
    pub expected_r: [f64; COMPONENT_COUNT],
}

/// A context level: which node of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Arm,
    Regime(Relative),
    Timeframe(Relative, Timeframe),
}

impl Level {
    fn index(self) -> usize {
        match self {
            Level::Arm => 0,
            Level::Regime(relative) => 1 + relative as usize,
            Level::Timeframe(relative, timeframe) => {
                1 + RELATIVE_COUNT + relative as usize * TIMEFRAME_COUNT + timeframe as usize
            }
        }
    }

    /// Every level, in the order of their nodes.
    pub fn all() -> impl Iterator<Item = Level> {
        let regimes = Relative::ALL.into_iter().map(Level::Regime);
        let timeframes = Relative::ALL.into_iter().flat_map(|relative| {
            Timeframe::ALL
                .into_iter()
                .map(move |timeframe| Level::Timeframe(relative, timeframe))
        });
        std::iter::once(Level::Arm).chain(regimes).chain(timeframes)
    }
}

/// The learned state: 13 × 66 nodes of 32 bytes.
#[derive(Clone, Debug)]
pub struct Bandit {
    params: BanditParams,
    nodes: Box<[[Node; NODES_PER_ARM]]>,
    /// `Node::lift` of every node.
    lifts: Box<[[f64; NODES_PER_ARM]]>,
}

/// The nodes that a result in this context belongs to.
fn levels_of(relative: Relative, timeframe: Timeframe) -> [Level; 3] {
    [
        Level::Arm,
        Level::Regime(relative),
        Level::Timeframe(relative, timeframe),
    ]
}

impl Bandit {
    /// A bandit that has learned nothing: every weight is 1.
    pub fn new(params: BanditParams) -> Self {
        Bandit {
            params,
            nodes: vec![[Node::default(); NODES_PER_ARM]; COMPONENT_COUNT].into_boxed_slice(),
            lifts: vec![[1.0; NODES_PER_ARM]; COMPONENT_COUNT].into_boxed_slice(),
        }
    }

    pub fn params(&self) -> &BanditParams {
        &self.params
    }

    pub fn node(&self, arm: usize, level: Level) -> &Node {
        &self.nodes[arm][level.index()]
    }

    /// Takes over everything that `other` knows, without allocating.
    pub fn copy_from(&mut self, other: &Bandit) {
        self.params = other.params;
        self.nodes.copy_from_slice(&other.nodes);
        self.lifts.copy_from_slice(&other.lifts);
    }

    /// Puts a node from a file back.
    pub fn set_node(&mut self, arm: usize, level: Level, node: Node) {
        self.nodes[arm][level.index()] = node;
        self.lifts[arm][level.index()] = node.lift(self.params.half_life_h);
    }

    /// The reward in 0..=1 of a result, or nothing when this is no observation.
    fn reward(&self, arm: usize, r: f64, mass: f64) -> Option<f64> {
        let is_observation = r.is_finite() && mass.is_finite() && mass > 0.0 && arm < COMPONENT_COUNT;
        let (low, high) = (self.params.reward_low, self.params.reward_high);
        is_observation.then(|| ((r - low) / (high - low)).clamp(0.0, 1.0))
    }

    /// Learns that `arm` ended with `r` (net of cost) at `now_ms`. `mass` in 0..=1 is how much of an
    /// observation it is. Values that are not finite are ignored.
    pub fn update(
        &mut self,
        arm: usize,
        relative: Relative,
        timeframe: Timeframe,
        r: f64,
        mass: f64,
        now_ms: i64,
    ) {
        let Some(reward) = self.reward(arm, r, mass) else {
            return;
        };
        for level in levels_of(relative, timeframe) {
            let node = &mut self.nodes[arm][level.index()];
            node.add(reward, mass, now_ms, &self.params);
            self.lifts[arm][level.index()] = node.lift(self.params.half_life_h);
        }
    }

    /// Takes back what `update` learned at `learned_ms`, as much as is left of it: exactly, unless
    /// the node was full meanwhile, where a little more than the rest of it goes.
    pub fn withdraw(
        &mut self,
        arm: usize,
        relative: Relative,
        timeframe: Timeframe,
        r: f64,
        mass: f64,
        learned_ms: i64,
    ) {
        let Some(reward) = self.reward(arm, r, mass) else {
            return;
        };
        for level in levels_of(relative, timeframe) {
            let half_life_h = self.params.half_life_h;
            let node = &mut self.nodes[arm][level.index()];
            // What is in the node is as of `updated_ms`; the lesson has faded since it was learned.
            let left = Node {
                updated_ms: learned_ms,
                ..*node
            }
            .left(node.updated_ms.max(learned_ms), half_life_h);
            node.success = (node.success - mass * reward * left).max(0.0);
            node.failure = (node.failure - mass * (1.0 - reward) * left).max(0.0);
            node.count = node.count.saturating_sub(1);
        }
    }

    /// What is believed of `arm` here at `now_ms`; each level is pulled towards the one above it.
    pub fn estimate(&self, arm: usize, relative: Relative, timeframe: Timeframe, now_ms: i64) -> Estimate {
        let moment = Moment::new(now_ms, self.params.half_life_h);
        self.estimate_at(arm, levels_of(relative, timeframe), &moment)
    }

    fn estimate_at(&self, arm: usize, levels: [Level; 3], moment: &Moment) -> Estimate {
        let params = &self.params;
        let width = params.reward_high - params.reward_low;
        let mut mean = -params.reward_low / width;
        let mut mass = 0.0;
        for level in levels {
            let node = &self.nodes[arm][level.index()];
            let left = moment.left(node, self.lifts[arm][level.index()]);
            let success = node.success * left;
            mass = success + node.failure * left;
            mean = (params.prior_mass * mean + success) / (params.prior_mass + mass);
        }
        let variance = mean * (1.0 - mean) / (params.prior_mass + mass + 1.0);
        Estimate {
            expected_r: params.reward_low + width * mean,
            deviation_r: width * variance.max(0.0).sqrt(),
        }
    }

    /// Weight of every component here at `now_ms`: exp(κ × how much better than the peers), clamped.
    /// Exactly 1 for all while nothing has been learned.
    pub fn weights(&self, relative: Relative, timeframe: Timeframe, now_ms: i64) -> [f64; COMPONENT_COUNT] {
        self.standing(relative, timeframe, now_ms).weights
    }

    /// Weight and expected R of every component here at `now_ms`.
    pub fn standing(&self, relative: Relative, timeframe: Timeframe, now_ms: i64) -> Standing {
        let moment = Moment::new(now_ms, self.params.half_life_h);
        let levels = levels_of(relative, timeframe);
        let estimates: [Estimate; COMPONENT_COUNT] =
            std::array::from_fn(|arm| self.estimate_at(arm, levels, &moment));
        let careful = estimates
            .map(|estimate| estimate.expected_r - self.params.deviation_penalty * estimate.deviation_r);
        Standing {
            weights: self.compare(&careful, &moment),
            expected_r: estimates.map(|estimate| estimate.expected_r),
        }
    }

    /// Weights of components that are worth `careful` each: exp(κ × how much better than the peers).
    /// A component counts, among its peers and for itself, as far as it has been seen: fully from as
    /// many labels as the prior weighs. One that never spoke keeps weight 1, however the others fare.
    fn compare(&self, careful: &[f64; COMPONENT_COUNT], moment: &Moment) -> [f64; COMPONENT_COUNT] {
        let params = &self.params;
        let known: [f64; COMPONENT_COUNT] = std::array::from_fn(|arm| {
            let node = &self.nodes[arm][Level::Arm.index()];
            let left = moment.left(node, self.lifts[arm][Level::Arm.index()]);
            let mass = (node.success + node.failure) * left;
            (mass / params.prior_mass).min(1.0)
        });
        let total: f64 = known.iter().sum();
        if total <= 0.0 {
            return [1.0; COMPONENT_COUNT];
        }
        // Around the first, so that equal estimates give a difference of exactly 0.
        let first = careful[0];
        let sum: f64 = careful
            .iter()
            .zip(&known)
            .map(|(value, known)| known * (value - first))
            .sum();
        let mean = first + sum / total;
        std::array::from_fn(|arm| {
            (params.kappa * known[arm] * (careful[arm] - mean))
                .exp()
                .clamp(params.weight_min, params.weight_max)
        })
    }

    /// As `weights`, but each component is worth a draw from its posterior here. The draws depend on
    /// nothing but `seed`, the close, the instrument, the timeframe and the component, so that they are
    /// the same whatever the order of the rows.
    pub fn drawn_weights(
        &self,
        relative: Relative,
        timeframe: Timeframe,
        now_ms: i64,
        instrument: u16,
        seed: u64,
    ) -> [f64; COMPONENT_COUNT] {
        let params = &self.params;
        let width = params.reward_high - params.reward_low;
        let moment = Moment::new(now_ms, params.half_life_h);
        let levels = levels_of(relative, timeframe);
        let drawn: [f64; COMPONENT_COUNT] = std::array::from_fn(|arm| {
            let estimate = self.estimate_at(arm, levels, &moment);
            let mean = (estimate.expected_r - params.reward_low) / width;
            let variance = (estimate.deviation_r / width).powi(2);
            // The Beta distribution with this mean and variance.
            let mass = mean * (1.0 - mean) / variance.max(1e-12) - 1.0;
            let key = [
                seed,
                now_ms as u64,
                u64::from(instrument) << 8 | timeframe as u64,
                arm as u64,
            ];
            params.reward_low + width * explore::beta(mean * mass, (1.0 - mean) * mass, key)
        });
        self.compare(&drawn, &moment)
    }
}
