//! A policy's plan, compiled to the extractors that compute a key, and the request that the guest
//! sees as a result. No guest code runs here.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use weir_bindings::policy::weir::policy::types as wit;
use weir_cache::key::KeyBuilder;
use weir_core::name::Name;

pub use self::error::PlanError;
use self::error::{MAX_PARTS, MAX_TRANSFORMS};
use self::projection::Projection;
use self::storage::at_most;
pub use self::storage::{Lifetime, Longest, Storage, Timeouts};
use crate::request::{Coverage, KeyedRequest, Source};

mod error;
mod projection;
mod storage;
#[cfg(test)]
mod tests;
mod transform;

/// The longest time that a failure is kept: a day.
const MAX_FAILURE_TTL_MS: u64 = 24 * 3_600_000;

/// How long a failure is kept, if it is.
pub(super) fn failure_ttl(
    name: &'static str,
    ms: Option<u64>,
) -> Result<Option<Duration>, PlanError> {
    at_most(name, ms, MAX_FAILURE_TTL_MS)
}

/// A compiled plan.
#[derive(Debug)]
pub struct Plan {
    /// Starts a fresh key space when it changes.
    pub key_epoch: u32,
    /// How an answer is stored if the policy does not export `admission`.
    pub storage: Storage,
    /// How long requests wait.
    pub timeouts: Timeouts,
    /// How long a failure of the pipeline is kept, if it is.
    pub failure_ttl: Option<Duration>,
    /// What the key covers.
    pub coverage: Coverage,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Body,
    Field { pointer: String, names: Vec<String>, transforms: Vec<wit::Transform> },
    Header { name: HeaderName, transforms: Vec<wit::Transform> },
    QueryParameter { name: String, transforms: Vec<wit::Transform> },
}

impl Plan {
    /// Compiles the plan that the `plan` of this policy returned.
    ///
    /// # Errors
    /// The plan is invalid, or its parts overlap.
    pub fn compile(policy: &Name, plan: wit::KeyPlan) -> Result<Self, PlanError> {
        if plan.key.is_empty() {
            return Err(PlanError::Empty);
        }
        if plan.key.len() > MAX_PARTS {
            return Err(PlanError::TooManyParts(plan.key.len()));
        }
        let parts: Vec<Part> = plan.key.into_iter().map(compile_part).collect::<Result<_, _>>()?;
        refuse_overlaps(&parts)?;
        Ok(Self {
            key_epoch: plan.key_epoch,
            storage: Storage::compile(policy, plan.storage)?,
            timeouts: Timeouts::compile(plan.timeouts)?,
            failure_ttl: failure_ttl("failure-ttl-ms", plan.failure_ttl_ms)?,
            coverage: coverage(&parts),
            parts,
        })
    }

    /// What the plan makes of a request and says of its answer, apart from how long that lives: two plans with
    /// the same fingerprint give a request the same key, the guest the same request, and the answer the same
    /// tags.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let Self { key_epoch, storage, parts, .. } = self;
        let said = format!("{key_epoch} {parts:?} {:?}", storage.tags);
        blake3::hash(said.as_bytes()).to_hex().to_string()
    }

    /// The longest that answers live of which the plan decides.
    #[must_use]
    pub fn longest(&self) -> Longest {
        self.storage.longest()
    }

    /// Feeds the parts of `source` to `key`, in the plan's order.
    pub fn hash(&self, source: &Source<'_>, key: &mut KeyBuilder) {
        for part in &self.parts {
            match part.value(source) {
                Some(value) => key.part(&value),
                None => key.absent(),
            };
        }
    }

    /// The first parts of `source`, in the plan's order, as they are hashed.
    #[must_use]
    pub fn first_parts<'a>(
        &'a self,
        source: &'a Source<'_>,
        most: usize,
    ) -> Vec<Option<Cow<'a, [u8]>>> {
        self.parts.iter().take(most).map(|part| part.value(source)).collect()
    }

    /// The names and the texts of all parts of `source`, for people.
    #[must_use]
    pub fn named_parts(&self, source: &Source<'_>) -> Vec<(String, Option<String>)> {
        let text = |value: Cow<'_, [u8]>| String::from_utf8_lossy(&value).into_owned();
        self.parts.iter().map(|part| (part.name(), part.value(source).map(text))).collect()
    }

    /// The names of all parts, for people.
    pub fn part_names(&self) -> impl Iterator<Item = String> {
        self.parts.iter().map(Part::name)
    }

    /// The request as the guest sees it: the parts of the key have the form that was hashed.
    #[must_use]
    pub fn request(&self, source: &Source<'_>) -> KeyedRequest {
        let mut request = source.request();
        let mut fields = Projection::default();
        let mut has_fields = false;
        for part in &self.parts {
            let value = part.value(source);
            match part {
                Part::Body => {}
                Part::Field { names, .. } => {
                    has_fields = true;
                    if let Some(value) = value {
                        fields.insert(names, value.into_owned());
                    }
                }
                Part::Header { name, .. } => {
                    let value = value.and_then(|value| HeaderValue::from_bytes(&value).ok());
                    if let Some(value) = value {
                        request.headers.insert(name, value);
                    }
                }
                Part::QueryParameter { name, .. } => {
                    request.query.retain(|(known, _)| known != name);
                    if let Some(value) = value {
                        let value = String::from_utf8_lossy(&value).into_owned();
                        request.query.push((name.clone(), value));
                    }
                }
            }
        }
        if has_fields {
            let mut body = Vec::with_capacity(source.body.text().len());
            fields.write(&mut body);
            request.body = Bytes::from(body);
        }
        request
    }

    /// The pointers and JSON texts of the fields that the plan names, for the policy's hooks.
    #[must_use]
    pub fn fields(&self, source: &Source<'_>) -> Vec<(String, String)> {
        let field = |part: &Part| match part {
            Part::Field { pointer, .. } => {
                let text = String::from_utf8_lossy(&part.value(source)?).into_owned();
                Some((pointer.clone(), text))
            }
            _ => None,
        };
        self.parts.iter().filter_map(field).collect()
    }

    /// The headers in the key, for `Vary`.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.parts.iter().filter_map(|part| match part {
            Part::Header { name, .. } => Some(name),
            _ => None,
        })
    }
}

impl Part {
    /// What it is, in the words of the WIT.
    fn name(&self) -> String {
        match self {
            Self::Body => "body".to_owned(),
            Self::Field { pointer, .. } => format!("json-field {pointer}"),
            Self::Header { name, .. } => format!("header {name}"),
            Self::QueryParameter { name, .. } => format!("query-parameter {name}"),
        }
    }

    fn value<'a>(&self, source: &'a Source<'_>) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Body => Some(Cow::Borrowed(source.body.text())),
            Self::Field { pointer, transforms, .. } => {
                source.body.pointer(pointer).map(|value| transform::json(value, transforms))
            }
            Self::Header { name, transforms } => {
                let value = source.headers.get(name)?;
                match value.to_str() {
                    Ok(text) => Some(into_bytes(transform::text(text, transforms))),
                    Err(_) => Some(Cow::Borrowed(value.as_bytes())),
                }
            }
            Self::QueryParameter { name, transforms } => {
                let text = source.query_parameter(name)?;
                Some(into_bytes(transform::text(text, transforms)))
            }
        }
    }
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn compile_part(part: wit::KeyPart) -> Result<Part, PlanError> {
    let transforms = part.transforms;
    if transforms.len() > MAX_TRANSFORMS {
        return Err(PlanError::TooManyTransforms(transforms.len()));
    }
    Ok(match part.source {
        wit::Source::Body => whole_body(&transforms)?,
        wit::Source::JsonField(pointer) if pointer.is_empty() => whole_body(&transforms)?,
        wit::Source::JsonField(pointer) => {
            let names = names(&pointer).ok_or_else(|| PlanError::Pointer(pointer.clone()))?;
            Part::Field { pointer, names, transforms }
        }
        wit::Source::Header(name) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Part::Header { name, transforms },
            Err(_) => return Err(PlanError::Header(name)),
        },
        wit::Source::QueryParameter(name) => Part::QueryParameter { name, transforms },
    })
}

fn whole_body(transforms: &[wit::Transform]) -> Result<Part, PlanError> {
    if transforms.is_empty() { Ok(Part::Body) } else { Err(PlanError::BodyTransform) }
}

/// The member names in a pointer. Names that could be array indices are refused: the body that
/// the guest receives is built from these names, and would have an object in place of the array.
fn names(pointer: &str) -> Option<Vec<String>> {
    let name = |token: &str| {
        let is_index = !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit());
        let escapes_end = token.replace("~0", "").replace("~1", "").contains('~');
        (!is_index && token != "-" && !escapes_end)
            .then(|| token.replace("~1", "/").replace("~0", "~"))
    };
    pointer.strip_prefix('/')?.split('/').map(name).collect()
}

fn refuse_overlaps(parts: &[Part]) -> Result<(), PlanError> {
    let has_body = parts.iter().any(|part| matches!(part, Part::Body));
    let mut seen: Vec<&[String]> = Vec::new();
    for part in parts {
        let Part::Field { pointer, names, .. } = part else { continue };
        let overlaps = |other: &&[String]| other.starts_with(names) || names.starts_with(other);
        if has_body || seen.iter().any(overlaps) {
            return Err(PlanError::Overlap(pointer.clone()));
        }
        seen.push(names);
    }
    Ok(())
}

fn coverage(parts: &[Part]) -> Coverage {
    let mut coverage = Coverage::default();
    for part in parts {
        match part {
            Part::Body | Part::Field { .. } => coverage.body = true,
            Part::Header { name, .. } => {
                coverage.headers.insert(name.as_str().to_owned());
            }
            Part::QueryParameter { name, .. } => {
                coverage.query.insert(name.clone());
            }
        }
    }
    coverage
}
