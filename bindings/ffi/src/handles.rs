//! Handles: numbers with a generation for live things. A stale one is `closed`, never another object.

use std::sync::{PoisonError, RwLock};

use crate::failure::{Failure, R, guard_quiet};
use crate::fork;
use crate::hub::hub;
use crate::object::Object;

/// A handle: epoch (5 bits), generation (28 bits), place (20 bits); below 2^53 like every number that crosses.
const PLACE_BITS: u32 = 20;
const GENERATION_BITS: u32 = 28;
const LAST_GENERATION: u64 = (1 << GENERATION_BITS) - 1;
/// The most open handles at a time.
pub const MAX_HANDLES: usize = 1 << PLACE_BITS;

/// All open handles of one hub.
pub(crate) struct Table {
    epoch: u32,
    places: RwLock<Places>,
}

#[derive(Default)]
struct Places {
    list: Vec<Place>,
    free: Vec<usize>,
}

struct Place {
    generation: u64,
    object: Option<Object>,
}

impl Table {
    pub(crate) fn new(epoch: u32) -> Table {
        Table { epoch, places: RwLock::default() }
    }

    /// Puts a live thing under a new number.
    pub(crate) fn add(&self, object: Object) -> R<u64> {
        let mut guarded = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let places = &mut *guarded;
        let index = match places.free.pop() {
            Some(index) => index,
            None if places.list.len() < MAX_HANDLES => {
                places.list.push(Place { generation: 1, object: None });
                places.list.len() - 1
            }
            None => return Err(Failure::new("busy", format!("{MAX_HANDLES} handles are open; close some"))),
        };
        let place = places.list.get_mut(index).ok_or_else(|| Failure::internal("a handle's place is missing"))?;
        place.object = Some(object);
        let epoch = u64::from(self.epoch) << (GENERATION_BITS + PLACE_BITS);
        Ok(epoch | (place.generation << PLACE_BITS) | index as u64)
    }

    /// The live thing under this number.
    pub(crate) fn get(&self, handle: u64) -> R<Object> {
        self.with(handle, Object::clone)
    }

    /// Looks at the live thing under this number; `look` must be short, the table is locked for reading.
    #[inline]
    pub(crate) fn with<T>(&self, handle: u64, look: impl FnOnce(&Object) -> T) -> R<T> {
        if handle >> (GENERATION_BITS + PLACE_BITS) != u64::from(self.epoch) {
            return Err(if handle == 0 { nothing() } else { Failure::forked() });
        }
        let generation = (handle >> PLACE_BITS) & LAST_GENERATION;
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        match places.list.get(handle as usize & (MAX_HANDLES - 1)) {
            Some(Place { generation: live, object: Some(object) }) if *live == generation => Ok(look(object)),
            _ => Err(nothing()),
        }
    }

    fn remove(&self, handle: u64) -> Option<Object> {
        if handle >> (GENERATION_BITS + PLACE_BITS) != u64::from(self.epoch) {
            return None;
        }
        let generation = (handle >> PLACE_BITS) & LAST_GENERATION;
        let index = handle as usize & (MAX_HANDLES - 1);
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let place = places.list.get_mut(index)?;
        if place.generation != generation {
            return None;
        }
        let object = place.object.take()?;
        place.generation += 1;
        // A place whose numbers are used up is never given out again.
        if place.generation <= LAST_GENERATION {
            places.free.push(index);
        }
        Some(object)
    }

    /// How many handles are open.
    pub(crate) fn open(&self) -> usize {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.list.iter().filter(|place| place.object.is_some()).count()
    }
}

fn nothing() -> Failure {
    Failure::closed("the object was closed")
}

/// Closes the live thing under this number, whatever it is, without waiting: a client flushes for up to 2 s in the
/// background first. Closing twice, or in a forked child, does nothing; a forgotten object's finaliser calls it too.
pub fn close_handle(handle: u64) {
    guard_quiet(|| {
        if handle >> (GENERATION_BITS + PLACE_BITS) != u64::from(fork::epoch()) {
            return;
        }
        if let Ok(hub) = hub()
            && let Some(object) = hub.handles.remove(handle)
        {
            object.close(hub);
        }
    });
}

/// How many handles are open: tests of every language look for leaks with it.
pub fn open_handles() -> usize {
    hub().map(|hub| hub.handles.open()).unwrap_or(0)
}
