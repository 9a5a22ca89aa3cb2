//! The files of plugins, by digest, in the folder `plugins` of the data folder.
//!
//! A file gets its name, which is its digest, when it is whole and durable, and never changes
//! after that. So a crash at any moment leaves the whole file or none, and at most a file with a
//! temporary name, which [`PluginFiles::verify`] removes at the next start. What is read is checked
//! against its digest each time: bytes that are damaged are never handed out.
//!
//! All functions block: async code calls them in `spawn_blocking`. Out of scope: what is in a
//! plugin, who has uploaded it ([`SystemStore`](crate::SystemStore)), and whether anything refers
//! to it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use weir_core::crash::{self, Point};
use weir_core::digest::PluginDigest;

use crate::data_folder::{make_folder, sync_folder, unwritable};
use crate::{DataFolder, TruthError};

#[cfg(test)]
mod tests;
mod verify;

pub use verify::Verified;

/// The folder within the data folder.
const FOLDER: &str = "plugins";
/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".tmp";
/// Follows the digest that a damaged file should have.
const DAMAGED: &str = ".damaged";

/// The largest file of a plugin, whoever allows it. What uploads may have is the listener's
/// decision, and less.
pub const MAX_PLUGIN_BYTES: u64 = 256 << 20;

/// The files of plugins. Every method can be called from several threads at once, except for
/// [`verify`](Self::verify).
#[derive(Clone, Debug)]
pub struct PluginFiles {
    folder: PathBuf,
}

/// A plugin's file, as the folder lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginFile {
    /// Which plugin it is.
    pub digest: PluginDigest,
    /// Its size.
    pub bytes: u64,
}

/// Why the file of a plugin cannot be stored or read.
#[derive(Debug, Error)]
pub enum PluginFileError {
    /// There is no such file.
    #[error("no plugin with the digest {0} is stored")]
    Missing(PluginDigest),
    /// The file's content is not what was stored.
    #[error("{path} is damaged: its digest is not its name. Upload the plugin again")]
    Damaged {
        /// Which plugin it was.
        digest: PluginDigest,
        /// Its file.
        path: String,
    },
    /// It is larger than any plugin may be.
    #[error("the plugin has {bytes} bytes, and at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The largest size.
        limit: u64,
    },
    /// The file or the folder cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// The operating system's reason.
        reason: String,
    },
    /// The file or the folder cannot be written. What was stored before is there.
    #[error(transparent)]
    Unwritable(#[from] TruthError),
}

impl PluginFiles {
    /// Opens the folder in the data folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(data: &DataFolder) -> Result<Self, TruthError> {
        let folder = data.path().join(FOLDER);
        make_folder(&folder)?;
        sync_folder(data.path())?;
        Ok(Self { folder })
    }

    /// Stores the file of a plugin durably, unless it is stored already. A damaged file is
    /// replaced.
    ///
    /// # Errors
    /// It is too large, or cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<PluginDigest, PluginFileError> {
        let size = bytes.len() as u64;
        if size > MAX_PLUGIN_BYTES {
            return Err(PluginFileError::TooLarge { bytes: size, limit: MAX_PLUGIN_BYTES });
        }
        let digest = PluginDigest::of(bytes);
        if self.check(digest).is_err() {
            // Random, so that each of several that store the same has its own.
            let name = format!("{digest}.{:016x}{UNFINISHED}", rand::random::<u64>());
            let unfinished = self.folder.join(name);
            let renamed = write_durably(&unfinished, bytes)
                .and_then(|()| fs::rename(&unfinished, self.path(digest)));
            if let Err(error) = renamed {
                // If it cannot be removed either, `verify` does it. The first error says more.
                let _ = fs::remove_file(&unfinished);
                return Err(unwritable(&self.path(digest), &error).into());
            }
            crash::at(Point::PluginRenamed);
        }
        // Also if it was there: whoever has renamed it may not have come as far as this.
        sync_folder(&self.folder)?;
        crash::at(Point::PluginStored);
        Ok(digest)
    }

    /// The content of a plugin's file, checked against its digest.
    ///
    /// # Errors
    /// There is none, it is damaged, or it cannot be read.
    pub fn read(&self, digest: PluginDigest) -> Result<Vec<u8>, PluginFileError> {
        let mut bytes = Vec::new();
        // One more than allowed, which is damaged then.
        let read = self.open_file(digest)?.take(MAX_PLUGIN_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(&self.path(digest), &error))?;
        if PluginDigest::of(&bytes) == digest { Ok(bytes) } else { Err(self.damaged(digest)) }
    }

    /// Whether there is a plugin's file. Its content is not read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn has(&self, digest: PluginDigest) -> Result<bool, PluginFileError> {
        let path = self.path(digest);
        path.try_exists().map_err(|error| unreadable(&path, &error))
    }

    /// Removes a plugin's file durably. Returns whether there was one. Whoever has read it keeps
    /// what was read.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn remove(&self, digest: PluginDigest) -> Result<bool, PluginFileError> {
        let path = self.path(digest);
        let was_there = match fs::remove_file(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(unwritable(&path, &error).into()),
        };
        crash::at(Point::PluginRemoved);
        sync_folder(&self.folder)?;
        Ok(was_there)
    }

    /// The files that have the name of a plugin, by digest. Their content is not read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<PluginFile>, PluginFileError> {
        let mut files = Vec::new();
        for entry in self.entries()? {
            if let Entry::Plugin(digest, bytes) = entry? {
                files.push(PluginFile { digest, bytes });
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// What is in the folder.
    fn entries(
        &self,
    ) -> Result<impl Iterator<Item = Result<Entry, PluginFileError>> + use<'_>, PluginFileError>
    {
        let failed = |error: io::Error| unreadable(&self.folder, &error);
        let entries = fs::read_dir(&self.folder).map_err(failed)?;
        Ok(entries.filter_map(move |entry| {
            match entry.and_then(|entry| Ok((entry.file_name(), entry.metadata()?))) {
                Ok((name, metadata)) => {
                    let name = name.to_string_lossy().into_owned();
                    Some(Ok(Entry::named(name, metadata.is_file(), metadata.len())))
                }
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => Some(Err(failed(error))),
            }
        }))
    }

    /// Reads the file of a plugin and returns its size, unless it is damaged.
    fn check(&self, digest: PluginDigest) -> Result<u64, PluginFileError> {
        let mut hash = Sha256::new();
        let bytes = io::copy(&mut self.open_file(digest)?, &mut hash)
            .map_err(|error| unreadable(&self.path(digest), &error))?;
        let found = PluginDigest(hash.finalize().into());
        if found == digest { Ok(bytes) } else { Err(self.damaged(digest)) }
    }

    fn open_file(&self, digest: PluginDigest) -> Result<File, PluginFileError> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PluginFileError::Missing(digest),
            _ => unreadable(&path, &error),
        })
    }

    fn path(&self, digest: PluginDigest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    fn damaged(&self, digest: PluginDigest) -> PluginFileError {
        PluginFileError::Damaged { digest, path: self.path(digest).display().to_string() }
    }
}

/// Something in the folder, as far as its name tells.
enum Entry {
    /// A plugin's file and its size.
    Plugin(PluginDigest, u64),
    /// A file that was being written.
    Unfinished(String),
    /// A damaged file that was set aside.
    SetAside,
    /// Nothing that is written here.
    Foreign(String),
}

impl Entry {
    fn named(name: String, is_file: bool, bytes: u64) -> Self {
        let parsed = name.parse();
        let digest_before = |end: &str| {
            let digest = name.strip_suffix(end).and_then(|name| name.get(..64));
            digest.is_some_and(|digest| digest.parse::<PluginDigest>().is_ok())
        };
        match parsed {
            _ if !is_file => Self::Foreign(name),
            Ok(digest) => Self::Plugin(digest, bytes),
            Err(_) if digest_before(UNFINISHED) => Self::Unfinished(name),
            Err(_) if digest_before(DAMAGED) => Self::SetAside,
            Err(_) => Self::Foreign(name),
        }
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    crash::at(Point::PluginCreated);
    file.write_all(bytes)?;
    file.sync_all()?;
    crash::at(Point::PluginWritten);
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> PluginFileError {
    let (path, reason) = (path.display().to_string(), error.to_string());
    PluginFileError::Unreadable { path, reason }
}
