//! Kernels: a condition taken out of Rhai's tree and put into one of ours, which is asked some twenty times as fast.
//!
//! A kernel never has an opinion of its own. It answers what Rhai would answer, or it does not answer at all: whatever it
//! does not know (a loop, a closure, a library function) is not compiled, and whatever surprises it while it runs (a
//! missing value in a sum, a division by zero) makes it give up. Then Rhai is asked, and says what is wrong and where.
//! `tests.rs` beside this file holds it to Rhai over made-up conditions and customers.

mod compile;
mod node;
mod operator;
#[cfg(test)]
mod tests;

use self::compile::Compiler;
pub(super) use self::compile::Sources;
use self::node::Node;
use super::host::answer::Answer;
use crate::domain::subject::Subject;

/// A compiled condition.
#[derive(Debug)]
pub(super) struct Kernel(Node);

impl Kernel {
    /// Of the function `entry`; `None` when Rhai has to be asked.
    pub(super) fn compile(sources: &Sources, entry: &str) -> Option<Self> {
        Compiler::new(sources).entry(entry).map(Kernel)
    }

    /// The condition's answer about `subject`; `None` when Rhai has to be asked.
    pub(super) fn ask(&self, subject: &Subject) -> Option<bool> {
        match self.0.answer(subject, &mut Vec::new())? {
            Answer::Flag(flag) => Some(flag),
            _ => None,
        }
    }
}
