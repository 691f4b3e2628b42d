//! Between the API's messages and a model's text, both ways. Pure: no I/O, no clock.
//!
//! - [`ChatTemplate`] renders a conversation and its tools to the prompt, with the Jinja template
//!   that the model file brings.
//! - [`OutputParser`] turns the text that the model writes, as it streams, into content,
//!   reasoning and tool calls.
//! - [`tool_call_grammar`] makes the grammar that forces a tool call in the model's own form.
//!
//! What they have in common is the [`ToolStyle`]: the form in which a model family writes tool
//! calls, recognised from the template. Models whose template knows no tools are told about them
//! in the system message, and asked for a generic form.
//!
//! ```
//! use agentinfer_chat::{
//!     ChatTemplate, DEFAULT_TEMPLATE, OutputDelta, OutputParser, ParserOptions, RenderInput,
//! };
//! use agentinfer_protocol::{Message, Tool};
//!
//! let template = ChatTemplate::new(DEFAULT_TEMPLATE, "", "<|im_end|>")?;
//! let messages = [Message::user("Is it raining in Oslo?")];
//! let prompt = template.render(&RenderInput::new(&messages))?;
//! assert_eq!(
//!     prompt,
//!     "<|im_start|>user\nIs it raining in Oslo?<|im_end|>\n<|im_start|>assistant\n",
//! );
//!
//! let weather: Tool = serde_json::from_str(
//!     r#"{"type": "function", "function": {"name": "weather"}}"#,
//! )?;
//! let mut parser = OutputParser::new(template.style(), &[weather], ParserOptions::default());
//! let mut deltas = parser.push("Let me look.\n<tool_c");
//! deltas.extend(parser.push("all>{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}"));
//! deltas.extend(parser.push("</tool_call>"));
//! deltas.extend(parser.finish());
//! assert_eq!(
//!     deltas,
//!     [
//!         OutputDelta::Content("Let me look.".into()),
//!         OutputDelta::ToolCallStart { index: 0, name: "weather".into() },
//!         OutputDelta::ToolCallArguments { index: 0, text: r#"{"city": "Oslo"}"#.into() },
//!     ]
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod date;
mod error;
mod fallback;
mod grammar;
mod jinja;
mod messages;
mod parser;
mod style;
mod template;

pub use date::Date;
pub use error::ChatError;
pub use grammar::{ToolMode, tool_call_grammar};
pub use messages::validate;
pub use parser::{OutputDelta, OutputParser, ParserOptions};
pub use style::ToolStyle;
pub use template::{ChatTemplate, DEFAULT_TEMPLATE, RenderInput, opens_reasoning};
