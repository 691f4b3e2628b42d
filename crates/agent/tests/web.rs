//! Live search and crawling, against a web server on loopback.

use agentinfer_agent::{AgentError, Fetch, Search, SearchApi, WebPages, WebSearch};
use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;

const RESULTS: &str = r#"[
    {"url": "https://a.example/1", "title": "One", "content": "first"},
    {"url": "https://a.example/2", "title": "Two", "description": "second"},
    {"url": "https://a.example/3"}
]"#;

/// Starts the server; returns its address.
async fn serve() -> String {
    let app = Router::new()
        .route("/search", get(searxng))
        .route("/res/v1/web/search", get(brave))
        .route(
            "/page",
            get(|| async { Html("<title>Lake</title><p>Deep &amp; cold.</p>") }),
        )
        .route("/plain", get(|| async { "only words" }))
        .route("/empty", get(|| async { Html("<script>x()</script>") }))
        .route("/large", get(|| async { "word ".repeat(2 << 20) }))
        .route(
            "/image",
            get(|| async { ([(header::CONTENT_TYPE, "image/png")], "png") }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let address = listener.local_addr().expect("is bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

async fn searxng(uri: Uri) -> impl IntoResponse {
    match uri.query() {
        Some("q=a+%26+b%3F&format=json") => {
            (StatusCode::OK, format!(r#"{{"results": {RESULTS}}}"#))
        }
        _ => (StatusCode::FORBIDDEN, String::new()),
    }
}

async fn brave(headers: HeaderMap) -> impl IntoResponse {
    match headers
        .get("x-subscription-token")
        .map(|key| key.as_bytes())
    {
        Some(b"secret") => (
            StatusCode::OK,
            format!(r#"{{"web": {{"results": {RESULTS}}}}}"#),
        ),
        _ => (StatusCode::UNAUTHORIZED, String::new()),
    }
}

#[tokio::test]
async fn both_search_apis_answer() {
    let url = serve().await;
    let key = "secret".to_owned();
    for api in [
        SearchApi::SearXng { url: url.clone() },
        SearchApi::Brave { url, key },
    ] {
        let search = WebSearch::new(api.clone()).expect("is set up");
        let hits = search.search("a & b?", 2).await.expect("answers");
        let found: Vec<_> = hits
            .iter()
            .map(|hit| (&*hit.title, &*hit.snippet))
            .collect();
        assert_eq!(found, [("One", "first"), ("Two", "second")], "{api:?}");
        assert!(hits[0].score > hits[1].score);
    }
}

#[tokio::test]
async fn refused_searches_say_what_to_do() {
    let url = serve().await;
    let key = "wrong".to_owned();
    for (api, hint) in [
        (SearchApi::SearXng { url: url.clone() }, "format=json"),
        (SearchApi::Brave { url, key }, "token"),
    ] {
        let search = WebSearch::new(api).expect("is set up");
        let error = search.search("refuse", 2).await.expect_err("is refused");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn pages_are_read_as_text() {
    let url = serve().await;
    let pages = WebPages::new().expect("is set up");
    for (path, title, text) in [
        ("/page", "Lake", "Deep & cold."),
        ("/plain", &*format!("{url}/plain"), "only words"),
    ] {
        let document = pages.fetch(&format!("{url}{path}")).await.expect("is read");
        assert_eq!((&*document.title, &*document.text), (title, text));
    }
    let large = pages.fetch(&format!("{url}/large")).await.expect("is read");
    assert_eq!(large.text.len(), 4 << 20, "a page is cut at its bound");
}

#[tokio::test]
async fn pages_without_text_are_errors_that_name_the_page() {
    let url = serve().await;
    let pages = WebPages::new().expect("is set up");
    for path in ["/empty", "/image", "/none"] {
        let error = pages
            .fetch(&format!("{url}{path}"))
            .await
            .expect_err("fails");
        assert!(matches!(error, AgentError::Tool { .. }));
        assert!(error.to_string().contains(path), "{error}");
    }
}
