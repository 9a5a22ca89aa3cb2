//! Who may administer: whoever has the token, and not too fast.

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use tokio::time::sleep;
use weir_limits::client::Client;
use weir_limits::rates::Rates;

use crate::http::problem::{Problem, codes};
use crate::identity::admin_token::AdminToken;

/// How many requests of a client with the token are answered a second. Further ones wait.
const REQUESTS_PER_SECOND: u32 = 200;
/// How many tokens a client may try a second.
const GUESSES_PER_SECOND: u32 = 2;

/// What requests of administrators are checked with.
pub(in crate::http) struct Access {
    token: Arc<AdminToken>,
    admins: Rates<Client>,
    /// Apart, so that whoever guesses does not keep out those who know.
    guesses: Rates<Client>,
}

impl Access {
    /// Lets in those who have this token.
    #[must_use]
    pub(in crate::http) fn new(token: Arc<AdminToken>) -> Self {
        let admins = Rates::per_second(REQUESTS_PER_SECOND);
        Self { token, admins, guesses: Rates::per_second(GUESSES_PER_SECOND) }
    }

    /// Returns once the request may be answered.
    ///
    /// # Errors
    /// 401 without the token, and 429 if the client has tried too many.
    pub(in crate::http) async fn admit(&self, head: &Parts, client: Client) -> Result<(), Problem> {
        if self.token.is_in(&head.headers) {
            sleep(self.admins.take(client, 1, Instant::now())).await;
            return Ok(());
        }
        let wait = self.guesses.take(client, 1, Instant::now());
        if wait.is_zero() {
            let detail = "Send the token in admin.token_file as 'Authorization: Bearer …'; it is accepted \
                          nowhere else, such as in the URL.";
            return Err(Problem::new(codes::INVALID_ADMIN_TOKEN, detail));
        }
        let detail =
            format!("At most {GUESSES_PER_SECOND} requests a second may come without the token.");
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Err(Problem::new(codes::RATE_LIMITED, detail).retry_after(seconds))
    }
}
