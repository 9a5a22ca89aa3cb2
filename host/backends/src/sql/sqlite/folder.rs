//! The data folder: one process at a time, and errors that say why it cannot be written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::sql::SqlError;

/// The folder of the one tenant that there is, below the data folder.
const TENANT_FOLDER: &str = "tenants/default";
const LOCK_FILE: &str = "lock";
const TRUTH_FILE: &str = "truth.sqlite";

/// Holds the data folder until it is dropped. The operating system lets go of it when the
/// process dies, so a lock is never left behind; the file with the pid is.
#[derive(Debug)]
pub(super) struct FolderLock(#[expect(dead_code, reason = "open files hold locks")] File);

impl FolderLock {
    /// Takes `folder` for this process, making it if it is not there.
    pub(super) fn acquire(folder: &Path) -> Result<Self, SqlError> {
        make_folder(folder)?;
        let path = folder.join(LOCK_FILE);
        let mut file = open_for_writing(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SqlError::Locked {
                    folder: folder.display().to_string(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
        }
        write_pid(&mut file).map_err(|error| unwritable(&path, &error))?;
        Ok(Self(file))
    }
}

/// The truth's file below the data folder, made if it is not there, and writable.
///
/// Call it before SQLite has the file open, and with the folder's lock: closing any handle
/// of a file lets go of all POSIX locks that the process has on it.
pub(super) fn truth_file(data_folder: &Path) -> Result<PathBuf, SqlError> {
    let folder = data_folder.join(TENANT_FOLDER);
    make_folder(&folder)?;
    let path = folder.join(TRUTH_FILE);
    open_for_writing(&path)?;
    // The names have to survive a power loss as well as what is in the file.
    for made in folder.ancestors().take_while(|made| made.starts_with(data_folder)) {
        File::open(made)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| unwritable(made, &error))?;
    }
    Ok(path)
}

fn make_folder(folder: &Path) -> Result<(), SqlError> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))
}

fn open_for_writing(path: &Path) -> Result<File, SqlError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> SqlError {
    SqlError::ReadOnly { path: path.display().to_string(), reason: error.to_string() }
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
