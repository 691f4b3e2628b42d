//! The engine on a real model (SmolLM2 135M), and damaged files.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use agentinfer_engine::{
    Completion, Engine, EngineHandle, EngineOptions, Event, Progress, Request, Sampling, Token,
    Vocabulary,
};
use agentinfer_llama::{LlamaError, LlamaOptions, open, open_vocabulary};

fn model_path() -> PathBuf {
    agentinfer_models::resolve("smollm2-135m")
        .expect("the test model is installed; `make test` does that")
}

/// One thread each: tests run side by side, and threads that wait for each other by spinning are
/// many times slower when they share cores.
fn spawn(options: LlamaOptions) -> EngineHandle {
    let options = LlamaOptions {
        threads: Some(1),
        ..options
    };
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
    greedy(&**handle.vocabulary(), text)
}

fn greedy(vocabulary: &dyn Vocabulary, text: &str) -> Request {
    let prompt = vocabulary.tokenize(text, false, true);
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

/// How far the lead of the best token over the runner-up may differ between two runs of the same
/// text, in nats. The kernels sum over cells in the order in which they lie, and round
/// activations to 8 bits between layers, so the last bit of a sum can become a step of a whole
/// quantum. Measured on this model: up to 0.7. (That the engine reads the right cells exactly is
/// shown without rounding on `SimModel`, in the engine's own tests; a wrong cell here moves the
/// lead by many nats.)
const ROUNDING: f32 = 1.5;

/// The two runs are the same text, and where they part, the model was undecided within the
/// kernels' rounding. Up to there every lead agrees within the same bound.
fn assert_same(together: &[(Token, f32)], alone: &[(Token, f32)], context: &str) {
    assert_eq!(together.len(), alone.len(), "{context}");
    for (index, (one, other)) in together.iter().zip(alone).enumerate() {
        let same = one.0 == other.0;
        let moved = if same {
            (one.1 - other.1).abs()
        } else {
            one.1 + other.1
        };
        assert!(
            moved <= ROUNDING,
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

#[test]
fn eight_requests_together_say_what_each_says_alone() {
    // Long enough that it is worth waiting for the first request to compute it.
    let trunk = "<|im_start|>system\nYou are a terse assistant. Answer every question in one short \
                 sentence, without a greeting, without a list, and without repeating the question. \
                 If you do not know the answer, say so.<|im_end|>\n<|im_start|>user\n";
    let prompts: Vec<String> = QUESTIONS
        .iter()
        .map(|question| format!("{trunk}{question}<|im_end|>\n<|im_start|>assistant\n"))
        .collect();
    let submit = |handle: &EngineHandle, prompt: &String| {
        handle
            .submit(request(handle, prompt))
            .expect("a valid request")
    };
    let alone: Vec<Vec<(Token, f32)>> = prompts
        .iter()
        .map(|prompt| {
            let handle = spawn(LlamaOptions {
                cells: 256,
                sequences: 1,
                ..Default::default()
            });
            collect(submit(&handle, prompt))
        })
        .collect();
    // Room for all, and so little room that requests are evicted and preempted.
    for cells in [2048, 256] {
        let handle = spawn(LlamaOptions {
            cells,
            sequences: 12,
            ..Default::default()
        });
        let together: Vec<Completion> = prompts.iter().map(|p| submit(&handle, p)).collect();
        // Others come and are cancelled in between.
        let others: Vec<Completion> = prompts.iter().take(3).map(|p| submit(&handle, p)).collect();
        drop(others);
        for (index, completion) in together.into_iter().enumerate() {
            let context = format!("{cells} cells, request {index}");
            assert_same(&collect(completion), &alone[index], &context);
        }
        let stats = handle.stats();
        assert!(stats.cached_tokens > 0, "the common trunk is shared");
        assert_eq!(
            stats.evictions > 0,
            cells < 512,
            "only the small pool evicts: {stats:?}"
        );
    }
}

#[test]
fn offloaded_cells_say_what_they_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = || {
        let options = LlamaOptions {
            cells: 512,
            sequences: 4,
            threads: Some(1),
            ..Default::default()
        };
        let opened = open(&model_path(), &options).expect("the test model opens");
        let engine = Engine::new(opened.model, opened.vocabulary, EngineOptions::default());
        let engine = engine.with_disk(folder.path(), 1 << 30).expect("a disk");
        EngineHandle::spawn("real", engine).expect("a thread starts")
    };
    let sessions = QUESTIONS.map(|question| {
        let filler = "Rain falls on hills and rivers carry it to the sea again. ".repeat(12);
        format!("{question} {filler}Answer: {question}")
    });
    let run = |handle: &EngineHandle, text: &str| {
        let submitted = handle.submit(request(handle, text));
        collect(submitted.expect("a valid request"))
    };
    let first = start();
    let said: Vec<_> = sessions.iter().map(|text| run(&first, text)).collect();
    let computed = first.stats().prefill_tokens;
    // Two sessions fit at a time, so each of these was evicted meanwhile.
    for (text, said) in sessions.iter().zip(&said) {
        assert_same(&run(&first, text), said, "after its eviction");
    }
    let stats = first.stats();
    assert!(stats.restored_tokens > 500, "{stats:?}");
    assert_eq!(stats.prefill_tokens, computed, "nothing was computed again");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime
        .expect("a runtime")
        .block_on(first.drain(Duration::from_secs(30)));
    let second = start();
    for (text, said) in sessions.iter().zip(&said) {
        assert_same(&run(&second, text), said, "in the next process");
    }
    assert_eq!(second.stats().prefill_tokens, 0, "all was found on disk");
}

/// Prompts come while others decode, so that steps take two passes; there is room for a few only,
/// so that cells are evicted and filled again.
#[test]
fn cells_laid_out_anew_say_what_they_said() {
    let trunk = "Rain falls on hills and rivers carry it to the sea again. ".repeat(6);
    let texts = QUESTIONS.map(|question| format!("{trunk}{}", question.repeat(12)));
    let play = |every: Option<usize>| {
        let options = LlamaOptions {
            cells: 512,
            sequences: 8,
            threads: Some(1),
            gpu_layers: 0,
            ..Default::default()
        };
        let opened = open(&model_path(), &options).expect("the test model opens");
        let vocabulary = opened.vocabulary.clone();
        let options = EngineOptions {
            offload_bytes: 0,
            ..EngineOptions::default()
        };
        let mut engine = Engine::new(opened.model, opened.vocabulary, options);
        let mut texts = texts.iter().peekable();
        let mut completions = Vec::new();
        for step in 0.. {
            if let Some(text) = texts.next_if(|_| step % 3 == 0) {
                let submitted = engine.submit(greedy(&*vocabulary, text));
                completions.push(submitted.expect("a valid request"));
            }
            if every.is_some_and(|every| step % every == 0) {
                assert!(engine.compact(), "cells can be copied");
            }
            if engine.step() == Progress::Idle && texts.peek().is_none() {
                break;
            }
        }
        let said: Vec<_> = completions.into_iter().map(collect).collect();
        (said, engine.stats())
    };
    let (said, before) = play(None);
    let (again, after) = play(Some(4));
    assert!(before.evictions > 0, "{before:?}");
    assert!(after.compactions > before.compactions + 10, "{after:?}");
    // What was shared still is, or less would have fitted.
    assert_eq!(after.evicted_cells, before.evicted_cells);
    for ((said, again), question) in said.iter().zip(&again).zip(QUESTIONS) {
        assert_same(again, said, question);
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
fn a_vocabulary_needs_no_weights() {
    let options = LlamaOptions {
        cells: 256,
        ..Default::default()
    };
    let whole = open(&model_path(), &options).expect("the test model opens");
    let alone = open_vocabulary(&model_path()).expect("its vocabulary opens");
    assert_eq!(alone.chat_template, whole.file.chat_template);
    assert_eq!(alone.bos_text, whole.file.bos_text);
    assert_eq!(alone.eos_text, whole.file.eos_text);
    assert_eq!(alone.vocabulary.len(), whole.vocabulary.len());
    for text in ["plain words", "<|im_start|>user\nnaïve 你好<|im_end|>"] {
        let tokens = alone.vocabulary.tokenize(text, false, true);
        assert_eq!(tokens, whole.vocabulary.tokenize(text, false, true));
    }
    let error = open_vocabulary("missing.gguf".as_ref()).expect_err("no file");
    assert!(matches!(error, LlamaError::File { .. }), "{error}");
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
