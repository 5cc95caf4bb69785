//! Exact executions of our orders, each once, as the venue's list of fills names them.
//!
//! The pushes say what an order has filled so far and at what average; the list says every single
//! execution with its price and fee. What an order earned is taken from the list when the list is
//! whole for it, and from the differences of the pushes otherwise.

use super::trade::Filled;

/// Executions that may be held at a time: those of the trades that are being settled.
pub const FILLS_MAX: usize = 1024;

/// One execution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactFill {
    /// The venue's tradeId: an execution is counted once, however often it is listed.
    pub trade_id: u64,
    /// The venue's id of the order.
    pub order_id: u64,
    pub lots: i64,
    pub price: f64,
    /// Positive = paid.
    pub fee: f64,
}

/// The executions of orders that are being accounted for.
#[derive(Debug)]
pub struct FillBook {
    fills: Vec<ExactFill>,
}

impl Default for FillBook {
    fn default() -> Self {
        FillBook {
            fills: Vec::with_capacity(FILLS_MAX),
        }
    }
}

impl FillBook {
    /// Takes an execution in, unless it is known; false when there is no room for it.
    pub fn insert(&mut self, fill: ExactFill) -> bool {
        if self.fills.iter().any(|known| known.trade_id == fill.trade_id) {
            return true;
        }
        let room = self.fills.len() < FILLS_MAX;
        if room {
            self.fills.push(fill);
        }
        room
    }

    /// What is known of one order, and from how many executions.
    pub fn of_order(&self, order_id: u64) -> (Filled, u32) {
        let mut filled = Filled::default();
        let mut count = 0;
        for fill in self.fills.iter().filter(|fill| fill.order_id == order_id) {
            filled.lots += fill.lots;
            filled.value += fill.lots as f64 * fill.price;
            filled.fee += fill.fee;
            count += 1;
        }
        (filled, count)
    }

    /// Forgets an order that is accounted for.
    pub fn forget(&mut self, order_id: u64) {
        self.fills.retain(|fill| fill.order_id != order_id);
    }

    pub fn len(&self) -> usize {
        self.fills.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fills.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(trade_id: u64, order_id: u64, lots: i64, price: f64) -> ExactFill {
        ExactFill {
            trade_id,
            order_id,
            lots,
            price,
            fee: lots as f64 * price * 0.0006,
        }
    }

    #[test]
    fn an_execution_counts_once_and_for_its_order_only() {
        let mut book = FillBook::default();
        for _ in 0..3 {
            assert!(book.insert(fill(1, 7, 3, 100.0)));
            assert!(book.insert(fill(2, 7, 5, 101.0)));
            assert!(book.insert(fill(3, 8, 5, 90.0)));
        }
        let (filled, count) = book.of_order(7);
        assert_eq!((filled.lots, filled.value, count), (8, 805.0, 2));
        assert!((filled.fee - 805.0 * 0.0006).abs() < 1e-12);
        book.forget(7);
        assert_eq!((book.of_order(7).1, book.of_order(8).1), (0, 1));
    }

    #[test]
    fn a_full_book_says_so() {
        let mut book = FillBook::default();
        for id in 0..FILLS_MAX as u64 {
            assert!(book.insert(fill(id, 1, 1, 1.0)));
        }
        assert!(!book.insert(fill(9_999_999, 1, 1, 1.0)));
        assert!(book.insert(fill(5, 1, 1, 1.0)), "a known one needs no room");
    }
}
