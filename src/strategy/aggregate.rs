//! From what components say to a score: votes, weights, family discount, dominance.

use super::components::{COMPONENT_COUNT, COMPONENTS, FAMILY_COUNT, Family};
use super::view::View;
use crate::model::message::{VOTES_MAX, Vote};
use crate::model::{FeatureRow, Reason, Side};
use arrayvec::ArrayVec;

/// Each further component of a family counts this much of the one before it.
pub const FAMILY_DECAY: f64 = 0.6;
/// The weaker side takes this part of its points off the score.
pub const OPPOSITION: f64 = 0.5;
/// Sides closer than this are tied.
pub const TIE: f64 = 0.1;

/// One component's weighted vote for a side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cast {
    pub component: u8,
    pub strength: f64,
    pub weight: f64,
    /// weight × points of the table × strength × affinity.
    pub points: f64,
    /// A real price.
    pub level: Option<f64>,
}

/// Everything that speaks for one side.
#[derive(Clone, Debug)]
pub struct SideTally {
    pub side: Side,
    /// In table order.
    casts: ArrayVec<Cast, COMPONENT_COUNT>,
    /// Points of each family after the discount.
    pub families: [f64; FAMILY_COUNT],
    pub points: f64,
    /// Components that count towards MIN_COMPONENTS: confirmers are at most one of them.
    pub component_count: u32,
}

impl SideTally {
    /// Whether the largest family bets on the move going on.
    pub fn follows_trend(&self) -> bool {
        matches!(
            self.dominant_family(),
            Family::Trend | Family::Breakout | Family::Momentum
        )
    }

    /// Nobody has spoken yet.
    #[inline(always)]
    fn silent(side: Side) -> SideTally {
        SideTally {
            side,
            casts: ArrayVec::new_const(),
            families: [0.0; FAMILY_COUNT],
            points: 0.0,
            component_count: 0,
        }
    }

    /// Lets every component look at the row from this side. `worth(index)` is a component's weight and
    /// affinity. Confirmers without anything to confirm are dropped.
    #[inline]
    fn hear(&mut self, row: &FeatureRow, mut worth: impl FnMut(usize) -> (f64, f64)) {
        let view = View::new(row, self.side);
        let (mut leading, mut confirming) = (0, 0);
        for (index, component) in COMPONENTS.iter().enumerate() {
            let Some(fired) = (component.fire)(&view) else {
                continue;
            };
            let (weight, affinity) = worth(index);
            let points = weight * component.points * fired.strength * affinity;
            self.casts.push(Cast {
                component: index as u8,
                strength: fired.strength,
                weight,
                points,
                level: fired.level.map(|level| view.price(level)),
            });
            // A vote worth nothing (reversion while the market panics) is on record, and learns beside
            // others, but it supports nobody.
            if points <= 0.0 {
                continue;
            }
            if component.confirms_only {
                confirming += 1;
            } else {
                leading += 1;
            }
        }
        if leading == 0 {
            self.casts.clear();
            return;
        }
        self.families = family_points(&self.casts);
        self.points = self.families.iter().sum();
        self.component_count = leading + confirming.min(1);
    }

    /// The votes, in table order.
    pub fn casts(&self) -> impl Iterator<Item = &Cast> {
        self.casts.iter()
    }

    /// Bit i is set when component i voted for this side.
    pub fn mask(&self) -> u32 {
        self.casts().fold(0, |mask, cast| mask | 1 << cast.component)
    }

    /// The family with most points, the first of equals.
    pub fn dominant_family(&self) -> Family {
        const FAMILIES: [Family; FAMILY_COUNT] = [
            Family::Trend,
            Family::Breakout,
            Family::Momentum,
            Family::Reversion,
            Family::Flow,
            Family::Context,
        ];
        let better = |best: Family, family: Family| {
            let gains = self.families[family as usize] > self.families[best as usize];
            if gains { family } else { best }
        };
        FAMILIES.into_iter().reduce(better).unwrap_or(Family::Context)
    }

    /// Families with points.
    pub fn family_count(&self) -> usize {
        self.families.iter().filter(|points| **points > 0.0).count()
    }

    /// Whether everything but confirmation comes from mean reversion.
    pub fn is_purely_reversion(&self) -> bool {
        self.casts()
            .map(|cast| COMPONENTS[usize::from(cast.component)])
            .filter(|component| !component.confirms_only)
            .all(|component| component.family == Family::Reversion)
    }

    /// The level of the vote with most points among those that have one, the first of equals.
    pub fn level(&self) -> Option<f64> {
        self.casts()
            .filter(|cast| cast.level.is_some() && cast.points > 0.0)
            .reduce(|best, cast| if cast.points > best.points { cast } else { best })
            .and_then(|cast| cast.level)
    }

    fn fired(&self) -> bool {
        !self.casts.is_empty()
    }
}

/// Σ pₖ·0.6^k a family, largest first.
fn family_points(casts: &[Cast]) -> [f64; FAMILY_COUNT] {
    let mut rising: ArrayVec<&Cast, COMPONENT_COUNT> = casts.iter().collect();
    rising.sort_unstable_by(|one, other| one.points.total_cmp(&other.points));
    let mut families = [0.0; FAMILY_COUNT];
    for cast in rising {
        let total = &mut families[COMPONENTS[usize::from(cast.component)].family as usize];
        *total = cast.points + FAMILY_DECAY * *total;
    }
    families
}

/// Both sides of one row.
#[derive(Clone, Debug)]
pub struct Tally {
    pub long: SideTally,
    pub short: SideTally,
}

impl Tally {
    /// Nobody has spoken yet.
    #[inline(always)]
    pub fn silent() -> Tally {
        Tally {
            long: SideTally::silent(Side::Buy),
            short: SideTally::silent(Side::Sell),
        }
    }

    /// Lets every component look from both sides, once; `worth(side, index)` is weight and affinity. In
    /// place, because a tally is more than a KiB to move.
    #[inline]
    pub fn hear(&mut self, row: &FeatureRow, mut worth: impl FnMut(Side, usize) -> (f64, f64)) {
        self.long.hear(row, |index| worth(Side::Buy, index));
        self.short.hear(row, |index| worth(Side::Sell, index));
    }

    /// Whether anybody voted.
    pub fn fired(&self) -> bool {
        self.long.fired() || self.short.fired()
    }

    /// The stronger side and its score before regime points, or why there is none.
    pub fn dominant(&self) -> Result<(&SideTally, f64), Reason> {
        let (long, short) = (self.long.points, self.short.points);
        if (long - short).abs() < TIE {
            return Err(Reason::SidesTied);
        }
        Ok(if long > short {
            (&self.long, long - OPPOSITION * short)
        } else {
            (&self.short, short - OPPOSITION * long)
        })
    }
}

/// Writes the side's votes into `votes`, then as many of those against it as there is room for, and
/// empties the rest. Returns how many there are.
pub fn write_votes(side: &SideTally, against: &SideTally, votes: &mut [Vote; VOTES_MAX]) -> u8 {
    let mut count = 0u8;
    let casts = side.casts().map(|cast| (side.side, cast));
    let others = against.casts().map(|cast| (against.side, cast));
    for (vote, (voter, cast)) in votes.iter_mut().zip(casts.chain(others)) {
        *vote = Vote {
            component: cast.component,
            side: voter as u8,
            zero: 0,
            strength: cast.strength as f32,
            points: cast.points as f32,
            weight: cast.weight as f32,
        };
        count += 1;
    }
    votes[usize::from(count)..].fill(Vote::default());
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Candle, Feature};

    /// Long: momentum_burst and momentum-free volume_spike, one point each at full strength.
    fn loud() -> FeatureRow {
        let mut row = FeatureRow {
            candle: Candle {
                open: 100.0,
                high: 103.0,
                low: 100.0,
                close: 103.0,
                ..Candle::flat(0, 100.0)
            },
            ..FeatureRow::default()
        };
        for (feature, value) in [
            (Feature::BodyRatio, 0.95),
            (Feature::RangeAtr, 2.5),
            (Feature::VolumeZ, 4.0),
            (Feature::Clv, 1.0),
            (Feature::Atr14, 1.0),
        ] {
            row.set(feature, Some(value));
        }
        row
    }

    fn set(row: &mut FeatureRow, values: &[(Feature, f64)]) {
        values
            .iter()
            .for_each(|(feature, value)| row.set(*feature, Some(*value)));
    }

    const EVEN: fn(Side, usize) -> (f64, f64) = |_, _| (1.0, 1.0);

    fn heard(row: &FeatureRow, worth: impl FnMut(Side, usize) -> (f64, f64)) -> Tally {
        let mut tally = Tally::silent();
        tally.hear(row, worth);
        tally
    }

    #[test]
    fn families_are_discounted_and_the_weaker_side_takes_half_its_points() {
        let mut row = loud();
        // A second momentum component, at full strength: 1.5 points.
        set(
            &mut row,
            &[
                (Feature::MacdHist, 0.15),
                (Feature::MacdHistPrev1, -0.1),
                (Feature::MacdHistPrev2, -0.1),
                (Feature::MacdHistPrev3, -0.1),
                (Feature::Rsi14, 68.0),
            ],
        );
        let tally = heard(&row, EVEN);
        assert_eq!(tally.long.families, [0.0, 0.0, 1.5 + 0.6, 0.0, 1.0, 0.0]);
        assert_eq!((tally.long.component_count, tally.long.family_count()), (3, 2));
        assert_eq!(tally.long.dominant_family(), Family::Momentum);
        // A short opinion: Supertrend turned down, strength 0.4 + 0.6.
        set(
            &mut row,
            &[
                (Feature::SupertrendDirection, -1.0),
                (Feature::SupertrendAge, 1.0),
                (Feature::Supertrend, 110.0),
                (Feature::Adx14, 30.0),
            ],
        );
        let tally = heard(&row, EVEN);
        assert_eq!(tally.short.points, 1.0);
        let (side, score) = tally.dominant().expect("not tied");
        assert_eq!(side.side, Side::Buy);
        assert!((score - (3.1 - 0.5)).abs() < 1e-12);
        assert_eq!(
            tally.short.level(),
            Some(110.0),
            "levels are real prices on both sides"
        );
    }

    #[test]
    fn sides_within_a_tenth_are_tied() {
        let mut row = loud();
        row.set(Feature::VolumeZ, Some(0.0));
        set(
            &mut row,
            &[
                (Feature::SupertrendDirection, -1.0),
                (Feature::SupertrendAge, 0.0),
                (Feature::Adx14, 30.0),
            ],
        );
        let tally = heard(&row, EVEN);
        assert_eq!((tally.long.points, tally.short.points), (1.0, 1.0));
        assert_eq!(tally.dominant().err(), Some(Reason::SidesTied));
    }

    #[test]
    fn confirmers_count_once_and_never_alone() {
        let mut row = loud();
        let confirms = [
            (Feature::Htf1Direction, 1.0),
            (Feature::Htf2Direction, 0.0),
            (Feature::Funding8h, -20e-4),
            (Feature::Rsi14, 50.0),
        ];
        set(&mut row, &confirms);
        let tally = heard(&row, EVEN);
        assert_eq!(
            tally.long.component_count, 3,
            "two that lead, and at most one that confirms"
        );
        // Funding 1.0 first, then 0.6 × 1.5 × 0.5.
        assert!((tally.long.families[Family::Context as usize] - (1.0 + 0.6 * 0.75)).abs() < 1e-12);
        let mut silent = FeatureRow::default();
        set(&mut silent, &confirms);
        assert!(!heard(&silent, EVEN).fired());
    }

    #[test]
    fn weight_and_affinity_multiply_the_points() {
        let tally = heard(
            &loud(),
            |_, index| if index == 4 { (2.0, 0.5) } else { (0.25, 1.0) },
        );
        let points: Vec<f64> = tally.long.casts().map(|cast| cast.points).collect();
        assert_eq!(points, [1.0, 0.25]);
        assert_eq!(tally.long.mask(), 1 << 4 | 1 << 8);
    }

    #[test]
    fn the_level_is_that_of_the_largest_vote_that_has_one() {
        // volume_spike has no level and most points; momentum_burst hides behind the low.
        let tally = heard(
            &loud(),
            |_, index| if index == 8 { (2.0, 1.0) } else { (1.0, 1.0) },
        );
        assert_eq!(
            tally
                .long
                .casts()
                .map(|cast| cast.level.is_some())
                .collect::<Vec<_>>(),
            [true, false]
        );
        assert_eq!(tally.long.level(), Some(100.0));
    }

    #[test]
    fn a_vote_worth_nothing_supports_nobody() {
        // Leading votes without worth: no component counts, and nothing is confirmed.
        let mut row = loud();
        set(
            &mut row,
            &[(Feature::Htf1Direction, 1.0), (Feature::Htf2Direction, 1.0)],
        );
        let worthless = |dead: &'static [usize]| {
            heard(&row, move |_, index| {
                (1.0, if dead.contains(&index) { 0.0 } else { 1.0 })
            })
            .long
        };
        assert_eq!(worthless(&[]).component_count, 3);
        let one = worthless(&[4]);
        assert_eq!(
            (one.component_count, one.level()),
            (2, None),
            "the burst counts no more"
        );
        assert_eq!(one.mask() >> 4 & 1, 1, "but it is on record");
        let none = worthless(&[4, 8]);
        assert_eq!((none.component_count, none.points, none.mask()), (0, 0.0, 0));
    }
}
