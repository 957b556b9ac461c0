//! The few things the store asks of a disk, so that tests can put a worse disk underneath.
use std::any::Any;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// An open file. Offsets are absolute; nothing is buffered.
pub trait FsFile: Send + Sync {
    /// Reads up to the buffer's length; less only at the file's end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of it.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file off.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The file's length.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// An open folder. It stays open, since a program that has used up its file descriptors could not open it in the moment
/// when its names must become durable.
pub trait Folder: Send + Sync {
    /// Makes the names in it durable.
    fn sync(&self) -> io::Result<()>;
}

/// A disk. Names become durable with `Folder::sync`, contents with `sync_data`.
pub trait Fs: Send + Sync {
    /// Makes a folder and its parents, private to the owner, and their names durable.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens an existing file for reading and writing; a link is refused.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Makes a new file, private to the owner; an existing one is refused.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Names of the files and folders in a folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Renames within a folder, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Opens a folder.
    fn folder(&self, path: &Path) -> io::Result<Box<dyn Folder>>;
    /// Takes the lock file for as long as the guard lives; `None` when somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
}

/// Whether there is no room, on the disk or among the process's open files: a trouble that passes.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) || sys::no_descriptor(error)
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

struct RealFile(fs::File);

/// A lock lasts as long as any copy of the file is open, and every process that is being started has one until it runs
/// its program: so it is given back, not just let go.
struct Lock {
    file: fs::File,
    process: u32,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A forked child has a copy as well, but what it does must not open the parent's store to others.
        if self.process == std::process::id() {
            let _ = self.file.unlock();
        }
    }
}

#[cfg(unix)]
mod sys {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};

    pub fn guard(options: &mut OpenOptions) -> &mut OpenOptions {
        // A store folder is ours: following a link somebody put there would write outside of it.
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
    }
    pub fn read_at(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buf, offset)
    }
    pub fn write_at(file: &fs::File, buf: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(buf, offset)
    }
    pub fn create_dir(path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }
    pub struct RealFolder(fs::File);
    impl RealFolder {
        pub fn open(path: &Path) -> io::Result<RealFolder> {
            Ok(RealFolder(fs::File::open(path)?))
        }
    }
    impl Folder for RealFolder {
        fn sync(&self) -> io::Result<()> {
            self.0.sync_all()
        }
    }
    pub fn no_descriptor(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
    }
}

#[cfg(windows)]
mod sys {
    use super::*;
    use std::os::windows::fs::FileExt;

    pub fn guard(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }
    pub fn read_at(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        file.seek_read(buf, offset)
    }
    pub fn write_at(file: &fs::File, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let written = file.seek_write(buf, offset)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            buf = buf.get(written..).unwrap_or_default();
            offset += written as u64;
        }
        Ok(())
    }
    pub fn create_dir(path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }
    pub struct RealFolder;
    impl RealFolder {
        pub fn open(_path: &Path) -> io::Result<RealFolder> {
            Ok(RealFolder)
        }
    }
    impl Folder for RealFolder {
        fn sync(&self) -> io::Result<()> {
            Ok(()) // NTFS journals names; a folder cannot be synced.
        }
    }
    pub fn no_descriptor(_error: &io::Error) -> bool {
        false // Handles are bounded by memory only.
    }
}

impl FsFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match sys::read_at(&self.0, rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        sys::write_at(&self.0, buf, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Fs for RealFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.create_dir(parent)?;
        match sys::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
            Err(error) => return Err(error),
        }
        // A folder whose name is lost takes everything in it along.
        self.folder(parent)?.sync()
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = sys::guard(OpenOptions::new().read(true).write(true)).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
        }
        Ok(Box::new(RealFile(file)))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = sys::guard(OpenOptions::new().read(true).write(true).create_new(true)).open(path)?;
        Ok(Box::new(RealFile(file)))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not text is not ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn folder(&self, path: &Path) -> io::Result<Box<dyn Folder>> {
        Ok(Box::new(sys::RealFolder::open(path)?))
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let file = sys::guard(OpenOptions::new().read(true).write(true).create(true).truncate(false)).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(Lock { file, process: std::process::id() }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
