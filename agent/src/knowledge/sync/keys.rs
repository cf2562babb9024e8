//! The keys of the user's knowledge: in a file for this device's owner only, each
//! in a line. Keys that are not used any more stay for what is still encrypted
//! with them; such a line begins with `old`. One with which nothing is encrypted
//! yet begins with `new`: it is on disk before it is used.

use std::path::{Path, PathBuf};

use ginnel_certs::private_file;
use ginnel_proto::sync::seal::{InvalidKey, Key, KeyId};
use zeroize::Zeroizing;

/// The longest file, in bytes: some 60 keys.
const FILE_MAX: usize = 4 << 10;

/// What begins the line of a key that is not used any more, or not yet.
const OLD: &str = "old ";
const NEW: &str = "new ";

/// Where the keys are.
#[derive(Debug, Clone)]
pub struct KeyFile(PathBuf);

/// Keys that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Not used yet.
    pending: Option<Key>,
    /// In use, the newest first. Usually one; two while a new one is taken.
    current: Vec<Key>,
    /// Not in use any more.
    old: Vec<Key>,
}

/// Why keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] ginnel_certs::error::Error),
    /// A line of it.
    #[error("{path}, line {line}: {reason}; hint: remove that line, and ginnel sync key enter brings the key again", path = path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: InvalidKey,
    },
}

impl KeyFile {
    /// The file in a state folder.
    #[must_use]
    pub fn of(state: &Path) -> Self {
        Self(state.join("knowledge.key"))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What is in it; nothing if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is readable for others.
    pub fn read(&self) -> Result<Keys, KeyError> {
        let bytes = match private_file::read(&self.0, FILE_MAX) {
            Err(error) if error.is_not_found() => return Ok(Keys::default()),
            bytes => bytes?,
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut keys = Keys::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let parse = |key: &str| {
                key.parse().map_err(|reason| KeyError::Line {
                    path: self.0.clone(),
                    line: at + 1,
                    reason,
                })
            };
            if let Some(key) = line.strip_prefix(OLD) {
                keys.old.push(parse(key)?);
            } else if let Some(key) = line.strip_prefix(NEW) {
                keys.pending = Some(parse(key)?);
            } else {
                keys.current.push(parse(line)?);
            }
        }
        Ok(keys)
    }

    /// Writes it anew, all at once.
    ///
    /// # Errors
    /// The system refuses.
    pub fn write(&self, keys: &Keys) -> Result<(), KeyError> {
        let mut text = Zeroizing::new(String::with_capacity(FILE_MAX));
        let pending = keys.pending.iter().map(|key| (NEW, key));
        let current = keys.current.iter().map(|key| ("", key));
        let old = keys.old.iter().map(|key| (OLD, key));
        for (before, key) in pending.chain(current).chain(old) {
            text.push_str(before);
            text.push_str(&key.to_text());
            text.push('\n');
        }
        Ok(private_file::write(&self.0, text.as_bytes())?)
    }
}

impl Keys {
    /// One that is not used yet.
    #[must_use]
    pub fn pending(&self) -> Option<&Key> {
        self.pending.as_ref()
    }

    /// Has one ready that is not used yet.
    pub fn prepare(&mut self, key: Key) {
        self.pending = Some(key);
    }

    /// The newest in use.
    #[must_use]
    pub fn newest(&self) -> Option<&Key> {
        self.current.first()
    }

    /// One in use.
    #[must_use]
    pub fn current(&self, id: KeyId) -> Option<&Key> {
        self.current.iter().find(|key| key.id() == id)
    }

    /// One in use or not.
    #[must_use]
    pub fn any(&self, id: KeyId) -> Option<&Key> {
        let mut all = self.current.iter().chain(&self.old);
        all.find(|key| key.id() == id)
    }

    /// Takes one into use, beside those that are.
    pub fn add(&mut self, key: Key) {
        self.pending.take_if(|it| *it == key);
        self.current.retain(|it| *it != key);
        self.old.retain(|it| *it != key);
        self.current.insert(0, key);
    }

    /// This one is in use now, and no other any more; or none.
    pub fn use_only(&mut self, id: Option<KeyId>) {
        if let Some(key) = self.pending.take_if(|key| Some(key.id()) == id) {
            self.current.insert(0, key);
        }
        let (stay, go) = std::mem::take(&mut self.current)
            .into_iter()
            .partition(|key| Some(key.id()) == id);
        self.current = stay;
        self.old.splice(..0, go);
        self.old.truncate(OLD_MAX);
    }
}

/// Keys that are kept though they are not used: far more than is ever needed.
const OLD_MAX: usize = 16;

/// A new key.
///
/// # Errors
/// The system has no randomness.
pub fn generate() -> Result<Key, KeyError> {
    let random = private_file::random(32)?;
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(&random);
    Ok(Key::of(*secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_in_their_order_and_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = KeyFile::of(folder.path());
        assert_eq!(file.read().expect("nothing"), Keys::default());
        let (first, second) = (generate().expect("random"), generate().expect("random"));
        let mut keys = Keys::default();
        keys.add(first.clone());
        keys.prepare(second.clone());
        file.write(&keys).expect("written");
        let read = file.read().expect("read");
        assert_eq!(
            (read.newest(), read.pending()),
            (Some(&first), Some(&second))
        );
        assert_eq!(read.current(second.id()), None);
        keys.add(second.clone());
        file.write(&keys).expect("written");
        let read = file.read().expect("read");
        assert_eq!(read.newest(), Some(&second));
        assert_eq!(read.current(first.id()), Some(&first));
        keys.use_only(Some(second.id()));
        file.write(&keys).expect("written");
        let read = file.read().expect("read");
        assert_eq!(read.current(first.id()), None);
        assert_eq!(read.any(first.id()), Some(&first));
        keys.use_only(None);
        assert_eq!(keys.newest(), None);
        // Entered once more, it is in use once more, and nowhere twice.
        keys.add(first.clone());
        assert_eq!(keys.current(first.id()), Some(&first));
        assert_eq!(keys.old, [second]);
        let third = generate().expect("random");
        keys.prepare(third.clone());
        keys.use_only(Some(third.id()));
        assert_eq!((keys.newest(), keys.pending()), (Some(&third), None));
        assert_eq!(keys.current(first.id()), None);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_and_damage_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let file = KeyFile::of(folder.path());
        let mut keys = Keys::default();
        keys.add(generate().expect("random"));
        file.write(&keys).expect("written");
        let metadata = std::fs::metadata(file.path()).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        private_file::write(file.path(), b"\ngnk1_mistyped\n").expect("written");
        let error = file.read().expect_err("damaged").to_string();
        assert!(error.contains("line 2: the key is mistyped"), "{error}");
    }
}
