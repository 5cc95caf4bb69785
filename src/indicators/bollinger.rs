//! Bollinger bands: mean of n closes ± k population deviations.

use super::moments::Moments;
use super::window::Window;
use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bands {
    pub upper: f64,
    pub middle: f64,
    pub lower: f64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Bollinger {
    moments: Moments,
    width: f64,
}

impl Bollinger {
    /// Bands `width` deviations wide over `length` closes.
    pub fn new(length: u64, width: f64) -> Self {
        Bollinger {
            moments: Moments::new(length),
            width,
        }
    }

    pub fn commit(&mut self, close: f64, past: &Window) -> Option<Bands> {
        let spread = self.moments.commit(close, |steps| past.ago(steps).close)?;
        Some(Bands {
            upper: spread.mean + self.width * spread.deviation,
            middle: spread.mean,
            lower: spread.mean - self.width * spread.deviation,
        })
    }

    pub fn peek(&self, close: f64, past: &Window) -> Option<Bands> {
        let mut copy = *self;
        copy.commit(close, past)
    }
}
