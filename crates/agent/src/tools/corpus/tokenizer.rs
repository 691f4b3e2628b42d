//! Words for the index: English stems and Chinese words in one analyzer.
//!
//! Letters and digits in a row are a word; Chinese in between is cut by jieba. Only text with
//! Chinese in it loads jieba's dictionary. Accents are folded, so `Brodel` finds `Brödel`.

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter,
    TextAnalyzer, Token, TokenStream, Tokenizer,
};
use tantivy_jieba::JiebaTokenizer;

/// Longer words are data, not language; not indexed. In bytes.
const LONGEST_WORD: usize = 64;

/// The analyzer of titles, texts and queries.
pub(super) fn words() -> TextAnalyzer {
    let stop = StopWordFilter::new(Language::English).expect("English has a stop word list");
    TextAnalyzer::builder(Words::default())
        .filter(RemoveLongFilter::limit(LONGEST_WORD))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(stop)
        .filter(Stemmer::new(Language::English))
        .build()
}

/// The words of a query.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut analyzer = words();
    let mut stream = analyzer.token_stream(text);
    let mut words = Vec::new();
    while let Some(token) = stream.next() {
        words.push(token.text.clone());
    }
    words
}

/// Whether a character is written without spaces between words, as in Chinese.
pub(super) fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// The tokenizer below the filters.
#[derive(Clone, Default)]
struct Words {
    jieba: JiebaTokenizer,
}

/// Tokens cut beforehand: texts are passages, so they are few.
struct Cut {
    tokens: Vec<Token>,
    next: usize,
}

impl Tokenizer for Words {
    type TokenStream<'a> = Cut;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Cut {
        let mut tokens = Vec::new();
        for (start, run) in runs(text) {
            if run.chars().any(is_chinese) {
                let mut stream = self.jieba.token_stream(run);
                while let Some(token) = stream.next() {
                    push(&mut tokens, start + token.offset_from, &token.text);
                }
            } else {
                push(&mut tokens, start, run);
            }
        }
        Cut { tokens, next: 0 }
    }
}

fn push(tokens: &mut Vec<Token>, start: usize, text: &str) {
    tokens.push(Token {
        offset_from: start,
        offset_to: start + text.len(),
        position: tokens.len(),
        text: text.to_owned(),
        position_length: 1,
    });
}

/// Runs of letters and digits, split where Chinese begins or ends, with their byte offsets.
fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, first) = rest.find(|(_, c)| c.is_alphanumeric())?;
        let same = |c: char| c.is_alphanumeric() && is_chinese(c) == is_chinese(first);
        let mut end = start + first.len_utf8();
        while let Some((at, c)) = rest.next_if(|&(_, c)| same(c)) {
            end = at + c.len_utf8();
        }
        Some((start, &text[start..end]))
    })
}

impl TokenStream for Cut {
    fn advance(&mut self) -> bool {
        self.next += 1;
        self.next <= self.tokens.len()
    }

    fn token(&self) -> &Token {
        &self.tokens[self.next - 1]
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.tokens[self.next - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_folds() {
        for (text, expected) in [
            (
                "The Running of Brödel's dogs",
                vec!["run", "brodel", "s", "dog"],
            ),
            ("1998-05-31", vec!["1998", "05", "31"]),
            ("iPhone在北京发布", vec!["iphon", "在", "北京", "发布"]),
            ("", vec![]),
            ("…!?", vec![]),
        ] {
            assert_eq!(tokens(text), expected, "{text}");
        }
    }
}
