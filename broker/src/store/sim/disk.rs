//! A disk in memory that keeps only what was synced, and of the rest whatever it likes.
use super::rng::Rng;
use crate::store::fs::{Folder, Fs, FsFile};
use crate::store::reader::lock;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const SECTOR: usize = 512;

/// What goes wrong at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An I/O error. A failed sync leaves its data lost for good, whatever later syncs say.
    Io,
    /// No space left.
    Full,
    /// The power goes out in the middle of it.
    PowerLoss,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    data: Vec<u8>,
    /// What the platter still holds of sectors that were written since the last sync.
    old: BTreeMap<usize, Vec<u8>>,
    /// Sectors a failed sync dropped: they are never going to be written.
    gone: BTreeSet<usize>,
    synced_len: usize,
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Clone, Default)]
struct World {
    inodes: HashMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    pending: Vec<NameChange>,
    next_inode: u64,
    ops: u64,
    faults: BTreeMap<u64, Fault>,
    down: bool,
    boot: u64,
    locks: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    lies: bool,
    /// The process has no file descriptor left.
    exhausted: bool,
    rng: Option<Rng>,
}

/// The disk. Clones share it; `fork` copies it.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<World>>);

struct SimFile {
    disk: SimDisk,
    inode: u64,
    boot: u64,
}

struct SimFolder {
    disk: SimDisk,
    path: PathBuf,
    boot: u64,
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    boot: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = lock(&self.disk.0);
        if world.boot == self.boot {
            world.locks.remove(&self.path);
        }
    }
}

fn power_lost() -> io::Error {
    io::Error::other("the power is out")
}

impl Inode {
    fn write(&mut self, buf: &[u8], offset: usize) {
        let end = offset + buf.len();
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.remember(sector);
            // Dirty again, so the next sync tries again.
            self.gone.remove(&sector);
        }
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        if let Some(part) = self.data.get_mut(offset..end) {
            part.copy_from_slice(buf);
        }
    }

    fn remember(&mut self, sector: usize) {
        let data = &self.data;
        self.old.entry(sector).or_insert_with(|| {
            let from = (sector * SECTOR).min(data.len());
            let mut old = data.get(from..data.len().min(from + SECTOR)).unwrap_or_default().to_vec();
            old.resize(SECTOR, 0);
            old
        });
    }

    fn sync(&mut self) {
        let gone = &self.gone;
        self.old.retain(|sector, _| gone.contains(sector));
        self.synced_len = self.data.len();
    }

    /// The power was out: every sector that was not synced is new or old. Pages of eight are kept or lost together
    /// in half of the cases.
    fn settle(&mut self, rng: &mut Rng) {
        let keep = rng.pick(&[0, 10, 50, 90, 100]).copied().unwrap_or(50);
        let pages = rng.chance(50);
        let mut last = (usize::MAX, false);
        if self.synced_len != self.data.len() && !rng.chance(keep) {
            self.data.resize(self.synced_len, 0);
        }
        for (sector, old) in std::mem::take(&mut self.old) {
            let kept = match pages && last.0 == sector / 8 {
                true => last.1,
                false => rng.chance(keep),
            };
            last = (sector / 8, kept);
            let from = sector * SECTOR;
            let to = self.data.len().min(from + SECTOR);
            if kept && !self.gone.contains(&sector) || from >= to {
                continue;
            }
            if let (Some(now), Some(old)) = (self.data.get_mut(from..to), old.get(..to - from)) {
                now.copy_from_slice(old);
            }
        }
        self.gone.clear();
        self.synced_len = self.data.len();
    }
}

impl World {
    /// Counts a change and says whether it goes wrong.
    fn operation(&mut self, boot: u64) -> io::Result<Option<Fault>> {
        if self.down || self.boot != boot {
            return Err(power_lost());
        }
        let fault = self.faults.remove(&self.ops);
        self.ops += 1;
        if fault == Some(Fault::PowerLoss) {
            self.down = true;
        }
        Ok(fault)
    }

    fn simple(&mut self, boot: u64) -> io::Result<()> {
        match self.operation(boot)? {
            None => Ok(()),
            Some(Fault::Io) => Err(io::Error::other("input/output error")),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerLoss) => Err(power_lost()),
        }
    }

    fn can_open(&self) -> io::Result<()> {
        match (self.down, self.exhausted) {
            (true, _) => Err(power_lost()),
            (false, true) => Err(io::Error::from_raw_os_error(libc::EMFILE)),
            (false, false) => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.inodes.get(inode)).map(|inode| inode.data.len() as u64).sum()
    }

    fn random(&mut self) -> &mut Rng {
        self.rng.get_or_insert_with(|| Rng::new(0))
    }

    fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
        match change {
            NameChange::Create(path, inode) => drop(names.insert(path.clone(), *inode)),
            NameChange::Remove(path) => drop(names.remove(path)),
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }

    fn change(&mut self, change: NameChange) {
        World::apply(&mut self.names, &change);
        self.pending.push(change);
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(World { rng: Some(Rng::new(seed)), ..World::default() })))
    }

    /// A copy that goes its own way.
    pub fn fork(&self) -> SimDisk {
        let mut world = lock(&self.0).clone();
        world.locks.clear();
        SimDisk(Arc::new(Mutex::new(world)))
    }

    /// How many changes were made so far.
    pub fn ops(&self) -> u64 {
        lock(&self.0).ops
    }

    /// Lets something go wrong `after` so many changes from now.
    pub fn fault(&self, after: u64, fault: Fault) {
        let mut world = lock(&self.0);
        let at = world.ops + after;
        world.faults.insert(at, fault);
    }

    /// Forgets planned faults.
    pub fn heal(&self) {
        lock(&self.0).faults.clear();
    }

    /// Limits the sum of all files.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.0).capacity = bytes;
    }

    /// The sum of all files.
    pub fn used(&self) -> u64 {
        lock(&self.0).used()
    }

    /// Makes every sync return at once without doing anything: for showing that tests notice.
    pub fn set_lies(&self, lies: bool) {
        lock(&self.0).lies = lies;
    }

    /// From now on nothing can be opened, for want of a file descriptor; or it can again.
    pub fn set_exhausted(&self, exhausted: bool) {
        lock(&self.0).exhausted = exhausted;
    }

    /// Whether the power is out.
    pub fn is_down(&self) -> bool {
        lock(&self.0).down
    }

    /// The power goes out (if it is not out already) and comes back. What was not synced is there, or not, or in parts.
    pub fn crash(&self) {
        let mut world = lock(&self.0);
        let mut rng = world.random().clone();
        let pending = std::mem::take(&mut world.pending);
        // A journal keeps order; not every file system has one.
        let in_order = rng.chance(50);
        let kept = rng.below(pending.len() as u64 + 1) as usize;
        for (place, change) in pending.iter().enumerate() {
            if if in_order { place < kept } else { rng.chance(50) } {
                World::apply(&mut world.durable, change);
            }
        }
        world.names = world.durable.clone();
        let named: BTreeSet<u64> = world.names.values().copied().collect();
        world.inodes.retain(|number, _| named.contains(number));
        // In the order of names, so that the same seed loses the same sectors.
        for inode in world.names.clone().values() {
            if let Some(inode) = world.inodes.get_mut(inode) {
                inode.settle(&mut rng);
            }
        }
        world.rng = Some(rng);
        world.restart();
    }

    /// The process dies, the machine stays up: nothing is lost.
    pub fn kill(&self) {
        lock(&self.0).restart();
    }

    /// The files in a folder, with their contents.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let world = lock(&self.0);
        let content = |inode: &u64| world.inodes.get(inode).map(|inode| inode.data.clone()).unwrap_or_default();
        world.names.iter().map(|(path, inode)| (path.clone(), content(inode))).collect()
    }

    /// Changes a file's bytes behind the store's back, as damage would.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = lock(&self.0);
        let inode = world.names.get(path).copied();
        if let Some(inode) = inode.and_then(|inode| world.inodes.get_mut(&inode)) {
            change(&mut inode.data);
            inode.old.clear();
            inode.synced_len = inode.data.len();
        }
    }

    /// Deletes a file behind the store's back.
    pub fn lose(&self, path: &Path) {
        let mut world = lock(&self.0);
        world.names.remove(path);
        world.durable.remove(path);
    }

    fn file(&self, inode: u64, boot: u64) -> Box<dyn FsFile> {
        Box::new(SimFile { disk: self.clone(), inode, boot })
    }
}

impl World {
    fn restart(&mut self) {
        self.down = false;
        self.boot += 1;
        self.locks.clear();
        self.faults.clear();
    }
}

impl FsFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = lock(&self.disk.0);
        if world.down || world.boot != self.boot {
            return Err(power_lost());
        }
        let data = world.inodes.get(&self.inode).map(|inode| inode.data.as_slice()).unwrap_or_default();
        let rest = data.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..read), rest.get(..read)) {
            to.copy_from_slice(from);
        }
        Ok(read)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut world = lock(&self.disk.0);
        let mut fault = world.operation(self.boot)?;
        let offset = offset as usize;
        let len = world.inodes.get(&self.inode).map_or(0, |inode| inode.data.len());
        let growth = (offset + buf.len()).saturating_sub(len) as u64;
        if world.capacity.is_some_and(|capacity| world.used() + growth > capacity) {
            fault = fault.or(Some(Fault::Full));
        }
        // What goes wrong goes wrong somewhere in the middle, but a sector is written or not.
        let written = match fault {
            None => buf.len(),
            Some(_) => world.random().below(buf.len() as u64 + 1) as usize / SECTOR * SECTOR,
        };
        let room = match fault {
            Some(Fault::Full) if growth > 0 => written.min(len.saturating_sub(offset)),
            _ => written,
        };
        if let Some(inode) = world.inodes.get_mut(&self.inode) {
            inode.write(buf.get(..room).unwrap_or_default(), offset);
        }
        match fault {
            None => Ok(()),
            Some(Fault::Io) => Err(io::Error::other("input/output error")),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerLoss) => Err(power_lost()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = lock(&self.disk.0);
        let fault = world.operation(self.boot)?;
        let lies = world.lies;
        let Some(inode) = world.inodes.get_mut(&self.inode) else { return Ok(()) };
        match fault {
            None if lies => Ok(()),
            None => {
                inode.sync();
                Ok(())
            }
            Some(Fault::PowerLoss) => Err(power_lost()),
            Some(_) => {
                // The kernel marks the pages clean and reports the error once.
                inode.gone = inode.old.keys().copied().collect();
                Err(io::Error::other("input/output error"))
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = lock(&self.disk.0);
        world.simple(self.boot)?;
        if let Some(inode) = world.inodes.get_mut(&self.inode) {
            for sector in len as usize / SECTOR..inode.data.len().div_ceil(SECTOR) {
                inode.remember(sector);
            }
            inode.data.resize(len as usize, 0);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let world = lock(&self.disk.0);
        Ok(world.inodes.get(&self.inode).map_or(0, |inode| inode.data.len() as u64))
    }
}

impl Folder for SimFolder {
    fn sync(&self) -> io::Result<()> {
        let mut world = lock(&self.disk.0);
        world.simple(self.boot)?;
        if world.lies {
            return Ok(());
        }
        let mine = |change: &NameChange| match change {
            NameChange::Create(path, _) | NameChange::Remove(path) | NameChange::Rename(path, _) => {
                path.parent() == Some(self.path.as_path())
            }
        };
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut world.pending).into_iter().partition(mine);
        now.iter().for_each(|change| World::apply(&mut world.durable, change));
        world.pending = later;
        Ok(())
    }
}

impl Fs for SimDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        if lock(&self.0).down { Err(power_lost()) } else { Ok(()) }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let world = lock(&self.0);
        world.can_open()?;
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let boot = world.boot;
        drop(world);
        Ok(self.file(inode, boot))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut world = lock(&self.0);
        let boot = world.boot;
        world.simple(boot)?;
        world.can_open()?;
        if world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.next_inode += 1;
        let inode = world.next_inode;
        world.inodes.insert(inode, Inode::default());
        world.change(NameChange::Create(path.to_owned(), inode));
        drop(world);
        Ok(self.file(inode, boot))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = lock(&self.0);
        if world.down {
            return Err(power_lost());
        }
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = lock(&self.0);
        let boot = world.boot;
        world.simple(boot)?;
        if !world.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = lock(&self.0);
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let boot = world.boot;
        world.simple(boot)?;
        world.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn folder(&self, path: &Path) -> io::Result<Box<dyn Folder>> {
        let world = lock(&self.0);
        world.can_open()?;
        Ok(Box::new(SimFolder { disk: self.clone(), path: path.to_owned(), boot: world.boot }))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let mut world = lock(&self.0);
        if world.down {
            return Err(power_lost());
        }
        if !world.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), boot: world.boot })))
    }
}
