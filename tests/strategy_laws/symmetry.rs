//! Long and short are mirror images.

use super::market::{Feed, Lcg, mirrored, walk};
use smart_scanner::model::{Feature, FeatureRow, Side};
use smart_scanner::strategy::COMPONENTS;
use smart_scanner::strategy::components::COMPONENT_COUNT;
use smart_scanner::strategy::view::View;

#[test]
fn every_component_votes_the_mirror_image_in_a_mirrored_market() {
    let mut fired = [[0u32; 2]; COMPONENT_COUNT];
    for seed in [101, 102, 103] {
        println!("seed {seed}");
        let (mut feed, mut mirror) = (Feed::new(1), Feed::new(1));
        let mut random = Lcg(seed + 1000);
        for (index, candle) in walk(seed, 9000).iter().enumerate() {
            let outside = [(); 6].map(|()| random.next() - 0.5);
            let (mut rows, mut mirrored_rows) = (Vec::new(), Vec::new());
            feed.push(0, candle, |row| rows.push(with_order_flow(row, outside, 1.0)));
            mirror.push(0, &mirrored(candle), |row| {
                mirrored_rows.push(with_order_flow(row, outside, -1.0))
            });
            // Supertrend starts upwards in both markets; by then it has turned.
            if index < 1500 {
                continue;
            }
            for (row, mirrored_row) in rows.iter().zip(&mirrored_rows) {
                compare_votes(row, mirrored_row, &mut fired);
            }
        }
    }
    for (component, counts) in COMPONENTS.iter().zip(fired) {
        println!(
            "{:<20} long {:>5} short {:>5}",
            component.name, counts[0], counts[1]
        );
        assert!(
            counts[0] > 0 && counts[1] > 0,
            "{} never fired: nothing was compared",
            component.name
        );
    }
}

/// Adds what the caller of the board knows, mirrored with `sign` −1.
fn with_order_flow(row: &FeatureRow, outside: [f64; 6], sign: f64) -> FeatureRow {
    let mut row = *row;
    row.set(Feature::DepthImbalance, Some(sign * outside[0] * 1.6));
    row.set(Feature::AggressorBuy, Some(0.5 + sign * outside[1] * 0.6));
    row.set(Feature::CvdNorm, Some(sign * outside[2]));
    row.set(Feature::Funding8h, Some(sign * outside[3] * 4e-3));
    row.set(Feature::FundingZ, Some(sign * outside[4] * 6.0));
    row
}

fn compare_votes(row: &FeatureRow, mirrored_row: &FeatureRow, fired: &mut [[u32; 2]; COMPONENT_COUNT]) {
    for (index, component) in COMPONENTS.iter().enumerate() {
        for (side_index, side) in [Side::Buy, Side::Sell].into_iter().enumerate() {
            let vote = (component.fire)(&View::new(row, side));
            let image = (component.fire)(&View::new(mirrored_row, side.opposite()));
            let place = format!(
                "{} {side:?} at {}: {vote:?} {image:?}",
                component.name, row.candle.open_ms
            );
            assert_eq!(vote.is_some(), image.is_some(), "{place}");
            let Some((vote, image)) = vote.zip(image) else {
                continue;
            };
            fired[index][side_index] += 1;
            assert!((vote.strength - image.strength).abs() < 1e-9, "{place}");
            assert!((0.0..=1.0).contains(&vote.strength), "{place}");
            assert_eq!(vote.level.is_some(), image.level.is_some(), "{place}");
            // A level p of the long view is 2048 − p in the mirror, which its short view negates.
            let level = vote.level.zip(image.level);
            let moved = if side == Side::Buy { -2048.0 } else { 2048.0 };
            assert!(
                level.is_none_or(|(one, other)| (one + moved - other).abs() < 1e-6),
                "{place}"
            );
        }
    }
}
