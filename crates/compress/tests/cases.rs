//! Results as tools return them: search hits, code, listings, logs, JSON, Chinese.

use agentinfer_compress::{
    Block, Moment, Options, Pins, Reject, accept, extract, plan, prompt, stub,
};
use agentinfer_protocol::{Message, Role};

fn count(text: &str) -> u32 {
    text.chars()
        .map(|c| if c.is_ascii() { 1 } else { 4 })
        .sum::<u32>()
        / 4
}

fn conversation(task: &str, thought: &str, result: &str) -> Vec<Message> {
    vec![
        Message::user(task),
        Message::assistant(thought),
        Message::new(Role::Tool, result),
    ]
}

fn distilled(task: &str, thought: &str, result: &str) -> Block {
    let messages = conversation(task, thought, result);
    let block = extract(&messages, 2, &count, &Options::default()).expect("short enough");
    assert!(
        f64::from(block.tokens) < 0.5 * f64::from(block.original_tokens),
        "{}",
        block.text
    );
    block
}

/// Checks that all are there, in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let (_, after) = rest
            .split_once(part)
            .unwrap_or_else(|| panic!("{part:?} is not (in order) in:\n{text}"));
        rest = after;
    }
}

#[test]
fn of_search_hits_those_stay_that_are_about_the_question() {
    let hit = |number: usize| {
        format!(
            "{number}. [Page {number} of a site](https://site{number}.org/some/long/path)\n\n\
             Many people like to cook at home, and some of them write about what they eat.\n\n"
        )
    };
    let answer = "6. [Twin towns - Wiki](https://wiki.org/Twin_towns)\n\n\
                  Wigan was twinned with the French city of Angers in 1988.\n\n";
    let hits = |range: std::ops::Range<usize>| range.map(hit).collect::<String>();
    let result = [&hits(1..6), answer, &hits(7..11)].concat();
    let block = distilled(
        "Which French city is Wigan twinned with?",
        "I search.",
        &result,
    );
    assert_in_order(
        &block.text,
        &["[distilled from ", "French city of Angers in 1988."],
    );
    assert!(!block.text.contains("https://site9.org"), "{}", block.text);
}

#[test]
fn of_code_what_was_spoken_of_stays_with_ends_and_signatures() {
    let mut lines = vec!["import os".to_owned()];
    for number in 0..60 {
        lines.push(format!("def helper_{number}(value):"));
        lines.push(format!("    return value + {number}"));
    }
    lines[60] = "    raise OverflowError('too large')".to_owned();
    lines.push("# end of file".to_owned());
    let block = distilled(
        "SelectDateWidget crashes with OverflowError",
        "I read helper_7 in widgets.py.",
        &lines.join("\n"),
    );
    let parts = [
        "import os",
        "def helper_7(value):",
        "    raise OverflowError",
        "# end of file",
    ];
    assert_in_order(&block.text, &parts);
    assert!(block.text.contains("\n…"), "{}", block.text);
}

#[test]
fn of_a_listing_paths_of_interest_stay() {
    let listing: String = (0..150)
        .map(|number| format!("./tests/part_{number}/views.py\n"))
        .chain(["./django/forms/widgets.py\n".to_owned()])
        .chain((0..50).map(|number| format!("./docs/part_{number}/index.txt\n")))
        .collect();
    let block = distilled(
        "The widgets of django forms crash",
        "find . -name '*.py'",
        &listing,
    );
    assert!(
        block.text.contains("./django/forms/widgets.py"),
        "{}",
        block.text
    );
}

#[test]
fn of_a_log_the_errors_stay() {
    let log: String = (0..120)
        .map(|number| match number {
            80 => "ERROR: could not open database".to_owned(),
            _ => format!("step {number} took some while and went as it should"),
        })
        .map(|line| line + "\n")
        .collect();
    let block = distilled("Deploy it.", "I run the script.", &log);
    assert_in_order(
        &block.text,
        &["step 0 ", "ERROR: could not open database", "step 119 "],
    );
}

#[test]
fn of_json_in_one_line_the_fields_of_interest_stay() {
    let row = |number: usize| {
        format!(
            "{{\"flight_number\":\"HAT{number}\",\"price\":{},\"status\":\"full\"}}",
            90 + number
        )
    };
    let rows: Vec<String> = (100..160).map(row).collect();
    let result = format!("[{}]", rows.join(","));
    let block = distilled("Book HAT136 please.", "I look for flights.", &result);
    assert!(block.text.contains("HAT136"), "{}", block.text);
}

#[test]
fn of_chinese_the_sentences_about_the_question_stay() {
    let filler = "这里介绍一些与问题没有关系的内容，读者可以略过这一段文字不看。".repeat(3);
    let result = [
        &filler,
        "吴承恩是明代小说家，一般认为他是《西游记》的作者，生于1500年前后。",
        &filler,
        &filler,
        &filler,
    ]
    .concat();
    let block = distilled("《西游记》的作者是谁？", "我来搜索作者。", &result);
    let parts = ["吴承恩是明代小说家，一般认为他是《西游记》的作者，生于1500年前后。"];
    assert_in_order(&block.text, &parts);
}

#[test]
fn ablations() {
    let result = "The tower of Pisa leans since 1178. ".repeat(40);
    let messages = conversation("When?", "I search.", &result);
    let bare = Options {
        summary: false,
        ..Options::default()
    };
    let block = extract(&messages, 2, &count, &bare).expect("a stub");
    assert_eq!(block, stub(&messages, 2, &count).expect("a stub"));
    assert!(block.text.contains(&block.handle) && !block.text.contains("Pisa"));
}

#[test]
fn what_another_call_returned_again_is_kept_once() {
    let result = "The tower of Pisa leans since 1178, they say. ".repeat(40);
    let mut messages = conversation("When did Pisa's tower lean?", "I search.", &result);
    messages.extend(conversation("And?", "Again.", &result).split_off(1));
    let [first, second] = [2, 4].map(|at| extract(&messages, at, &count, &Options::default()));
    let [first, second] = [first.expect("short"), second.expect("short")];
    assert!(
        first
            .text
            .contains("a later call returned exactly the same"),
        "{}",
        first.text
    );
    assert!(second.text.contains("leans since 1178"), "{}", second.text);
    assert_eq!(first.handle, second.handle);
}

#[test]
fn nothing_is_too_odd_to_be_distilled() {
    let options = Options::default();
    for result in [
        String::new(),
        " \n\t\n".to_owned(),
        "x".repeat(200_000),
        "\u{1F600}\u{200d}".repeat(5_000),
        "((((https://".repeat(2_000),
        "./../.././".repeat(5_000),
        "\"`“《".repeat(5_000),
        "1,2,3.4:5/6-7%".repeat(3_000),
        "A a ".repeat(10_000),
        "[also named: a; b]\n".repeat(500),
    ] {
        let messages = conversation("What is 12?", &result, &result);
        match extract(&messages, 2, &count, &options) {
            Ok(block) => assert!(block.tokens < block.original_tokens),
            Err(reject) => assert!(matches!(reject, Reject::NotShorter { .. }), "{reject}"),
        }
        assert_eq!(
            extract(&messages, 1, &count, &options),
            Err(Reject::NoResult)
        );
        assert_eq!(
            extract(&messages, 9, &count, &options),
            Err(Reject::NoResult)
        );
    }
}

#[test]
fn what_a_model_writes_is_taken_only_if_it_is_faithful() {
    let result = "In 1888 Peter Hermann Stillmark of Dorpat isolated ricin, a lectin. ".repeat(20);
    let messages = conversation("Who isolated ricin in 1888?", "I think Stillmark.", &result);
    let options = Options::default();
    let try_it = |written: &str| accept(&messages, 2, written, &count, &options);
    assert_eq!(try_it(" \n"), Err(Reject::Empty));
    let block = try_it("Stillmark isolated ricin in 1888.").expect("faithful");
    assert!(
        block.text.ends_with("Stillmark isolated ricin in 1888."),
        "{}",
        block.text
    );
    // What is missing is added.
    let block = try_it("He isolated it in Dorpat.").expect("completed");
    assert!(
        block.text.ends_with("[also named: Stillmark; 1888]"),
        "{}",
        block.text
    );
    let invented = vec!["1889".to_owned()];
    assert_eq!(
        try_it("Stillmark, 1888 or 1889."),
        Err(Reject::Invented(invented))
    );
    let long = try_it(&result);
    assert!(matches!(long, Err(Reject::NotShorter { .. })), "{long:?}");
    let asked = prompt(&messages, 2, &count, &options);
    assert_eq!(asked.len(), 2);
    assert_in_order(
        &asked[1].text(),
        &["Who isolated", "I think", "To be kept: ", "In 1888"],
    );
}

#[test]
fn pins_that_do_not_fit_are_a_reason_to_refuse() {
    let path = |number: u32| format!("./src/of_a_deep_folder/part_{number}.rs ");
    let paths: String = (100..150).map(path).collect();
    let messages = conversation(&paths, "", &paths);
    let block = extract(&messages, 2, &count, &Options::default());
    assert!(matches!(block, Err(Reject::NotShorter { .. })), "{block:?}");
    let block = accept(&messages, 2, "Many paths.", &count, &Options::default());
    assert!(matches!(block, Err(Reject::PinsLost(lost)) if lost.len() == 50));
}

#[test]
fn an_agent_that_reads_what_it_wrote_is_not_held_to_every_word() {
    let line = |number: u32| format!("value_{number} = {number}\n");
    let file: String = (0..300).map(line).collect();
    let messages = conversation("Set value_7.", &file, &file);
    let pins = Pins::of(&messages, 2);
    assert_eq!(pins.iter().count(), 64);
    assert!(pins.iter().any(|pin| pin == "value_7"));
    let block = extract(&messages, 2, &count, &Options::default()).expect("short enough");
    assert!(pins.missing(&block.text).is_empty());
}

#[test]
fn when_to_compress() {
    let mut messages = vec![Message::user("task")];
    for _ in 0..4 {
        messages.push(Message::assistant("thought"));
        messages.push(Message::new(Role::Tool, "result"));
    }
    // Results at 2, 4, 6 and 8.
    let tokens = [50, 50, 1_000, 50, 100, 50, 1_000, 50, 1_000];
    let options = Options {
        trigger_tokens: 3_000,
        recent_results: 1,
        ..Options::default()
    };
    let window = |fit_tokens| Moment::OverWindow { fit_tokens };
    for (moment, done, expected) in [
        // The third result has been read, the fourth has not; the second is too short.
        (Moment::EndOfLoop, vec![], (vec![2, 6], vec![], 1_854)),
        (Moment::InLoop, vec![], (vec![2, 6], vec![], 1_854)),
        (Moment::EndOfLoop, vec![2], (vec![6], vec![], 2_602)),
        (Moment::EndOfLoop, vec![2, 6], (vec![], vec![], 3_350)),
        (window(5_000), vec![], (vec![], vec![], 3_350)),
        (window(2_000), vec![], (vec![2, 6], vec![], 1_854)),
        (window(1_800), vec![], (vec![6], vec![2], 1_638)),
        (window(1_600), vec![], (vec![6], vec![2, 4], 1_574)),
        // Only what is recent is left: it does not fit.
        (window(100), vec![2, 6], (vec![], vec![2, 4, 6], 1_358)),
    ] {
        let planned = plan(
            &messages,
            &tokens,
            &|at| done.contains(&at),
            moment,
            &options,
        );
        let found = (planned.distil, planned.stub, planned.tokens);
        assert_eq!(found, expected, "{moment:?} {done:?}");
    }
    let cautious = Options {
        loop_share: 0.5,
        ..options.clone()
    };
    let planned = plan(&messages, &tokens, &|at| at == 2, Moment::InLoop, &cautious);
    assert!(planned.is_empty());
    let all = Options {
        recent_results: 0,
        ..options
    };
    let planned = plan(&messages, &tokens, &|_| false, Moment::EndOfLoop, &all);
    assert_eq!(planned.distil, [2, 6, 8]);
}

#[test]
fn a_short_record_keeps_all_its_facts() {
    let payment = |number: usize| {
        let id = format!("credit_card_{number}");
        serde_json::json!({"source": "credit_card", "id": id, "last_four": 7_000 + number})
    };
    let payments: Vec<_> = (1..20).map(payment).collect();
    let record = serde_json::json!({"user_id": "raj_lee_1", "payment_methods": payments});
    let pretty = serde_json::to_string_pretty(&record).expect("JSON");
    let messages = conversation("Change my flight.", "I look the user up.", &pretty);
    let block = extract(&messages, 2, &count, &Options::default()).expect("short enough");
    let line = "-: source credit_card, id credit_card_19, last_four 7019";
    assert_in_order(
        &block.text,
        &["user_id: raj_lee_1", "id credit_card_1,", line],
    );
}
