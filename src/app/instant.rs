//! A point in time on the command line: a day or a time, in UTC.

/// An instant on the decision clock, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    pub unix_ms: i64,
}

/// A day or a time in UTC.
pub fn parse_instant(text: &str) -> Result<Instant, String> {
    let day = || {
        text.parse::<jiff::civil::Date>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
    };
    let timestamp = match text.parse::<jiff::Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) => day()
            .ok_or("write 2025-06-01 or 2025-06-01T12:00:00Z")?
            .timestamp(),
    };
    match timestamp.as_millisecond() {
        unix_ms if unix_ms >= 0 => Ok(Instant { unix_ms }),
        _ => Err("nothing was recorded before 1970".to_owned()),
    }
}

/// The instant as people and `parse_instant` read it.
pub fn when(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| format!("{unix_ms} ms"), |time| time.to_string())
}
