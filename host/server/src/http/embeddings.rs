//! `POST /v1/embeddings`, in OpenAI's shape.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use weir_embedding::models::{Models, UnknownModel};
use weir_embedding::{EmbedError, Embedder, Embedding, Origin, Texts};

use super::app::App;
use super::body::ChargedBody;
use super::json;
use super::problem::{Problem, codes};
use super::tenant::TenantOf;

/// The most texts in one request.
const MAX_TEXTS: usize = 256;
const OVERLOADED_RETRY_SECONDS: u32 = 1;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    input: Input,
    model: String,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<u64>,
    /// OpenAI's id of the end user. Accepted and ignored.
    #[serde(rename = "user")]
    _user: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "input must be a string or a list of strings")]
enum Input {
    One(Arc<str>),
    Many(Vec<Arc<str>>),
}

/// What a request asks for.
struct Asked {
    texts: Texts,
    model: String,
    encoding_format: Encoding,
    dimensions: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Item<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Numbers<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers<'a> {
    Float(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// `POST /v1/embeddings`
pub(super) async fn embed(
    State(app): State<Arc<App>>,
    TenantOf(tenant): TenantOf,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    json::expect_json(&head.headers)?;
    let body = app.bodies.read(&tenant.name, body, &head.headers, app.body_limits()).await?;
    let max_bytes = app.server.max_body_bytes;
    let parse = move |ChargedBody { bytes, held }| Ok((asked(&bytes, max_bytes)?, held));
    // Held until the answer is made: the texts are as large as the body.
    let (asked, _held) = app.parsing.parse(&tenant.name, body, parse).await?;
    let embedder = model(&asked, &app.models)?;

    let deadline = Duration::from_millis(app.deadline_ms);
    let origin = Origin::api(tenant.name.as_str());
    let embedded = timeout(deadline, embedder.embed(&asked.texts, &origin))
        .await
        .map_err(|_| Problem::new(codes::DEADLINE_EXCEEDED, "Embedding the texts took too long."))?
        .map_err(Problem::from)?;
    let tokens = embedded.iter().map(|embedded| embedded.tokens).sum();
    let data = embedded.iter().enumerate();
    let data = data.map(|(index, of)| item(index, &of.vector, asked.encoding_format));
    let usage = Usage { prompt_tokens: tokens, total_tokens: tokens };
    let answer = Answer { object: "list", data: data.collect(), model: embedder.model(), usage };
    Ok(Json(answer).into_response())
}

/// What a body asks for. Checks the texts before it hashes them, which takes as long as parsing.
fn asked(body: &[u8], max_bytes: usize) -> Result<Asked, Problem> {
    let canonical = json::canonical(body, max_bytes)?;
    let typed: Typed = json::typed(&canonical, codes::INVALID_REQUEST, "The body")?;
    let texts = match typed.input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
    };
    check(&texts)?;
    let Typed { model, encoding_format, dimensions, .. } = typed;
    Ok(Asked { texts: Texts::new(texts), model, encoding_format, dimensions })
}

fn check(texts: &[Arc<str>]) -> Result<(), Problem> {
    if texts.len() > MAX_TEXTS {
        let detail = format!("input has {} texts; at most {MAX_TEXTS} are allowed.", texts.len());
        return Err(Problem::new(codes::INVALID_REQUEST, detail));
    }
    if texts.is_empty() {
        return Err(Problem::new(codes::EMPTY_INPUT, "input has no texts."));
    }
    if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
        let detail = format!("The text at index {index} of input is empty or blank.");
        return Err(Problem::new(codes::EMPTY_INPUT, detail));
    }
    Ok(())
}

/// The model that the request names, if it has what else is asked for.
fn model(asked: &Asked, models: &Models) -> Result<Arc<dyn Embedder>, Problem> {
    let embedder = models.get(&asked.model).map_err(|UnknownModel(given)| {
        let known: Vec<_> = models.names().map(|name| format!("'{name}'")).collect();
        let (given, known) = (given.escape_debug(), known.join(", "));
        let detail = format!("There is no model '{given}'; this server has {known}.");
        Problem::new(codes::UNKNOWN_MODEL, detail)
    })?;
    let dimensions = embedder.dimensions();
    if asked.dimensions.is_some_and(|given| given != dimensions as u64) {
        let model = embedder.model();
        let detail = format!("The vectors of '{model}' always have {dimensions} dimensions.");
        return Err(Problem::new(codes::INVALID_REQUEST, detail));
    }
    Ok(Arc::clone(embedder))
}

fn item(index: usize, Embedding(numbers): &Embedding, encoding: Encoding) -> Item<'_> {
    let embedding = match encoding {
        Encoding::Float => Numbers::Float(numbers),
        Encoding::Base64 => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            Numbers::Base64(BASE64.encode(bytes))
        }
    };
    Item { object: "embedding", index, embedding }
}

impl From<EmbedError> for Problem {
    fn from(error: EmbedError) -> Self {
        match error {
            EmbedError::TooLong { .. } | EmbedError::TooManyBytes { .. } => {
                Self::new(codes::TEXT_TOO_LONG, json::sentence(&error.to_string()))
            }
            EmbedError::Overloaded => {
                Self::new(codes::OVERLOADED, "The model is overloaded; try again soon.")
                    .retry_after(OVERLOADED_RETRY_SECONDS)
            }
            EmbedError::Failed(_) => {
                Self::new(codes::UNAVAILABLE, "The model is not available.").logged(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;
    use async_trait::async_trait;
    use weir_embedding::Embedded;

    struct Model;

    #[async_trait]
    impl Embedder for Model {
        fn model(&self) -> &str {
            "m"
        }
        fn model_digest(&self) -> &str {
            "d"
        }
        fn dimensions(&self) -> usize {
            2
        }
        fn count_tokens(&self, text: &str) -> usize {
            text.len()
        }
        async fn embed(&self, _: &Texts, _: &Origin) -> Result<Vec<Embedded>, EmbedError> {
            Err(EmbedError::Overloaded)
        }
    }

    fn texts(body: &str) -> Result<Texts, Problem> {
        let asked = asked(body.as_bytes(), 1 << 20)?;
        let models: [Arc<dyn Embedder>; 1] = [Arc::new(Model)];
        model(&asked, &Models::new("m", models).unwrap())?;
        Ok(asked.texts)
    }

    #[test]
    fn openais_shape_is_read() {
        for (body, count) in [
            (r#"{"input":"a","model":"m"}"#, 1),
            (r#"{"input":["a","b"],"model":"m","encoding_format":"base64","user":"u"}"#, 2),
            (r#"{"input":"a","model":"m","dimensions":2,"encoding_format":"float"}"#, 1),
        ] {
            assert_eq!(texts(body).unwrap().iter().len(), count, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_embedded_is_refused() {
        let many = format!(r#"{{"input":{},"model":"m"}}"#, serde_json::json!(vec!["a"; 257]));
        for (body, expected) in [
            (r#"{"input":"","model":"m"}"#, "empty-input"),
            (r#"{"input":[],"model":"m"}"#, "empty-input"),
            (r#"{"input":["a"," \n"],"model":"m"}"#, "empty-input"),
            (r#"{"input":"a","model":"other"}"#, "unknown-model"),
            (r#"{"input":"a"}"#, "invalid-request"),
            (r#"{"model":"m"}"#, "invalid-request"),
            (r#"{"input":1,"model":"m"}"#, "invalid-request"),
            (r#"{"input":["a",1],"model":"m"}"#, "invalid-request"),
            (r#"{"input":"a","model":"m","dimensions":1}"#, "invalid-request"),
            (r#"{"input":"a","model":"m","encoding_format":"hex"}"#, "invalid-request"),
            (r#"{"input":"a","model":"m","inputs":"b"}"#, "invalid-request"),
            (many.as_str(), "invalid-request"),
        ] {
            assert_eq!(texts(body).unwrap_err().code(), expected, "{body}");
        }
    }

    #[test]
    fn base64_is_little_endian_floats() {
        let embedding = Embedding(Arc::from([1.0_f32, -2.5]));
        let text = |encoding| serde_json::to_string(&item(3, &embedding, encoding)).unwrap();
        assert_eq!(
            text(Encoding::Base64),
            r#"{"object":"embedding","index":3,"embedding":"AACAPwAAIMA="}"#
        );
        assert_eq!(
            text(Encoding::Float),
            r#"{"object":"embedding","index":3,"embedding":[1.0,-2.5]}"#
        );
    }
}
