//! Cursors: which rows of a list, newest first, a call asked for.
//!
//! `after=X` means older than X and `before=X` newer than X, both exclusive. Lists by id do not
//! take the two together; lists by time do (reference §1.4).

use super::envelope::Reject;
use super::params::Query;

/// Most rows of the id lists, and what comes without `limit`.
pub const ROWS_DEFAULT: usize = 20;
pub const ROWS_MAX: usize = 100;

/// The window of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub after: Option<i64>,
    pub before: Option<i64>,
    pub limit: usize,
    /// Unix ms, inclusive; only some lists take them.
    pub begin_ms: Option<i64>,
    pub end_ms: Option<i64>,
}

impl Page {
    /// The page of a list with an id cursor; 152002 when both cursors are given.
    pub fn by_id(query: &Query) -> Result<Self, Reject> {
        let page = Page::by_time(query, ROWS_DEFAULT, ROWS_MAX)?;
        if page.after.is_some() && page.before.is_some() {
            return Err(Reject::bad("before"));
        }
        Ok(page)
    }

    /// The page of a list whose cursor is a time.
    pub fn by_time(query: &Query, default: usize, max: usize) -> Result<Self, Reject> {
        Ok(Page {
            after: query.integer("after")?.filter(|cursor| *cursor > 0),
            before: query.integer("before")?.filter(|cursor| *cursor > 0),
            limit: query.limit(default, max)?,
            begin_ms: query.integer("begin")?,
            end_ms: query.integer("end")?,
        })
    }

    /// Whether the row with this cursor value lies between the two cursors.
    pub fn holds(&self, cursor: i64) -> bool {
        self.after.is_none_or(|after| cursor < after) && self.before.is_none_or(|before| cursor > before)
    }

    /// Whether a row of this time lies in `begin..=end`.
    pub fn holds_ms(&self, ms: i64) -> bool {
        self.begin_ms.is_none_or(|begin| ms >= begin) && self.end_ms.is_none_or(|end| ms <= end)
    }

    /// The rows of the page out of `rows`, which come newest first.
    pub fn take<T>(&self, rows: impl Iterator<Item = T>, cursor: impl Fn(&T) -> i64) -> Vec<T> {
        rows.filter(|row| self.holds(cursor(row)))
            .take(self.limit)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(query: &str) -> Vec<i64> {
        let page = Page::by_id(&Query::parse(query)).expect("a page");
        page.take((1..=250).rev(), |id| *id)
    }

    #[test]
    fn pages_are_exclusive_newest_first_and_capped() {
        assert_eq!(ids(""), (231..=250).rev().collect::<Vec<_>>());
        assert_eq!(ids("after=231&limit=3"), [230, 229, 228]);
        assert_eq!(ids("before=248"), [250, 249]);
        assert_eq!(ids("limit=1000").len(), ROWS_MAX);
        assert!(Page::by_id(&Query::parse("after=5&before=2")).is_err());
        assert!(Page::by_id(&Query::parse("after=x")).is_err());
    }

    #[test]
    fn walking_back_sees_every_row_once() {
        let mut seen = Vec::new();
        loop {
            let cursor = seen.last().map_or(String::new(), |id| format!("after={id}"));
            let page = ids(&cursor);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, (1..=250).rev().collect::<Vec<_>>());
    }
}
