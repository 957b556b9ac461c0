//! The folder: private files, written whole or not at all, one writer at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::error::NamespaceError;

type Result<T> = std::result::Result<T, NamespaceError>;

/// Larger files are none of ours.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// How long to wait for another process that changes something.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The file that makes a folder one of namespaces.
pub(super) const OPERATOR: &str = "operator.json";
/// What may be there before: the store of a broker that keeps both in one folder, and what a volume begins with.
const NOT_OF_OTHERS: [&str; 2] = ["jetstream", "lost+found"];
/// Names of files that are being written begin like this.
const TEMPORARY: &str = ".new-";

/// Makes a folder for nothing but namespaces, readable by its owner only. An existing one that is open to everybody is closed,
/// unless it holds other things: those may be meant for everybody, as in the system's own folders.
pub(super) fn make_whole(path: &Path) -> Result<()> {
    let open = fs::metadata(path).is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o007 != 0);
    if open && !path.join(OPERATOR).exists() {
        for entry in fs::read_dir(path).map_err(NamespaceError::io(path))? {
            let name = entry.map_err(NamespaceError::io(path))?.file_name();
            if !NOT_OF_OTHERS.iter().any(|known| name == *known) {
                return Err(NamespaceError::Unsafe(
                    path.to_owned(),
                    "everybody on this machine can enter it, and it holds other things: choose a folder of its own",
                ));
            }
        }
    }
    make_folder(path)
}

/// Makes the folder, readable by its owner only; an existing one must not be open to everybody.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    let error = NamespaceError::io(path);
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        Err(failure) if failure.kind() == io::ErrorKind::AlreadyExists => {}
        Err(failure) => return Err(error(failure)),
    }
    let found = fs::metadata(path).map_err(&error)?;
    if !found.is_dir() {
        return Err(NamespaceError::Unsafe(path.to_owned(), "it is not a folder"));
    }
    if found.permissions().mode() & 0o007 != 0 {
        // A folder made by hand is usually open; closing it is what its owner would do.
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|_| {
            NamespaceError::Unsafe(
                path.to_owned(),
                "everybody on this machine can enter it, and that cannot be changed: chmod 700",
            )
        })?;
    }
    Ok(())
}

/// The right to change the folder; ends when dropped, also with the process.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Lock> {
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(NamespaceError::io(&path))?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                Err(TryLockError::WouldBlock) => return Err(NamespaceError::Busy(folder.to_owned())),
                Err(TryLockError::Error(error)) => return Err(NamespaceError::Io(path, error)),
            }
        }
    }
}

/// The content of a private file; `None`: there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>> {
    let error = NamespaceError::io(path);
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(failure) => return Err(error(failure)),
    };
    let found = file.metadata().map_err(&error)?;
    if !found.is_file() {
        return Err(NamespaceError::Unsafe(path.to_owned(), "it is not a file"));
    }
    if found.permissions().mode() & 0o007 != 0 {
        return Err(NamespaceError::Unsafe(
            path.to_owned(),
            "everybody on this machine can open it, and it holds keys: chmod 600, or make new ones",
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE).read_to_string(&mut text).map_err(&error)?;
    Ok(Some(text))
}

/// Puts a file in place as a whole: after a crash there is the old one or the new one.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let error = NamespaceError::io(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!("{TEMPORARY}{name}"));
    // The writer holds the lock, so what is there is left from a crash.
    match fs::remove_file(&temporary) {
        Err(failure) if failure.kind() != io::ErrorKind::NotFound => return Err(error(failure)),
        _ => {}
    }
    let put = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(folder)
    };
    put().map_err(|failure| {
        let _ = fs::remove_file(&temporary);
        error(failure)
    })
}

/// Deletes a file for good; false: there was none.
pub(super) fn delete(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path.parent().unwrap_or(Path::new("."))).map(|()| true).map_err(NamespaceError::io(path)),
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(failure) => Err(NamespaceError::io(path)(failure)),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file as it stands on the disk: another one has another mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Mark {
    pub(super) fn of(path: &Path) -> Option<Mark> {
        let found = fs::symlink_metadata(path).ok()?;
        Some(Mark { inode: found.ino(), size: found.size(), modified: (found.mtime(), found.mtime_nsec()) })
    }
}

impl Mark {
    /// Whether the last change is less than two seconds ago, or in the future.
    pub(super) fn is_recent(self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX) - self.modified.0 <= 2
    }
}

/// The files of a folder with this ending, in the order of their names, each with its mark.
pub(super) fn list(folder: &Path, ending: &str) -> Result<Vec<(String, PathBuf, Mark)>> {
    let error = NamespaceError::io(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(&error)? {
        let path = entry.map_err(&error)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ending))
        else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        // Gone again meanwhile: then it is not there.
        if let Some(mark) = Mark::of(&path) {
            found.push((name.to_owned(), path, mark));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
