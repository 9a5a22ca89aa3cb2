//! Where bodies are parsed: small ones where they have been read, and large ones on threads of their
//! own.
//!
//! Parsing a megabyte takes as long as hundreds of answers from the cache, which must not wait for it on
//! the runtime's workers. So these threads have a lower priority, and serve the tenants in turn. Out of
//! scope: what bodies mean.

use std::collections::HashMap;
use std::io;

use weir_core::name::Name;
use weir_limits::priority::Work;
use weir_limits::threads::{Account, FairThreads};
use weir_limits::waited::Waited;

use super::body::ChargedBody;
use super::problem::Problem;

/// Parsing so much takes less time than handing it over twice.
const SMALL_BYTES: usize = 16 << 10;

/// The threads that parse large bodies. Dropping this stops them.
pub struct Parsing {
    tenants: HashMap<Name, Account>,
    _threads: FairThreads,
}

impl Parsing {
    /// Starts a thread for each core, for these tenants with their weights.
    ///
    /// # Errors
    /// The operating system refuses to start them.
    pub fn start<'a>(tenants: impl IntoIterator<Item = (&'a Name, u32)>) -> io::Result<Self> {
        let threads = FairThreads::start("weir-parse", Work::Shared, 0, None)?;
        let account = |weight| threads.account(threads.group(weight), 1, Waited::default());
        let tenants = tenants.into_iter();
        let tenants = tenants.map(|(name, weight)| (name.clone(), account(weight))).collect();
        Ok(Self { tenants, _threads: threads })
    }

    /// Does `parse` with a body of the tenant. What was taken of the memory for bodies goes with it, so a
    /// body stays charged when its client leaves before it is parsed.
    pub(super) async fn parse<T: Send + 'static>(
        &self,
        tenant: &Name,
        body: ChargedBody,
        parse: impl FnOnce(ChargedBody) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if body.bytes.len() <= SMALL_BYTES {
            return parse(body);
        }
        let Some(account) = self.tenants.get(tenant) else { return parse(body) };
        // Apart from the future of a small body, which would be as large.
        let parsed = Box::pin(account.spawn(async move { parse(body) }).ended());
        parsed.await.unwrap_or_else(|| Err(Problem::internal("parsing the body panicked")))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::thread;

    use super::super::body::Held;
    use super::*;

    /// The name of the thread that parses a body of so many bytes.
    async fn thread_of(parsing: &Parsing, tenant: &str, bytes: usize) -> Option<String> {
        let body = ChargedBody { bytes: vec![b' '; bytes].into(), held: Held::default() };
        let name = |_| Ok(thread::current().name().map(ToOwned::to_owned));
        parsing.parse(&Name::new(tenant).unwrap(), body, name).await.unwrap()
    }

    #[tokio::test]
    async fn large_bodies_are_parsed_on_threads_of_their_own() {
        let tenant = Name::new("t").unwrap();
        let parsing = Parsing::start([(&tenant, 1)]).unwrap();
        let here = thread::current().name().map(ToOwned::to_owned);
        assert_eq!(thread_of(&parsing, "t", SMALL_BYTES).await, here);
        let there = Some("weir-parse".to_owned());
        assert_eq!(thread_of(&parsing, "t", SMALL_BYTES + 1).await, there);
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_parsed_ends_its_request_and_nothing_else() {
        let tenant = Name::new("t").unwrap();
        let parsing = Parsing::start([(&tenant, 1)]).unwrap();
        let bytes = vec![b' '; SMALL_BYTES + 1].into();
        let body = ChargedBody { bytes, held: Held::default() };
        let panics = |_| -> Result<(), Problem> { panic!("as the test asked") };
        let problem = parsing.parse(&tenant, body, panics).await.unwrap_err();
        assert_eq!(problem.code(), "internal");
        assert!(thread_of(&parsing, "t", SMALL_BYTES + 1).await.is_some());
    }
}
