//! Two lists of decisions side by side: what the daemon did, and what the repeat did.
//!
//! Equal heads are let go at once, so that a day of agreement takes no memory. After a difference
//! the lists are joined again at the nearest decision that both have.

use std::collections::VecDeque;

/// How far ahead a decision that both lists have is looked for.
const WINDOW: usize = 256;

/// A record from its decision time on: all that two runs can agree on.
pub type Body = Vec<u8>;

/// One place where the lists differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What the daemon did; `None` when only the repeat did something.
    pub daemon: Option<Body>,
    pub repeat: Option<Body>,
}

/// The two lists of one link.
#[derive(Default)]
pub struct Lists {
    daemon: VecDeque<Body>,
    repeat: VecDeque<Body>,
    pub equal_count: u64,
    pub pairs: Vec<Pair>,
    /// Records at a cut that one list has and the other could not come to.
    pub not_compared: u64,
}

impl Lists {
    pub fn push_daemon(&mut self, body: Body) {
        self.daemon.push_back(body);
        self.let_go();
        if self.daemon.len() > 2 * WINDOW && self.repeat.len() > 2 * WINDOW {
            self.join();
        }
    }

    pub fn push_repeat(&mut self, body: Body) {
        self.repeat.push_back(body);
        self.let_go();
        if self.daemon.len() > 2 * WINDOW && self.repeat.len() > 2 * WINDOW {
            self.join();
        }
    }

    /// Nothing follows: what is left differs, or is joined.
    pub fn finish(&mut self) {
        self.let_go();
        while !self.daemon.is_empty() || !self.repeat.is_empty() {
            self.join();
        }
    }

    /// The capture was cut here by a hole. Streams are not cut at one instant: the record of a decision may
    /// stand before the hole and what it was made of behind it, or the other way round. What only one list
    /// has at its end is no difference; two decisions of one instant that are not the same are.
    pub fn cut(&mut self) {
        self.let_go();
        while !self.daemon.is_empty() && !self.repeat.is_empty() {
            if self.nearest().is_some() {
                self.join();
                continue;
            }
            let before = self.pairs.len();
            self.join();
            let made = self.pairs.split_off(before);
            let (both, alone): (Vec<Pair>, Vec<Pair>) = made
                .into_iter()
                .partition(|pair| pair.daemon.is_some() && pair.repeat.is_some());
            self.pairs.extend(both);
            self.not_compared += alone.len() as u64;
        }
        self.not_compared += (self.daemon.len() + self.repeat.len()) as u64;
        self.daemon.clear();
        self.repeat.clear();
    }

    fn let_go(&mut self) {
        while let (Some(daemon), Some(repeat)) = (self.daemon.front(), self.repeat.front())
            && daemon == repeat
        {
            self.daemon.pop_front();
            self.repeat.pop_front();
            self.equal_count += 1;
        }
    }

    /// Names everything before the nearest decision that both have, at least one.
    fn join(&mut self) {
        let (skip_daemon, skip_repeat) = self
            .nearest()
            .unwrap_or((self.daemon.len().min(WINDOW), self.repeat.len().min(WINDOW)));
        let daemon: Vec<Body> = self.daemon.drain(..skip_daemon).collect();
        let mut repeat: Vec<Option<Body>> = self.repeat.drain(..skip_repeat).map(Some).collect();
        for body in daemon {
            let time = time_of(&body);
            let same = repeat
                .iter_mut()
                .find(|other| other.as_ref().is_some_and(|other| time_of(other) == time));
            self.pairs.push(Pair {
                daemon: Some(body),
                repeat: same.and_then(Option::take),
            });
        }
        for body in repeat.into_iter().flatten() {
            self.pairs.push(Pair {
                daemon: None,
                repeat: Some(body),
            });
        }
        self.let_go();
    }

    fn nearest(&self) -> Option<(usize, usize)> {
        let (daemon, repeat) = (self.daemon.len().min(WINDOW), self.repeat.len().min(WINDOW));
        for distance in 1..(daemon + repeat) {
            for from_daemon in distance.saturating_sub(repeat)..=distance.min(daemon) {
                let from_repeat = distance - from_daemon;
                if let (Some(one), Some(two)) = (self.daemon.get(from_daemon), self.repeat.get(from_repeat))
                    && one == two
                {
                    return Some((from_daemon, from_repeat));
                }
            }
        }
        None
    }
}

/// Decision time of a body.
pub fn time_of(body: &[u8]) -> u64 {
    let word = body.first_chunk::<8>().copied().unwrap_or_default();
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(time: u64, what: u8) -> Body {
        let mut body = time.to_le_bytes().to_vec();
        body.push(what);
        body
    }

    fn lists(daemon: &[(u64, u8)], repeat: &[(u64, u8)]) -> Lists {
        let mut lists = Lists::default();
        daemon
            .iter()
            .for_each(|(time, what)| lists.push_daemon(body(*time, *what)));
        repeat
            .iter()
            .for_each(|(time, what)| lists.push_repeat(body(*time, *what)));
        lists.finish();
        lists
    }

    #[test]
    fn equal_lists_have_no_pair() {
        let list: Vec<(u64, u8)> = (0..5_000).map(|time| (time, (time % 7) as u8)).collect();
        let lists = lists(&list, &list);
        assert_eq!((lists.equal_count, lists.pairs.len()), (5_000, 0));
    }

    #[test]
    fn each_kind_of_difference_is_one_pair() {
        let list: Vec<(u64, u8)> = (0..2_000).map(|time| (time, 1)).collect();
        let mut other = list.clone();
        other[700].1 = 2;
        other.remove(900);
        other.insert(300, (299, 9));
        let found = lists(&list, &other);
        assert_eq!(found.equal_count, 1_998);
        let pair = |daemon: Option<(u64, u8)>, repeat: Option<(u64, u8)>| Pair {
            daemon: daemon.map(|(time, what)| body(time, what)),
            repeat: repeat.map(|(time, what)| body(time, what)),
        };
        assert_eq!(
            found.pairs,
            [
                pair(None, Some((299, 9))),
                pair(Some((700, 1)), Some((700, 2))),
                pair(Some((900, 1)), None),
            ]
        );
    }

    #[track_caller]
    fn check_cut(daemon: &[(u64, u8)], repeat: &[(u64, u8)], different: usize, not_compared: u64) {
        let mut lists = Lists::default();
        daemon
            .iter()
            .for_each(|(time, what)| lists.push_daemon(body(*time, *what)));
        repeat
            .iter()
            .for_each(|(time, what)| lists.push_repeat(body(*time, *what)));
        lists.cut();
        assert_eq!((lists.pairs.len(), lists.not_compared), (different, not_compared));
    }

    #[test]
    fn at_a_cut_only_what_both_lists_reached_can_differ() {
        let list: Vec<(u64, u8)> = (0..1_000).map(|time| (time, 1)).collect();
        check_cut(&list, &list[..997], 0, 3);
        check_cut(&list[..400], &list, 0, 600);
        let mut other = list.clone();
        other[500].1 = 2;
        other.remove(600);
        check_cut(&list, &other[..990], 2, 9);
        // The last decision of both is another one, and what follows it is not known.
        check_cut(&[(1, 1), (2, 1), (3, 1)], &[(1, 1), (2, 2)], 1, 1);
    }

    #[test]
    fn a_list_that_ends_early_leaves_the_rest() {
        let list: Vec<(u64, u8)> = (0..1_000).map(|time| (time, 1)).collect();
        let found = lists(&list, &list[..400]);
        assert_eq!((found.equal_count, found.pairs.len()), (400, 600));
        assert!(found.pairs.iter().all(|pair| pair.repeat.is_none()));
    }
}
