//! Frames on their way to sessions: one arena of text, and who gets which part of it.
//!
//! A frame for many sessions is written once. The owner drains it after every call.

use std::ops::Range;

/// One websocket session of the exchange; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What goes to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing<'a> {
    Text(&'a str),
    /// The exchange closes the session; nothing follows.
    Close,
}

/// The frames not yet drained, in order.
#[derive(Default)]
pub struct Frames {
    text: String,
    /// `None` = close.
    entries: Vec<(SessionId, Option<Range<usize>>)>,
    sent_count: u64,
}

impl Frames {
    /// Writes one frame and addresses it to `sessions`.
    pub fn send(&mut self, sessions: impl IntoIterator<Item = SessionId>, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        let span = start..self.text.len();
        for session in sessions {
            self.entries.push((session, Some(span.clone())));
            self.sent_count += 1;
        }
    }

    /// Sends the newest frame once more to whom it was sent last.
    pub fn repeat_last(&mut self) {
        if let Some(last) = self.entries.last().cloned() {
            self.entries.push(last);
        }
    }

    pub fn close(&mut self, session: SessionId) {
        self.entries.push((session, None));
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Frames addressed since the start, one for each session.
    pub fn sent_count(&self) -> u64 {
        self.sent_count
    }

    /// Hands every frame over in order and forgets them.
    pub fn drain(&mut self, take: &mut impl FnMut(SessionId, Outgoing<'_>)) {
        for (session, span) in self.entries.drain(..) {
            match span {
                Some(span) => take(session, Outgoing::Text(&self.text[span])),
                None => take(session, Outgoing::Close),
            }
        }
        self.text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_in_order_and_once() {
        let mut frames = Frames::default();
        frames.send([SessionId(1), SessionId(2)], |out| out.push_str("a"));
        frames.close(SessionId(1));
        frames.send([SessionId(2)], |out| out.push_str("b"));
        let mut seen = Vec::new();
        frames.drain(&mut |session, outgoing| {
            seen.push(match outgoing {
                Outgoing::Text(text) => format!("{}{text}", session.0),
                Outgoing::Close => format!("{}!", session.0),
            });
        });
        assert_eq!(seen, ["1a", "2a", "1!", "2b"]);
        assert!(frames.is_empty());
    }
}
