//! Files: read up to a limit, and written whole or not at all.
//! Each error is one line that says what to do, because a failed job often shows nothing else.

use countersign_core::text::Quoted;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A failure to read or write a file, with its remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Opening or reading failed.
    #[error("cannot read {}: {}; check the path and its permissions", shown(.path), plain(.source))]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The path names a directory.
    #[error("cannot read {}: it is a directory; name a file in it", shown(.path))]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("{} is empty; nothing can be read from it", shown(.path))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file exceeds the limit; it is refused and never cut.
    #[error("{} is larger than {limit} bytes, the limit for this kind of file; make it smaller", shown(.path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes are not UTF-8.
    #[error("{} is not UTF-8 text; check that it is the right file", shown(.path))]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Writing failed; the file is unchanged.
    #[error("cannot write {}: {}; the file was left as it was", shown(.path), plain(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// True for `-`, the path that means standard input.
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads a file, or standard input for `-`; fails for an empty one and above `limit` bytes.
pub fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::IsADirectory => FileError::Directory { path: path.to_owned() },
        _ => FileError::Read { path: path.to_owned(), source },
    };
    let bytes = if is_stdin(path) {
        read_up_to(io::stdin().lock(), limit)
    } else {
        File::open(path).and_then(|file| read_up_to(file, limit))
    }
    .map_err(failed)?;
    match bytes {
        None => Err(FileError::TooLarge { path: path.to_owned(), limit }),
        Some(bytes) if bytes.is_empty() => Err(FileError::Empty { path: path.to_owned() }),
        Some(bytes) => Ok(bytes),
    }
}

/// Reads UTF-8 text; fails as [`read_file`] does, and for other bytes.
pub fn read_text(path: &Path, limit: usize) -> Result<String, FileError> {
    String::from_utf8(read_file(path, limit)?).map_err(|_| FileError::NotText { path: path.to_owned() })
}

/// Reads to the end; `None` above `limit` bytes, because input is never cut silently (rule 1).
fn read_up_to(source: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    source.take(one_more).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Writes a file whole: readers see the old bytes or the new ones, never a part, and a failure leaves the old ones.
/// Follows symbolic links; fails for anything but a regular file.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, None).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// Writes a file whole, like [`write_file`], for readers of other users: makes missing folders and sets mode 0644.
pub fn publish_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    replace(path, bytes, readable_by_all()).map_err(failed)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "not every system has such permissions")]
fn readable_by_all() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all() -> Option<Permissions> {
    None
}

/// Writes a temporary file beside `path` and renames it over `path`. `mode` is that of the new file; without one, the
/// permissions of the old file stay.
fn replace(path: &Path, bytes: &[u8], mode: Option<Permissions>) -> io::Result<()> {
    let (target, permissions) = match fs::metadata(path) {
        Ok(found) if found.is_file() => (fs::canonicalize(path)?, Some(found.permissions())),
        Ok(_) => return Err(io::Error::other("it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_owned(), None),
        Err(error) => return Err(error),
    };
    let Some(name) = target.file_name() else {
        return Err(io::Error::other("it does not name a file"));
    };
    let temporary = target.with_file_name(temporary_name(name));
    let mut file = create(&temporary)?;
    let written = (|| {
        file.write_all(bytes)?;
        if let Some(permissions) = mode.or(permissions) {
            file.set_permissions(permissions)?;
        }
        file.sync_all()?;
        fs::rename(&temporary, &target)
    })();
    if written.is_err() {
        // The caller learns of the first error; if removal fails as well, only a temporary file remains.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Creates a file. An existing one of this name was left by a killed process of the same ID, which is normal in a
/// container, where the process is always number 1; it is removed first.
fn create(path: &Path) -> io::Result<File> {
    let create = || OpenOptions::new().write(true).create_new(true).open(path);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        other => other,
    }
}

/// The name of the temporary file: hidden, and unique by the process ID. Its directory is that of the target, so that
/// the rename stays on one file system and is atomic.
fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    temporary
}

/// The path for messages, quoted and escaped, because a path may hold any character (rule 60).
fn shown(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { Quoted(&path.to_string_lossy()).to_string() }
}

/// The message of a system error, without the error number at its end.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("countersign-files-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn names(path: &Path) -> Vec<OsString> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn rule_01_exactly_the_limit_is_read_and_one_byte_more_is_refused() {
        let path = directory("limit").join("card.json");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_file(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_file(&path, 4), Err(FileError::TooLarge { limit: 4, .. })));
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do_in_one_line() {
        let here = directory("bad");
        fs::write(here.join("empty"), "").unwrap();
        fs::write(here.join("bytes"), [0xff]).unwrap();
        for (path, says) in [
            (here.clone(), "is a directory; name a file"),
            (here.join("empty"), "is empty"),
            (here.join("absent\n"), "no such file or directory; check the path"),
        ] {
            let message = read_file(&path, 9).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
        assert!(matches!(read_text(&here.join("bytes"), 9), Err(FileError::NotText { .. })));
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left_in_its_directory() {
        let here = directory("write");
        let path = here.join("out.json");
        write_file(&path, b"first").unwrap();
        write_file(&path, b"second").unwrap();
        assert_eq!(read_file(&path, 99).unwrap(), b"second");
        assert_eq!(names(&here), ["out.json"]);
    }

    #[test]
    fn a_failed_write_leaves_the_directory_as_it_was() {
        let here = directory("failed-write");
        fs::create_dir_all(here.join("taken")).unwrap();
        assert!(write_file(&here.join("taken"), b"x").is_err());
        assert!(write_file(&here.join("absent").join("out.json"), b"x").is_err());
        assert_eq!(names(&here), ["taken"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_published_has_folders_and_is_readable_by_all_whatever_a_killed_process_left() {
        use std::os::unix::fs::PermissionsExt;
        let here = directory("publish");
        let _ = fs::remove_dir_all(here.join("deep"));
        let path = here.join("deep/er/card.json");
        publish_file(&path, b"first").unwrap();
        let left = path.with_file_name(temporary_name(OsStr::new("card.json")));
        fs::write(&left, b"half a ca").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        publish_file(&path, b"second").unwrap();
        assert_eq!(read_file(&path, 99).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(names(&here.join("deep/er")), ["card.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn writing_keeps_the_permissions_and_the_links_of_what_it_replaces() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let here = directory("modes");
        let path = here.join("real");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let _ = fs::remove_file(here.join("link"));
        symlink(&path, here.join("link")).unwrap();
        write_file(&here.join("link"), b"new").unwrap();
        assert_eq!(read_file(&path, 99).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(here.join("link")).unwrap().is_symlink());
    }
}
