//! What holds for any conversation and any text.

use agentinfer_compress::{
    Block, Moment, Options, Pins, accept, extract, handle, plan, prompt, recall, stub, view,
};
use agentinfer_protocol::{FunctionCall, Message, Role, ToolCall};
use proptest::prelude::*;

fn count(text: &str) -> u32 {
    text.len().div_ceil(4) as u32
}

/// Texts of words, numbers, paths, Chinese and whatever else there is.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => "[a-z]{2,7}",
        3 => "[A-Z][a-z]{2,7}",
        3 => "[0-9]{1,5}",
        2 => "\\./[a-z]{1,5}/[a-z_]{2,6}\\.py",
        1 => "https://[a-z]{3,6}\\.org/[a-z(]{1,6}",
        2 => "[西湖杭州城市。，《》]{1,6}",
        1 => "\\PC{0,6}",
        1 => Just("[error]".to_owned()),
    ];
    let space = prop_oneof![8 => Just(" "), 2 => Just("\n"), 1 => Just(". "), 1 => Just("")];
    proptest::collection::vec((word, space), 0..400).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(word, space)| word + space)
            .collect()
    })
}

fn call(id: usize) -> ToolCall {
    ToolCall {
        id: format!("call_{id}"),
        kind: "function".to_owned(),
        function: FunctionCall {
            name: "search".to_owned(),
            arguments: "{\"query\": \"Wigan 1988\"}".to_owned(),
        },
    }
}

/// A conversation with as many loops as there are pairs of an answer and its results.
fn conversation() -> impl Strategy<Value = Vec<Message>> {
    let step = (
        text(),
        proptest::collection::vec(text(), 0..3),
        any::<bool>(),
    );
    (text(), proptest::collection::vec(step, 0..6)).prop_map(|(task, steps)| {
        let mut messages = vec![Message::system("Be brief."), Message::user(task)];
        for (number, (thought, results, asked)) in steps.into_iter().enumerate() {
            let mut answer = Message::assistant(thought);
            answer.tool_calls = (!results.is_empty()).then(|| vec![call(number); results.len()]);
            messages.push(answer);
            for result in results {
                let mut message = Message::new(Role::Tool, result);
                message.tool_call_id = Some(format!("call_{number}"));
                messages.push(message);
            }
            if asked {
                messages.push(Message::user("And 1988?"));
            }
        }
        messages
    })
}

fn options(trigger: u32, recent: usize) -> Options {
    Options {
        trigger_tokens: trigger,
        recent_results: recent,
        least_tokens: 60,
        ..Options::default()
    }
}

fn tokens(messages: &[Message]) -> Vec<u32> {
    messages
        .iter()
        .map(|message| count(&message.text()))
        .collect()
}

fn moments() -> impl Strategy<Value = Moment> {
    prop_oneof![
        Just(Moment::EndOfLoop),
        Just(Moment::InLoop),
        (0..2000_u32).prop_map(|fit_tokens| Moment::OverWindow { fit_tokens }),
    ]
}

/// What is below a block's first line.
fn body(block: &Block) -> &str {
    block.text.split_once('\n').map_or("", |(_, body)| body)
}

proptest! {
    // Conversations are long to make up and to distil; 64 of them take a second or two a property.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_block_is_short_and_keeps_every_pin(messages in conversation()) {
        let options = options(0, 0);
        for (at, message) in messages.iter().enumerate() {
            let block = extract(&messages, at, &count, &options);
            if message.role != Role::Tool {
                prop_assert!(block.is_err());
                continue;
            }
            let Ok(block) = block else { continue };
            let original = message.text();
            prop_assert_eq!(&block.handle, &handle(&original));
            prop_assert_eq!(block.tokens, count(&block.text));
            prop_assert_eq!(block.original_tokens, count(&original));
            let most = f64::from(block.original_tokens) * options.most_share;
            prop_assert!(f64::from(block.tokens) <= most);
            prop_assert_eq!(Pins::of(&messages, at).missing(body(&block)), Vec::<String>::new());
            // A number that was asked for by itself is a pin by any measure.
            let task = messages[1].text();
            let digits = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
            let words = task.split_whitespace();
            for number in words.filter(|word| word.len() > 1 && digits(word)) {
                if original.split_whitespace().any(|word| word == number) {
                    prop_assert!(body(&block).contains(number), "{} lost", number);
                }
            }
        }
    }

    #[test]
    fn a_result_is_refused_only_if_its_pins_do_not_fit(
        messages in conversation(),
        most_share in 0.2..0.8_f64,
    ) {
        let options = Options { most_share, ..options(0, 0) };
        for (at, message) in messages.iter().enumerate() {
            let original = message.text();
            let tokens = count(&original);
            let pins: Vec<String> = Pins::of(&messages, at).iter().map(str::to_owned).collect();
            let bare = format!(
                "[distilled from {tokens} to {tokens} tokens; memory_recall(\"{}\") returns the \
                 original]\n[also named: {}]",
                handle(&original),
                pins.join("; ")
            );
            let most = (f64::from(tokens) * most_share) as u32;
            if message.role == Role::Tool && count(&bare) < most {
                let block = extract(&messages, at, &count, &options);
                prop_assert!(block.is_ok(), "{:?}", block);
            }
        }
    }

    #[test]
    fn what_is_kept_stands_in_the_original(messages in conversation()) {
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        for (at, message) in messages.iter().enumerate() {
            let Ok(block) = extract(&messages, at, &count, &options(0, 0)) else { continue };
            if body(&block).starts_with("[a later call") {
                continue;
            }
            let original = squeezed(&message.text());
            let kept = body(&block).split("[also named: ").next().unwrap_or_default();
            for line in kept.lines().flat_map(|line| line.split('…')) {
                prop_assert!(original.contains(&squeezed(line)), "{}", line);
            }
        }
    }

    #[test]
    fn the_view_is_the_same_conversation(messages in conversation(), some in any::<u64>()) {
        let blocks: Vec<Option<Block>> = (0..messages.len())
            .map(|at| extract(&messages, at, &count, &options(0, 0)).ok())
            .map(|block| block.filter(|block| (some >> (block.tokens % 64)) & 1 == 1))
            .collect();
        for reasoning in [true, false] {
            let options = Options { reasoning, ..Options::default() };
            let served = view(&messages, &|at| blocks[at].as_ref(), &options);
            prop_assert_eq!(served.len(), messages.len());
            for (at, (one, other)) in served.iter().zip(&messages).enumerate() {
                prop_assert_eq!(one.role, other.role);
                prop_assert_eq!(&one.tool_calls, &other.tool_calls);
                prop_assert_eq!(&one.tool_call_id, &other.tool_call_id);
                match (&blocks[at], other.role) {
                    (Some(block), Role::Tool) => prop_assert_eq!(one.text(), &block.text[..]),
                    (_, Role::Assistant) if !reasoning => {}
                    _ => prop_assert_eq!(one, other),
                }
            }
        }
    }

    #[test]
    fn plans_leave_recent_and_compressed_results_alone(
        messages in conversation(),
        moment in moments(),
        recent in 0..4_usize,
        trigger in 0..2000_u32,
        done in any::<u64>(),
    ) {
        let options = options(trigger, recent);
        let before = tokens(&messages);
        let compressed = |at: usize| (done >> (at % 64)) & 1 == 1;
        let planned = plan(&messages, &before, &compressed, moment, &options);
        let results: Vec<usize> =
            (0..messages.len()).filter(|at| messages[*at].role == Role::Tool).collect();
        let latest = &results[results.len().saturating_sub(recent)..];
        for at in planned.distil.iter().chain(&planned.stub) {
            prop_assert!(results.contains(at) && !latest.contains(at));
        }
        for at in &planned.distil {
            prop_assert!(!compressed(*at) && !planned.stub.contains(at));
            prop_assert!(before[*at] >= options.least_tokens);
            let read = messages[*at..].iter().any(|it| it.role == Role::Assistant);
            prop_assert!(read || recent == 0);
        }
        let total: u32 = before.iter().sum();
        let over = matches!(moment, Moment::OverWindow { fit_tokens } if total > fit_tokens);
        prop_assert!(over || planned.stub.is_empty());
        prop_assert!(over || total > trigger || planned.is_empty());
        prop_assert!(planned.tokens <= total);
    }

    #[test]
    fn a_plan_that_was_followed_leaves_nothing_to_do(
        messages in conversation(),
        moment in moments(),
        recent in 0..3_usize,
    ) {
        let options = options(300, recent);
        let mut tokens = tokens(&messages);
        let first = plan(&messages, &tokens, &|_| false, moment, &options);
        for at in &first.distil {
            let block = extract(&messages, *at, &count, &options);
            let meant = (f64::from(tokens[*at]) * options.target_share) as u32;
            tokens[*at] = block.map_or(tokens[*at], |block| block.tokens.min(meant));
        }
        for at in &first.stub {
            let left = stub(&messages, *at, &count);
            tokens[*at] = left.map_or(tokens[*at], |block| block.tokens);
        }
        let done = |at: usize| first.distil.contains(&at) || first.stub.contains(&at);
        let again = plan(&messages, &tokens, &done, moment, &options);
        prop_assert_eq!(again.distil, Vec::<usize>::new());
        if tokens.iter().sum::<u32>() <= first.tokens {
            prop_assert_eq!(again.stub, Vec::<usize>::new());
        }
    }

    #[test]
    fn what_a_model_writes_is_checked(messages in conversation(), written in text()) {
        let options = options(0, 0);
        for at in 0..messages.len() {
            let asked = prompt(&messages, at, &count, &options);
            prop_assert_eq!(asked.len(), if messages[at].role == Role::Tool { 2 } else { 0 });
            let Ok(block) = accept(&messages, at, &written, &count, &options) else { continue };
            let most = f64::from(block.original_tokens) * options.most_share;
            prop_assert!(f64::from(block.tokens) <= most);
            prop_assert_eq!(Pins::of(&messages, at).missing(body(&block)), Vec::<String>::new());
        }
    }

    #[test]
    fn recall_is_bounded_and_verbatim(
        original in text(),
        query in proptest::option::of(text()),
        most in 0..3000_usize,
    ) {
        let found = recall(&original, query.as_deref(), most);
        prop_assert!(found.len() <= most);
        if original.len() <= most {
            prop_assert_eq!(&found, &original);
        }
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        let all = squeezed(&original);
        for part in found.split('…') {
            prop_assert!(original.contains('…') || all.contains(&squeezed(part)), "{}", part);
        }
    }

    #[test]
    fn a_word_that_stands_alone_is_always_recalled(
        before in "[a-z ]{0,4000}",
        after in "[a-z \n]{0,4000}",
        number in 10_000..99_999_u32,
    ) {
        let original = format!("{before} {number} {after}");
        let found = recall(&original, Some(&number.to_string()), 600);
        prop_assert!(found.contains(&number.to_string()), "{}", found);
    }
}
