//! What is hosted: pipelines by name.

/// The pipelines that are hosted.
#[derive(Debug, Default)]
pub struct Registry;

impl Registry {
    /// The names of what is hosted, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
