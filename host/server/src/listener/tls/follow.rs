//! Reads a certificate and its key again when their files have changed.
//!
//! The files are looked at once a second rather than watched. What renews certificates replaces files
//! or the links to them, in folders that may be mounted, so a watcher would have to follow every link
//! on the way; and a second is soon enough. Both files must have stayed as they are for a second
//! before they are read, so that a pair is not read between its halves. Out of scope: what becomes of what was
//! read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::pair::{Files, Pair, PairError};

/// What tells a file's content from another without reading it; `None` if it cannot be looked at.
type Stamp = Option<[i128; 5]>;

/// Notices when files change.
#[derive(Debug)]
pub(in crate::listener) struct Follower {
    files: Files,
    /// What the files were when they were last looked at.
    last: [Stamp; 2],
    /// What they were when they were last read.
    read: [Stamp; 2],
}

impl Follower {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// They cannot be used.
    pub(super) fn start(files: Files) -> Result<(Self, Pair), PairError> {
        // Before they are read, so that no change after that is missed.
        let now = stamps(&files);
        let pair = Pair::read(&files)?;
        Ok((Self { files, last: now, read: now }, pair))
    }

    /// Looks at the files; to be called about once a second. Returns what is in them if they have
    /// changed, and do not any more. What cannot be used is returned once.
    pub(super) fn look(&mut self) -> Option<Result<Pair, PairError>> {
        let now = stamps(&self.files);
        let settled = now == self.last;
        self.last = now;
        if !settled || now == self.read {
            return None;
        }
        let pair = Pair::read(&self.files);
        if stamps(&self.files) != now {
            return None;
        }
        self.read = now;
        Some(pair)
    }
}

fn stamps(files: &Files) -> [Stamp; 2] {
    [stamp(&files.certificate), stamp(&files.key)]
}

/// A file's identity, length and times. Links are followed. The time of the last change of any kind
/// catches what keeps the other, such as `cp -p`.
fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Some([
        about.dev().into(),
        about.ino().into(),
        about.size().into(),
        nanos(about.mtime(), about.mtime_nsec()),
        nanos(about.ctime(), about.ctime_nsec()),
    ])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::super::testing::{certified, install};
    use super::*;

    /// What a look has found.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Found {
        Nothing,
        Another,
        TheSame,
        Unusable,
    }
    use Found::{Another, Nothing, TheSame, Unusable};

    /// The files of a listener, and what follows them.
    struct Case {
        folder: TempDir,
        follower: Follower,
        kept: Pair,
    }

    impl Case {
        /// Files behind a link to their folder, as in mounted secrets.
        fn start() -> Self {
            install();
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join("current").join(name);
            fs::create_dir(folder.path().join("one")).unwrap();
            symlink("one", folder.path().join("current")).unwrap();
            let files = Files { certificate: path("certificate"), key: path("key") };
            let (certificate, key) = certified();
            fs::write(&files.certificate, certificate).unwrap();
            fs::write(&files.key, key).unwrap();
            let (follower, kept) = Follower::start(files).unwrap();
            Self { folder, follower, kept }
        }

        fn certificate(&self) -> PathBuf {
            self.follower.files.certificate.clone()
        }

        fn key(&self) -> PathBuf {
            self.follower.files.key.clone()
        }

        fn look(&mut self) -> Found {
            match self.follower.look() {
                None => Nothing,
                Some(Err(_)) => Unusable,
                Some(Ok(pair)) if pair.is(&self.kept) => TheSame,
                Some(Ok(pair)) => {
                    self.kept = pair;
                    Another
                }
            }
        }

        #[track_caller]
        fn expect(&mut self, found: &[Found]) {
            for (look, expected) in found.iter().enumerate() {
                assert_eq!(self.look(), *expected, "look {look}");
            }
        }
    }

    #[test]
    fn a_pair_is_read_once_it_has_stayed_as_it_is() {
        let mut case = Case::start();
        case.expect(&[Nothing, Nothing]);
        let (certificate, key) = certified();
        fs::write(case.certificate(), certificate).unwrap();
        case.expect(&[Nothing]);
        fs::write(case.key(), key).unwrap();
        case.expect(&[Nothing, Another, Nothing]);
    }

    #[test]
    fn what_cannot_be_used_is_said_once_and_what_comes_after_it_is_read() {
        let mut case = Case::start();
        let (certificate, key) = certified();
        fs::write(case.certificate(), certificate).unwrap();
        case.expect(&[Nothing, Unusable, Nothing, Nothing]);
        fs::remove_file(case.key()).unwrap();
        case.expect(&[Nothing, Unusable, Nothing]);
        fs::write(case.key(), key).unwrap();
        case.expect(&[Nothing, Another, Nothing]);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        let mut case = Case::start();
        let (certificate, key) = certified();
        let two = case.folder.path().join("two");
        fs::create_dir(&two).unwrap();
        fs::write(two.join("certificate"), certificate).unwrap();
        fs::write(two.join("key"), key).unwrap();
        symlink("two", case.folder.path().join("next")).unwrap();
        fs::rename(case.folder.path().join("next"), case.folder.path().join("current")).unwrap();
        case.expect(&[Nothing, Another, Nothing]);
    }

    #[test]
    fn files_that_are_written_again_as_they_are_change_nothing() {
        let mut case = Case::start();
        let bytes = fs::read(case.certificate()).unwrap();
        let copy = case.folder.path().join("copy");
        fs::write(&copy, bytes).unwrap();
        fs::rename(copy, case.certificate()).unwrap();
        case.expect(&[Nothing, TheSame, Nothing]);
    }
}
