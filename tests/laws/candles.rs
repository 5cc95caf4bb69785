//! The candle ring: whatever was changed in its file, it is refused, or gives rows that were pushed under
//! that label at that index, an unbroken run of them. Four bytes are one change.

use smart_scanner::model::Candle;
use smart_scanner::store::CandleRing;
use smart_scanner::sys::region::{PAGE_BYTES, Region};
use std::sync::atomic::Ordering;

const SERIES: usize = 2;
const CAPACITY: usize = 4;
const ROW_BYTES: usize = size_of::<Candle>() + 8;
const LABELS: [(&str, u64); SERIES] = [("BTC-USDT 1m", 9), ("ETH-USDT 1m", 3)];

fn row(label: &str, index: u64) -> Candle {
    Candle::flat(
        60_000 * index as i64,
        f64::from(label.as_bytes()[0]) + index as f64,
    )
}

pub fn check(bytes: &[u8]) {
    let region = Region::heap(CandleRing::<Candle>::file_bytes(SERIES, CAPACITY));
    let mut ring = CandleRing::open_region(region, SERIES, CAPACITY).expect("a new ring");
    for (label, count) in LABELS {
        let series = ring.claim(label).expect("a free series");
        (0..count).for_each(|index| {
            ring.push(series, &row(label, index));
        });
    }
    let region = ring.region().crash(|_| true);
    let mut is_head_touched = false;
    for change in bytes.chunks_exact(4) {
        let (at, flip) = (usize::from(u16::from_be_bytes([change[1], change[2]])), change[3]);
        let offset = match change[0] % 4 {
            0 => {
                is_head_touched = true;
                at % 64
            }
            1 => PAGE_BYTES + at % (SERIES * 128),
            _ => 2 * PAGE_BYTES + at % (SERIES * CAPACITY * ROW_BYTES),
        };
        let word = region.load(offset / 8, Ordering::Relaxed);
        let flip = u64::from(flip) << (offset % 8 * 8);
        region.store(offset / 8, word ^ flip, Ordering::Relaxed);
    }
    check_read(&region, bytes.is_empty());
    match CandleRing::<Candle>::open_region(region, SERIES, CAPACITY) {
        Ok(ring) => check_open(ring, bytes.is_empty()),
        Err(error) => assert!(is_head_touched, "{error}"),
    }
}

/// Opened for writing: what is kept is what was pushed, and the ring goes on.
fn check_open(mut ring: CandleRing<Candle>, is_whole: bool) {
    let found: Vec<(String, usize)> = ring.labels().map(|(label, at)| (label.to_owned(), at)).collect();
    assert!(!is_whole || found.len() == SERIES);
    for (label, series) in found {
        let (_, count) = expected(&label);
        let indexes = ring.indexes(series);
        assert!(indexes.end <= count && ring.len(series) <= CAPACITY);
        assert!(!is_whole || (indexes.end == count && ring.len(series) == count.min(4) as usize));
        for index in indexes.clone() {
            assert_eq!(ring.row(series, index), Some(row(&label, index)));
        }
        assert_eq!(ring.push(series, &row(&label, 77)), indexes.end);
        assert_eq!(ring.newest(series), Some(row(&label, 77)));
    }
}

/// Read beside its writer: an unbroken run of what was pushed.
fn check_read(region: &Region, is_whole: bool) {
    let folder = super::folder();
    let path = folder.path().join("candles.ring");
    let words = region.words().iter();
    let bytes: Vec<u8> = words
        .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
        .collect();
    std::fs::write(&path, bytes).expect("written");
    let Ok(series) = CandleRing::<Candle>::read_file(&path) else {
        return assert!(!is_whole);
    };
    assert!(!is_whole || series.len() == SERIES);
    for (label, rows) in series {
        let (_, count) = expected(&label);
        assert!(rows.len() <= CAPACITY);
        assert!(!is_whole || rows.len() == count.min(4) as usize);
        for (at, found) in rows.iter().enumerate() {
            let index = (rows[0].open_ms / 60_000) as u64 + at as u64;
            assert!(index < count);
            assert_eq!(*found, row(&label, index));
        }
    }
}

fn expected(label: &str) -> (&'static str, u64) {
    let known = LABELS.into_iter().find(|(known, _)| *known == label);
    known.unwrap_or_else(|| panic!("{label:?} was never a label"))
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0, 0, 16, 1],
        // Counts, sums and text of labels, words of rows and their check words.
        vec![1, 0, 0, 4, 1, 0, 8, 1, 1, 0, 64, 2],
        vec![2, 0, 5, 9, 3, 0, 64, 1, 2, 1, 0, 1],
        (0..80).collect(),
    ]
}
