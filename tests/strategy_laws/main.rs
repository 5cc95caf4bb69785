//! Promise: the two sides are mirror images, nothing looks ahead, regimes do not flicker, and the
//! bandit is the one of the specification.

mod bandit;
#[path = "../shared/judge.rs"]
mod judge;
mod labels;
mod look_ahead;
mod market;
mod regime;
mod scorer;
mod symmetry;
