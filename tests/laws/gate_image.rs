//! The gate's image: refused and the gate is as it was, or taken over in such a way that another restart
//! takes over the same.

use super::{NOW_MS, instruments};
use smart_scanner::model::Wall;
use smart_scanner::stage::gate::core::{Gate, GateParams};
use smart_scanner::stage::gate::core_snapshot::{SNAPSHOT_MAX, symbols};

const TAG: u16 = 7;
/// Where the epoch stands, which differs from run to run.
const EPOCH: std::ops::Range<usize> = 12..16;

fn gate(epoch: u32) -> Gate {
    Gate::new(GateParams::default(), instruments(), TAG, epoch)
}

fn image(gate: &Gate) -> Vec<u8> {
    let mut bytes = vec![0; SNAPSHOT_MAX];
    let length = gate
        .snapshot_bytes(&mut bytes)
        .expect("it fits whatever was restored");
    bytes.truncate(length);
    bytes
}

fn without_epoch(mut image: Vec<u8>) -> Vec<u8> {
    image[EPOCH].fill(0);
    image
}

pub fn check(bytes: &[u8]) {
    let now = Wall::from_ms(NOW_MS);
    let _ = symbols(bytes);
    let mut first = gate(u32::MAX - 2);
    let before = image(&first);
    if first.restore(bytes, now).is_err() {
        assert_eq!(image(&first), before, "a refusal changes nothing");
        return;
    }
    let mut second = gate(u32::MAX - 1);
    second.restore(&image(&first), now).expect("our own image");
    let mut third = gate(u32::MAX);
    third.restore(&image(&second), now).expect("our own image");
    assert_eq!(without_epoch(image(&third)), without_epoch(image(&second)));
    assert!(
        !third.entries_enabled(),
        "nothing is believed before the venue was asked"
    );
}

/// What a gate without a trade leaves; images with trades are added by the test that has a scene.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![image(&gate(1))]
}
