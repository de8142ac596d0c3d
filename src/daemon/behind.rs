//! Threads for work that nobody waits for: deciding takes whole batches at a time, and whoever sends an event or a mail must
//! not stand behind it in a queue. They give way to everything else, and take what processor time is left.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// One derives while the other puts the batch before into words for the store.
const N_THREADS: usize = 2;

/// Of `nice`: a thirtieth of the processor when all others want it, all of it when they do not.
const NICENESS: i32 = 15;

/// The threads; they end with it.
pub(super) struct Behind(Option<Runtime>);

impl Behind {
    pub(super) fn start() -> io::Result<Self> {
        let mut threads = Builder::new_multi_thread();
        threads.worker_threads(N_THREADS).thread_name("deciding").on_thread_start(give_way).enable_all();
        Ok(Behind(Some(threads.build()?)))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("only dropping takes it").handle()
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // Waiting for it here would block whoever drops it; what is left running has been given up already.
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

/// On Linux a priority belongs to a thread; elsewhere it would lower the whole process.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "deciding keeps the priority of everything else");
    }
}
