//! The models in service, by name, and which of them is the default.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::Embedder;

/// Embedders by the names that the operator chose.
pub struct Models {
    default: Arc<dyn Embedder>,
    by_name: BTreeMap<String, Arc<dyn Embedder>>,
}

/// The requested model does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no model '{0}'")]
pub struct UnknownModel(pub String);

impl Models {
    /// The models of a server. `default` names the model that indexes every collection, once it has
    /// taken over from the one before it.
    ///
    /// # Errors
    /// `default` is not among them.
    pub fn new(
        default: &str,
        models: impl IntoIterator<Item = Arc<dyn Embedder>>,
    ) -> Result<Self, UnknownModel> {
        let by_name: BTreeMap<_, _> =
            models.into_iter().map(|model| (model.model().to_owned(), model)).collect();
        let default = by_name.get(default).ok_or_else(|| UnknownModel(default.to_owned()))?;
        Ok(Self { default: Arc::clone(default), by_name })
    }

    /// The default model.
    #[must_use]
    pub fn default_model(&self) -> &Arc<dyn Embedder> {
        &self.default
    }

    /// The model whose files have this digest, if there is one: the default one if it has.
    #[must_use]
    pub fn of_digest(&self, digest: &str) -> Option<&Arc<dyn Embedder>> {
        let all = [&self.default].into_iter().chain(self.by_name.values());
        all.into_iter().find(|model| model.model_digest() == digest)
    }

    /// The model called `name`.
    ///
    /// # Errors
    /// No model has that name.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Embedder>, UnknownModel> {
        self.by_name.get(name).ok_or_else(|| UnknownModel(name.to_owned()))
    }

    /// All models, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Embedder>> {
        self.by_name.values()
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Everything about the models that an answer can depend on: the default model's name, and
    /// each model's name and digest.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let models = self.by_name.iter().map(|(name, model)| (name, model.model_digest()));
        let models: Vec<_> = models.collect();
        format!("{:?} of {models:?}", self.default.model())
    }
}
