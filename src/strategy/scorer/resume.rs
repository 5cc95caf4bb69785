//! What is pending, out of a scorer and into the one of the next run.

use super::Scorer;
use crate::model::{InstrumentId, Timeframe};
use crate::strategy::labels::Label;
use crate::strategy::learner::COUNT_BITS;
use crate::strategy::pending::{Pending, Sent};

impl Scorer {
    /// Copies what is pending into `into`, which was made by `Pending::with_room`, without allocating.
    pub fn save(&self, into: &mut Pending) {
        self.learner.save(into);
        into.close_ms = self.close_ms;
        into.signal_count = self.signal_count;
        let instrument = |series: u32| series / self.timeframe_count as u32;
        into.labels
            .iter_mut()
            .for_each(|label| label.series = instrument(label.series));
        into.sent
            .iter_mut()
            .for_each(|sent| sent.series = instrument(sent.series));
    }

    /// Takes up what was pending when an earlier run ended; call before the first row. Virtual trades go
    /// on with the candles of the history, and end without a result where that has a hole; silence and
    /// repeats count from the signals that left. Returns how many entries belong to nothing here.
    pub fn restore(&mut self, pending: &Pending) -> usize {
        let mut stranger_count = 0;
        self.signal_count = self.signal_count.max(pending.signal_count & COUNT_BITS);
        for crowd in &pending.crowds {
            self.learner.restore_crowd(crowd);
        }
        for label in &pending.labels {
            match self.series_of(label.series, label.timeframe) {
                Some(series) => self.learner.restore_label(Label { series, ..*label }),
                None => stranger_count += 1,
            }
        }
        let mut sent: Vec<Sent> = pending.sent.clone();
        sent.sort_unstable_by_key(|sent| (sent.open_ms, sent.signal));
        for sent in &sent {
            let Some(series) = self.series_of(sent.series, sent.timeframe) else {
                stranger_count += 1;
                continue;
            };
            self.learner.restore_sent(Sent { series, ..*sent });
            let length_ms = Timeframe::from_code(sent.timeframe).map_or(0, Timeframe::ms);
            self.silence(series as usize, sent.side, sent.mask, sent.open_ms + length_ms);
        }
        for form in &pending.forms {
            if self
                .series_of(u32::from(form.instrument), form.timeframe)
                .is_some()
            {
                self.learner.restore_form(*form);
            }
        }
        stranger_count
    }

    /// The series of an instrument id and a timeframe code.
    fn series_of(&self, instrument: u32, timeframe: u8) -> Option<u32> {
        let instrument = InstrumentId(u16::try_from(instrument).ok()?);
        let series = self.series(instrument, Timeframe::from_code(timeframe)?)?;
        Some(series as u32)
    }
}
