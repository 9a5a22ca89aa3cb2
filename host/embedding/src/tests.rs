//! The real model: its vectors, its errors, its chunks, and the loader's messages for bad
//! files.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is its message")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::chunks::split;
use super::expected::Expected;
use super::onnx::{OnnxConfig, OnnxEmbedder};
use super::{EmbedError, Embedder, Embedding, Origin, Texts};

fn file(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run the tests with `cargo xtask test`"))
        .into()
}

fn config() -> OnnxConfig {
    OnnxConfig {
        sessions: 1,
        ..OnnxConfig::new(
            file("WEIR_ONNXRUNTIME_LIBRARY"),
            file("WEIR_MODEL"),
            file("WEIR_TOKENIZER"),
        )
    }
}

fn fresh() -> Arc<OnnxEmbedder> {
    OnnxEmbedder::load(config(), Arc::default()).unwrap()
}

/// One model for the tests that only read from it.
fn shared() -> &'static OnnxEmbedder {
    static SHARED: OnceLock<Arc<OnnxEmbedder>> = OnceLock::new();
    SHARED.get_or_init(fresh)
}

fn texts(texts: &[&str]) -> Texts {
    Texts::new(texts.iter().copied())
}

async fn catch_up(embedder: &OnnxEmbedder, asked: &Texts) -> Vec<Embedding> {
    let embedded = embedder.embed(asked, &Origin::catch_up("t")).await.unwrap();
    embedded.into_iter().map(|embedded| embedded.vector).collect()
}

fn api() -> Origin {
    Origin::api("t")
}

fn dot(a: &Embedding, b: &Embedding) -> f32 {
    a.0.iter().zip(b.0.iter()).map(|(a, b)| a * b).sum()
}

#[tokio::test]
async fn the_golden_text_has_the_golden_vector() {
    let golden = Expected::all_minilm_l6_v2();
    let vectors = catch_up(shared(), &texts(&[&golden.golden_text])).await;
    assert_eq!((vectors[0].0.len(), shared().dimensions()), (384, 384));
    for (found, expected) in vectors[0].0.iter().zip(&golden.golden_components) {
        assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
    }
}

#[tokio::test]
async fn a_text_has_the_same_vector_alone_and_in_any_batch() {
    let words = "heat transfer in a laminar boundary layer over a cooled blunt body 合金 émigré ";
    let mut asked = Vec::new();
    // Texts of similar length share batches; some have 3 tokens, some fill the window.
    for words_in_text in [1, 2, 3, 20, 21, 22, 40, 41, 120, 121, 122, 150] {
        for variant in ["", "the ", "is it "] {
            let text: String = words.split_inclusive(' ').cycle().take(words_in_text).collect();
            asked.push(format!("{variant}{text}"));
        }
    }
    let embedder = fresh();
    let together = catch_up(&embedder, &Texts::new(asked.clone())).await;
    let batches = embedder.inner().counts().batches;
    assert!(batches < asked.len() as u64, "nothing shared a batch");
    for (text, in_batch) in asked.iter().zip(&together) {
        let alone = &catch_up(&embedder, &texts(&[text])).await[0];
        assert!((dot(alone, alone) - 1.0).abs() < 1e-5, "not of unit length: {text}");
        assert!(dot(alone, in_batch) >= 0.99999, "{} for {text}", dot(alone, in_batch));
    }
}

#[tokio::test]
async fn odd_texts_have_vectors_and_long_ones_are_refused() {
    let embedder = shared();
    for odd in ["", " ", "\0", "!!!", "😀", "[SEP]", "\u{200b}", &"x".repeat(20_000)] {
        let embedded = &embedder.embed(&texts(&[odd]), &api()).await.unwrap()[0];
        assert!((dot(&embedded.vector, &embedded.vector) - 1.0).abs() < 1e-5, "{odd:?}");
        assert_eq!(embedded.tokens, embedder.count_tokens(odd), "{odd:?}");
    }
    assert_eq!(embedder.embed(&texts(&[]), &api()).await, Ok(Vec::new()));

    let fits = "heat ".repeat(254);
    assert_eq!(embedder.count_tokens(&fits), 256);
    assert!(embedder.embed(&texts(&[&fits]), &Origin::catch_up("t")).await.is_ok());
    for (repeats, at_least) in [(255, 257), (20_000, 513)] {
        let long = "heat ".repeat(repeats);
        for origin in [api(), Origin::catch_up("t")] {
            match embedder.embed(&texts(&["fits", &long]), &origin).await {
                Err(EmbedError::TooLong { index: 1, tokens, max_tokens: 256 }) => {
                    assert!((at_least..=repeats + 2).contains(&tokens), "{tokens}");
                }
                other => panic!("{repeats} words: {other:?}"),
            }
        }
    }
    let max_bytes = embedder.max_bytes();
    assert_eq!(max_bytes, 128 << 10);
    let most = "x".repeat(max_bytes);
    assert!(embedder.embed(&texts(&[&most]), &api()).await.is_ok());
    for (long, bytes) in [(most + "x", max_bytes + 1), ("x".repeat(5 << 20), 5 << 20)] {
        for origin in [api(), Origin::pipeline("t", "p"), Origin::catch_up("t")] {
            let found = embedder.embed(&texts(&["fits", "fits", &long]), &origin).await;
            let expected = EmbedError::TooManyBytes { index: 2, bytes, max_bytes };
            assert_eq!(found, Err(expected), "{origin:?}");
        }
    }
}

#[tokio::test]
async fn a_text_is_computed_once_for_all_who_ask_for_it() {
    let embedder = fresh();
    let asked = texts(&["shock wave", "wing flutter", "shock wave"]);
    let api = api();
    let also_asked = texts(&["wing flutter", "shock wave"]);
    let (one, other) =
        tokio::join!(embedder.embed(&asked, &api), embedder.embed(&also_asked, &api));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((&one[0], &one[1]), (&one[2], &other[0]));
    assert_ne!(one[0], one[1]);
    assert_eq!(embedder.inner().counts().embedded_texts, 2);
    assert_eq!(embedder.embed(&asked, &api).await.unwrap(), one);
    assert_eq!(embedder.inner().counts().embedded_texts, 2);
}

/// Each case breaks a valid configuration; the message names the file and the fix.
#[test]
fn the_error_for_a_missing_or_wrong_file_names_it_and_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let junk = folder.path().join("junk");
    std::fs::write(&junk, "not what it should be").unwrap();
    let gone = folder.path().join("gone");
    type Break = fn(&mut OnnxConfig, &Path);
    let digest: Break = |config, _| {
        let expected = config.expected.as_mut().unwrap();
        expected.model_sha256 = "00".repeat(32);
    };
    let vector: Break = |config, _| {
        let expected = config.expected.as_mut().unwrap();
        expected.golden_components[3] = 0.5;
    };
    let trusting_model: Break = |config, path| {
        (config.model, config.expected) = (path.to_owned(), None);
    };
    let trusting_tokenizer: Break = |config, path| {
        (config.tokenizer, config.expected) = (path.to_owned(), None);
    };
    let setup = "cargo xtask setup";
    let cases: [(&Path, Break, &[&str]); 10] = [
        (&gone, |c, p| c.library = p.into(), &["library", "gone", "missing", setup]),
        (&junk, |c, p| c.library = p.into(), &["ONNX Runtime", "junk", "embedding.library"]),
        (&gone, |c, p| c.model = p.into(), &["model", "gone", "missing", "embedding.model", setup]),
        (&junk, |c, p| c.model = p.into(), &["model", "junk", "sha-256", "8199be6f69", setup]),
        (&junk, trusting_model, &["junk", "not a usable model", setup]),
        (&gone, |c, p| c.tokenizer = p.into(), &["tokenizer", "gone", "missing", setup]),
        (&junk, |c, p| c.tokenizer = p.into(), &["tokenizer", "junk", "sha-256", "be50c362"]),
        (&junk, trusting_tokenizer, &["junk", "not a usable tokenizer", setup]),
        (&junk, digest, &["sha-256", "8199be6f69", "0000", setup]),
        (&junk, vector, &["wrong vector", "component 3", "0.5", setup]),
    ];
    // Loads the library, which the cases expect, whichever test runs first.
    shared();
    for (path, break_it, parts) in cases {
        let mut config = config();
        break_it(&mut config, path);
        let message =
            OnnxEmbedder::load(config, Arc::default()).err().expect("a broken file").to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} in: {message}");
        }
    }
}

fn split_texts(text: &str) -> Vec<&str> {
    let chunks = split(text, shared());
    let mut end = 0;
    chunks
        .into_iter()
        .map(|chunk| {
            let (start, chunk_end) = (chunk.start as usize, chunk.end as usize);
            assert!(end <= start, "chunks overlap or are out of order");
            end = chunk_end;
            let chunk = &text[start..chunk_end];
            assert_eq!(chunk, chunk.trim());
            assert!(chunk.len() <= shared().max_bytes(), "{} bytes", chunk.len());
            assert!(shared().count_tokens(chunk) <= 256, "over the window: {chunk}");
            chunk
        })
        .collect()
}

#[test]
fn short_texts_are_one_chunk_and_texts_without_words_have_none() {
    let whole = "First paragraph. It has two sentences.\n\nSecond paragraph.";
    let cases: [(&str, &[&str]); 8] = [
        ("", &[]),
        (" \n\t\u{3000} ", &[]),
        ("!!! --- …", &[]),
        ("😀 👩‍👩‍👧", &[]),
        ("x", &["x"]),
        ("  a trimmed text \n", &["a trimmed text"]),
        (whole, &[whole]),
        ("C++ 😀", &["C++ 😀"]),
    ];
    for (text, expected) in cases {
        assert_eq!(split_texts(text), expected, "{text:?}");
    }
}

#[test]
fn long_texts_are_cut_at_the_best_boundary_and_keep_every_word() {
    let sentence = "The boundary layer separates where the pressure gradient is adverse. ";
    let prose = sentence.repeat(200);
    for chunk in split_texts(&prose) {
        assert!(chunk.starts_with("The ") && chunk.ends_with("adverse."), "{chunk}");
    }
    let paragraphs = format!("{}\n\n", sentence.repeat(15)).repeat(4);
    assert_eq!(split_texts(&paragraphs), [sentence.repeat(15).trim_end(); 4]);

    let cases = [
        prose.clone(),
        // One word that is too long for the vocabulary, then more words than a section holds.
        format!("{} {}", "x".repeat(50_000), "heat ".repeat(20_000)),
        "a-b".repeat(5_000),
        "境界層は逆圧力勾配で剥離する".repeat(2_000),
        "\u{e01}\u{e32}\u{e23}\u{e44}\u{e2b}\u{e25}".repeat(3_000),
        "wing 😀👩‍👩‍👧".repeat(3_000),
        format!("{}word{}", " \n".repeat(40_000), " ".repeat(40_000)),
        "e\u{301}".repeat(9_000),
        // Words of more bytes than a text may have.
        "x".repeat(200_000),
        format!("heat {0} wing {0}", "境".repeat(50_000)),
        format!("a{}b", " ".repeat(200_000)),
    ];
    for text in &cases {
        let words = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
        let kept: usize = split_texts(text).into_iter().map(words).sum();
        assert_eq!(kept, words(text), "{:?}…", text.chars().take(20).collect::<String>());
    }
    assert_eq!(split_texts(&"x".repeat(5_000)).len(), 1, "one unknown word is one token");
}
