//! Opening a store: the lock, whose files there are, the walk through them, and what the writer goes on with.
use super::encode::Extra;
use super::fs::{Folder, FsFile};
use super::ledger::Ledger;
use super::load::Source;
use super::log::Parts;
use super::reader::Reader;
use super::segment::{self, AHEAD, Header, LOCK, START, SUPER};
use super::superblock::{self, Marks, Superblock};
use super::types::{Options, Recovered, StoreError};
use super::walk::Walk;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub(super) fn open(options: &Options, threaded: bool) -> Result<(Parts, Recovered), StoreError> {
    let (fs, dir) = (options.fs.clone(), options.dir.clone());
    fs.create_dir(&dir)?;
    let lock = fs.lock(&dir.join(LOCK))?.ok_or(StoreError::Locked)?;
    let names = fs.list(&dir)?;
    let _ = fs.remove(&dir.join("large.tmp"));
    let mut sources = Vec::new();
    for number in names.iter().filter_map(|name| segment::number(name)) {
        let file = fs.open(&dir.join(segment::name(number)))?;
        let mut sector = [0; START as usize];
        file.read_at(&mut sector, 0)?;
        sources.push(Source {
            number,
            file,
            header: Header::decode(&sector).filter(|header| header.segment == number),
        });
    }
    sources.sort_unstable_by_key(|source| source.number);

    let made = names.iter().any(|name| name == SUPER);
    let file: Arc<dyn FsFile> = Arc::from(if made { fs.open(&dir.join(SUPER))? } else { fs.create(&dir.join(SUPER))? });
    let slots = superblock::read(file.as_ref())?;
    let store = match identity(&slots, &sources) {
        Some(store) => store,
        None if sources.is_empty() => rand::random::<u64>().max(1),
        None => return Err(StoreError::Unreadable("no segment and no superblock tells whose they are".into())),
    };
    let mut known = Marks::default();
    slots.iter().flatten().filter(|(of, _)| *of == store).for_each(|(_, marks)| known.merge(marks));

    let mut walk = Walk::new(fs.as_ref(), &dir, store, known.segment);
    // Before there is a segment, a superblock that never came to the disk is no damage.
    if !sources.is_empty() {
        walk.superblock(&slots);
        known.floor = known.floor.max(walk.floor(&sources)?);
    }
    let sources = walk.select(sources, &mut known);
    let active = walk.read(sources, &known, threaded)?;
    walk.finish(&known);

    let Walk { mut replay, tail, segments, leftover, .. } = walk;
    replay.settle();
    let reader = Arc::new(Reader::new(fs.clone(), dir.clone(), store));
    let mut ledger = Ledger::new(reader.moved.clone());
    for (number, segment) in segments {
        ledger.open(number, segment);
    }
    ledger.load(&replay);
    let mut extras = VecDeque::new();
    for (stream, ranges) in replay.untold_losses() {
        extras.push_back(Extra::Lost { stream, ranges });
    }
    for stream in replay.raised() {
        extras.push_back(Extra::End { stream, unless_after: tail.segment });
    }
    // The names of the superblock and of what an earlier process made just before it died: before anything relies on them.
    let folder: Arc<dyn Folder> = Arc::from(fs.folder(&dir)?);
    folder.sync()?;
    let marks = Arc::new(Superblock::new(file, store, &slots));
    marks.keep(&Marks {
        batch: tail.batch,
        synced: tail.synced,
        lsn: tail.lsn,
        advance: tail.advance,
        floor: tail.floor,
        segment: tail.segment,
    })?;
    for number in leftover {
        let _ = fs.remove(&dir.join(segment::name(number)));
    }
    if let Some(active) = &active {
        reader.keep(active.number, active.file.clone());
    }
    let _ = fs.remove(&dir.join(AHEAD));
    let parts = Parts {
        fs: fs.clone(),
        dir: dir.clone(),
        folder,
        store,
        segment_bytes: options.segment_bytes.clamp(4096, u64::from(segment::MOST)),
        sync: options.sync,
        _lock: lock,
        marks,
        reader,
        ledger,
        active,
        tail,
        extras,
        threaded,
    };
    Ok((parts, replay.into_recovered()))
}

/// The store's number: what most of its checked places say.
fn identity(slots: &[Option<(u64, Marks)>], sources: &[Source]) -> Option<u64> {
    let mut votes: HashMap<u64, u32> = HashMap::new();
    let told = slots.iter().flatten().map(|(store, _)| *store);
    for store in told.chain(sources.iter().filter_map(|source| source.header.map(|header| header.store))) {
        *votes.entry(store).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(store, votes)| (*votes, *store)).map(|(store, _)| store)
}
