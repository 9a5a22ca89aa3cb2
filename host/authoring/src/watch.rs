//! The sources of a crate, looked at again and again: whether something else is saved now than before.
//!
//! A crate has a few dozen files, which a look at takes well under a millisecond, and works on every file
//! system, also on those of containers and networks that send no events. So there is no crate for it, and no limit
//! of watches to run into. Events would only say when to look.
//!
//! What is looked at is the folder without `target`, `Cargo.lock`, which a build may write, and hidden
//! files other than `.cargo`. Out of scope: sources that are elsewhere, which `path` dependencies can name.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use walkdir::{DirEntry, WalkDir};

/// The most files that are looked at.
const MAX_FILES: usize = 10_000;

/// The sources cannot be looked at.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There are more than anybody writes.
    #[error(
        "{} has more than {MAX_FILES} files: give the folder of the plugin's crate, or move what is not source \
         into a folder named target", .0.display()
    )]
    TooMany(PathBuf),
}

/// What tells a file from what it was before, without reading it: its inode, its size, and when it changed.
type Stamp = (u64, u64, i64, i64);
type Stamps = BTreeMap<PathBuf, Stamp>;

/// The sources in a folder.
#[derive(Debug)]
pub struct Sources {
    folder: PathBuf,
    /// What was there when it was last taken for settled.
    seen: Stamps,
    content: [u8; 32],
    /// What was there at the last look, if that was something else.
    unsettled: Option<Stamps>,
}

impl Sources {
    /// The sources as they are now.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of(folder: &Path) -> Result<Self, WatchError> {
        let seen = look(folder)?;
        let content = content(&seen)?;
        Ok(Self { folder: folder.to_owned(), seen, content, unsettled: None })
    }

    /// How many files there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Whether the sources are others than when this was last true. An editor may write several files, or one in
    /// parts, so it is only said when two looks in a row have found the same; and not if only times differ.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn changed(&mut self) -> Result<bool, WatchError> {
        let now = look(&self.folder)?;
        if now == self.seen {
            self.unsettled = None;
            return Ok(false);
        }
        if self.unsettled.as_ref() != Some(&now) {
            self.unsettled = Some(now);
            return Ok(false);
        }
        let content = content(&now)?;
        (self.seen, self.unsettled) = (now, None);
        let is_other = content != self.content;
        self.content = content;
        Ok(is_other)
    }
}

fn is_source(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    match entry.depth() {
        0 => true,
        1 if name == "target" || name == "Cargo.lock" => false,
        _ => name == ".cargo" || !name.starts_with('.'),
    }
}

fn look(folder: &Path) -> Result<Stamps, WatchError> {
    let mut stamps = Stamps::new();
    for entry in WalkDir::new(folder).into_iter().filter_entry(is_source) {
        let found = entry.and_then(|entry| Ok((entry.metadata()?, entry.into_path())));
        let (metadata, path) = match found {
            Ok(found) => found,
            // An editor has removed it meanwhile.
            Err(error) if is_gone(&error) && error.depth() > 0 => continue,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                return Err(WatchError::Unreadable { path, source: error.into() });
            }
        };
        if !metadata.is_file() {
            continue;
        }
        let stamp = (metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec());
        stamps.insert(path, stamp);
        if stamps.len() > MAX_FILES {
            return Err(WatchError::TooMany(folder.to_owned()));
        }
    }
    Ok(stamps)
}

fn is_gone(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn content(of: &Stamps) -> Result<[u8; 32], WatchError> {
    let mut hasher = Sha256::new();
    for path in of.keys() {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(WatchError::Unreadable { path: path.clone(), source }),
        };
        let name = path.as_os_str().as_encoded_bytes();
        for part in [name, &bytes] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Ok(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn crate_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in ["src/lib.rs", "target/old.wasm", "Cargo.lock", ".git/index", "plugin.toml"] {
            save(folder.path(), path, "a");
        }
        folder
    }

    fn save(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What the next looks say.
    fn looks<const N: usize>(sources: &mut Sources) -> [bool; N] {
        std::array::from_fn(|_| sources.changed().unwrap())
    }

    #[test]
    fn a_save_is_noticed_once_and_only_when_it_has_settled() {
        let folder = crate_folder();
        let mut sources = Sources::of(folder.path()).unwrap();
        assert_eq!(sources.count(), 2);
        assert_eq!(looks(&mut sources), [false, false]);
        save(folder.path(), "src/lib.rs", "the first part");
        assert_eq!(looks(&mut sources), [false]);
        save(folder.path(), "src/lib.rs", "the first part and the second");
        assert_eq!(looks(&mut sources), [false, true, false, false]);
        fs::remove_file(folder.path().join("plugin.toml")).unwrap();
        assert_eq!(looks(&mut sources), [false, true, false]);
        save(folder.path(), ".cargo/config.toml", "new");
        assert_eq!(looks(&mut sources), [false, true, false]);
    }

    #[test]
    fn what_a_build_or_an_editor_writes_is_not_noticed() {
        let folder = crate_folder();
        let mut sources = Sources::of(folder.path()).unwrap();
        for path in ["target/new.wasm", "Cargo.lock", ".git/HEAD", "src/.lib.rs.swp"] {
            save(folder.path(), path, "something else");
            assert_eq!(looks(&mut sources), [false, false, false], "{path}");
        }
        // Written again, with the same text.
        save(folder.path(), "src/lib.rs", "other");
        save(folder.path(), "src/lib.rs", "a");
        assert_eq!(looks(&mut sources), [false, false, false]);
    }

    #[test]
    fn a_folder_that_is_not_there_or_has_too_many_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Sources::of(&folder.path().join("absent")).unwrap_err();
        assert!(matches!(error, WatchError::Unreadable { .. }), "{error}");
        for number in 0..=MAX_FILES {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        let error = Sources::of(folder.path()).unwrap_err();
        assert!(matches!(error, WatchError::TooMany(_)), "{error}");
    }
}
