//! Tests of the files of plugins, each in its own folder. Kills are in `tests/crashes.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Barrier;

use tempfile::TempDir;

use super::*;

struct Fixture {
    files: PluginFiles,
    _data: DataFolder,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::acquire(folder.path()).unwrap();
        let files = PluginFiles::open(&data).unwrap();
        Self { files, _data: data, folder }
    }

    fn path(&self, name: impl ToString) -> PathBuf {
        self.folder.path().join("plugins").join(name.to_string())
    }

    /// The names in the folder.
    fn names(&self) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> = entries.map(|e| name(e).into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// Changes one byte of a stored file.
    fn damage(&self, digest: PluginDigest) {
        let file = OpenOptions::new().write(true).open(self.path(digest)).unwrap();
        file.write_all_at(b"?", 2).unwrap();
    }
}

#[test]
fn what_is_put_is_read_and_only_the_servers_user_can_read_it() {
    let f = Fixture::new();
    for bytes in [&b""[..], b"a plugin", &vec![7; 1 << 20]] {
        let digest = f.files.put(bytes).unwrap();
        assert_eq!(digest, PluginDigest::of(bytes));
        assert_eq!(f.files.read(digest).unwrap(), bytes);
        let mode = fs::metadata(f.path(digest)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(f.names().len(), 3, "nothing else is left: {:?}", f.names());
}

#[test]
fn putting_the_same_again_changes_nothing() {
    let f = Fixture::new();
    let digest = f.files.put(b"a plugin").unwrap();
    let written = fs::metadata(f.path(digest)).unwrap().modified().unwrap();
    assert_eq!(f.files.put(b"a plugin").unwrap(), digest);
    assert_eq!(fs::metadata(f.path(digest)).unwrap().modified().unwrap(), written);
    assert_eq!(f.names(), [digest.to_string()]);
}

#[test]
fn several_can_put_and_read_the_same_at_once() {
    const THREADS: usize = 8;
    let f = Fixture::new();
    for round in 0..20_u8 {
        let (bytes, barrier) = (vec![round; 100_000], Barrier::new(THREADS));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    let digest = f.files.put(&bytes).unwrap();
                    assert_eq!(f.files.read(digest).unwrap(), bytes);
                });
            }
        });
    }
    assert_eq!(f.names().len(), 20);
}

#[test]
fn a_file_that_does_not_exist_is_named() {
    let f = Fixture::new();
    let digest = PluginDigest::of(b"never put");
    let error = f.files.read(digest).unwrap_err();
    assert!(matches!(error, PluginFileError::Missing(missing) if missing == digest), "{error}");
    assert!(!f.files.remove(digest).unwrap());
}

#[test]
fn a_damaged_file_is_never_read_and_can_be_put_again() {
    type Damage = fn(&Fixture, PluginDigest);
    let damages: [Damage; 3] = [
        Fixture::damage,
        |f, digest| fs::write(f.path(digest), "").unwrap(),
        |f, digest| fs::write(f.path(digest), "a plugin and more").unwrap(),
    ];
    for damage in damages {
        let f = Fixture::new();
        let digest = f.files.put(b"a plugin").unwrap();
        damage(&f, digest);
        let error = f.files.read(digest).unwrap_err();
        let PluginFileError::Damaged { digest: named, path } = error else { panic!("{error}") };
        assert_eq!((named, path), (digest, f.path(digest).display().to_string()));
        f.files.put(b"a plugin").unwrap();
        assert_eq!(f.files.read(digest).unwrap(), b"a plugin");
    }
}

#[test]
fn a_removed_file_is_gone_and_the_others_are_listed_with_their_sizes() {
    let f = Fixture::new();
    let [a, b, c] = ["one", "three", "four"].map(|text| f.files.put(text.as_bytes()).unwrap());
    assert!(f.files.remove(b).unwrap());
    assert!(!f.files.remove(b).unwrap());
    fs::write(f.path("notes.txt"), "not a plugin").unwrap();
    let mut expected = [PluginFile { digest: a, bytes: 3 }, PluginFile { digest: c, bytes: 4 }];
    expected.sort_unstable();
    assert_eq!(f.files.list().unwrap(), expected);
}

#[test]
fn verifying_puts_what_is_not_whole_out_of_the_way() {
    let f = Fixture::new();
    let whole = f.files.put(b"whole").unwrap();
    let damaged = f.files.put(b"damaged").unwrap();
    f.damage(damaged);
    let unfinished = format!("{whole}.0123456789abcdef.tmp");
    for (name, content) in [(unfinished.as_str(), "who"), ("notes.tmp", "a note")] {
        fs::write(f.path(name), content).unwrap();
    }
    let folder = PluginDigest::of(b"a folder").to_string();
    fs::create_dir(f.path(&folder)).unwrap();
    let mut foreign = vec![folder.clone(), "notes.tmp".to_owned()];
    foreign.sort_unstable();

    let whole = vec![PluginFile { digest: whole, bytes: 5 }];
    let expected = Verified {
        whole: whole.clone(),
        damaged: vec![damaged],
        unreadable: Vec::new(),
        unfinished: vec![unfinished],
        foreign: foreign.clone(),
    };
    assert_eq!(f.files.verify().unwrap(), expected);
    assert!(matches!(f.files.read(damaged), Err(PluginFileError::Missing(_))));
    let set_aside = format!("{damaged}.damaged");
    let mut names = vec![whole[0].digest.to_string(), set_aside, folder, "notes.tmp".to_owned()];
    names.sort_unstable();
    assert_eq!(f.names(), names);
    // What was set aside is not named again.
    assert_eq!(f.files.verify().unwrap(), Verified { whole, foreign, ..Verified::default() });
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_with_the_reason() {
    let f = Fixture::new();
    fs::remove_dir(f.path("")).unwrap();
    fs::write(f.folder.path().join("plugins"), "a file").unwrap();
    let error = f.files.put(b"a plugin").unwrap_err();
    let PluginFileError::Unwritable(TruthError::ReadOnly { reason, .. }) = &error else {
        panic!("{error}")
    };
    assert!(reason.contains("Not a directory"), "{error}");
    let error = f.files.list().unwrap_err();
    assert!(matches!(error, PluginFileError::Unreadable { .. }), "{error}");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let f = Fixture::new();
    let bytes = usize::try_from(MAX_PLUGIN_BYTES + 1).unwrap();
    let error = f.files.put(&vec![0; bytes]).unwrap_err();
    assert!(matches!(error, PluginFileError::TooLarge { .. }), "{error}");
    assert!(f.names().is_empty());
}
