//! How long it takes to distil a result of 100 KB in a conversation of twenty steps: on one core of
//! a small machine it should be below 20 ms, so that a turn need not wait for it.
//!
//! One result is prose in sentences, the other a listing of code in lines; both are made up, of
//! words distributed by Zipf's law and with names, numbers and paths among them.

use std::hint::black_box;

use agentinfer_compress::{Options, extract, recall};
use agentinfer_protocol::{Message, Role};
use criterion::Criterion;

const BYTES: usize = 100_000;
const STEPS: u64 = 20;

/// Numbers that look random: a linear congruential generator (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn word(&mut self) -> String {
        let most = 1 + self.below(5_000);
        let rank = self.below(most);
        match rank % 17 {
            0 => format!("Name{rank}"),
            1 => format!("{}", 1_000 + rank),
            2 => format!("./src/part{}/file_{rank}.rs", rank % 7),
            _ => format!("word{rank}"),
        }
    }

    fn text(&mut self, bytes: usize, words_per_line: u64, end: &str) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            let words = 3 + self.below(words_per_line);
            let line: Vec<String> = (0..words).map(|_| self.word()).collect();
            text.push_str(&line.join(" "));
            text.push_str(end);
        }
        text
    }
}

fn conversation(result: String) -> Vec<Message> {
    let mut random = Random(7);
    let mut messages = vec![Message::user(random.text(400, 9, ". "))];
    messages.push(Message::assistant(random.text(400, 9, ". ")));
    messages.push(Message::new(Role::Tool, result));
    for _ in 1..STEPS {
        messages.push(Message::assistant(random.text(800, 9, ". ")));
        messages.push(Message::new(Role::Tool, random.text(2_000, 9, "\n")));
    }
    messages
}

fn count(text: &str) -> u32 {
    text.len() as u32 / 4
}

fn bench(criterion: &mut Criterion) {
    let mut random = Random(1);
    let options = Options::default();
    for (name, words, end) in [("prose", 18, ". "), ("listing", 5, "\n")] {
        let messages = conversation(random.text(BYTES, words, end));
        criterion.bench_function(&format!("extract_{name}"), |bencher| {
            bencher.iter(|| extract(black_box(&messages), 2, &count, &options));
        });
        let original = messages[2].text();
        criterion.bench_function(&format!("recall_{name}"), |bencher| {
            bencher.iter(|| recall(black_box(&original), Some("word7 Name17 4000"), 4_000));
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
