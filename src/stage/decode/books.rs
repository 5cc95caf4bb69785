//! The order books: of every instrument where order flow is on, of what is held otherwise.

use crate::model::message::Tick;
use crate::model::{InstrumentId, Instruments, Reason};
use crate::venue::blofin::book::Book;
use crate::venue::blofin::codec::BookUpdate;

/// Which books are kept.
#[derive(Clone, Copy, Debug)]
pub struct BookPlan {
    pub is_on: bool,
    /// WS_BOOK_DEPTH: levels summed.
    pub depth: usize,
}

/// One book an instrument, made when it is followed: any may come to be held, and a running stage does not
/// allocate.
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

    /// Makes the book of `instrument`, unless there is one.
    pub fn reserve(&mut self, instrument: InstrumentId, instruments: &Instruments) {
        if let Some(place) = self.books.get_mut(instrument.index())
            && let Some(row) = instruments.get(instrument)
            && place.is_none()
        {
            *place = Book::new(instrument, row).map(Box::new);
        }
    }

    /// Applies `update` and sums the depth. The reason when the book cannot be believed: it must
    /// then be subscribed anew.
    pub fn apply(&mut self, update: &BookUpdate<'_>, instruments: &Instruments) -> Result<Tick, Reason> {
        self.reserve(update.instrument, instruments);
        let place = self
            .books
            .get_mut(update.instrument.index())
            .ok_or(Reason::InstrumentUnknown)?;
        // Without one its tick size cannot be used.
        let book = place.as_mut().ok_or(Reason::NumberInvalid)?;
        book.apply(update)?;
        book.depth_tick(self.plan.depth).ok_or(Reason::BookCrossed)
    }
}
