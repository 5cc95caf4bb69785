//! Opinions: thirteen components, how they add up to a score, and what experience makes of them.
//!
//! `Scorer` is the pure function behind the `score` stage. Floats only: prices of orders are planned in
//! ticks by `risk`. No clock, no I/O, no randomness; all memory is reserved at start. Uses only `model`.

pub mod aggregate;
pub mod bandit;
pub mod bandit_file;
pub mod calibration;
pub mod closes;
pub mod components;
mod day_circle;
mod explore;
pub mod flow;
pub mod labels;
pub mod learner;
pub mod legacy;
pub mod market;
pub mod params;
pub mod pending;
pub mod pending_file;
pub mod plan;
pub mod probability;
pub mod ranking;
pub mod regime;
pub mod repeats;
pub mod scorer;
pub mod view;
mod weights;

pub use bandit::Bandit;
pub use calibration::Calibration;
pub use closes::Closes;
pub use components::{COMPONENTS, Component, Family};
pub use params::Params;
pub use pending::Pending;
pub use probability::MODEL_FEATURES;
pub use ranking::Ranking;
pub use regime::{Regime, Relative};
pub use scorer::{Refusal, Scorer, Verdict};
