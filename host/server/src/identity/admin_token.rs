//! The administrator's token: whoever can read its file may send requests to the admin listener.
//!
//! The server makes the file at its first start, readable for its own user only, with 256 random bits.
//! It keeps a hash, which is compared in constant time. Out of scope: what an administrator may do, and the tokens
//! that administrators make for others ([`tokens`](super::tokens)).

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use thiserror::Error;

/// BLAKE3's context string for key derivation, which separates this hash from Weir's others.
const HASH_CONTEXT: &str = "weir 2026-11-28 admin token";
const PREFIX: &str = "weiradmin_";
const RANDOM_BYTES: usize = 32;
/// The shortest token that is accepted, for those that an operator has made.
const MIN_BYTES: usize = 32;
/// No token is longer.
const MAX_FILE_BYTES: u64 = 4_096;

/// What the token is compared with.
pub struct AdminToken(blake3::Hash);

/// Why there is no token.
#[derive(Debug, Error)]
pub enum AdminTokenError {
    /// The file cannot be read or made.
    #[error("the admin token {path} cannot be read or made: {error}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: io::Error,
    },
    /// Others can read it.
    #[error("other users can read the admin token {0}: run `chmod 600 {0}`")]
    NotPrivate(PathBuf),
    /// It is no token.
    #[error(
        "the admin token {0} is not one of {MIN_BYTES} or more visible ASCII characters: remove the file, and \
         the next start makes another"
    )]
    NotAToken(PathBuf),
}

impl AdminToken {
    /// The token in the file, which is made if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read or made, is not private, or has no token.
    pub fn load_or_create(path: &Path) -> Result<Self, AdminTokenError> {
        let failed = |error| AdminTokenError::Failed { path: path.to_owned(), error };
        match create(path) {
            Ok(token) => return Ok(Self::of(&token)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let about = fs::metadata(path).map_err(failed)?;
        if about.permissions().mode() & 0o077 != 0 {
            return Err(AdminTokenError::NotPrivate(path.to_owned()));
        }
        if about.len() > MAX_FILE_BYTES {
            return Err(AdminTokenError::NotAToken(path.to_owned()));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let token = text.trim();
        let is_token = token.len() >= MIN_BYTES && token.bytes().all(|b| b.is_ascii_graphic());
        if is_token {
            Ok(Self::of(token))
        } else {
            Err(AdminTokenError::NotAToken(path.to_owned()))
        }
    }

    fn of(token: &str) -> Self {
        Self(hash(token))
    }

    /// Whether the headers have the token, as `Authorization: Bearer …`.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| self.is(token))
    }

    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, token: &str) -> bool {
        // Hashes are compared in constant time.
        hash(token) == self.0
    }
}

/// The token that the headers have, as `Authorization: Bearer …`; `None` if there is none, or several.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn hash(token: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(HASH_CONTEXT, token.as_bytes()))
}

/// Makes the file with a new token, unless there is one. Nobody sees it without its content.
fn create(path: &Path) -> io::Result<String> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::from)?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let unfinished = path.with_file_name(name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    linked.map(|()| token)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs::Permissions;

    use http::HeaderValue;

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_first_start_makes_a_private_file_that_the_next_one_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin-token");
        let made = AdminToken::load_or_create(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let token = text.trim();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let read = AdminToken::load_or_create(&path).unwrap();
        for known in [made, read] {
            assert!(known.is_in(&headers(&format!("Bearer {token}"))));
            assert!(known.is_in(&headers(&format!("bearer  {token}"))));
            for wrong in ["Bearer", "Bearer ", "Basic abc", &format!("Bearer {token}x"), token] {
                assert!(!known.is_in(&headers(wrong)), "{wrong}");
            }
            assert!(!known.is_in(&HeaderMap::new()));
            let mut twice = headers(&format!("Bearer {token}"));
            twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer other"));
            assert!(!known.is_in(&twice));
        }
    }

    #[test]
    fn what_is_not_private_or_no_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin-token");
        AdminToken::load_or_create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let refused = |path: &Path| AdminToken::load_or_create(path).err().unwrap().to_string();
        assert!(refused(&path).contains("chmod 600"), "{}", refused(&path));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        for text in [String::new(), "short".to_owned(), "a b".repeat(20), "x".repeat(5_000)] {
            fs::write(&path, text).unwrap();
            assert!(refused(&path).contains("remove the file"), "{}", refused(&path));
        }
        let nowhere = folder.path().join("missing").join("admin-token");
        assert!(refused(&nowhere).contains("cannot be read or made"), "{}", refused(&nowhere));
    }
}
