//! Wake once: what was appended to outboxes during a batch of publishes is flushed at the batch's end.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

/// Something with buffered output.
pub trait Flush: Send + Sync {
    /// Sends what is buffered, or wakes who does.
    fn flush(&self);
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static DIRTY: RefCell<Vec<Arc<dyn Flush>>> = const { RefCell::new(Vec::new()) };
}

/// While one lives on a thread, flushes wait for its end. Cannot be held across an await: it belongs to its thread.
pub struct Batch(PhantomData<*const ()>);

impl Batch {
    /// Begins a batch; batches nest, the outermost counts.
    pub fn begin() -> Batch {
        DEPTH.set(DEPTH.get() + 1);
        Batch(PhantomData)
    }

    /// To be flushed at the end of this thread's batch; at once when there is none.
    pub fn flush_later(target: Arc<dyn Flush>) {
        if DEPTH.get() == 0 {
            target.flush();
        } else {
            DIRTY.with_borrow_mut(|dirty| dirty.push(target));
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth > 0 {
            return;
        }
        // Flushing may publish again (a session that ends); hence no borrow while it runs.
        let mut dirty = DIRTY.take();
        for target in dirty.drain(..) {
            target.flush();
        }
        DIRTY.with_borrow_mut(|fresh| {
            if fresh.is_empty() && fresh.capacity() < dirty.capacity() {
                *fresh = dirty;
            }
        });
    }
}
