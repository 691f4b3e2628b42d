use agentinfer_agent::*;
use futures_util::StreamExt;
use std::sync::Arc;
#[path = "../../bench/src/score.rs"]
mod score;
use score::Score;
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |k: &str, d: &str| {
        a.iter()
            .position(|x| x == k)
            .map_or(d.to_owned(), |i| a[i + 1].clone())
    };
    let num = |k: &str, d: usize| get(k, &d.to_string()).parse::<usize>().unwrap();
    let set = get("--set", "hotpotqa");
    let d = AgentOptions::default();
    let (skip, n) = (num("--skip", 0), num("--n", 12));
    assert!(skip + n <= 40, "tuning lines only");
    let o = AgentOptions {
        rounds: num("--rounds", d.rounds),
        seeker_named: num("--sn", d.seeker_named),
        seeker_reads: num("--sr", d.seeker_reads),
        seeker_links: num("--sl", d.seeker_links),
        writer_reads: num("--wr", d.writer_reads),
        writer_links: num("--wl", d.writer_links),
        ..d
    };
    let llm: Arc<dyn Llm> = Arc::new(
        HttpLlm::new(
            &get("--server", "http://127.0.0.1:8090"),
            None,
            get("--model", "m"),
        )
        .unwrap(),
    );
    let tools = Tools::corpus(
        Corpus::open(format!("/work/shared/data/qa/{set}.corpus.jsonl").as_ref()).unwrap(),
    );
    let text = std::fs::read_to_string(format!("/work/shared/data/qa/{set}.tasks.jsonl")).unwrap();
    let dir = get("--traces", "/tmp/proto/traces");
    std::fs::create_dir_all(&dir).unwrap();
    let begun = std::time::Instant::now();
    let runs = text.lines().skip(skip).take(n).enumerate().map(|(i, l)| {
        let t: serde_json::Value = serde_json::from_str(l).unwrap();
        let (llm, tools, mut o, dir) = (llm.clone(), tools.clone(), o.clone(), dir.clone());
        o.trace = Some(format!("{dir}/{}.jsonl", i + skip).into());
        async move {
            let b = std::time::Instant::now();
            let mut log = String::new();
            let mut sink = |e: AgentEvent| { log.push_str("   "); log.push_str(&live_line(&e)); log.push('\n'); };
            let r = ResearchAgent::new(llm, tools, o).run(t["question"].as_str().unwrap(), &mut sink).await;
            let ans: Vec<String> = t["answers"].as_array().unwrap().iter().map(|x| x.as_str().unwrap().to_owned()).collect();
            match r { Ok(r) => { let s = Score::of(&r.answer, &ans);
                println!("{:.2} #{} {:?} -> {:?} gold {:?} {:.1}s calls {} prompt {} cached {} out {}\n{log}", s.f1, i + skip, t["question"].as_str().unwrap(), r.answer, ans, b.elapsed().as_secs_f64(), r.totals.llm_calls, r.totals.prompt_tokens, r.totals.cached_tokens, r.totals.completion_tokens); (s.f1, s.em, r.totals) }
                Err(e) => { println!("ERR {e}"); (0.0, 0.0, Totals::default()) } }
        }
    }).collect::<Vec<_>>();
    let rs: Vec<_> = futures_util::stream::iter(runs)
        .buffer_unordered(num("--sessions", 4))
        .collect()
        .await;
    let m = rs.len() as f64;
    println!(
        "TOTAL {set} n={} F1 {:.3} EM {:.3} wall/q {:.1}s calls {:.1} prompt {:.0} computed {:.0} out {:.0}",
        rs.len(),
        rs.iter().map(|r| r.0).sum::<f64>() / m,
        rs.iter().map(|r| r.1).sum::<f64>() / m,
        begun.elapsed().as_secs_f64() / m,
        rs.iter().map(|r| r.2.llm_calls as f64).sum::<f64>() / m,
        rs.iter().map(|r| r.2.prompt_tokens as f64).sum::<f64>() / m,
        rs.iter()
            .map(|r| (r.2.prompt_tokens - r.2.cached_tokens) as f64)
            .sum::<f64>()
            / m,
        rs.iter().map(|r| r.2.completion_tokens as f64).sum::<f64>() / m
    );
}
