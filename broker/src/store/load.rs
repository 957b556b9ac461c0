//! Reads and checks segment files, one ahead of whoever applies them.
use super::codec::Salt;
use super::fs::FsFile;
use super::scan::{Scan, scan};
use super::segment::{Header, MOST, START};
use super::types::StoreError;
use std::io;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

/// One segment file.
pub(super) struct Source {
    pub number: u32,
    pub file: Box<dyn FsFile>,
    pub header: Option<Header>,
}

/// A segment's bytes and what was found in them.
pub(super) struct Loaded {
    pub bytes: Vec<u8>,
    pub scan: Scan,
    /// Some of it could not be read and counts as zeros.
    pub unreadable: bool,
}

/// Reads a whole file, up to the most a segment can be. Pages the disk does not give back are left zero.
pub(super) fn read_all(file: &dyn FsFile, bytes: &mut Vec<u8>) -> io::Result<bool> {
    const PAGE: usize = 4096;
    let len = file.len()?.min(u64::from(MOST) + u64::from(START)) as usize;
    // Everything up to `len` is read over below.
    bytes.resize(len, 0);
    if let Ok(read) = file.read_at(bytes, 0) {
        bytes.truncate(read);
        return Ok(false);
    }
    let (mut failed, mut any) = (false, len == 0);
    let mut first = None;
    for (place, page) in bytes.chunks_mut(PAGE).enumerate() {
        match file.read_at(page, (place * PAGE) as u64) {
            Ok(_) => any = true,
            Err(error) => {
                page.fill(0);
                failed = true;
                first.get_or_insert(error);
            }
        }
    }
    match first {
        // Not a page of it: that is no damaged place but a disk that does not answer.
        Some(error) if !any => Err(error),
        _ => Ok(failed),
    }
}

pub(super) fn load(source: &Source, store: u64, mut bytes: Vec<u8>) -> io::Result<Loaded> {
    let unreadable = read_all(source.file.as_ref(), &mut bytes)?;
    let scan = scan(&bytes, START, Salt::new(store, source.number));
    Ok(Loaded { bytes, scan, unreadable })
}

/// Hands over each segment in order.
pub(super) fn each(
    sources: &[Source],
    store: u64,
    threaded: bool,
    mut apply: impl FnMut(&Source, &mut Loaded) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if !threaded || sources.len() < 3 {
        let mut bytes = Vec::new();
        for source in sources {
            let mut loaded = load(source, store, bytes)?;
            apply(source, &mut loaded)?;
            bytes = loaded.bytes;
        }
        return Ok(());
    }
    thread::scope(|scope| {
        // At most three segments are in memory: one being applied, one waiting, one being read.
        let (ready, arrive) = sync_channel(1);
        let (used, free) = channel::<Vec<u8>>();
        scope.spawn(move || {
            for source in sources {
                let bytes = free.try_recv().unwrap_or_default();
                if ready.send(load(source, store, bytes)).is_err() {
                    return; // Whoever applies gave up.
                }
            }
        });
        for source in sources {
            let Ok(loaded) = arrive.recv() else { return Err(StoreError::Closed) };
            let mut loaded = loaded?;
            apply(source, &mut loaded)?;
            let _ = used.send(loaded.bytes);
        }
        Ok(())
    })
}
