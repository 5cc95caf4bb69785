//! The snapshot store: whatever was changed in its file, it is refused, or gives a snapshot that was saved,
//! and none that is older than the newest one that was not touched. Three bytes are one change.

use super::Numbers;
use smart_scanner::store::SnapshotStore;
use smart_scanner::sys::region::{PAGE_BYTES, Region};
use std::sync::atomic::Ordering;

const PAYLOAD_MAX: usize = 200;
const ACCOUNT: u64 = 0xacc0;
const VERSION: u64 = 5;
const SAVED: u64 = 6;
const SLOTS: usize = 4;
const SLOT_BYTES: usize = 2 * PAGE_BYTES;

fn payload(generation: u64) -> Vec<u8> {
    let mut numbers = Numbers(generation);
    let length = [0, 1, 200, 77, 8, 199][generation as usize % 6];
    (0..length).map(|_| numbers.next() as u8).collect()
}

/// The generation that stands in each slot, read as the file's own text says.
fn generation_in(region: &Region, slot: usize) -> u64 {
    region.load((PAGE_BYTES + slot * SLOT_BYTES) / 8, Ordering::Relaxed)
}

pub fn check(bytes: &[u8]) {
    let region = Region::simulated(SnapshotStore::file_bytes(PAYLOAD_MAX));
    let mut store = SnapshotStore::open_region(region, PAYLOAD_MAX, ACCOUNT, VERSION).expect("a new store");
    for generation in 1..=SAVED {
        store.write(&payload(generation)).expect("it fits");
    }
    let region = store.region().crash(|_| true);
    let generations: [u64; SLOTS] = std::array::from_fn(|slot| generation_in(&region, slot));
    assert!(generations.contains(&SAVED), "{generations:?}");
    let (mut touched, mut is_head_touched) = ([false; SLOTS], false);
    for change in bytes.chunks_exact(3) {
        let (place, byte, flip) = (change[0], usize::from(change[1]), change[2]);
        let offset = if place.is_multiple_of(8) {
            is_head_touched = true;
            byte % 48
        } else {
            let slot = usize::from(place) % SLOTS;
            touched[slot] = true;
            let inside = if place < 128 { byte % 32 } else { PAGE_BYTES + byte };
            PAGE_BYTES + slot * SLOT_BYTES + inside
        };
        let word = region.load(offset / 8, Ordering::Relaxed);
        let flip = u64::from(flip) << (offset % 8 * 8);
        region.store(offset / 8, word ^ flip, Ordering::Relaxed);
    }
    let newest_whole = (0..SLOTS)
        .filter(|slot| !touched[*slot])
        .map(|slot| generations[slot])
        .max()
        .unwrap_or(0);
    let mut store = match SnapshotStore::open_region(region, PAYLOAD_MAX, ACCOUNT, VERSION) {
        Ok(store) => store,
        Err(error) => return assert!(is_head_touched, "{error}"),
    };
    let loaded = store.load();
    let generation = loaded.as_ref().map_or(0, |(generation, _)| *generation);
    assert!(
        (newest_whole..=SAVED).contains(&generation),
        "{generation}, {newest_whole} is whole"
    );
    if let Some((generation, found)) = loaded {
        assert_eq!(found, payload(generation));
    }
    let next = store.write(b"next").expect("it fits");
    assert_eq!(store.load(), Some((next, b"next".to_vec())));
    let after_a_kill = store.region().crash(|_| true);
    let again = SnapshotStore::open_region(after_a_kill, PAYLOAD_MAX, ACCOUNT, VERSION).expect("our own");
    assert_eq!(again.load(), Some((next, b"next".to_vec())));
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0, 8, 1],
        // The generation, the length and the sum of a slot, and a byte of its payload.
        vec![1, 0, 1, 2, 8, 1, 3, 16, 1, 133, 5, 1],
        (0..60).collect(),
    ]
}
