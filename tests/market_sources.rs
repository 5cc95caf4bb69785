//! The markets an exchange plays: generated ones repeat by seed and look like a market; recorded
//! ones are played as they stand in their files.

mod shared;

use smart_scanner::exchange::amount::Amount;
use smart_scanner::exchange::*;
use smart_scanner::model::{
    Candle, ClientOrderId, InstrumentId, Lots, MarginMode, OrderType, PositionSide, Side, Timeframe, Wall,
};

const MINUTE: i64 = 60_000;

fn generated(seed: u64, instruments: usize) -> Exchange {
    let options = GeneratedOptions {
        seed,
        instruments,
        start: Wall::from_ms(1_767_225_723_456),
        ..GeneratedOptions::default()
    };
    Exchange::new(
        ExchangeConfig::default(),
        Market::Generated(Box::new(Generated::new(options))),
    )
}

fn play(exchange: &mut Exchange, minutes: i64) -> Vec<Event> {
    let mut events = Vec::new();
    let until = exchange.now().ms() + minutes * MINUTE;
    exchange.advance(Wall::from_ms(until), &mut events);
    events
}

/// FNV-1a of everything that is pushed.
fn digest(events: &[Event]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for event in events {
        for byte in format!("{event:?}").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

fn everything() -> Interest {
    let all =
        channel::TRADES | channel::TICKER | channel::BOOK | channel::BOOK5 | channel::MARK | channel::FUNDING;
    let interest = Interest::default().with(all);
    [Timeframe::M1, Timeframe::M5]
        .into_iter()
        .fold(interest, Interest::with_candles)
}

/// Closed 1m returns of the last `count` minutes, oldest first.
fn returns(exchange: &Exchange, instrument: u16, count: usize) -> Vec<f64> {
    let mut rows = exchange.candles(InstrumentId(instrument), Timeframe::M1, None, None, count + 1);
    rows.retain(|row| row.1);
    rows.reverse();
    rows.windows(2)
        .map(|pair| pair[1].0.close / pair[0].0.close - 1.0)
        .collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let fourth = values.iter().map(|value| (value - mean).powi(4)).sum::<f64>() / count;
    (variance.sqrt(), fourth / (variance * variance))
}

fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let count = left.len().min(right.len()) as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let (a, b) = (mean(left), mean(right));
    let joint: f64 = left
        .iter()
        .zip(right)
        .map(|(x, y)| (x - a) * (y - b))
        .sum::<f64>()
        / count;
    joint / (moments(left).0 * moments(right).0)
}

#[test]
fn one_seed_gives_one_market_and_another_seed_another() {
    let run = |seed: u64| {
        let mut exchange = generated(seed, 8);
        for index in 0..8 {
            exchange.set_interest(InstrumentId(index), everything());
        }
        digest(&play(&mut exchange, 7))
    };
    let first = run(41);
    assert_eq!(first, run(41));
    assert_ne!(first, run(42));
}

#[test]
fn who_listens_and_how_often_time_is_told_changes_no_price() {
    let mut quiet = generated(5, 8);
    let mut loud = generated(5, 8);
    loud.set_interest(InstrumentId(3), everything());
    play(&mut quiet, 10);
    let until = loud.now().ms() + 10 * MINUTE;
    let mut events = Vec::new();
    while loud.now().ms() < until {
        let next = (loud.now().ms() + 137).min(until);
        loud.advance(Wall::from_ms(next), &mut events);
    }
    for index in 0..8 {
        let instrument = InstrumentId(index);
        assert_eq!(quiet.ticker(instrument), loud.ticker(instrument));
        assert_eq!(
            quiet.book(instrument, 20).map(|book| book.asks),
            loud.fresh_asks(instrument)
        );
    }
}

trait FreshAsks {
    fn fresh_asks(&mut self, instrument: InstrumentId) -> Option<Vec<(smart_scanner::model::Price, Lots)>>;
}

impl FreshAsks for Exchange {
    /// The asks as the ladder has them, not as listeners were last told.
    fn fresh_asks(&mut self, instrument: InstrumentId) -> Option<Vec<(smart_scanner::model::Price, Lots)>> {
        self.set_interest(instrument, Interest::default());
        self.book(instrument, 20).map(|book| book.asks)
    }
}

#[test]
fn generated_returns_move_together_with_fat_tails_and_a_tradeable_size() {
    let mut exchange = generated(9, 24);
    play(&mut exchange, 12 * 60);
    let all: Vec<Vec<f64>> = (0..24).map(|index| returns(&exchange, index, 710)).collect();
    let mut sigmas = Vec::new();
    for (index, series) in all.iter().enumerate() {
        let (sigma, kurtosis) = moments(series);
        assert!(
            (0.0010..0.0042).contains(&sigma),
            "instrument {index}: sigma of a minute {sigma}"
        );
        assert!(kurtosis > 3.0, "instrument {index}: kurtosis {kurtosis}");
        sigmas.push(sigma);
    }
    sigmas.sort_by(f64::total_cmp);
    let pairs: Vec<f64> = all
        .iter()
        .skip(1)
        .map(|series| correlation(&all[0], series))
        .collect();
    let mean = pairs.iter().sum::<f64>() / pairs.len() as f64;
    println!(
        "sigma of a minute: median {:.4} %, correlation with BTC: mean {mean:.2}",
        sigmas[12] * 100.0
    );
    assert!(pairs.iter().all(|value| *value > 0.0), "{pairs:?}");
    assert!((0.2..0.9).contains(&mean), "{mean}");
    assert!((0.0015..0.0035).contains(&sigmas[12]), "{}", sigmas[12]);
    // Volume bursts come with moves.
    let rows = exchange.candles(InstrumentId(1), Timeframe::M1, None, None, 700);
    let volumes: Vec<f64> = rows.iter().map(|row| row.0.volume).collect();
    let ranges: Vec<f64> = rows.iter().map(|row| row.0.high - row.0.low).collect();
    assert!(correlation(&volumes, &ranges) > 0.3);
}

#[test]
fn prices_stay_near_their_level_over_weeks() {
    let options = GeneratedOptions {
        seed: 77,
        instruments: 8,
        step_ms: 5_000,
        ..GeneratedOptions::default()
    };
    let mut exchange = Exchange::new(
        ExchangeConfig::default(),
        Market::Generated(Box::new(Generated::new(options))),
    );
    let first: Vec<f64> = (0..8)
        .map(|index| exchange.mark(InstrumentId(index)).expect("a mark").mark)
        .collect();
    for _ in 0..14 {
        play(&mut exchange, 24 * 60);
        for (index, start) in first.iter().enumerate() {
            let mark = exchange.mark(InstrumentId(index as u16)).expect("a mark").mark;
            assert!(
                (0.5..2.0).contains(&(mark / start)),
                "instrument {index}: {start} became {mark}"
            );
        }
    }
    assert!(exchange.funding_history(InstrumentId(0)).count() >= 41);
}

#[test]
fn every_generated_series_serves_a_full_page_that_joins_the_live_rows() {
    let mut exchange = generated(3, 8);
    play(&mut exchange, 95);
    for timeframe in Timeframe::ALL {
        let rows = exchange.candles(InstrumentId(4), timeframe, None, None, 1_440);
        assert_eq!(rows.len(), 1_440, "{}", timeframe.text());
        assert!(
            !rows[0].1 && rows[1..].iter().all(|row| row.1),
            "only the newest row is running"
        );
        assert!(
            rows.windows(2)
                .all(|pair| pair[0].0.open_ms - pair[1].0.open_ms == timeframe.ms())
        );
        assert!(rows.iter().all(|row| row.0.is_valid()));
        let jump = |pair: &[(Candle, bool)]| (pair[0].0.open / pair[1].0.close - 1.0).abs();
        assert!(
            rows.windows(2).all(|pair| jump(pair) < 0.01),
            "{}",
            timeframe.text()
        );
    }
    let minutes = exchange.candles(InstrumentId(4), Timeframe::M1, None, None, 1_440);
    for (hour, _) in exchange.candles(InstrumentId(4), Timeframe::H1, None, None, 20) {
        let parts: Vec<&Candle> = minutes
            .iter()
            .map(|row| &row.0)
            .filter(|row| Timeframe::H1.open_of(row.open_ms) == hour.open_ms)
            .collect();
        let volume: f64 = parts.iter().map(|row| row.volume).sum();
        assert!((volume / hour.volume - 1.0).abs() < 1e-9, "hour {}", hour.open_ms);
        assert_eq!(parts.last().map(|row| row.open), Some(hour.open));
    }
}

#[test]
fn book_deltas_lead_from_the_snapshot_to_the_book_and_never_skip_a_number() {
    let mut exchange = generated(6, 8);
    play(&mut exchange, 1);
    let instrument = InstrumentId(0);
    exchange.set_interest(instrument, Interest::default().with(channel::BOOK));
    let snapshot = exchange.book(instrument, 200).expect("a book");
    let mut bids: std::collections::BTreeMap<i64, i64> = Default::default();
    let mut asks = bids.clone();
    for (side, levels) in [(&mut bids, &snapshot.bids), (&mut asks, &snapshot.asks)] {
        side.extend(levels.iter().map(|level| (level.0.0, level.1.0)));
    }
    let mut seq = snapshot.seq;
    let mut deltas = 0;
    for event in play(&mut exchange, 5) {
        let Event::BookDelta { delta, .. } = event else {
            continue;
        };
        assert!(delta.prev_seq == seq && delta.seq > seq);
        seq = delta.seq;
        deltas += 1;
        for (side, levels) in [(&mut bids, &delta.bids), (&mut asks, &delta.asks)] {
            for (price, lots) in levels {
                if lots.0 == 0 {
                    assert!(side.remove(&price.0).is_some(), "a level that was there");
                } else {
                    side.insert(price.0, lots.0);
                }
            }
        }
        assert!(bids.last_key_value().map(|level| *level.0) < asks.first_key_value().map(|level| *level.0));
    }
    assert!(deltas > 100);
    let book = exchange.book(instrument, 200).expect("a book");
    assert_eq!(book.seq, seq);
    let expected: Vec<(i64, i64)> = book.asks.iter().map(|level| (level.0.0, level.1.0)).collect();
    assert_eq!(asks.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_protected_trade_in_a_generated_market_ends_within_hours() {
    let mut exchange = generated(12, 8);
    let account = exchange.add_account("key", Amount::from(100_000));
    play(&mut exchange, 1);
    let mut ended = 0;
    for round in 0..24u16 {
        let instrument = InstrumentId(round % 8);
        let row = *exchange.instruments().get(instrument).expect("an instrument");
        let ticker = exchange.ticker(instrument).expect("a ticker");
        let at = |part: f64| {
            row.nearest_price(row.price_f64(ticker.ask) * part)
                .expect("a price")
        };
        let order = NewOrder {
            instrument,
            margin_mode: MarginMode::Cross,
            position_side: PositionSide::Net,
            side: Side::Buy,
            order_type: OrderType::Market,
            price: None,
            lots: Lots(5),
            reduce_only: false,
            client_id: ClientOrderId::default(),
            take_profit: Some(Leg::market(at(1.006))),
            stop_loss: Some(Leg::market(at(0.995))),
        };
        let now = exchange.now();
        exchange.place(account, now, &order).expect("accepted");
        play(&mut exchange, 20);
        exchange.check_invariants().expect("the books agree");
        let report = exchange.report();
        ended = report.closed_tp + report.closed_sl;
    }
    let report = exchange.report();
    println!(
        "of 24 trades {} met the target, {} the stop",
        report.closed_tp, report.closed_sl
    );
    assert!(ended >= 12, "{report:?}");
    assert_eq!((report.unprotected_ms_max, report.orphan_orders), (0, 0));
}

#[test]
fn recorded_candles_close_as_they_stand_in_their_file() {
    let Some(folder) = shared::find("data/candles/binance_usdm_1m_2025-05") else {
        return;
    };
    let options = RecordedOptions {
        symbols: vec!["BTCUSDT".into(), "ETHUSDT".into(), "SOLUSDT".into()],
        ..RecordedOptions::default()
    };
    let recorded = Recorded::load(&folder, &options).expect("a sound folder");
    assert_eq!(recorded.instruments().len(), 3);
    let data = recorded.candles().expect("candles");
    assert_eq!((data.timeframe, data.rows[0].len()), (Timeframe::M1, 13_256));
    let expected: Vec<Candle> = data.rows[1].clone();
    let (start, end) = (recorded.start(), recorded.end());
    let mut exchange = Exchange::new(ExchangeConfig::default(), Market::Recorded(Box::new(recorded)));
    assert_eq!(exchange.instruments().id_of(b"ETH-USDT"), Some(InstrumentId(1)));
    let past = exchange.candles(InstrumentId(1), Timeframe::M1, None, None, 2_000);
    assert!(
        past.iter().filter(|row| row.1).count() >= 1_440,
        "{} past rows",
        past.len()
    );
    exchange.set_interest(InstrumentId(1), Interest::default().with_candles(Timeframe::M1));
    let mut events = Vec::new();
    exchange.advance(end, &mut events);
    let closed: Vec<Candle> = events
        .iter()
        .filter_map(|event| match event {
            Event::Candle {
                candle,
                confirmed: true,
                ..
            } => Some(*candle),
            _ => None,
        })
        .collect();
    let played: Vec<Candle> = expected
        .into_iter()
        .filter(|row| row.open_ms >= start.ms())
        .collect();
    assert_eq!(closed.len(), played.len());
    assert_eq!(closed, played);
    assert_eq!(
        exchange.next_event(),
        None,
        "a recording that is over stands still"
    );
}

#[test]
fn every_recorded_folder_loads_and_its_events_come_in_order() {
    for folder in [
        "binance_usdm_1m_2025-06",
        "bybit_linear_1m_2025-06",
        "okx_swap_1m_2025-04",
        "binance_usdm_5m_2023-07",
    ] {
        let Some(path) = shared::find(&format!("data/candles/{folder}")) else {
            continue;
        };
        let options = RecordedOptions::default();
        let recorded = Recorded::load(&path, &options).expect("a sound folder");
        let (start, end) = (recorded.start(), recorded.end());
        let instruments = recorded.instruments().clone();
        let mut before = (start, InstrumentId(0));
        let mut count = 0;
        for (time, event) in recorded.into_events() {
            assert!((time, event.instrument) > before && time <= end, "{folder}");
            before = (time, event.instrument);
            let row = instruments.get(event.instrument).expect("an instrument");
            assert!(
                event
                    .to_tick(time, row)
                    .and_then(|tick| tick.candle())
                    .is_some_and(|candle| candle.is_valid())
            );
            count += 1;
        }
        println!("{folder}: {} instruments, {count} candles", instruments.len());
        assert!(count > 1_000 * instruments.len());
    }
}

#[test]
fn recorded_ticks_play_a_book_that_never_crosses() {
    let Some(folder) = shared::find("data/ticks/binance_usdm_2024-07-18") else {
        return;
    };
    let recorded = Recorded::load(&folder, &RecordedOptions::default()).expect("a sound folder");
    let (start, end) = (recorded.start(), recorded.end());
    let btc = recorded.instruments().id_of(b"BTC-USDT").expect("BTC");
    let mut exchange = Exchange::new(ExchangeConfig::default(), Market::Recorded(Box::new(recorded)));
    let interest = Interest::default()
        .with(channel::TRADES | channel::BOOK)
        .with_candles(Timeframe::M1);
    exchange.set_interest(btc, interest);
    let mut events = Vec::new();
    let (mut trades, mut deltas, mut candles, mut ms) = (0, 0, 0, start.ms());
    while ms < end.ms() + 1_000 {
        ms += 250;
        exchange.advance(Wall::from_ms(ms), &mut events);
        for event in events.drain(..) {
            match event {
                Event::Trade { .. } => trades += 1,
                Event::BookDelta { .. } => deltas += 1,
                Event::Candle { confirmed: true, .. } => candles += 1,
                _ => {}
            }
        }
        let book = exchange.book(btc, 5).expect("a book");
        if let (Some(bid), Some(ask)) = (book.bids.first(), book.asks.first()) {
            assert!(bid.0 < ask.0, "crossed at {ms}");
        }
    }
    println!("{trades} trades, {deltas} deltas, {candles} closed candles");
    assert!(trades > 3_000 && deltas > 1_000 && candles >= 7);
}

#[test]
fn quotes_and_trades_alone_make_a_market_too() {
    let Some(folder) = shared::find("data/ticks/gemini_spot_2021-07-01") else {
        return;
    };
    let recorded = Recorded::load(&folder, &RecordedOptions::default()).expect("a sound folder");
    let start = recorded.start();
    let mut exchange = Exchange::new(ExchangeConfig::default(), Market::Recorded(Box::new(recorded)));
    let mut events = Vec::new();
    exchange.advance(Wall::from_ms(start.ms() + 60 * MINUTE), &mut events);
    let rows = exchange.candles(InstrumentId(0), Timeframe::M1, None, None, 100);
    assert!(rows.len() >= 59, "{}", rows.len());
    assert!(
        exchange
            .ticker(InstrumentId(0))
            .is_some_and(|row| row.bid < row.ask)
    );
}

#[test]
fn a_folder_that_is_no_market_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = Recorded::load(folder.path(), &RecordedOptions::default()).expect_err("empty");
    assert!(refused.to_string().contains("has no SYMBOL.csv.gz"), "{refused}");
    let missing = folder.path().join("nowhere");
    let refused = Recorded::load(&missing, &RecordedOptions::default()).expect_err("missing");
    assert!(refused.to_string().contains("nowhere"), "{refused}");
    let write = |rows: &str| {
        use std::io::Write;
        let file = std::fs::File::create(folder.path().join("BTCUSDT.csv.gz")).expect("a file");
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let head = "ts_ms,open,high,low,close,volume_base,volume_quote\n";
        gzip.write_all(format!("{head}{rows}").as_bytes())
            .expect("written");
        gzip.finish().expect("finished");
    };
    let good = "60000,10,11,9,10.5,2,\n120000,10.5,11,9,10,2,\n180000,10,11,9,10,2,30\n";
    for (rows, word) in [
        (
            "60000,10,11,9,10.5,2,\n120000,10,9,9,10,2,\n",
            "row 3: an impossible candle",
        ),
        ("60000,10,11,9,ten,2,\n", "row 2: \"ten\" is not a number"),
        ("60000,10,11,9,10,2,\n61000,10,11,9,10,2,\n", "1000 ms apart"),
        (
            "60000,10,11,9,10,2,\n120000,10,11,9,10,2,\n120000,10,11,9,10,2,\n",
            "row 4: the candle is not later",
        ),
    ] {
        write(rows);
        let refused = Recorded::load(folder.path(), &RecordedOptions::default()).expect_err("a bad row");
        assert!(refused.to_string().contains(word), "{refused}");
    }
    write(good);
    let options = RecordedOptions {
        shift_ms: 600_000,
        ..RecordedOptions::default()
    };
    let recorded = Recorded::load(folder.path(), &options).expect("a sound folder");
    let rows = &recorded.candles().expect("candles").rows[0];
    assert_eq!(
        (rows[0].open_ms, rows[0].volume_quote, rows[2].volume_quote),
        (660_000, 21.0, 30.0)
    );
    assert_eq!(
        recorded.start(),
        Wall::from_ms(720_000),
        "half of so short a recording is its past"
    );
}
