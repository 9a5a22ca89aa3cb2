//! ONNX Runtime: the library, loaded once per process, and sessions of one thread each.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use ort::ep;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{TensorElementType, TensorRef};
use parking_lot::Mutex;

use super::Embedding;
use super::batch::Batch;
use super::load_error::{LoadError, Part};
use super::pool::Model;

/// ONNX Runtime lives as long as the process: it cannot be loaded a second time.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The process's only environment, loaded from `library`.
pub(super) fn environment(library: &Path) -> Result<Environment, LoadError> {
    let path =
        library.canonicalize().map_err(|source| unreadable(Part::Library, library, source))?;
    let mut loaded = LOADED.lock();
    if let Some((loaded, environment)) = &*loaded {
        return if *loaded == path {
            Ok(environment.clone())
        } else {
            Err(LoadError::AnotherLibrary { loaded: loaded.clone(), asked: path })
        };
    }
    // This comes before any other use of `ort`, whose lazy loading panics if it fails.
    let environment = ort::init_from(&path)
        .map_err(|error| library_error(&path, error))?
        .with_name("weir")
        .with_telemetry(false)
        .build()
        .map_err(|error| LoadError::Runtime(error.to_string()))?;
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

pub(super) fn unreadable(part: Part, path: &Path, source: std::io::Error) -> LoadError {
    let path = path.to_owned();
    match source.kind() {
        std::io::ErrorKind::NotFound => LoadError::Missing { part, path },
        _ => LoadError::Unreadable { part, path, source },
    }
}

fn library_error(path: &Path, error: ort::LoadDynamicError) -> LoadError {
    match error {
        ort::LoadDynamicError::BadVersion { version_str, path } => {
            LoadError::LibraryTooOld { path, found: version_str, needed_minor: ort::MINOR_VERSION }
        }
        other => LoadError::Broken {
            part: Part::Library,
            path: path.to_owned(),
            reason: other.to_string(),
        },
    }
}

/// A session of a text encoder. The model returns one vector per token, and the session averages
/// the vectors of each text.
pub(super) struct OnnxSession {
    session: Session,
    output: String,
    dimensions: usize,
    takes_type_ids: bool,
}

impl OnnxSession {
    /// Creates a session for `model`, the bytes of the file at `path`.
    pub(super) fn new(
        environment: &Environment,
        path: &Path,
        model: &[u8],
    ) -> Result<Self, LoadError> {
        let broken = |error: ort::Error| LoadError::Broken {
            part: Part::Model,
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let session = builder(environment)
            .map_err(|error| LoadError::Runtime(error.to_string()))?
            .commit_from_memory(model)
            .map_err(broken)?;
        let wrong = |reason: &str| LoadError::WrongShape {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let takes = |name: &str| session.inputs().iter().any(|input| input.name() == name);
        if !takes("input_ids") || !takes("attention_mask") {
            return Err(wrong("does not take both inputs"));
        }
        let takes_type_ids = takes("token_type_ids");
        if session.inputs().len() != 2 + usize::from(takes_type_ids) {
            return Err(wrong("takes inputs that Weir does not provide"));
        }
        let (output, dimensions) = token_vectors(&session)
            .ok_or_else(|| wrong("has no output with one vector per token"))?;
        Ok(Self { session, output, dimensions, takes_type_ids })
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }
}

/// A session that uses only the caller's thread, which sleeps when idle. The arena and the memory
/// pattern are off because they keep the memory of the largest batch forever: two sessions that
/// had run batches of 32 × 256 tokens held 1.6 GB with them and 0.3 GB without.
fn builder(environment: &Environment) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?
        .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build()])?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?)
}

/// The name of the output `[texts, tokens, dimensions]`, and its `dimensions`.
fn token_vectors(session: &Session) -> Option<(String, usize)> {
    session.outputs().iter().find_map(|output| {
        let shape = output.dtype().tensor_shape()?;
        let is_float = output.dtype().tensor_type() == Some(TensorElementType::Float32);
        match **shape {
            [_, _, dimensions] if is_float => {
                let dimensions = usize::try_from(dimensions).ok().filter(|&width| width > 0)?;
                Some((output.name().to_owned(), dimensions))
            }
            _ => None,
        }
    })
}

impl Model for OnnxSession {
    fn run(&mut self, batch: &Batch) -> Result<Vec<Embedding>, String> {
        self.token_means(batch).map_err(|error| error.to_string())
    }
}

impl OnnxSession {
    fn token_means(&mut self, batch: &Batch) -> ort::Result<Vec<Embedding>> {
        let shape = [batch.rows, batch.columns];
        let type_ids;
        let mut inputs = ort::inputs![
            "input_ids" => TensorRef::from_array_view((shape, batch.ids.as_slice()))?,
            "attention_mask" => TensorRef::from_array_view((shape, batch.mask.as_slice()))?,
        ];
        if self.takes_type_ids {
            type_ids = vec![0_i64; batch.ids.len()];
            let tensor = TensorRef::from_array_view((shape, type_ids.as_slice()))?;
            inputs.push(("token_type_ids".into(), tensor.into()));
        }
        let outputs = self.session.run(inputs)?;
        let (_, values) = outputs[self.output.as_str()].try_extract_tensor::<f32>()?;
        let expected = batch.rows * batch.columns * self.dimensions;
        if values.len() != expected || expected == 0 {
            let message = format!("its output has {} numbers instead of {expected}", values.len());
            return Err(ort::Error::new(message));
        }
        values
            .chunks_exact(batch.columns * self.dimensions)
            .zip(batch.mask.chunks_exact(batch.columns))
            .map(|(text, mask)| mean_of_unit_length(text, mask, self.dimensions))
            .collect::<Option<_>>()
            .ok_or_else(|| ort::Error::new("a vector is zero or not finite"))
    }
}

/// The mean of a text's token vectors without padding, scaled to length 1. `None` if the mean
/// is zero or not finite.
fn mean_of_unit_length(tokens: &[f32], mask: &[i64], dimensions: usize) -> Option<Embedding> {
    let mut sum = vec![0.0_f32; dimensions];
    for (token, _) in tokens.chunks_exact(dimensions).zip(mask).filter(|&(_, &mask)| mask == 1) {
        for (sum, value) in sum.iter_mut().zip(token) {
            *sum += value;
        }
    }
    // Dividing by the number of tokens would only change the length, which is normalised here.
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if !(length.is_finite() && length > 0.0) {
        return None;
    }
    Some(Embedding(sum.into_iter().map(|value| value / length).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_leaves_padding_out_and_has_length_one() {
        let tokens = [3.0, 0.0, 0.0, 4.0, 9.0, 9.0];
        let unit = Embedding([0.6, 0.8].into());
        assert_eq!(mean_of_unit_length(&tokens, &[1, 1, 0], 2), Some(unit));
        assert_eq!(mean_of_unit_length(&[0.0, 0.0], &[1], 2), None);
        assert_eq!(mean_of_unit_length(&[f32::NAN, 0.0], &[1], 2), None);
    }

    #[test]
    fn an_old_library_is_reported_with_its_version_and_the_one_needed() {
        let error = library_error(
            Path::new("/lib/libonnxruntime.so"),
            ort::LoadDynamicError::BadVersion {
                version_str: "1.17.3".into(),
                path: "/lib/libonnxruntime.so".into(),
            },
        );
        let message = error.to_string();
        for part in ["/lib/libonnxruntime.so", "1.17.3", "1.22 or newer", "cargo xtask setup"] {
            assert!(message.contains(part), "{part} in: {message}");
        }
    }
}
