//! Logs each message of its body's `say` at each level, with the field `n`, and then as many lines as `flood` says,
//! of 1,000 bytes. Then it traps if its body says `trap`, and otherwise answers with its body.

use weir_sdk::logging::{Level, log};
use weir_sdk::serde_json::Value;
use weir_sdk::{Failure, Pipeline, Request, Response};

const LEVELS: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

struct Logger;

impl Pipeline for Logger {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let body: Value = request.json()?;
        for message in body["say"].as_array().into_iter().flatten() {
            let message = message.as_str().unwrap_or_default();
            for (n, level) in LEVELS.into_iter().enumerate() {
                log(level, message, &[("n", &n.to_string())]);
            }
        }
        for n in 0..body["flood"].as_u64().unwrap_or_default() {
            log(Level::Info, &format!("{n:01000}"), &[]);
        }
        if body["trap"] == true {
            // This compiles to `unreachable`.
            std::process::abort()
        }
        Response::json(&body)
    }
}

weir_sdk::pipeline!(Logger);
