//! Finds out what a program or a library needs from the system that it runs on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// What we expect of every Linux system on x86-64 with glibc: the parts of the C library, and the
/// runtimes of GCC and C++. linux-vdso is part of the kernel.
const OF_THE_SYSTEM: [&str; 9] = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
    "linux-vdso.so.1",
];

/// Fails if `file` needs a library that a system may lack, according to `ldd`.
pub(super) fn check(file: &Path) -> Result<()> {
    let said = process::output(Command::new("ldd").arg(file))?;
    let others = others(&said)?;
    ensure!(
        others.is_empty(),
        "{} needs libraries that not every system has: {}",
        file.display(),
        others.join(", "),
    );
    Ok(())
}

/// The libraries in the output of `ldd` that are not in [`OF_THE_SYSTEM`].
fn others(ldd: &str) -> Result<Vec<&str>> {
    let mut others = Vec::new();
    for line in ldd.lines() {
        let Some(library) = line.split_whitespace().next() else { continue };
        if line.contains("not found") {
            bail!("`ldd` does not find {library}");
        }
        let name = library.rsplit('/').next().unwrap_or(library);
        if !OF_THE_SYSTEM.contains(&name) {
            others.push(name);
        }
    }
    Ok(others)
}

/// The oldest version of glibc that has everything these files need. A system with that version
/// also has a C++ library that is new enough.
pub(super) fn newest_glibc(files: &[&Path]) -> Result<String> {
    let mut newest = None;
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        newest = newest.max(newest_in(&bytes));
    }
    let newest = newest.context("no file contains a version of glibc")?;
    Ok(newest.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}

/// The highest version in strings such as `GLIBC_2.34`, which a file contains for each symbol.
fn newest_in(bytes: &[u8]) -> Option<Vec<u32>> {
    const PREFIX: &[u8] = b"GLIBC_";
    let starts = bytes.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    let version = |(start, _): (usize, _)| {
        let rest = bytes.get(start + PREFIX.len()..)?;
        // Strings in ELF files end with a zero byte.
        let text = std::str::from_utf8(rest.split(|byte| *byte == 0).next()?).ok()?;
        text.split('.').map(|part| part.parse().ok()).collect()
    };
    starts.filter_map(version).max()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn only_what_the_system_lacks_is_named() {
        let system = "\tlinux-vdso.so.1 (0x00007ffc)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let (none, tls) = (Vec::<&str>::new(), "\tlibssl.so.3 => /lib/libssl.so.3 (0x00007f)\n");
        assert_eq!(others(system).unwrap(), none);
        assert_eq!(others(&format!("{system}{tls}")).unwrap(), ["libssl.so.3"]);
        assert!(others("\tlibgone.so.1 => not found\n").is_err());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let bytes = b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_PRIVATE\0xGLIBC_2.4 and more\0GLIBC_2.3.4\0";
        assert_eq!(newest_in(bytes), Some(vec![2, 34]));
        assert_eq!(newest_in(b"\0GLIBCXX_3.4.22\0"), None);
    }
}
