//! What lines are, besides what they say.

/// What a line is, besides what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Plain,
    Heading,
    /// It declares something, or begins a part of a patch.
    Signature,
    Error,
    /// The first or the last that says something.
    Edge,
}

impl Class {
    /// How many there are.
    pub(crate) const ALL: usize = 5;

    /// The class of a line; `edge` says whether it is the first or the last that says something.
    pub(crate) fn of(line: &str, edge: bool) -> Self {
        const SIGNATURES: [&str; 15] = [
            "def ",
            "class ",
            "fn ",
            "pub ",
            "impl ",
            "struct ",
            "func ",
            "function ",
            "async ",
            "interface ",
            "export ",
            "@@ ",
            "diff ",
            "+++ ",
            "--- ",
        ];
        let start = line.trim_start();
        if tells_an_error(line) {
            Self::Error
        } else if SIGNATURES.iter().any(|sign| start.starts_with(sign)) {
            Self::Signature
        } else if edge {
            Self::Edge
        } else if start.starts_with('#') || is_entry(start) {
            Self::Heading
        } else {
            Self::Plain
        }
    }

    /// What a unit weighs for what it is, whatever it says.
    pub(crate) fn weight(self) -> f64 {
        match self {
            Self::Plain => 0.0,
            Self::Heading => 1.0,
            Self::Signature => 2.0,
            Self::Error => 8.0,
            Self::Edge => 4.0,
        }
    }
}

/// Whether a line tells an error, by a word of its own; what is called `errors` in code is another
/// thing.
fn tells_an_error(line: &str) -> bool {
    const SIGNS: [&str; 12] = [
        "cannot",
        "denied",
        "error",
        "errors",
        "exception",
        "exceptions",
        "failed",
        "failure",
        "fatal",
        "panicked",
        "traceback",
        "unable",
    ];
    const ENDS: [&str; 2] = ["Error", "Exception"];
    const CHINESE: [&str; 3] = ["错误", "失败", "异常"];
    let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let by_word = words.any(|word| {
        let known = SIGNS.iter().any(|sign| word.eq_ignore_ascii_case(sign));
        known || ENDS.iter().any(|end| word.ends_with(end))
    });
    by_word || CHINESE.iter().any(|sign| line.contains(sign))
}

/// Whether a line begins an entry of a numbered list of links, as search tools write them.
fn is_entry(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && line[digits..].starts_with(". [")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_each_class() {
        for (line, edge, class) in [
            ("SyntaxError: invalid syntax", false, Class::Error),
            ("a.b.exceptions.NotConfigured: no key", true, Class::Error),
            ("操作失败", false, Class::Error),
            ("    new_errors = check(configs)", false, Class::Plain),
            ("errorless", false, Class::Plain),
            ("    def run(self):", true, Class::Signature),
            ("12. [Title](https://a.org)", false, Class::Heading),
            ("# Title", false, Class::Heading),
            ("# Title", true, Class::Edge),
            ("12. May", false, Class::Plain),
        ] {
            assert_eq!(Class::of(line, edge), class, "{line}");
        }
    }
}
