//! Search and fetch through a server of the Model Context Protocol, over stdio or HTTP.

use std::collections::HashMap;
use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{Document, Fetch, Hit, Search};
use crate::AgentError;
use crate::llm::BoxFuture;

/// Longest wait for a server to start and introduce itself. Servers run by package runners may
/// install themselves first.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Longest wait for one tool call.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// Where an MCP server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpServer {
    /// A program that is started, and spoken to over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        arguments: Vec<String>,
        /// Environment variables set for it.
        environment: HashMap<String, String>,
    },
    /// A streamable HTTP endpoint.
    Http {
        /// Its address.
        url: String,
    },
}

/// Which of the server's tools search and fetch, and what their arguments are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpMapping {
    /// The tool that searches.
    pub search_tool: String,
    /// Its argument for the query.
    pub query_argument: String,
    /// The tool that reads a document.
    pub fetch_tool: String,
    /// Its argument for the URL or identifier that a search result carries.
    pub url_argument: String,
}

impl Default for McpMapping {
    /// The names that many search servers use.
    fn default() -> Self {
        Self {
            search_tool: "search".to_owned(),
            query_argument: "query".to_owned(),
            fetch_tool: "fetch".to_owned(),
            url_argument: "url".to_owned(),
        }
    }
}

/// The search and fetch tools of a connected MCP server.
#[derive(Debug)]
pub struct McpTools {
    client: RunningService<RoleClient, ()>,
    mapping: McpMapping,
}

impl McpTools {
    /// Starts or reaches the server and checks that it has the tools that the mapping names.
    ///
    /// # Errors
    /// When it cannot be started or reached, or lacks a tool; the error lists those it has.
    pub async fn connect(server: &McpServer, mapping: McpMapping) -> Result<Self, AgentError> {
        let failed = |error: &dyn std::fmt::Display| AgentError::tool("mcp", error);
        let connected = timeout(START_DEADLINE, Self::reach(server)).await;
        let client = connected.map_err(|_| failed(&"the server did not introduce itself"))??;
        let tools = client
            .list_all_tools()
            .await
            .map_err(|error| failed(&error))?;
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        for wanted in [&mapping.search_tool, &mapping.fetch_tool] {
            if !names.contains(&wanted.as_str()) {
                let reason = format!("the server has no tool {wanted:?}; it has {names:?}");
                return Err(AgentError::tool("mcp", reason));
            }
        }
        Ok(Self { client, mapping })
    }

    async fn reach(server: &McpServer) -> Result<RunningService<RoleClient, ()>, AgentError> {
        match server {
            McpServer::Stdio {
                command,
                arguments,
                environment,
            } => {
                let mut process = tokio::process::Command::new(command);
                process.args(arguments).envs(environment);
                let transport = TokioChildProcess::new(process)
                    .map_err(|error| AgentError::tool("mcp", format!("{command}: {error}")))?;
                let client = ().serve(transport).await;
                client.map_err(|error| AgentError::tool("mcp", format!("{command}: {error}")))
            }
            McpServer::Http { url } => {
                let transport = StreamableHttpClientTransport::from_uri(url.as_str());
                let client = ().serve(transport).await;
                client.map_err(|error| AgentError::tool("mcp", format!("{url}: {error}")))
            }
        }
    }

    async fn call(&self, tool: &str, argument: &str, value: &str) -> Result<Value, AgentError> {
        let mut arguments = Map::new();
        arguments.insert(argument.to_owned(), Value::from(value));
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let answer = timeout(CALL_DEADLINE, self.client.call_tool(call)).await;
        let answer = answer
            .map_err(|_| AgentError::tool(tool, "no answer in time"))?
            .map_err(|error| AgentError::tool(tool, error))?;
        let failed = answer.is_error == Some(true);
        let content = content(answer);
        if failed {
            return Err(AgentError::tool(tool, content));
        }
        Ok(content)
    }
}

/// A call's structured result; else its text, as JSON where it is JSON.
fn content(result: CallToolResult) -> Value {
    if let Some(value) = result.structured_content {
        return value;
    }
    let texts = result.content.iter().filter_map(|block| block.as_text());
    let texts: Vec<_> = texts.map(|text| text.text.as_str()).collect();
    let text = texts.join("\n");
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// The first of the fields that is a text or number.
fn field(value: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match value.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// The hits in a search tool's answer: a list, or an object with a list in it, of objects.
fn hits(answer: &Value, limit: usize) -> Option<Vec<Hit>> {
    let list = match answer {
        Value::Array(list) => list,
        Value::Object(fields) => fields.values().find_map(Value::as_array)?,
        _ => return None,
    };
    let rows = list.iter().zip(1u16..).take(limit);
    let hits = rows.filter_map(|(row, rank)| {
        let title = field(row, &["title", "name"]);
        let url = field(row, &["url", "link", "href", "uri", "id"])?;
        Some(Hit {
            title: title.unwrap_or_else(|| url.clone()),
            url,
            snippet: field(
                row,
                &["snippet", "description", "content", "text", "summary"],
            )
            .unwrap_or_default(),
            score: 1.0 / f32::from(rank),
        })
    });
    Some(hits.collect())
}

impl Search for McpTools {
    fn search<'a>(
        &'a self,
        query: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Hit>, AgentError>> {
        Box::pin(async move {
            let tool = &self.mapping.search_tool;
            let answer = self.call(tool, &self.mapping.query_argument, query).await?;
            hits(&answer, limit).ok_or_else(|| {
                let reason = "the answer has no list of results with url or id";
                AgentError::tool(tool, reason)
            })
        })
    }
}

impl Fetch for McpTools {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Document, AgentError>> {
        Box::pin(async move {
            let tool = &self.mapping.fetch_tool;
            let answer = self.call(tool, &self.mapping.url_argument, url).await?;
            let text = match &answer {
                Value::String(text) => Some(text.clone()),
                other => field(other, &["text", "content", "markdown", "body"]),
            };
            let text = text.filter(|text| !text.trim().is_empty());
            let text = text.ok_or_else(|| AgentError::tool(tool, "the answer has no text"))?;
            Ok(Document {
                url: url.to_owned(),
                title: field(&answer, &["title", "name"]).unwrap_or_else(|| url.to_owned()),
                text,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn understands_the_usual_shapes_of_results() {
        let row = json!({"link": "https://a.example", "name": "A", "content": "about a"});
        for answer in [
            json!([row]),
            json!({"results": [row]}),
            json!({"n": 1, "items": [row]}),
        ] {
            let found = hits(&answer, 5).expect("there is a list");
            assert_eq!(found.len(), 1, "{answer}");
            assert_eq!(found[0].url, "https://a.example");
            assert_eq!((&*found[0].title, &*found[0].snippet), ("A", "about a"));
        }
        assert_eq!(hits(&json!({"results": []}), 5), Some(vec![]));
        assert_eq!(hits(&json!([{"title": "no address"}]), 5), Some(vec![]));
        assert_eq!(hits(&json!("prose"), 5), None);
    }
}
