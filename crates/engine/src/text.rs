//! From token bytes to text: whole characters only, and nothing past a stop text.

/// Assembles the bytes of tokens into text and watches for stop texts.
#[derive(Debug)]
pub(crate) struct TextAssembler {
    stops: Vec<String>,
    /// Bytes not yet handed out: they may be part of a character or the beginning of a stop text.
    held: Vec<u8>,
}

/// What a token's bytes made certain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    /// Text that can be handed out.
    pub(crate) text: String,
    /// The stop text that was met, if one was.
    pub(crate) stop: Option<String>,
}

impl TextAssembler {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self {
            stops,
            held: Vec::new(),
        }
    }

    /// Takes the bytes of the next token.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Assembled {
        self.held.extend_from_slice(bytes);
        if let Some((start, stop)) = self.first_stop() {
            let text = String::from_utf8_lossy(&self.held[..start]).into_owned();
            self.held.clear();
            return Assembled {
                text,
                stop: Some(stop),
            };
        }
        let certain = self.held.len() - self.uncertain_tail();
        let text = String::from_utf8_lossy(&self.held[..certain]).into_owned();
        self.held.drain(..certain);
        Assembled { text, stop: None }
    }

    /// Everything still held, at the end of generation.
    pub(crate) fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        text
    }

    fn first_stop(&self) -> Option<(usize, String)> {
        let find = |stop: &String| {
            let mut windows = self.held.windows(stop.len());
            windows
                .position(|window| window == stop.as_bytes())
                .map(|at| (at, stop.clone()))
        };
        self.stops
            .iter()
            .filter_map(find)
            .min_by_key(|(at, stop)| (*at, usize::MAX - stop.len()))
    }

    /// Length of the tail that must be held back.
    fn uncertain_tail(&self) -> usize {
        let held = &self.held;
        let begins_stop = |length: &usize| {
            let tail = &held[held.len() - length..];
            self.stops
                .iter()
                .any(|stop| stop.len() > *length && stop.as_bytes().starts_with(tail))
        };
        let longest = self
            .stops
            .iter()
            .map(String::len)
            .max()
            .unwrap_or(0)
            .min(held.len());
        let stop_tail = (1..=longest).rev().find(begins_stop).unwrap_or(0);
        stop_tail.max(incomplete_character(held))
    }
}

/// Length of an incomplete UTF-8 character at the end of `bytes` (0 to 3).
fn incomplete_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let needed = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return 0,
        };
        return if needed > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], pieces: &[&[u8]]) -> (String, Option<String>) {
        let mut assembler = TextAssembler::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let mut text = String::new();
        for piece in pieces {
            let assembled = assembler.push(piece);
            text += &assembled.text;
            if assembled.stop.is_some() {
                return (text, assembled.stop);
            }
        }
        text += &assembler.finish();
        (text, None)
    }

    /// Stop texts, the tokens' bytes, the text and the stop expected.
    type Case<'a> = (&'a [&'a str], &'a [&'a [u8]], &'a str, Option<&'a str>);

    #[test]
    fn stops_and_characters_across_tokens() {
        let cases: &[Case<'_>] = &[
            (&[], &[b"ab", b"c"], "abc", None),
            (&["END"], &[b"aE", b"N", b"Db"], "a", Some("END")),
            (&["END"], &[b"aE", b"Nx"], "aENx", None),
            (&["END"], &[b"aEN"], "aEN", None),
            (&["b", "abc"], &[b"xab"], "xa", Some("b")),
            (&["ab", "abc"], &[b"xabc"], "x", Some("abc")),
            (
                &[],
                &[&[0xE4, 0xBD], &[0xA0, 0xE5], &[0xA5, 0xBD]],
                "你好",
                None,
            ),
            (
                &["好"],
                &[&[0xE4, 0xBD], &[0xA0, 0xE5], &[0xA5, 0xBD]],
                "你",
                Some("好"),
            ),
            (&[], &[&[0xFF], b"a"], "\u{FFFD}a", None),
        ];
        for (stops, pieces, text, stop) in cases {
            let (got, met) = run(stops, pieces);
            assert_eq!(
                (got.as_str(), met.as_deref()),
                (*text, *stop),
                "{stops:?} {pieces:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(text in "[abE你N]{0,20}", cuts in prop::collection::vec(0usize..60, 0..6)) {
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (got, stop) = run(&["EN"], &pieces);
            let expected = text.split("EN").next().unwrap_or("");
            prop_assert_eq!(got, expected);
            prop_assert_eq!(stop.is_some(), text.contains("EN"));
        }
    }
}
