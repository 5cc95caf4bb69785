//! The four words every ring record begins with.

use bytemuck::{Pod, Zeroable};

/// First four words of every record.
///
/// ```text
/// word 0  seq          position on its ring, from 1; written by the ring
/// word 1  receive_ns   monotonic time at which the causing bytes arrived (latency only)
/// word 2  publish_ns   monotonic time at which the record was published (latency only)
/// word 3  time_ns      decision time: venue time live, virtual time in the stepper (Unix ns)
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Header {
    pub seq: u64,
    pub receive_ns: u64,
    pub publish_ns: u64,
    pub time_ns: u64,
}
