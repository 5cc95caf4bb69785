//! What history says: metrics files read back, trades judged on candles, and how far a result can
//! be believed.
//!
//! Nothing here touches a running engine. Time, randomness and files come in as arguments.

pub mod calibrate;
pub mod candle_download;
pub mod candle_files;
pub mod candles;
pub mod controls;
pub mod excursion;
pub mod figures;
pub mod first_touch;
pub mod funding_file;
pub mod metrics_file;
pub mod metrics_line;
pub mod minute_book;
pub mod plots;
pub mod report;
pub mod report_html;
pub mod signal_rates;
pub mod statistics;
pub mod tables;
pub mod trade;
pub mod trials;
