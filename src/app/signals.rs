//! SIGINT and SIGTERM as a flag: nothing unwinds, the main loop looks and ends the run in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once a signal came.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Starts listening. Fails when no thread or signal handler can be had.
    pub fn listen() -> std::io::Result<Stop> {
        let stop = Stop::default();
        let flag = Arc::clone(&stop.0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            Ok::<_, std::io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
        })?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            flag.store(true, Ordering::Release);
        })?;
        Ok(stop)
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
