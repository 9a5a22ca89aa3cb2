//! The data folder: used by one process at a time, with a folder for each tenant. Errors say
//! why it cannot be written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use weir_core::name::Name;

use crate::TruthError;

/// The folder within the data folder that holds the tenants' folders.
const TENANTS: &str = "tenants";
const LOCK_FILE: &str = "lock";

/// The data folder, locked until this is dropped. The operating system releases the lock when
/// the process dies, so no stale lock can remain; only the file with the process id does.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Locks `folder` for this process, and creates it if it does not exist.
    ///
    /// # Errors
    /// Another process has locked it, or it cannot be written.
    pub fn acquire(folder: &Path) -> Result<Self, TruthError> {
        make_folder(folder)?;
        let path = folder.join(LOCK_FILE);
        let mut file = open_for_writing(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(TruthError::Locked {
                    folder: folder.display().to_string(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
        }
        write_pid(&mut file).map_err(|error| unwritable(&path, &error))?;
        Ok(Self { path: folder.to_owned(), _lock: file })
    }

    /// The data folder itself, where the system store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of `tenant`, created if it does not exist.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tenant(&self, tenant: &Name) -> Result<PathBuf, TruthError> {
        let folder = self.path.join(TENANTS).join(tenant.as_str());
        make_folder(&folder)?;
        // Folder names must survive a power loss, just like the contents of files.
        for made in folder.ancestors().take_while(|made| made.starts_with(&self.path)) {
            sync_folder(made)?;
        }
        Ok(folder)
    }
}

/// Creates a database's file if it does not exist, and checks that it is writable.
///
/// Call this before SQLite opens the file: closing any handle of a file releases all POSIX
/// locks that the process holds on it.
pub(crate) fn database_file(folder: &Path, name: &str) -> Result<PathBuf, TruthError> {
    make_folder(folder)?;
    let path = folder.join(name);
    open_for_writing(&path)?;
    sync_folder(folder)?;
    Ok(path)
}

pub(crate) fn sync_folder(folder: &Path) -> Result<(), TruthError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| unwritable(folder, &error))
}

pub(crate) fn make_folder(folder: &Path) -> Result<(), TruthError> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))
}

fn open_for_writing(path: &Path) -> Result<File, TruthError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| unwritable(path, &error))
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> TruthError {
    TruthError::ReadOnly { path: path.display().to_string(), reason: error.to_string() }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_locked_folder_is_refused_with_its_path_and_free_after_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::acquire(folder.path()).unwrap();
        let error = DataFolder::acquire(folder.path()).unwrap_err();
        let (path, pid) = (folder.path().display(), std::process::id());
        let expected = format!("the data folder {path} is in use by process {pid}");
        assert_eq!(error.to_string(), expected);
        drop(held);
        DataFolder::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_refused_with_the_reason() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        std::fs::write(&file, "a file").unwrap();
        let cases = [
            (file.as_path(), "File exists"),
            (&file.join("below"), "Not a directory"),
            (Path::new("/proc/weir"), "No such file or directory"),
        ];
        for (folder, expected) in cases {
            let error = DataFolder::acquire(folder).unwrap_err();
            let TruthError::ReadOnly { path, reason } = &error else { panic!("{error}") };
            assert!(path.starts_with(&folder.display().to_string()), "{error}");
            assert!(reason.contains(expected), "{error}");
        }
    }
}
