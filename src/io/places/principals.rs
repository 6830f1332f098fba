//! How many places each principal holds.

use std::collections::HashMap;
use std::sync::Arc;

/// Those who hold any.
#[derive(Default)]
pub(super) struct Principals(HashMap<Arc<str>, usize>);

impl Principals {
    pub(super) fn of(&self, principal: &str) -> usize {
        self.0.get(principal).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, principal: &str) -> Arc<str> {
        let principal =
            self.0.get_key_value(principal).map_or_else(|| principal.into(), |(known, _)| Arc::clone(known));
        let count = self.0.entry(Arc::clone(&principal)).or_default();
        *count = count.saturating_add(1);
        principal
    }

    pub(super) fn remove(&mut self, principal: &str) {
        let Some(count) = self.0.get_mut(principal) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.0.remove(principal);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
