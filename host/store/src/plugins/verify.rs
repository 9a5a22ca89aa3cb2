//! What is done at the start: every file is read, and what is not whole is put out of the way and
//! named.
//!
//! Out of scope: whether a plugin that is missing is needed.

use std::fs;

use weir_core::digest::PluginDigest;

use super::{DAMAGED, Entry, PluginFile, PluginFileError, PluginFiles};
use crate::data_folder::{sync_folder, unwritable};

/// What [`PluginFiles::verify`] has found, each in the order of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Plugins whose files are what was stored.
    pub whole: Vec<PluginFile>,
    /// Plugins whose files are damaged. They were set aside: `.damaged` follows the digest in
    /// their names now.
    pub damaged: Vec<PluginDigest>,
    /// Plugins whose files cannot be read, with the operating system's reason. They were left
    /// where they are.
    pub unreadable: Vec<(PluginDigest, String)>,
    /// The names of files that somebody had begun to write. They were removed.
    pub unfinished: Vec<String>,
    /// The names of what nobody has written here. It was left alone.
    pub foreign: Vec<String>,
}

impl PluginFiles {
    /// Reads all files, sets damaged ones aside, and removes what a crash has left unfinished.
    ///
    /// Called at the start: what is being written meanwhile would count as unfinished.
    ///
    /// # Errors
    /// The folder cannot be read or written. A file that cannot be read is no error.
    pub fn verify(&self) -> Result<Verified, PluginFileError> {
        let mut found = Verified::default();
        let mut named = Vec::new();
        for entry in self.entries()? {
            match entry? {
                Entry::Plugin(digest, _) => named.push(digest),
                Entry::Unfinished(name) => found.unfinished.push(name),
                Entry::Foreign(name) => found.foreign.push(name),
                Entry::SetAside => {}
            }
        }
        named.sort_unstable();
        found.unfinished.sort_unstable();
        found.foreign.sort_unstable();
        for digest in named {
            match self.check(digest) {
                Ok(bytes) => found.whole.push(PluginFile { digest, bytes }),
                Err(PluginFileError::Damaged { .. }) => found.damaged.push(digest),
                Err(PluginFileError::Unreadable { reason, .. }) => {
                    found.unreadable.push((digest, reason));
                }
                Err(PluginFileError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.tidy(&found)?;
        Ok(found)
    }

    fn tidy(&self, found: &Verified) -> Result<(), PluginFileError> {
        for digest in &found.damaged {
            let path = self.path(*digest);
            fs::rename(&path, self.folder.join(format!("{digest}{DAMAGED}")))
                .map_err(|error| unwritable(&path, &error))?;
        }
        for name in &found.unfinished {
            let path = self.folder.join(name);
            fs::remove_file(&path).map_err(|error| unwritable(&path, &error))?;
        }
        if found.damaged.is_empty() && found.unfinished.is_empty() {
            return Ok(());
        }
        Ok(sync_folder(&self.folder)?)
    }
}
