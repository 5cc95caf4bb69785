//! The comparisons of the gate, with or without a record of them.

use super::gate::{GateLine, GateReport};
use crate::model::Reason;

/// Where comparisons are written down.
pub(super) trait Notes {
    fn note(&mut self, line: GateLine);
}

impl Notes for &mut GateReport {
    fn note(&mut self, line: GateLine) {
        // A report that is full has lost only explanations.
        let _ = self.try_push(line);
    }
}

/// Nobody wants to know.
impl Notes for () {
    #[inline(always)]
    fn note(&mut self, _line: GateLine) {}
}

/// Compares, and writes down what it compared when somebody wants to know. An order on its way is
/// weighed without: what is only for a report is then not even computed.
pub(super) struct Scales<R> {
    pub report: R,
}

impl<R: Notes> Scales<R> {
    #[inline]
    pub fn line(&mut self, gate: Reason, value: f64, limit: f64, passed: bool) -> Result<(), Reason> {
        self.report.note(GateLine {
            gate,
            value,
            limit,
            passed,
        });
        if passed { Ok(()) } else { Err(gate) }
    }

    #[inline]
    pub fn holds(&mut self, gate: Reason, fine: bool) -> Result<(), Reason> {
        self.line(gate, f64::from(u8::from(fine)), 1.0, fine)
    }

    /// Writes down a refusal that was found elsewhere.
    #[inline]
    pub fn result<T>(&mut self, result: Result<T, Reason>) -> Result<T, Reason> {
        if let Err(reason) = result {
            self.holds(reason, false)?;
        }
        result
    }

    /// Equality passes; NaN does not.
    #[inline]
    pub fn at_least(&mut self, gate: Reason, value: f64, limit: f64) -> Result<(), Reason> {
        self.line(gate, value, limit, value >= limit)
    }

    /// Equality passes; NaN does not.
    #[inline]
    pub fn at_most(&mut self, gate: Reason, value: f64, limit: f64) -> Result<(), Reason> {
        self.line(gate, value, limit, value <= limit)
    }

    /// Equality fails: the limit counts what is already there. A limit of 0 is off.
    #[inline]
    pub fn below(&mut self, gate: Reason, value: f64, limit: f64) -> Result<(), Reason> {
        if limit <= 0.0 {
            return Ok(());
        }
        self.line(gate, value, limit, value < limit)
    }
}
