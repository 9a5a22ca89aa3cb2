//! A pipeline that greets whoever the request names. Each request gets a fresh instance, so there is nothing to
//! clean up, and nothing of one request reaches another.

use weir_sdk::serde::{Deserialize, Serialize};
use weir_sdk::{Failure, Pipeline, Request, Response, settings};

/// What a request's body must be.
#[derive(Deserialize)]
#[serde(crate = "weir_sdk::serde", deny_unknown_fields)]
struct Question {
    name: String,
}

/// What the answer's body is.
#[derive(Serialize)]
#[serde(crate = "weir_sdk::serde")]
struct Answer {
    greeting: String,
}

struct Greeter;

impl Pipeline for Greeter {
    async fn handle(request: Request) -> Result<Response, Failure> {
        // A body that does not fit is answered with 400 `invalid-body`.
        let question: Question = request.json()?;
        // What the operator has set, or the default of plugin.toml.
        let greeting = settings::get("greeting").unwrap_or_default();
        Response::json(&greet(&greeting, question)?)
    }
}

/// What needs no host is tested with `cargo test`.
fn greet(greeting: &str, question: Question) -> Result<Answer, Failure> {
    let name = question.name.trim();
    if name.is_empty() {
        // A failure has a code that programs can act on, and a message for people.
        return Err(Failure::invalid_request("no-name", "'name' is blank"));
    }
    Ok(Answer { greeting: format!("{greeting}, {name}!") })
}

weir_sdk::pipeline!(Greeter);

#[cfg(test)]
mod tests {
    use super::*;

    fn greeted(name: &str) -> Option<String> {
        greet("Hello", Question { name: name.to_owned() }).ok().map(|answer| answer.greeting)
    }

    #[test]
    fn a_name_is_greeted_and_a_blank_one_is_refused() {
        assert_eq!(greeted(" Ada ").as_deref(), Some("Hello, Ada!"));
        assert_eq!(greeted(" "), None);
    }
}
