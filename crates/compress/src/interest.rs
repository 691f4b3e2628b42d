//! What the conversation is about, as far as a result goes.

use agentinfer_protocol::{Message, Role};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::conversation::{caller, said, task};
use crate::words::content_words;

/// Weight of the words of what was asked.
const TASK: f64 = 1.0;
/// Weight of the words of the answer that made the call: it says what it looks for.
const CALL: f64 = 1.5;
/// Weight of the words of later answers: what was found to matter.
const LATER: f64 = 1.5;

/// Weights of words.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Interest {
    weights: FxHashMap<u64, f64>,
}

impl Interest {
    /// What matters of the result at `index`.
    pub(crate) fn of(messages: &[Message], index: usize) -> Self {
        let mut interest = Self::default();
        interest.add(task(messages, index), TASK);
        interest.add(caller(messages, index), CALL);
        let later = messages.iter().skip(index);
        interest.add(later.filter(|it| it.role == Role::Assistant), LATER);
        interest
    }

    /// Every word that any of the messages has gets the weight once.
    fn add<'a>(&mut self, messages: impl IntoIterator<Item = &'a Message>, weight: f64) {
        let mut seen = FxHashSet::default();
        for message in messages {
            content_words(&said(message), |word| {
                seen.insert(word);
            });
        }
        for word in seen {
            *self.weights.entry(word).or_default() += weight;
        }
    }

    /// 0 of what nobody spoke of.
    pub(crate) fn weight(&self, word: u64) -> f64 {
        self.weights.get(&word).copied().unwrap_or_default()
    }
}
