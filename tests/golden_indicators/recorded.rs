//! Candles built from recorded 1m rows are the 5m rows that were recorded beside them.

use crate::shared;
use flate2::read::GzDecoder;
use smart_scanner::indicators::Builder;
use smart_scanner::model::message::tick_flag;
use smart_scanner::model::{Candle, Timeframe};
use std::fs::File;

fn read(part: &str) -> Option<Vec<Candle>> {
    let path = shared::find(&format!("data/candles/{part}"))?;
    let mut reader = csv::Reader::from_reader(GzDecoder::new(File::open(path).expect("a file")));
    let candle = |row: csv::StringRecord| {
        let number = |column: usize| row[column].parse::<f64>().expect("a number");
        Candle {
            open_ms: row[0].parse().expect("ms"),
            open: number(1),
            high: number(2),
            low: number(3),
            close: number(4),
            volume: number(5),
            volume_base: number(5),
            volume_quote: 0.0,
        }
    };
    Some(reader.records().map(|row| candle(row.expect("a row"))).collect())
}

#[test]
fn built_candles_are_the_recorded_ones() {
    for symbol in ["BTCUSDT", "XRPUSDT", "DOGEUSDT"] {
        let minutes = read(&format!("binance_usdm_1m_2023-07/{symbol}.csv.gz"));
        let recorded = read(&format!("binance_usdm_5m_2023-07/{symbol}.csv.gz"));
        let Some((minutes, recorded)) = minutes.zip(recorded) else {
            continue;
        };
        let mut builder = Builder::new(Timeframe::M5);
        let built: Vec<Candle> = minutes
            .iter()
            .filter_map(|minute| builder.push(minute, tick_flag::CONFIRMED))
            .map(|(candle, _)| candle)
            .collect();
        let (mut equal, mut compared) = (0, 0);
        for candle in &built {
            let Ok(at) = recorded.binary_search_by_key(&candle.open_ms, |row| row.open_ms) else {
                continue;
            };
            let row = recorded[at];
            let prices = |candle: &Candle| [candle.open, candle.high, candle.low, candle.close];
            let volume_is_near = (row.volume - candle.volume).abs() <= 1e-9 * row.volume.max(1e-9);
            compared += 1;
            equal += u32::from(prices(&row) == prices(candle) && volume_is_near);
        }
        println!("{symbol}: {equal} of {compared} built candles are the recorded ones");
        // The recorder itself disagrees with its own minutes on two candles of ten thousand.
        assert!(compared > 4000 && f64::from(equal) >= 0.999 * f64::from(compared));
    }
}
