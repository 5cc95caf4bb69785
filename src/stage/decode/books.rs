//! The order books of the instruments where order flow is on.

use crate::model::message::Tick;
use crate::model::{Instruments, Reason};
use crate::venue::blofin::book::Book;
use crate::venue::blofin::codec::BookUpdate;

/// Which books are kept.
#[derive(Clone, Copy, Debug)]
pub struct BookPlan {
    pub is_on: bool,
    /// WS_BOOK_DEPTH: levels summed.
    pub depth: usize,
}

/// One book an instrument, made when its first message comes.
pub struct Books {
    plan: BookPlan,
    books: Vec<Option<Box<Book>>>,
}

impl Books {
    pub fn new(plan: BookPlan, instruments: usize) -> Self {
        Books {
            plan,
            books: (0..instruments).map(|_| None).collect(),
        }
    }

    /// Applies `update` and sums the depth. The reason when the book cannot be believed: it must
    /// then be subscribed anew.
    pub fn apply(&mut self, update: &BookUpdate<'_>, instruments: &Instruments) -> Result<Tick, Reason> {
        let place = self
            .books
            .get_mut(update.instrument.index())
            .ok_or(Reason::InstrumentUnknown)?;
        if place.is_none() {
            let row = instruments
                .get(update.instrument)
                .ok_or(Reason::InstrumentUnknown)?;
            *place = Book::new(update.instrument, row).map(Box::new);
        }
        let book = place.as_mut().ok_or(Reason::NumberInvalid)?;
        book.apply(update)?;
        book.depth_tick(self.plan.depth).ok_or(Reason::BookCrossed)
    }
}
