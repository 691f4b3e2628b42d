//! Tools of an MCP server, over HTTP and over stdio: for the latter this very program is the
//! server when it is told to be.
//!
//! It has no test harness, because the harness writes to the output that MCP speaks over.

use std::collections::HashMap;
use std::sync::Arc;

use agentinfer_agent::{AgentError, Fetch, McpMapping, McpServer, McpTools, Search};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::schemars::JsonSchema;
use rmcp::transport::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::{ErrorData, ServerHandler, ServiceExt, tool, tool_handler, tool_router};
use serde::Deserialize;

/// The argument that makes this program the server.
const SERVE: &str = "--serve-notes";

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Query {
    query: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Name {
    id: String,
}

/// A server with two notes.
#[derive(Clone)]
struct Notes;

#[tool_router]
impl Notes {
    #[tool(description = "Finds notes")]
    async fn find_notes(&self, Parameters(Query { query }): Parameters<Query>) -> String {
        format!(r#"{{"results": [{{"id": 7, "title": "About {query}", "text": "short"}}]}}"#)
    }

    #[tool(description = "Reads a note")]
    async fn read_note(
        &self,
        Parameters(Name { id }): Parameters<Name>,
    ) -> Result<CallToolResult, ErrorData> {
        Ok(match id.as_str() {
            "7" => CallToolResult::success(vec![ContentBlock::text("The whole note.")]),
            _ => CallToolResult::error(vec![ContentBlock::text("no such note")]),
        })
    }
}

#[tool_handler]
impl ServerHandler for Notes {}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    if std::env::args().any(|argument| argument == SERVE) {
        runtime.block_on(serve());
    } else {
        runtime.block_on(check());
    }
}

async fn serve() {
    let server = Notes
        .serve(rmcp::transport::stdio())
        .await
        .expect("is spoken to");
    server.waiting().await.expect("ends well");
}

fn server(command: String) -> McpServer {
    McpServer::Stdio {
        command,
        arguments: vec![SERVE.to_owned()],
        environment: HashMap::new(),
    }
}

fn mapping() -> McpMapping {
    McpMapping {
        search_tool: "find_notes".to_owned(),
        query_argument: "query".to_owned(),
        fetch_tool: "read_note".to_owned(),
        url_argument: "id".to_owned(),
    }
}

async fn check() {
    let this = std::env::current_exe().expect("this program has a path");
    let this = this.to_string_lossy().into_owned();
    for server in [server(this.clone()), http_server().await] {
        let tools = McpTools::connect(&server, mapping()).await;
        check_tools(&tools.expect("connects")).await;
    }

    let wrong = McpTools::connect(&server(this), McpMapping::default()).await;
    let error = wrong.expect_err("lacks the tool").to_string();
    assert!(
        error.contains("search") && error.contains("find_notes"),
        "{error}"
    );

    let missing = server("/nonexistent/mcp-server".to_owned());
    let error = McpTools::connect(&missing, mapping())
        .await
        .expect_err("cannot start");
    assert!(matches!(error, AgentError::Tool { .. }));
    assert!(
        error.to_string().contains("/nonexistent/mcp-server"),
        "{error}"
    );

    let nowhere = McpServer::Http {
        url: "http://127.0.0.1:1/mcp".to_owned(),
    };
    let error = McpTools::connect(&nowhere, mapping())
        .await
        .expect_err("is not there");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

/// The same server behind an address of this machine.
async fn http_server() -> McpServer {
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(|| Ok(Notes), sessions, Default::default());
    let app = axum::Router::new().nest_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let address = listener.local_addr().expect("is bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    McpServer::Http {
        url: format!("http://{address}/mcp"),
    }
}

async fn check_tools(tools: &McpTools) {
    let hits = tools.search("lakes", 5).await.expect("answers");
    assert_eq!(
        (&*hits[0].url, &*hits[0].title, &*hits[0].snippet),
        ("7", "About lakes", "short")
    );
    let note = tools.fetch(&hits[0].url).await.expect("is read");
    assert_eq!(note.text, "The whole note.");
    let error = tools
        .fetch("8")
        .await
        .expect_err("is not there")
        .to_string();
    assert!(error.contains("no such note"), "{error}");
}
