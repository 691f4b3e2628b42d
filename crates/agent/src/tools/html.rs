//! From a web page to its readable text.

use html2text::render::TrivialDecorator;
use scraper::{Html, Selector};

/// Width at which text is wrapped, in characters: wide, because a model reads it.
const WIDTH: usize = 4000;

/// What a page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readable {
    /// The page's title, if it has one.
    pub title: Option<String>,
    /// Its text, without scripts, styles, navigation and the like.
    pub text: String,
}

/// Where a page keeps its content, best first.
const CONTENT: [&str; 4] = ["article", "main", "[role=main]", "body"];

/// What is not content wherever it stands.
const CLUTTER: &str = "script, style, noscript, template, svg, nav, header, footer, aside, form, \
                       iframe, button, [hidden], [aria-hidden=true]";

/// Reduces a page to its readable text: the `article` or `main` element where there is one with
/// more than a line in it, else the whole body.
pub fn readable(page: &str) -> Readable {
    let mut html = Html::parse_document(page);
    let title = select(&html, "title")
        .map(|title| squeeze(&title.text().collect::<String>()))
        .filter(|title| !title.is_empty());
    remove_clutter(&mut html);
    let texts = CONTENT.iter().filter_map(|place| {
        let part = select(&html, place)?.html();
        Some(plain(&part))
    });
    let mut best = String::new();
    for text in texts {
        best = text;
        if best.lines().count() > 1 {
            break;
        }
    }
    Readable { title, text: best }
}

fn select<'a>(html: &'a Html, selector: &str) -> Option<scraper::ElementRef<'a>> {
    html.select(&parsed(selector)).next()
}

fn parsed(selector: &str) -> Selector {
    Selector::parse(selector).expect("the selectors of this file are valid")
}

fn remove_clutter(html: &mut Html) {
    let clutter: Vec<_> = html
        .select(&parsed(CLUTTER))
        .map(|part| part.id())
        .collect();
    for id in clutter {
        if let Some(mut node) = html.tree.get_mut(id) {
            node.detach();
        }
    }
}

fn plain(html: &str) -> String {
    let config = html2text::config::with_decorator(TrivialDecorator::new());
    // Only a width too small for a page's tables can fail; such a page is read without layout.
    let text = config
        .string_from_read(html.as_bytes(), WIDTH)
        .unwrap_or_else(|_| Html::parse_fragment(html).root_element().text().collect());
    let lines = text.lines().map(squeeze).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_article_and_drops_the_clutter() {
        let page = "<html><head><title> The  Lake </title><style>p{}</style></head><body>\
            <nav>Home About</nav><article><h1>Lake Tove</h1><p>It lies in <b>Norway</b>.</p>\
            <script>track()</script><aside>Buy now</aside></article><footer>2020</footer></body>";
        let found = readable(page);
        assert_eq!(found.title.as_deref(), Some("The Lake"));
        assert_eq!(found.text, "Lake Tove\nIt lies in Norway.");
    }

    #[test]
    fn falls_back_to_the_body_and_survives_anything() {
        let body = "<body><main></main><p>One.</p><p>Two &amp; three.</p></body>";
        assert_eq!(readable(body).text, "One.\nTwo & three.");
        for page in [
            "",
            "<!-- x",
            "<table><tr><td>",
            "plain words",
            "<p>北京</p>",
            "\u{0}<a href=>",
        ] {
            let found = readable(page);
            assert!(!found.text.contains('<'), "{page}: {found:?}");
        }
        assert_eq!(readable("plain words").text, "plain words");
    }
}
