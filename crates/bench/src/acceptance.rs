//! Drafted tokens by where they came from and how far into their draft: in `/metrics`, and in
//! reports.

use agentinfer_sam::{Acceptance, DraftSource};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The counter in `/metrics`. Labels of the tier stand before those that are read here.
const METRIC: &str = "agentinfer_engine_draft_tokens_total{";

/// The counts of a source at a position.
#[derive(Serialize, Deserialize)]
struct Row {
    source: String,
    /// From 1; 9 stands for all later ones, too.
    position: usize,
    drafted: u64,
    tested: u64,
    accepted: u64,
}

/// Writes a row for each source and position of which anything was drafted.
///
/// # Errors
/// Those of the serializer.
pub(crate) fn serialize<S: Serializer>(
    acceptance: &Acceptance,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let rows = acceptance.tallies().map(|(source, position, tally)| Row {
        source: source.as_str().to_owned(),
        position,
        drafted: tally.drafted,
        tested: tally.tested,
        accepted: tally.accepted,
    });
    serializer.collect_seq(rows)
}

/// Reads what was written.
///
/// # Errors
/// Those of the deserializer, and when a source has no known name.
pub(crate) fn deserialize<'a, D: Deserializer<'a>>(
    deserializer: D,
) -> Result<Acceptance, D::Error> {
    let mut acceptance = Acceptance::default();
    for row in Vec::<Row>::deserialize(deserializer)? {
        let source = DraftSource::named(&row.source);
        let unknown = || D::Error::custom(format!("{:?} is no source of drafts", row.source));
        let tally = acceptance.tally_mut(source.ok_or_else(unknown)?, row.position);
        tally.drafted += row.drafted;
        tally.tested += row.tested;
        tally.accepted += row.accepted;
    }
    Ok(acceptance)
}

/// The counts in the text of `/metrics`, over all tiers.
pub(crate) fn of_metrics(text: &str) -> Acceptance {
    let mut acceptance = Acceptance::default();
    for line in text.lines() {
        // What is not understood is of another version.
        let _ = add(&mut acceptance, line);
    }
    acceptance
}

/// Adds what a line says, if it is about drafted tokens.
fn add(acceptance: &mut Acceptance, line: &str) -> Option<()> {
    let (labels, value) = line.strip_prefix(METRIC)?.rsplit_once("} ")?;
    // From the end, because the model's name may be anything.
    let label = |name: &str| {
        let (_, value) = labels.rsplit_once(&format!("{name}=\""))?;
        value.split('"').next()
    };
    let source = DraftSource::named(label("source")?)?;
    let position = label("position")?.trim_end_matches('+').parse().ok()?;
    let count: u64 = value.parse().ok()?;
    let (tested, accepted) = match label("outcome")? {
        "accepted" => (count, count),
        "rejected" => (count, 0),
        _ => (0, 0),
    };
    let tally = acceptance.tally_mut(source, position);
    tally.drafted += count;
    tally.tested += tested;
    tally.accepted += accepted;
    Some(())
}

#[cfg(test)]
mod tests {
    use agentinfer_sam::Tally;
    use serde_json::{Value, json};

    use super::*;

    const METRICS: &str = r#"# TYPE agentinfer_engine_draft_tokens_total counter
agentinfer_engine_draft_tokens_total{tier="large",model="a \"source=\"b} c",source="session",position="1",outcome="accepted"} 30
agentinfer_engine_draft_tokens_total{tier="large",model="a \"source=\"b} c",source="session",position="1",outcome="rejected"} 8
agentinfer_engine_draft_tokens_total{tier="small",model="d",source="session",position="1",outcome="accepted"} 1
agentinfer_engine_draft_tokens_total{tier="small",model="d",source="forced",position="9+",outcome="untested"} 2
agentinfer_engine_draft_tokens_total{tier="small",model="d",source="moon",position="1",outcome="accepted"} 5
agentinfer_engine_drafted_tokens_total{tier="small",model="d"} 41
"#;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Report {
        #[serde(with = "super", default, skip_serializing_if = "Acceptance::is_empty")]
        acceptance: Acceptance,
    }

    #[test]
    fn counters_of_all_tiers_are_read_by_their_labels() {
        let acceptance = of_metrics(METRICS);
        let tally = |drafted, tested, accepted| Tally {
            drafted,
            tested,
            accepted,
        };
        let expected = [
            (DraftSource::Session, 1, tally(39, 39, 31)),
            (DraftSource::Forced, 9, tally(2, 0, 0)),
        ];
        assert_eq!(acceptance.tallies().collect::<Vec<_>>(), expected);
        assert!(of_metrics("agentinfer_engine_draft_tokens_total{ 3").is_empty());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let report = Report {
            acceptance: of_metrics(METRICS),
        };
        let written = serde_json::to_value(&report).expect("JSON");
        let rows = json!([
            {"source": "session", "position": 1, "drafted": 39, "tested": 39, "accepted": 31},
            {"source": "forced", "position": 9, "drafted": 2, "tested": 0, "accepted": 0},
        ]);
        assert_eq!(written["acceptance"], rows);
        let read = |value: Value| serde_json::from_value::<Report>(value);
        assert_eq!(read(written).expect("what was written"), report);
        // Older files have none, and what nobody drafted is not written.
        let none = read(json!({})).expect("an older file");
        assert!(none.acceptance.is_empty());
        assert_eq!(serde_json::to_string(&none).expect("JSON"), "{}");
        let mut moon = rows;
        moon[0]["source"] = json!("moon");
        assert!(read(json!({"acceptance": moon})).is_err());
    }
}
