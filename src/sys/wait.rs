//! Sleeping until a descriptor is readable: what a parked thread does.

use std::os::fd::RawFd;
use std::time::Duration;

/// Most descriptors one thread waits on: 16 market connections, the private one, six of REST, a bell.
const DESCRIPTORS_MAX: usize = 64;

/// Sleeps until one of `descriptors` is readable or `timeout` has passed; descriptors beyond 64 are
/// looked at only after the timeout. Returns whether one was readable.
pub fn readable(descriptors: &[RawFd], timeout: Duration) -> bool {
    let mut polled = [libc::pollfd {
        fd: -1,
        events: libc::POLLIN,
        revents: 0,
    }; DESCRIPTORS_MAX];
    let count = descriptors.len().min(DESCRIPTORS_MAX);
    for (slot, descriptor) in polled.iter_mut().zip(descriptors) {
        slot.fd = *descriptor;
    }
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
    };
    // SAFETY: `polled` holds at least `count` initialised entries and outlives the call; the
    // timeout is a valid timespec; a null signal mask leaves the mask alone.
    let ready = unsafe {
        libc::ppoll(
            polled.as_mut_ptr(),
            count as libc::nfds_t,
            &timeout,
            std::ptr::null(),
        )
    };
    ready > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_readable_descriptor_ends_the_sleep() {
        let (mut near, far) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
        assert!(!readable(&[far.as_raw_fd()], Duration::from_millis(1)));
        near.write_all(b"x").expect("a write");
        assert!(readable(&[far.as_raw_fd()], Duration::from_secs(5)));
    }
}
