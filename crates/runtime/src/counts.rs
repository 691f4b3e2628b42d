//! Counts that several threads add to and metrics read.

use std::sync::{Mutex, PoisonError};

/// The counts of one module, shared by those who count.
#[derive(Debug, Default)]
pub(crate) struct Counts<T>(Mutex<T>);

impl<T: Clone> Counts<T> {
    pub(crate) fn add(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn snapshot(&self) -> T {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
