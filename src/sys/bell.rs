//! A bell wakes a parked stage: an eventfd that cold producers ring and the sleeper polls with its sockets.
//!
//! Rings made before the sleeper waits are not lost, and any number of them wake it once. Hot links never
//! ring: a system call costs more than the hop.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// A bell; clones ring the same one.
#[derive(Clone, Debug)]
pub struct Bell {
    file: Arc<File>,
}

impl Bell {
    /// Makes a silent bell. Fails when the process has no file descriptor left.
    pub fn new() -> std::io::Result<Self> {
        // SAFETY: the call takes two integers and touches no memory of ours.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, is valid and has no other owner.
        let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self {
            file: Arc::new(File::from(owned)),
        })
    }

    /// Wakes whoever waits now or waits next. Never blocks.
    pub fn ring(&self) {
        // A full counter means that it is already ringing; nothing else can fail on an open eventfd.
        let _ = (&*self.file).write(&1u64.to_ne_bytes());
    }

    /// Silences the bell; true when it was ringing.
    pub fn clear(&self) -> bool {
        let mut count = [0; 8];
        matches!((&*self.file).read(&mut count), Ok(8))
    }

    /// Sleeps until the bell rings or `timeout` passes, then clears it; true when it rang.
    pub fn wait(&self, timeout: Duration) -> std::io::Result<bool> {
        let mut entry = libc::pollfd {
            fd: self.file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // Rounded up, so that a timeout below one millisecond still sleeps.
        let timeout_ms = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32;
        // SAFETY: `entry` is one valid pollfd that outlives the call.
        let count = unsafe { libc::poll(&mut entry, 1, timeout_ms) };
        if count < 0 {
            let error = std::io::Error::last_os_error();
            return if error.kind() == ErrorKind::Interrupted {
                Ok(self.clear())
            } else {
                Err(error)
            };
        }
        Ok(self.clear())
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_before_the_wait_are_kept_and_wake_once() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.clone().ring();
        assert!(bell.wait(Duration::from_secs(5)).unwrap());
        assert!(!bell.wait(Duration::ZERO).unwrap());
        assert!(!bell.clear());
    }
}
