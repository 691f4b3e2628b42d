//! What agents do that say again what they have read or said: the work that drafts help with.
//!
//! Made up from a seed. All agents share a system prompt with a tool in it, as one agent program's
//! sessions do, and each sticks to one kind of work on material of its own.

use fastrand::Rng;

use super::prompts::{GOODS, MONTHS, PEOPLE, PLACES, one, sentence, two};

/// The agents' instructions, about 250 tokens.
pub(super) const AGENT_SYSTEM: &str = "\
You are an agent of a logistics company. You work step by step: each of your messages is either \
one tool call or exactly the text that was asked for, without an introduction and without \
comments.\n\n\
# Tool\n\
book_shipment(order_id: integer, origin: string, destination: string, goods: string, \
quantity: integer, weight_kg: number, month: string, insured: boolean, notify: array of \
strings)\n\n\
To call it, write one JSON object with the name of the tool and all of its arguments, as in \
this example:\n\
{\"name\": \"book_shipment\", \"arguments\": {\"order_id\": 10452, \"origin\": \"Metz\", \
\"destination\": \"Porto\", \"goods\": \"filing cabinets\", \"quantity\": 14, \"weight_kg\": 760, \
\"month\": \"March\", \"insured\": false, \"notify\": [\"the warehouse\", \
\"the sales office\"]}}\n\n\
# Rules\n\
Quote word for word and never shorten a quote. When a file is to be changed, return the whole \
file in one code block, also the lines that stay as they are. Change nothing that you \
were not asked to change.";

/// The kinds of work: tool calls, quotes, edits.
pub(super) const KINDS: usize = 3;

/// A session's requests, turn by turn.
pub(super) type Session = Vec<String>;

/// `count` agents' sessions, of each kind about as many.
pub(super) fn sessions(random: &mut Rng, count: usize) -> Vec<Session> {
    let session = |index| match index % KINDS {
        0 => tool_calls(random),
        1 => quotes(random),
        _ => edits(random),
    };
    (0..count).map(session).collect()
}

/// Calls of one tool with the same keys and other values.
fn tool_calls(random: &mut Rng) -> Session {
    let (origin, destination) = two(random, &PLACES);
    let (goods, other_goods) = two(random, &GOODS);
    let (person, month) = (one(random, &PEOPLE), one(random, &MONTHS));
    let [order, next, last] = [(); 3].map(|()| random.u32(10_000..99_999));
    let (quantity, weight) = (random.u32(11..99), random.u32(1_000..9_000));
    vec![
        format!(
            "Book order {order}: {quantity} {goods} of {weight} kg from {origin} to {destination} \
             in {month}, insured. Notify {person} and the depot."
        ),
        format!(
            "Now book order {next} in the same way, but with {} {other_goods}.",
            quantity + 7
        ),
        format!(
            "And order {last} like the last one, but in the other direction, from {destination} \
             to {origin}."
        ),
    ]
}

/// Quotes from a report that the first request brings.
fn quotes(random: &mut Rng) -> Session {
    let sentences: Vec<String> = (0..5).map(|_| sentence(random)).collect();
    // As much of a sentence as tells which is meant.
    let begins = |index: usize| {
        let words: Vec<&str> = sentences[index].split(' ').take(6).collect();
        words.join(" ")
    };
    vec![
        format!(
            "# Report {}\n{}\n\nQuote the sentence that begins with \"{}\".",
            random.u32(10_000..1_000_000),
            sentences.join("\n"),
            begins(2),
        ),
        format!(
            "Quote the two sentences that begin with \"{}\" and with \"{}\".",
            begins(1),
            begins(4)
        ),
        format!(
            "Quote the first three sentences of the report, from \"{}\" on.",
            begins(0)
        ),
    ]
}

/// Small changes of a file that the first request brings.
fn edits(random: &mut Rng) -> Session {
    const ITEMS: [&str; 6] = ["parcel", "crate", "order", "pallet", "truck", "container"];
    const NAMES: [&str; 6] = ["kept", "chosen", "accepted", "selected", "found", "ready"];
    let item = one(random, &ITEMS);
    let (name, new_name) = two(random, &NAMES);
    let (place, new_place) = two(random, &PLACES);
    let (limit, new_limit) = (random.u32(10..500), random.u32(500..999));
    vec![
        format!(
            "```python\n\
             def select_{item}s({item}s, limit={limit}):\n    \
             {name} = []\n    \
             for {item} in {item}s:\n        \
             if {item}[\"weight\"] > limit:\n            \
             log.info(\"%s is too heavy for {place}\", {item}[\"id\"])\n            \
             continue\n        \
             {item}[\"depot\"] = \"{place}\"\n        \
             {name}.append({item})\n    \
             return {name}\n\
             ```\n\n\
             Return the whole file with `{name}` renamed to `{new_name}`."
        ),
        format!("Return the whole file with the limit set to {new_limit}."),
        format!("Return the whole file with {place} replaced by {new_place}."),
    ]
}

/// A request for a story like no other.
pub(super) fn story(random: &mut Rng) -> String {
    let (place, month) = (one(random, &PLACES), one(random, &MONTHS));
    let (person, other) = two(random, &PEOPLE);
    let goods = one(random, &GOODS);
    let number = random.u32(1_000..90_000);
    format!(
        "Tell a surprising story in which {person} and {other} meet in {place} in {month}, and \
         {number} {goods} go missing. Never say anything twice."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_depend_on_the_seed_alone() {
        for count in [1, 3, 8] {
            let sessions = |seed| sessions(&mut Rng::with_seed(seed), count);
            assert_eq!(sessions(5), sessions(5));
            assert_eq!(sessions(5).len(), count);
            for (one, other) in sessions(5).iter().zip(sessions(6)) {
                assert_eq!(one.len(), other.len());
                assert_ne!(*one, other);
            }
        }
        let story = |seed| story(&mut Rng::with_seed(seed));
        assert_eq!(story(5), story(5));
        assert_ne!(story(5), story(6));
    }

    #[test]
    fn what_is_to_be_said_again_was_said_in_the_first_request() {
        for seed in 0..50 {
            let sessions = sessions(&mut Rng::with_seed(seed), KINDS);
            let [calls, quotes, edits] = &sessions[..] else {
                panic!("one session of each kind")
            };
            // The part of a request between two marks.
            let marked = |request: &str, mark: char| {
                let parts = request.split(mark).skip(1).step_by(2);
                parts.map(str::to_owned).collect::<Vec<_>>()
            };
            let places = calls[2].rsplit_once(", from ").unwrap().1;
            let (destination, origin) = places.split_once(" to ").unwrap();
            let origin = origin.trim_end_matches('.');
            assert!(calls[0].contains(&format!("from {origin} to {destination}")));
            for begins in quotes.iter().flat_map(|request| marked(request, '"')) {
                let line = format!("\n{begins} ");
                assert!(quotes[0].contains(&line), "{begins} in {}", quotes[0]);
            }
            let renamed = edits[0].rsplit_once("with `").unwrap().1;
            let name = renamed.split('`').next().unwrap();
            assert!(edits[0].contains(&format!("return {name}\n")));
            assert!(AGENT_SYSTEM.contains("the whole file"));
        }
    }
}
