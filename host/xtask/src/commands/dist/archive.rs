//! Writes and unpacks a `.tar.gz`. The same files give the same bytes, because entries are sorted
//! and all have the same time and owner.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, EntryType, Header};

/// 2026-01-01, the time of every entry. Some programs warn about 1970.
const MODIFIED_SECONDS: u64 = 1_767_225_600;

/// The entries of an archive, by path.
pub(super) type Entries = BTreeMap<PathBuf, Entry>;

pub(super) enum Entry {
    File(PathBuf),
    Program(PathBuf),
    Text(String),
}

/// Writes an archive with one folder that contains these entries.
pub(super) fn write(archive: &Path, folder: &str, entries: &Entries) -> Result<()> {
    let file = File::create(archive).with_context(|| format!("writing {}", archive.display()))?;
    let gzip = GzEncoder::new(BufWriter::new(file), Compression::default());
    let mut tar = Builder::new(gzip);
    for (path, entry) in entries {
        let path = Path::new(folder).join(path);
        append(&mut tar, &path, entry).with_context(|| format!("adding {}", path.display()))?;
    }
    let file = tar.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all().with_context(|| format!("writing {}", archive.display()))
}

fn append(tar: &mut Builder<impl io::Write>, path: &Path, entry: &Entry) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mtime(MODIFIED_SECONDS);
    header.set_mode(if let Entry::Program(_) = entry { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    match entry {
        Entry::Text(text) => {
            header.set_size(u64::try_from(text.len())?);
            tar.append_data(&mut header, path, text.as_bytes())?;
        }
        Entry::File(source) | Entry::Program(source) => {
            let shown = || format!("reading {}", source.display());
            let file = File::open(source).with_context(shown)?;
            header.set_size(file.metadata().with_context(shown)?.len());
            tar.append_data(&mut header, path, file)?;
        }
    }
    Ok(())
}

/// Unpacks an archive into a folder, which is created if it does not exist.
pub(super) fn unpack(archive: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let file = File::open(archive).with_context(|| format!("reading {}", archive.display()))?;
    Archive::new(GzDecoder::new(io::BufReader::new(file)))
        .unpack(into)
        .with_context(|| format!("unpacking {}", archive.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes_at_any_time() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::write(&source, "program").unwrap();
        let entries = || {
            Entries::from([
                ("z.txt".into(), Entry::Text("text".to_owned())),
                ("a/weir".into(), Entry::Program(source.clone())),
            ])
        };
        let archives = ["first", "second"].map(|name| folder.path().join(name));
        write(&archives[0], "weir-1", &entries()).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        File::options().write(true).open(&source).unwrap().set_modified(later).unwrap();
        write(&archives[1], "weir-1", &entries()).unwrap();
        assert_eq!(fs::read(&archives[0]).unwrap(), fs::read(&archives[1]).unwrap());
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let folder = tempfile::tempdir().unwrap();
        let (source, archive) = (folder.path().join("source"), folder.path().join("archive"));
        fs::write(&source, "program").unwrap();
        let entries = Entries::from([
            ("README.md".into(), Entry::Text("text".to_owned())),
            ("bin/weir".into(), Entry::Program(source.clone())),
            ("lib/lib.so".into(), Entry::File(source)),
        ]);
        write(&archive, "weir-1", &entries).unwrap();
        let into = folder.path().join("into");
        unpack(&archive, &into).unwrap();
        for (path, content, mode) in [
            ("weir-1/README.md", "text", 0o644),
            ("weir-1/bin/weir", "program", 0o755),
            ("weir-1/lib/lib.so", "program", 0o644),
        ] {
            let path = into.join(path);
            assert_eq!(fs::read_to_string(&path).unwrap(), content, "{}", path.display());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
