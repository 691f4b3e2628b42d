//! The thread that all models of the process compute on, on a CPU.
//!
//! llama.cpp's kernels run under OpenMP, which keeps a team of threads for every thread that has
//! ever called it, until that thread ends. Once the teams together outnumber the CPUs, GNU's
//! OpenMP no longer has threads wait at a barrier by spinning but puts them to sleep almost at
//! once, in all teams, also while only one of them has work: a 1.5B model decodes a third slower
//! because a second one is loaded. So there is one team. Models that are to compute at once would
//! gain nothing from a second one, as one team has all CPUs; whose turn it is,
//! [`Device`](agentinfer_engine::Device) decides.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Computes something on that thread and returns the result.
pub(crate) fn on_cpu<T: Send>(compute: impl FnOnce() -> T + Send) -> T {
    static THREAD: OnceLock<ThreadPool> = OnceLock::new();
    let start = || {
        let thread = ThreadPoolBuilder::new().num_threads(1);
        let thread = thread.thread_name(|_| "llama".to_owned());
        thread.build().expect("a thread can be started")
    };
    THREAD.get_or_init(start).install(compute)
}
