//! What the chats talk about: made up from a seed, never twice the same, nothing that repeats.

use fastrand::Rng;

/// About 300 tokens, as agents have them: who they are, what they may do, how to answer.
pub(super) const SYSTEM: &str = "\
You are the operations assistant of a mid-sized travel and logistics company with offices in \
eleven countries. Colleagues from planning, accounting, customer care and the depots write to \
you all day, and most of them are in a hurry. Answer in plain English and in full sentences, \
without headings, without lists and without an introduction; begin with the part that matters \
most to the person who asks.\n\
Keep to these rules. Give your reasons in the order in which somebody could check them. When a \
figure is missing, name it and say who would have it, instead of guessing. Distinguish what you \
know from what you assume. Never promise a delivery date, a refund or a discount; those are \
decided by the regional managers, whom you may suggest to call. If two departments would answer \
differently, describe both views fairly and say what would settle the matter. Mention the \
cheapest way to find out more, even when it is only a telephone call. Amounts are in euros, \
distances in kilometres, weights in kilograms and times in the local time of the depot concerned.\n\
The company ships furniture, machine parts and exhibition stands by road and rail, and books \
group travel for trade fairs. Its busiest months are March and October. Drivers must rest for \
forty-five minutes after four and a half hours at the wheel, and no depot may store goods of \
others for more than ninety days. Customers are told about delays of more than two hours.";

pub(super) const PLACES: [&str; 12] = [
    "Antwerp",
    "Bilbao",
    "Cluj",
    "Dublin",
    "Espoo",
    "Florence",
    "Ghent",
    "Hamburg",
    "Innsbruck",
    "Jelgava",
    "Krakow",
    "Lyon",
];
pub(super) const PEOPLE: [&str; 10] = [
    "a regional manager",
    "our new accountant",
    "the night dispatcher",
    "a retired driver",
    "the fair organiser",
    "a customs broker",
    "my deputy",
    "an auditor",
    "the depot foreman",
    "a long-standing customer",
];
pub(super) const GOODS: [&str; 10] = [
    "oak tables",
    "gearboxes",
    "glass partitions",
    "exhibition carpets",
    "pump housings",
    "office chairs",
    "display cases",
    "steel brackets",
    "folding stages",
    "control cabinets",
];
pub(super) const EVENTS: [&str; 10] = [
    "a burst water pipe",
    "a strike on the railway",
    "an unannounced inspection",
    "a software update",
    "the early snow",
    "a wrong address label",
    "a missing signature",
    "the closed motorway bridge",
    "a double booking",
    "an expired insurance policy",
];
pub(super) const MONTHS: [&str; 8] = [
    "January",
    "February",
    "April",
    "May",
    "June",
    "August",
    "September",
    "November",
];

/// A question of 30 to 60 tokens.
pub(super) fn question(random: &mut Rng) -> String {
    let (place, other) = two(random, &PLACES);
    let (goods, more) = two(random, &GOODS);
    let person = one(random, &PEOPLE);
    let event = one(random, &EVENTS);
    let month = one(random, &MONTHS);
    let (few, many) = (random.u32(11..99), random.u32(1_000..90_000));
    match random.u8(..6) {
        0 => format!(
            "Since {month}, order {many} with {few} {goods} has been waiting in {place} because \
             of {event}. Whom should I call first, and what would you tell {person} meanwhile?"
        ),
        1 => format!(
            "{event} has cost us {many} euros in {place}, says {person}. Which {few} percent of \
             that could better planning have saved, and how would I find out from {other}?"
        ),
        2 => format!(
            "How would you explain to {person} why {few} {goods} from {place} travel by rail, \
             while {more} for {other} go by road, although invoice {many} says otherwise?"
        ),
        3 => format!(
            "We store {many} kilograms of {goods} in {place} and expect {event} in {month}. Is it \
             wiser to move {few} percent of them to {other} now, or to wait for {person}?"
        ),
        4 => format!(
            "In {month} {person} asked for {few} seats from {place} to the fair in {other}, \
             reference {many}. What could go wrong with {event}, and what should be checked first?"
        ),
        _ => format!(
            "Compare two plans for {place}: renting {few} more bays for {goods}, or sending {more} \
             to {other} every week for {many} euros. Which questions would {person} raise?"
        ),
    }
}

/// A report of at least `tokens` tokens as `count` counts them.
pub(super) fn report(random: &mut Rng, tokens: usize, count: impl Fn(&str) -> usize) -> String {
    // The number comes first, so that two reports share no prefix.
    let mut report = format!("Report {} on the depots.", random.u32(10_000..1_000_000));
    while count(&report) < tokens {
        report += " ";
        report += &sentence(random);
    }
    report
}

/// A sentence of a report, of about 30 tokens.
pub(super) fn sentence(random: &mut Rng) -> String {
    let (place, other) = two(random, &PLACES);
    let (goods, event) = (one(random, &GOODS), one(random, &EVENTS));
    let (person, month) = (one(random, &PEOPLE), one(random, &MONTHS));
    let (few, many) = (random.u32(11..99), random.u32(1_000..90_000));
    match random.u8(..3) {
        0 => format!(
            "In {month} the depot of {place} took in {many} kilograms of {goods}, {few} percent \
             more than {other}, although {event} had kept it closed for days."
        ),
        1 => format!(
            "After {event}, {person} from {place} moved {few} pallets of {goods} to {other} and \
             paid {many} euros for it in {month}."
        ),
        _ => format!(
            "According to {person}, {few} of the {goods} that {place} sent to {other} in {month} \
             arrived late, and {event} was named as the cause {many} times."
        ),
    }
}

/// A question about a report, of about 20 tokens.
pub(super) fn short_question(random: &mut Rng) -> String {
    let (place, month) = (one(random, &PLACES), one(random, &MONTHS));
    let (goods, many) = (one(random, &GOODS), random.u32(1_000..90_000));
    format!("Does it say what {place} did with {many} kilograms of {goods} in {month}?")
}

pub(super) fn one(random: &mut Rng, list: &[&'static str]) -> &'static str {
    list[random.usize(..list.len())]
}

/// Two different ones.
pub(super) fn two(random: &mut Rng, list: &[&'static str]) -> (&'static str, &'static str) {
    let first = random.usize(..list.len());
    let second = (first + random.usize(1..list.len())) % list.len();
    (list[first], list[second])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    #[test]
    fn questions_depend_on_the_seed_alone_and_do_not_repeat() {
        let questions = || (0..500).map(|seed| question(&mut Rng::with_seed(seed)));
        assert!(questions().eq(questions()));
        assert_eq!(questions().collect::<BTreeSet<_>>().len(), 500);
        for question in questions() {
            assert!((22..=42).contains(&words(&question)), "{question}");
        }
    }

    #[test]
    fn a_report_is_as_long_as_asked_and_begins_like_no_other() {
        let report = |seed| report(&mut Rng::with_seed(seed), 900, words);
        for seed in 0..20 {
            assert!((900..940).contains(&words(&report(seed))));
        }
        let beginnings: BTreeSet<String> = (0..200).map(|seed| report(seed)[..12].into()).collect();
        assert!(beginnings.len() > 195);
    }

    #[test]
    fn two_are_never_the_same() {
        let mut random = Rng::with_seed(1);
        for _ in 0..1000 {
            let (a, b) = two(&mut random, &PLACES);
            assert_ne!(a, b);
        }
    }
}
