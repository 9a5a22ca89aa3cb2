//! Lets web pages of other origins call pipelines, where the operator allows it.
//!
//! A browser asks first, by a preflight, whether a page may send what it wants to send, and then whether
//! the page may read what was answered. Both depend on the pipeline's name alone, so that a preflight needs
//! no tenant, no key and no pipeline, and an error can be read like an answer. The headers are added when a
//! response is complete: what is in the cache is the same for all origins. Out of scope: what is allowed
//! ([`weir_runtime::pipeline::cors`]), and other routes, which pages of other origins cannot read.

use std::collections::BTreeMap;

use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use weir_core::name::Name;
use weir_runtime::pipeline::cors::{Cors as Config, Header};

use super::problem::{Problem, codes};

/// The methods of pipelines. That one answers only some of them is what it answers itself.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, QUERY");
/// The request headers that pipelines understand.
const USUAL_HEADERS: [&str; 6] = [
    "authorization",
    "cache-control",
    "content-type",
    "if-none-match",
    "weir-min-position",
    "x-request-id",
];

/// What pages may do with each pipeline.
pub struct Cors {
    /// By the names that are configured.
    by_name: BTreeMap<Name, Option<Rules>>,
    /// With all other names.
    others: Option<Rules>,
}

/// What pages may do with one pipeline.
struct Rules {
    /// The origins, sorted; `None` allows any.
    origins: Option<Vec<HeaderValue>>,
    allowed_headers: HeaderValue,
    exposed_headers: HeaderValue,
    max_age: HeaderValue,
    credentials: bool,
}

/// A request to a pipeline that pages may call.
pub(super) struct Asked<'a> {
    rules: &'a Rules,
    /// The page's origin, if it is one that may call it.
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl Cors {
    /// What the configuration allows; `None` if that is nothing.
    #[must_use]
    pub fn of<'a>(
        pipelines: impl Iterator<Item = (&'a Name, Option<&'a Config>)>,
        others: Option<&Config>,
    ) -> Option<Box<Self>> {
        let pipelines = pipelines.map(|(name, config)| (name.clone(), config.map(Rules::of)));
        let by_name: BTreeMap<_, _> = pipelines.collect();
        let others = others.map(Rules::of);
        let is_any = others.is_some() || by_name.values().any(Option::is_some);
        is_any.then(|| Box::new(Self { by_name, others }))
    }

    /// A request with this `head` to the pipeline `name`; `None` if no page may call that.
    pub(super) fn asked(&self, head: &Parts, name: &Name) -> Option<Asked<'_>> {
        let rules = self.by_name.get(name).unwrap_or(&self.others).as_ref()?;
        let origin = head.headers.get(header::ORIGIN);
        let is_preflight = head.method == Method::OPTIONS
            && origin.is_some()
            && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = origin.filter(|origin| rules.allow(origin)).cloned();
        Some(Asked { rules, origin, is_preflight })
    }
}

impl Rules {
    fn of(config: &Config) -> Self {
        let any = config.origins.iter().any(|origin| origin.is_any());
        let mut origins: Vec<_> =
            config.origins.iter().map(|origin| origin.value().clone()).collect();
        origins.sort();
        let added = config.allowed_headers.iter().map(Header::as_str);
        Self {
            origins: (!any).then_some(origins),
            allowed_headers: list(USUAL_HEADERS.into_iter().chain(added)),
            exposed_headers: list(config.exposed_headers.iter().map(Header::as_str)),
            max_age: HeaderValue::from(config.max_age_seconds),
            credentials: config.credentials && !any,
        }
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        self.origins.as_ref().is_none_or(|origins| origins.binary_search(origin).is_ok())
    }
}

/// Names, separated by commas.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> HeaderValue {
    let names: Vec<_> = names.collect();
    // Names are visible ASCII characters: never refused.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

impl Asked<'_> {
    /// The answer, if it is a preflight.
    pub(super) fn preflight(&self) -> Option<Response> {
        if !self.is_preflight {
            return None;
        }
        if self.origin.is_some() {
            return Some(StatusCode::NO_CONTENT.into_response());
        }
        let detail = "Pages of this origin may not call the pipeline; 'origins' in its [pipelines.NAME.cors] \
                      allows them.";
        Some(Problem::new(codes::ORIGIN_NOT_ALLOWED, detail).into_response())
    }

    /// Adds the headers that tell the browser what its page may do.
    pub(super) fn stamp(self, headers: &mut HeaderMap) {
        let Self { rules, origin, is_preflight } = self;
        let allowed = match (&rules.origins, origin) {
            // The same for everybody, also for who names no origin.
            (None, _) => HeaderValue::from_static("*"),
            (Some(_), origin) => {
                headers.append(header::VARY, HeaderValue::from_static("origin"));
                let Some(origin) = origin else { return };
                origin
            }
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if rules.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if is_preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            let (names, max_age) = (rules.allowed_headers.clone(), rules.max_age.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, max_age);
        } else if !rules.exposed_headers.is_empty() {
            let names = rules.exposed_headers.clone();
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }
}
