//! The engine on a real model (SmolLM2 135M), and damaged files.

use std::io::Write;
use std::path::PathBuf;

use agentinfer_engine::{
    Completion, Engine, EngineHandle, EngineOptions, Event, Request, Sampling, Token, Vocabulary,
};
use agentinfer_llama::{LlamaError, LlamaOptions, open};

fn model_path() -> PathBuf {
    agentinfer_models::resolve("smollm2-135m")
        .expect("the test model is installed; `make test` does that")
}

fn spawn(options: LlamaOptions) -> EngineHandle {
    let opened = open(&model_path(), &options).expect("the test model opens");
    let engine = Engine::new(opened.model, opened.vocabulary, EngineOptions::default());
    EngineHandle::spawn("real", engine).expect("a thread starts")
}

/// What was generated: each token, and how far the runner-up was behind (in nats).
fn collect(mut completion: Completion) -> Vec<(Token, f32)> {
    let mut said = Vec::new();
    loop {
        match completion.blocking_next() {
            Some(Event::Token(event)) => {
                let top = event.logprob.expect("it was asked for").top;
                said.push((event.token, top[0].1 - top[1].1));
            }
            Some(Event::Finished(_)) => return said,
            Some(Event::Started(_)) => {}
            other => panic!("the request failed: {other:?}"),
        }
    }
}

fn request(handle: &EngineHandle, text: &str) -> Request {
    let prompt = handle.vocabulary().tokenize(text, false, true);
    let sampling = Sampling {
        logprobs: Some(2),
        ..Sampling::default()
    };
    Request {
        sampling,
        ignore_eos: true,
        ..Request::new(prompt).max_tokens(16)
    }
}

/// Two runs of a request are the same text, and where they part, the model was undecided within
/// the kernels' rounding: the lead of the best token moved to the other by no more than
/// `rounding` (nats). Up to there every lead agrees within the same bound, so the cells that were
/// read were the right ones.
fn assert_same(together: &[(Token, f32)], alone: &[(Token, f32)], rounding: f32, context: &str) {
    assert_eq!(together.len(), alone.len(), "{context}");
    for (index, (one, other)) in together.iter().zip(alone).enumerate() {
        let same = one.0 == other.0;
        let moved = if same {
            (one.1 - other.1).abs()
        } else {
            one.1 + other.1
        };
        assert!(
            moved <= rounding,
            "{context}: token {index} moved {moved}: {one:?} {other:?}"
        );
        if !same {
            return;
        }
    }
}

const QUESTIONS: [&str; 8] = [
    "Name the capital of France.",
    "Count from one to ten.",
    "Write a sentence about rain.",
    "What is two plus two?",
    "List three colours.",
    "Translate 'good morning' into French.",
    "Who wrote Hamlet?",
    "Explain gravity briefly.",
];

/// Runs eight requests alone and together, with `cells` in the common pool.
fn together_equals_alone(flash_attention: bool, cells: u32, rounding: f32) {
    let options = LlamaOptions {
        flash_attention,
        ..LlamaOptions::default()
    };
    let trunk = "<|im_start|>system\nYou are a terse assistant.<|im_end|>\n<|im_start|>user\n";
    let prompts: Vec<String> = QUESTIONS
        .iter()
        .map(|question| format!("{trunk}{question}<|im_end|>\n<|im_start|>assistant\n"))
        .collect();
    let alone: Vec<Vec<(Token, f32)>> = prompts
        .iter()
        .map(|prompt| {
            let handle = spawn(LlamaOptions {
                cells: 256,
                sequences: 1,
                ..options.clone()
            });
            collect(
                handle
                    .submit(request(&handle, prompt))
                    .expect("a valid request"),
            )
        })
        .collect();
    let handle = spawn(LlamaOptions {
        cells,
        sequences: 12,
        ..options
    });
    let submit = |prompt: &String| {
        handle
            .submit(request(&handle, prompt))
            .expect("a valid request")
    };
    for round in 0..2 {
        let completions: Vec<Completion> = prompts.iter().map(submit).collect();
        // Others come and are cancelled in between.
        let cancelled: Vec<Completion> = prompts.iter().take(3).map(submit).collect();
        drop(cancelled);
        for (index, completion) in completions.into_iter().enumerate() {
            let context = format!("{cells} cells, round {round}, request {index}");
            assert_same(&collect(completion), &alone[index], rounding, &context);
        }
    }
    let stats = handle.stats();
    assert!(stats.cached_tokens > 0, "the common trunk is shared");
    assert_eq!(
        stats.evictions > 0,
        cells < 512,
        "only the small pool evicts: {stats:?}"
    );
}

/// Rounding of plain attention: sums over the same cells in another order, in 32 bits.
const PLAIN: f32 = 0.02;

/// Rounding of llama.cpp's fused attention on CPUs, which sums in 16 bits and in the order in
/// which the cells happen to lie. Measured on this model: up to 0.7.
const FUSED: f32 = 1.5;

#[test]
fn with_plain_attention_eight_requests_together_say_what_each_says_alone() {
    together_equals_alone(false, 2048, PLAIN);
}

#[test]
fn with_little_room_requests_are_evicted_and_preempted_and_still_say_the_same() {
    together_equals_alone(false, 192, PLAIN);
}

#[test]
fn with_fused_attention_they_part_only_where_rounding_decides() {
    together_equals_alone(true, 192, FUSED);
}

#[test]
fn tokens_and_text_are_inverse() {
    let options = LlamaOptions {
        cells: 256,
        ..Default::default()
    };
    let vocabulary = open(&model_path(), &options)
        .expect("the test model opens")
        .vocabulary;
    for text in [
        "plain words",
        "  two  spaces\n\nand lines",
        "naïve 你好 🙂",
        "{\"a\": [1, 2]}",
    ] {
        let tokens = vocabulary.tokenize(text, false, false);
        assert_eq!(vocabulary.detokenize(&tokens), text);
    }
    let control = vocabulary.tokenize("<|im_end|>", false, true);
    assert_eq!(control.len(), 1);
    assert!(vocabulary.is_end_of_generation(control[0]));
    assert_eq!(vocabulary.name(control[0]), b"<|im_end|>");
    assert!(vocabulary.bytes(control[0]).is_empty());
}

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = std::fs::read(model_path()).expect("the test model is readable");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(bytes).expect("bytes are written");
        path
    };
    let mut scrambled = whole[..1 << 16].to_vec();
    scrambled[24..4096]
        .iter_mut()
        .for_each(|byte| *byte ^= 0x5A);
    let cases = [
        (folder.path().join("missing.gguf"), "check the path"),
        (write("empty.gguf", b""), "not a GGUF"),
        (
            write("text.gguf", b"hello, I am a text file and not a model"),
            "not a GGUF",
        ),
        (write("header.gguf", &whole[..12]), "ends within its header"),
        (
            write(
                "old.gguf",
                b"GGUF\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ),
            "version is 1",
        ),
        (
            write("truncated.gguf", &whole[..whole.len() / 2]),
            "truncated",
        ),
        (write("corrupt.gguf", &scrambled), "corrupt"),
    ];
    for (path, expected) in cases {
        let error = open(&path, &LlamaOptions::default()).expect_err("it is damaged");
        let message = error.to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
    let zero = LlamaOptions {
        sequences: 0,
        ..Default::default()
    };
    let error = open(&model_path(), &zero).expect_err("no sequences");
    assert!(
        matches!(
            error,
            LlamaError::Option {
                field: "sequences",
                ..
            }
        ),
        "{error}"
    );
}
