//! What the kernel says of this process and of the files in a folder; and how to start this program again.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Runs this program with other arguments, and returns what it prints.
pub(crate) fn again(arguments: &[OsString]) -> Result<String> {
    let mut command = Command::new(env::current_exe()?);
    let output = command.args(arguments).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "it ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// What this process has caused to be written to disks, less what was deleted before it was.
pub(crate) fn written_bytes() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let caused = number(&io, "write_bytes:")?;
    Ok(caused.saturating_sub(number(&io, "cancelled_write_bytes:")?))
}

/// The most memory that this process had.
pub(crate) fn peak_memory_bytes() -> Result<u64> {
    Ok(number(&fs::read_to_string("/proc/self/status")?, "VmHWM:")? << 10)
}

fn number(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).with_context(|| format!("there is no `{name}`"))
}

/// What all files in a folder take on the disk.
pub(crate) fn disk_bytes(folder: &Path) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 512;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata().and_then(|metadata| match metadata.is_dir() {
            true => disk_bytes(&entry.path()),
            false => Ok(metadata.blocks() * BLOCK_BYTES),
        });
        match found {
            Ok(found) => bytes += found,
            // Stores delete files while they are counted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
