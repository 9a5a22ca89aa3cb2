//! The keyword leg's quality on the Cranfield collection, by whole documents.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::*;

/// Fields of each line of a JSONL file.
fn lines(path: PathBuf) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Normalised discounted cumulative gain at 10, with gains of one.
fn ndcg_at_10(found: &[Hit], relevant: &HashSet<String>) -> f64 {
    let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let ranks = found.iter().take(10).enumerate();
    let good = ranks.filter(|(_, hit)| relevant.contains(hit.document.as_str()));
    let ideal: f64 = (0..relevant.len().min(10)).map(gain).sum();
    good.map(|(rank, _)| gain(rank)).sum::<f64>() / ideal
}

#[tokio::test]
#[ignore = "needs WEIR_CRANFIELD, the folder of the Cranfield collection"]
async fn keyword_search_finds_what_was_judged_relevant() {
    let folder = PathBuf::from(std::env::var_os("WEIR_CRANFIELD").unwrap());
    let store = ExactStore::in_memory(DIMENSIONS);
    let field = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap().to_owned();
    let documents = lines(folder.join("documents.jsonl"));
    let texts = documents.iter().map(|line| {
        let text = format!("{}. {}", field(line, "title"), field(line, "text"));
        // The ranges of chunks do not matter here.
        let whole = IndexedChunk { end: 0, ..chunk(&text, [1.0, 0.0, 0.0]) };
        put(&field(line, "id"), 1, vec![whole])
    });
    store.apply(page(1, texts.collect())).await.unwrap();

    let mut relevant: HashMap<String, HashSet<String>> = HashMap::new();
    for line in std::fs::read_to_string(folder.join("qrels.tsv")).unwrap().lines().skip(1) {
        let mut fields = line.split('\t').map(str::to_owned);
        let (query, document) = (fields.next().unwrap(), fields.next().unwrap());
        relevant.entry(query).or_default().insert(document);
    }
    let queries = lines(folder.join("queries.jsonl"));
    let mut sum = 0.0;
    for query in &queries {
        let found = hits(&store, Query { limit: 10, ..words(&field(query, "text")) }).await;
        sum += ndcg_at_10(&found, &relevant[&field(query, "id")]);
    }
    let mean = sum / queries.len() as f64;
    println!("keyword nDCG@10 {mean:.4}");
    assert!(mean >= 0.505, "{mean}");
}
