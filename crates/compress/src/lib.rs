//! AgentCompress: which view of a conversation the model is given.
//!
//! A client sends its full history at every turn. What the model said and called (*reasoning
//! memory*) stays as it is, and so do system and user messages. What tools returned (*environment
//! memory*) is most of a long history, and only the latest of it is read in full again. Older long
//! results are *distilled*: each is replaced, in its place, by a [`Block`] of its own, which keeps
//! what matters and names a [`handle`] under which the original can be [recalled](recall).
//!
//! The paper ("Towards Efficient Agents", arXiv 2512.18337) puts one thought in the place of all
//! distilled results. Templates that want each call answered, or roles to take turns, would refuse
//! that; replaced in place, a conversation keeps its form and is valid wherever it was.
//!
//! | File | What it knows |
//! |---|---|
//! | `plan.rs` | when to compress, and which results |
//! | `price.rs` | whether that pays, and when to stop trying |
//! | `pins.rs` | what must not be lost |
//! | `extract.rs`, `score.rs`, `class.rs` | distilling without a model: sentences worth keeping |
//! | `distil.rs` | distilling with one: what it is asked, whether what it writes will do |
//! | `view.rs` | the conversation with blocks in it |
//! | `record.rs` | JSON as lines |
//! | `recall.rs` | originals, in parts if they are long |
//! | `passages.rs` | of documents that are read together, the sentences that matter |
//! | `units.rs`, `terms.rs`, `words.rs`, `interest.rs` | what texts are made of |
//!
//! Everything is a pure function of the conversation: no I/O, no clock, no model. Text may be of
//! any language with spaces, or Chinese; a result may be prose, JSON, code or a listing.
//!
//! ```
//! use agentinfer_compress::{Moment, Options, extract, plan, view};
//! use agentinfer_protocol::{Message, Role};
//!
//! let file = |number: usize| format!("./src/f{number}.rs\n");
//! let mut messages = vec![Message::user("Where is f1234.rs?")];
//! for at in 1..4 {
//!     messages.push(Message::assistant("I look further."));
//!     messages.push(Message::new(Role::Tool, (0..200).map(|n| file(n * at)).collect::<String>()));
//! }
//! let count = |text: &str| text.len() as u32 / 4;
//! let tokens: Vec<u32> = messages.iter().map(|it| count(&it.text())).collect();
//! let options = Options { trigger_tokens: 1_000, ..Options::default() };
//! let plan = plan(&messages, &tokens, &|_| false, Moment::EndOfLoop, &options);
//! // The last two results stay.
//! assert_eq!(plan.distil, [2]);
//! let block = extract(&messages, 2, &count, &options)?;
//! assert!(block.tokens < tokens[2] / 2);
//! let served = view(&messages, &|at| (at == 2).then_some(&block), &options);
//! assert!(served[2].text().starts_with("[distilled from "));
//! # Ok::<(), agentinfer_compress::Reject>(())
//! ```

mod block;
mod class;
mod conversation;
mod distil;
mod error;
mod extract;
mod interest;
mod options;
mod passages;
mod pins;
mod plan;
mod price;
mod recall;
mod record;
mod score;
mod terms;
mod units;
mod view;
mod words;

pub use block::{Block, handle, stub};
pub use distil::{accept, prompt};
pub use error::Reject;
pub use extract::extract;
pub use options::Options;
pub use passages::passages;
pub use pins::Pins;
pub use plan::{Moment, Plan, plan};
pub use price::{Breaker, Price, pays};
pub use recall::recall;
pub use view::view;
