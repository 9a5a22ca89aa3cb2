//! Compiled code in the data folder, so that a start need not compile again.
//!
//! The code is executed, so only what this host has written is loaded: each file has a MAC of its name and its
//! content, by a key that only the server's user can read. Whatever else a file holds, it is deleted, and the
//! component is compiled again; so nothing here need survive a crash whole. The data folder is locked, so
//! there is one writer. Out of scope: who compiles (the module above).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;
use tracing::warn;
use wasmtime::component::Component;

use super::code::{self, CodeId};
use crate::engine::component::{LoadError, exceeds_pool, refused};

const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
/// How the name of a file with code ends.
const CODE: &str = "code";
/// How the name of a file that is being written ends.
const UNFINISHED: &str = "unfinished";
/// What a file with code begins with: the format. Its MAC follows, then the code.
const FORMAT: &[u8; 8] = b"weircod1";
const HEAD_BYTES: usize = FORMAT.len() + blake3::OUT_LEN;

/// A folder of compiled code.
pub struct CodeCache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    max_bytes: u64,
    /// Held while a file is written and others make room.
    writing: Mutex<()>,
}

/// Why a file has no code.
enum NoFile {
    /// There is none.
    Absent,
    /// It is not what this host has written, for this reason.
    Unexpected(String),
}

impl CodeCache {
    /// Opens a folder that keeps at most so many bytes, and creates it if it does not exist.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for unfinished in files(folder, UNFINISHED)? {
            fs::remove_file(unfinished.path)?;
        }
        let cache = Self {
            folder: folder.to_owned(),
            key: key(&folder.join(KEY_FILE))?,
            max_bytes,
            writing: Mutex::new(()),
        };
        cache.make_room()?;
        Ok(cache)
    }

    /// The code, if it is kept, loaded by the engine that it is for. `path` is for errors.
    ///
    /// # Errors
    /// The component needs more than the engine's pool has for a guest, as when it is compiled.
    pub(super) fn load(
        &self,
        id: &CodeId,
        engine: &wasmtime::Engine,
        path: &Path,
    ) -> Result<Option<Component>, LoadError> {
        let name = file_name(id);
        let file = self.folder.join(&name);
        let reason = match self.read(&name, &file) {
            Ok(bytes) => {
                // SAFETY: the MAC says that a server with this key has written this, unchanged, under this
                // name. The key is random, and only this host's server can read it. It writes only what
                // wasmtime has compiled, either in this process or in one that it has started (`keep`).
                match unsafe { code::load(engine, &bytes[HEAD_BYTES..]) } {
                    Ok(component) => {
                        used_now(&file);
                        return Ok(Some(component));
                    }
                    Err(error) => {
                        let reason = format!("{error:#}");
                        // The pool is smaller than when this was written. It may become larger again.
                        if exceeds_pool(&reason) {
                            return Err(refused(path, reason));
                        }
                        reason
                    }
                }
            }
            Err(NoFile::Absent) => return Ok(None),
            Err(NoFile::Unexpected(reason)) => reason,
        };
        warn!(file = %file.display(), "compiled code cannot be used, so it is deleted: {reason}");
        let _ = fs::remove_file(&file);
        Ok(None)
    }

    /// Keeps code that wasmtime has compiled. If it cannot be written, it is compiled again some time.
    pub(super) fn keep(&self, id: &CodeId, code: &[u8]) {
        if code.len() as u64 + HEAD_BYTES as u64 > self.max_bytes {
            return;
        }
        let _writing = self.writing.lock();
        let file = self.folder.join(file_name(id));
        let written = self.write(&file, id, code).and_then(|()| self.make_room());
        if let Err(error) = written {
            warn!(file = %file.display(), "compiled code cannot be kept: {error}");
            let _ = fs::remove_file(file.with_extension(UNFINISHED));
        }
    }

    fn read(&self, name: &str, file: &Path) -> Result<Vec<u8>, NoFile> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => NoFile::Absent,
            _ => NoFile::Unexpected(error.to_string()),
        };
        let unexpected = |reason: &str| NoFile::Unexpected(reason.to_owned());
        let about = fs::symlink_metadata(file).map_err(failed)?;
        if !about.is_file() {
            return Err(unexpected("it is not a file"));
        }
        if about.len() > self.max_bytes {
            return Err(unexpected("it is larger than all code may be"));
        }
        let mut bytes = Vec::new();
        let open = File::open(file).map_err(failed)?;
        open.take(self.max_bytes).read_to_end(&mut bytes).map_err(failed)?;
        let head = bytes.split_first_chunk::<{ FORMAT.len() }>();
        let mac_and_code = head.filter(|(format, _)| *format == FORMAT).map(|(_, rest)| rest);
        let split = mac_and_code.and_then(|rest| rest.split_first_chunk::<{ blake3::OUT_LEN }>());
        let Some((mac, code)) = split else {
            return Err(unexpected("it is not of this format"));
        };
        // Compared in constant time.
        if self.mac(name, code) != *mac {
            return Err(unexpected("this host has not written it"));
        }
        Ok(bytes)
    }

    fn write(&self, file: &Path, id: &CodeId, code: &[u8]) -> io::Result<()> {
        let unfinished = file.with_extension(UNFINISHED);
        let mut to = private(&unfinished)?;
        to.write_all(FORMAT)?;
        to.write_all(self.mac(&file_name(id), code).as_bytes())?;
        to.write_all(code)?;
        fs::rename(unfinished, file)
    }

    /// Of its name, too, so that no file can take the place of another.
    fn mac(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut mac = blake3::Hasher::new_keyed(&self.key);
        mac.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(code);
        mac.finalize()
    }

    /// Deletes what was not used for longest, until the rest is within its bytes.
    fn make_room(&self) -> io::Result<()> {
        let mut files = files(&self.folder, CODE)?;
        files.sort_unstable_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if bytes <= self.max_bytes {
                break;
            }
            fs::remove_file(&file.path)?;
            bytes -= file.bytes;
        }
        Ok(())
    }
}

fn file_name(CodeId { kind, digest, engine }: &CodeId) -> String {
    format!("{digest}-{}-{engine}.{CODE}", kind.name())
}

/// A file of the folder.
struct Listed {
    path: PathBuf,
    bytes: u64,
    /// When it was used last. The clock may jump: this only decides what makes room.
    used: SystemTime,
}

fn files(folder: &Path, extension: &str) -> io::Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, about) = (entry.path(), entry.metadata()?);
        if about.is_file() && path.extension().is_some_and(|of| of == extension) {
            files.push(Listed { path, bytes: about.len(), used: about.modified()? });
        }
    }
    Ok(files)
}

fn used_now(file: &Path) {
    // If this fails, it may make room too early.
    let _ = File::open(file).and_then(|file| file.set_modified(SystemTime::now()));
}

/// A new file that only the server's user can read.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The key in the file. If there is none, or others can read it, there is a new one, and what was kept
/// with another is worth nothing.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    if let Ok(about) = fs::symlink_metadata(path)
        && about.is_file()
        && about.permissions().mode() & 0o077 == 0
        && about.len() == KEY_BYTES as u64
    {
        let mut key = [0; KEY_BYTES];
        File::open(path)?.read_exact(&mut key)?;
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::from)?;
    let unfinished = path.with_extension(UNFINISHED);
    private(&unfinished)?.write_all(&key)?;
    fs::rename(unfinished, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
