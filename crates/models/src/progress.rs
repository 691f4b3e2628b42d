//! How a pull tells people where it is.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

/// Told how a pull goes. All positions are in bytes of the model file.
pub trait Progress: Sync {
    /// A pull of `name` begins: `total` bytes in all, of which `done` are already here.
    fn begin(&self, name: &str, total: u64, done: u64);
    /// `done` bytes are here now.
    fn advance_to(&self, done: u64);
    /// Something worth a line happened.
    fn note(&self, text: &str);
    /// The pull is over, well or not.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _name: &str, _total: u64, _done: u64) {}
    fn advance_to(&self, _done: u64) {}
    fn note(&self, _text: &str) {}
    fn end(&self) {}
}

/// A bar with rate and remaining time on a terminal's standard error; a plain line every few
/// seconds where standard error is a file or a pipe.
#[derive(Debug, Default)]
pub struct TerminalProgress {
    shown: Mutex<Option<Shown>>,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines(Lines),
}

impl TerminalProgress {
    fn with(&self, act: impl FnOnce(&mut Option<Shown>)) {
        // A panic elsewhere while the lock was held does not make a progress bar wrong.
        act(&mut self
            .shown
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
}

impl Progress for TerminalProgress {
    fn begin(&self, name: &str, total: u64, done: u64) {
        self.with(|shown| {
            *shown = Some(if std::io::stderr().is_terminal() {
                Shown::Bar(bar(name, total, done))
            } else {
                Shown::Lines(Lines::new(name, total, done))
            });
        });
    }

    fn advance_to(&self, done: u64) {
        self.with(|shown| match shown {
            Some(Shown::Bar(bar)) => bar.set_position(done),
            Some(Shown::Lines(lines)) => lines.advance_to(done),
            None => {}
        });
    }

    fn note(&self, text: &str) {
        self.with(|shown| match shown {
            Some(Shown::Bar(bar)) => bar.println(text),
            _ => say(text),
        });
    }

    fn end(&self) {
        self.with(|shown| {
            if let Some(Shown::Bar(bar)) = shown.take() {
                bar.finish_and_clear();
            }
        });
    }
}

fn bar(name: &str, total: u64, done: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
    )
    .expect("the template above is valid")
    .progress_chars("=> ");
    let bar = ProgressBar::new(total)
        .with_style(style)
        .with_prefix(name.to_owned());
    bar.set_position(done);
    // What was here before must not count as speed.
    bar.reset_eta();
    bar
}

/// Progress for logs: one line now and then.
#[derive(Debug)]
struct Lines {
    name: String,
    total: u64,
    before: u64,
    started: Instant,
    last: Instant,
}

impl Lines {
    /// Often enough to see that it lives, rare enough not to fill a log.
    const EVERY: Duration = Duration::from_secs(3);

    fn new(name: &str, total: u64, done: u64) -> Self {
        let now = Instant::now();
        if done > 0 {
            let (done, total) = (HumanBytes(done), HumanBytes(total));
            say(&format!("{name}: going on after {done} of {total}"));
        }
        Self {
            name: name.to_owned(),
            total,
            before: done,
            started: now,
            last: now,
        }
    }

    fn advance_to(&mut self, done: u64) {
        if self.last.elapsed() >= Self::EVERY {
            self.last = Instant::now();
            say(&self.line(done, self.started.elapsed()));
        }
    }

    fn line(&self, done: u64, elapsed: Duration) -> String {
        let rate = done.saturating_sub(self.before) as f64 / elapsed.as_secs_f64().max(1e-3);
        let left = self.total.saturating_sub(done) as f64 / rate.max(1.0);
        format!(
            "{}: {} of {} ({} %), {}/s, {} left",
            self.name,
            HumanBytes(done),
            HumanBytes(self.total),
            done * 100 / self.total.max(1),
            HumanBytes(rate as u64),
            HumanDuration(Duration::from_secs_f64(left)),
        )
    }
}

/// A line on standard error; progress that cannot be shown is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_remaining_time_count_only_what_was_fetched_now() {
        let lines = Lines::new("m", 100 << 20, 40 << 20);
        let line = lines.line(60 << 20, Duration::from_secs(10));
        assert_eq!(
            line,
            "m: 60.00 MiB of 100.00 MiB (60 %), 2.00 MiB/s, 20 seconds left"
        );
    }

    #[test]
    fn nothing_fetched_yet_is_no_division_by_zero() {
        let line = Lines::new("m", 0, 0).line(0, Duration::ZERO);
        assert!(line.starts_with("m: 0 B of 0 B (0 %)"), "{line}");
    }
}
