//! The replay window of one signalling session: 128 messages.

/// Sequence numbers already seen, relative to the highest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// One above the highest sequence accepted; 0 before the first.
    next: u64,
    /// Bit `i` set: `next - 1 - i` was accepted.
    seen: u128,
}

impl Window {
    /// A window that has seen everything up to this sequence, whatever that was.
    pub(super) fn after(sequence: u64) -> Self {
        Self { next: sequence.saturating_add(1), seen: u128::MAX }
    }

    /// Whether this sequence has not been accepted and is not too old to tell.
    pub(super) fn is_fresh(&self, sequence: u64) -> bool {
        if sequence >= self.next {
            return sequence != u64::MAX;
        }
        let age = self.next - 1 - sequence;
        age < 128 && self.seen & (1 << age) == 0
    }

    /// Remembers a sequence whose message was authenticated.
    pub(super) fn accept(&mut self, sequence: u64) {
        if sequence >= self.next {
            let shift = sequence + 1 - self.next;
            self.seen = if shift >= 128 { 0 } else { self.seen << shift };
            self.next = sequence + 1;
            self.seen |= 1;
        } else {
            let age = self.next - 1 - sequence;
            if age < 128 {
                self.seen |= 1 << age;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn each_sequence_is_accepted_once(sequences in prop::collection::vec(0u64..400, 0..400)) {
            let mut window = Window::default();
            let mut accepted = BTreeSet::new();
            for sequence in sequences {
                if window.is_fresh(sequence) {
                    prop_assert!(accepted.insert(sequence), "{sequence} was accepted twice");
                    window.accept(sequence);
                } else {
                    let highest = accepted.last().copied().unwrap_or(0);
                    prop_assert!(accepted.contains(&sequence) || sequence + 128 <= highest);
                }
            }
        }
    }
}
