//! The budget of one run, in operations. Rhai's own limit starts anew inside every native callback (`for_each`, `sort`),
//! and an error raised there can be caught; this counter does neither: once spent, every further operation stops the run.

use std::cell::Cell;

use rhai::Dynamic;

/// How many operations one call into a script may take: some hundred times what a rule needs. Over in milliseconds, or in
/// about a second where each operation joins the longest texts that there may be.
pub const OPERATIONS: u32 = 100_000;

thread_local! {
    // A run never leaves its thread, and `on_progress` is told nothing that would name the run.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Runs `script` with a full budget; what an outer run had left is given back to it afterwards.
pub fn with_budget<T>(script: impl FnOnce() -> T) -> T {
    struct GiveBack(u32);
    impl Drop for GiveBack {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let _outer = GiveBack(LEFT.replace(OPERATIONS));
    script()
}

/// For `on_progress`: something to stop for once nothing is left.
pub(super) fn spend_one() -> Option<Dynamic> {
    LEFT.with(|left| match left.get() {
        0 => Some(format!("it takes more than {OPERATIONS} steps").into()),
        n => {
            left.set(n - 1);
            None
        }
    })
}
