//! The live web: a search API, and pages read over HTTP.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;

use super::{Document, Fetch, Hit, Search, readable};
use crate::AgentError;
use crate::llm::BoxFuture;

/// Longest wait for a search or a page, all in all: a person would not wait longer either.
const DEADLINE: Duration = Duration::from_secs(20);

/// A page is read up to here, in bytes; what follows is hardly what was searched for.
const LARGEST_PAGE: usize = 4 << 20;

/// How the agent names itself to servers.
const USER_AGENT: &str = concat!("agentinfer/", env!("CARGO_PKG_VERSION"));

/// Which search API is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchApi {
    /// A SearXNG instance whose settings allow the JSON format.
    SearXng {
        /// Its address, such as `http://localhost:8888`.
        url: String,
    },
    /// The Brave Search API.
    Brave {
        /// The address of the API; change it only for a proxy.
        url: String,
        /// The subscription token.
        key: String,
    },
}

impl SearchApi {
    /// Brave at its own address.
    pub fn brave(key: impl Into<String>) -> Self {
        Self::Brave {
            url: "https://api.search.brave.com".to_owned(),
            key: key.into(),
        }
    }
}

/// Searches by a web API.
#[derive(Clone, Debug)]
pub struct WebSearch {
    client: reqwest::Client,
    api: SearchApi,
}

#[derive(Deserialize)]
struct SearXngAnswer {
    results: Vec<WebResult>,
}

#[derive(Deserialize)]
struct BraveAnswer {
    web: Option<BraveWeb>,
}

#[derive(Deserialize)]
struct BraveWeb {
    results: Vec<WebResult>,
}

#[derive(Deserialize)]
struct WebResult {
    url: String,
    #[serde(default)]
    title: String,
    #[serde(default, alias = "content")]
    description: Option<String>,
}

impl WebSearch {
    /// Searches by the given API.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(api: SearchApi) -> Result<Self, AgentError> {
        let client = client()?;
        Ok(Self { client, api })
    }

    async fn ask(&self, query: &str, limit: usize) -> Result<Vec<Hit>, AgentError> {
        let failed = |error: reqwest::Error| AgentError::tool("search", error.without_url());
        let request = match &self.api {
            SearchApi::SearXng { url } => self
                .client
                .get(format!("{}/search", url.trim_end_matches('/')))
                .query(&[("q", query), ("format", "json")]),
            SearchApi::Brave { url, key } => self
                .client
                .get(format!("{}/res/v1/web/search", url.trim_end_matches('/')))
                .query(&[("q", query)])
                .header("X-Subscription-Token", key),
        };
        let response = request.header(ACCEPT, "application/json").send().await;
        let response = response.map_err(failed)?;
        if !response.status().is_success() {
            let hint = match self.api {
                SearchApi::SearXng { .. } => "does the instance allow `format=json`?",
                SearchApi::Brave { .. } => "is the subscription token right?",
            };
            let reason = format!("the API answered {}; {hint}", response.status());
            return Err(AgentError::tool("search", reason));
        }
        let results = match self.api {
            SearchApi::SearXng { .. } => {
                let answer: SearXngAnswer = response.json().await.map_err(failed)?;
                answer.results
            }
            SearchApi::Brave { .. } => {
                let answer: BraveAnswer = response.json().await.map_err(failed)?;
                answer.web.map(|web| web.results).unwrap_or_default()
            }
        };
        Ok(ranked(results, limit))
    }
}

/// Hits scored by rank, since web APIs give no comparable scores.
fn ranked(results: Vec<WebResult>, limit: usize) -> Vec<Hit> {
    let results = results.into_iter().take(limit).zip(1u16..);
    let hits = results.map(|(result, rank)| Hit {
        url: result.url,
        title: result.title,
        snippet: result.description.unwrap_or_default(),
        score: 1.0 / f32::from(rank),
    });
    hits.collect()
}

impl Search for WebSearch {
    fn search<'a>(
        &'a self,
        query: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Hit>, AgentError>> {
        Box::pin(self.ask(query, limit))
    }
}

/// Reads pages over HTTP.
#[derive(Clone, Debug)]
pub struct WebPages {
    client: reqwest::Client,
}

impl WebPages {
    /// A reader of pages.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new() -> Result<Self, AgentError> {
        let client = client()?;
        Ok(Self { client })
    }

    async fn read(&self, url: &str) -> Result<Document, AgentError> {
        let failed = |reason: String| AgentError::tool("crawler", format!("{url}: {reason}"));
        let response = self.client.get(url).send().await;
        let response = response
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| failed(error.without_url().to_string()))?;
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or("text/html");
        let html = kind.contains("html");
        if !html && !kind.starts_with("text/") {
            return Err(failed(format!("{kind} is not text")));
        }
        let mut bytes = Vec::new();
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| failed(error.without_url().to_string()))?;
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= LARGEST_PAGE {
                bytes.truncate(LARGEST_PAGE);
                break;
            }
        }
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let (title, text) = if html {
            let page = readable(&body);
            (page.title, page.text)
        } else {
            (None, body)
        };
        if text.trim().is_empty() {
            return Err(failed("the page has no text".to_owned()));
        }
        Ok(Document {
            url: url.to_owned(),
            title: title.unwrap_or_else(|| url.to_owned()),
            text,
        })
    }
}

impl Fetch for WebPages {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Document, AgentError>> {
        Box::pin(self.read(url))
    }
}

fn client() -> Result<reqwest::Client, AgentError> {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(DEADLINE)
        .build()
        .map_err(|error| AgentError::tool("http client", error))
}
