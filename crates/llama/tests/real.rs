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
        ..Request::new(prompt).max_tokens(24)
    }
}

/// llama.cpp's kernels round differently for different batch sizes, so two runs may part, but
/// only where the model was undecided: where the best two tokens were closer than this, in nats.
/// (Activations are rounded to 8 bits in the quantised kernels; that moves logits by a few
/// hundredths.)
const UNDECIDED: f32 = 0.2;

fn assert_same(together: &[(Token, f32)], alone: &[(Token, f32)], context: &str) {
    for (index, (one, other)) in together.iter().zip(alone).enumerate() {
        if one.0 != other.0 {
            assert!(
                one.1 < UNDECIDED && other.1 < UNDECIDED,
                "{context}: token {index} differs although the model was decided: {one:?} {other:?}"
            );
            return;
        }
    }
    assert_eq!(together.len(), alone.len(), "{context}");
}

#[test]
fn eight_requests_together_say_what_each_says_alone() {
    let trunk = "<|im_start|>system\nYou are a terse assistant.<|im_end|>\n<|im_start|>user\n";
    let questions = [
        "Name the capital of France.",
        "Count from one to ten.",
        "Write a sentence about rain.",
        "What is two plus two?",
        "List three colours.",
        "Translate 'good morning' into French.",
        "Who wrote Hamlet?",
        "Explain gravity briefly.",
    ];
    let prompts: Vec<String> = questions
        .iter()
        .map(|question| format!("{trunk}{question}<|im_end|>\n<|im_start|>assistant\n"))
        .collect();
    let alone: Vec<Vec<(Token, f32)>> = prompts
        .iter()
        .map(|prompt| {
            let handle = spawn(LlamaOptions {
                cells: 512,
                sequences: 1,
                ..Default::default()
            });
            collect(
                handle
                    .submit(request(&handle, prompt))
                    .expect("a valid request"),
            )
        })
        .collect();
    // Room for all, and so little room that requests are evicted and preempted.
    for cells in [2048, 192] {
        let handle = spawn(LlamaOptions {
            cells,
            sequences: 12,
            ..Default::default()
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
                assert_same(&collect(completion), &alone[index], &context);
            }
        }
        let stats = handle.stats();
        assert!(stats.cached_tokens > 0, "the common trunk is shared");
        if cells == 192 {
            assert!(stats.evictions > 0, "the small pool evicts: {stats:?}");
        }
    }
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
