//! Handles to one value that cost no shared cache line to clone.
//!
//! axum clones a service for every request. If the service holds its state in an `Arc`,
//! each clone and each drop writes the one count that all threads share, which costs
//! seven times as much with two threads as with one. A [`Local`] holds an `Arc` of a
//! small *shard* instead, one for each thread, and the shards hold the value: a clone
//! counts on the shard of the thread that clones.
//!
//! What a reader should know: a thread keeps its shard until it meets a new value and
//! finds the old shard unused, or ends. The value can therefore outlive its last handle
//! for as long as its threads stay idle. It is memory only (at most
//! [`SHARDS_PER_THREAD`] values a thread); nothing may depend on the moment of its drop.

use std::{any::Any, cell::RefCell, fmt, ops::Deref, sync::Arc};

/// Most shards a thread keeps. A process has one guard and a handful of layers; a test
/// process makes hundreds, and its threads forget those that nobody uses.
pub const SHARDS_PER_THREAD: usize = 16;

/// A handle to a value of type `T`, cheap to clone on any thread.
pub struct Local<T: Send + Sync + 'static> {
    shard: Arc<Shard<T>>,
}

struct Shard<T> {
    value: Arc<T>,
    /// The thread that counts on this shard; see [`this_thread`].
    owner: usize,
}

type Slot = (*const (), Arc<dyn Any + Send + Sync>);

std::thread_local! {
    static THREAD: u8 = const { 0 };
    static SHARDS: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// Returns a number that no other living thread has: the address of a thread-local. A
/// thread that comes later may have it again; then it also counts on the old shard, which
/// is as right as any. Zero while the thread ends.
fn this_thread() -> usize {
    THREAD
        .try_with(|place| std::ptr::from_ref(place).addr())
        .unwrap_or(0)
}

impl<T: Send + Sync + 'static> Local<T> {
    /// Takes the value.
    #[must_use]
    pub fn new(value: T) -> Self {
        // Owned by nobody: the layer that keeps the first handle never counts for requests.
        Self {
            shard: Arc::new(Shard {
                value: Arc::new(value),
                owner: 0,
            }),
        }
    }

    /// Whether both are handles to the same value.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shard.value, &other.shard.value)
    }

    #[cold]
    fn of_this_thread(&self) -> Arc<Shard<T>> {
        let key = Arc::as_ptr(&self.shard.value).cast::<()>();
        SHARDS
            .try_with(|shards| {
                let mut shards = shards.try_borrow_mut().ok()?;
                let known = shards.iter().find(|(address, _)| *address == key);
                if let Some((_, shard)) = known {
                    // The address is that of a live value: the shard itself keeps it alive.
                    return Arc::clone(shard).downcast().ok();
                }
                // Only this thread and the list hold it: no handle needs it any more.
                shards.retain(|(_, shard)| Arc::strong_count(shard) > 1);
                if shards.len() == SHARDS_PER_THREAD {
                    return None;
                }
                let fresh = Arc::new(Shard {
                    value: Arc::clone(&self.shard.value),
                    owner: this_thread(),
                });
                shards.push((key, Arc::clone(&fresh) as Arc<dyn Any + Send + Sync>));
                Some(fresh)
            })
            .ok()
            .flatten()
            // No room, or the thread is ending: share this handle's shard. Slower, as correct.
            .unwrap_or_else(|| Arc::clone(&self.shard))
    }
}

impl<T: Send + Sync + 'static> Clone for Local<T> {
    #[inline]
    fn clone(&self) -> Self {
        // A connection's handle clones for its requests on the thread that made it, nearly
        // always: then no search is needed.
        let shard = if self.shard.owner == this_thread() {
            Arc::clone(&self.shard)
        } else {
            self.of_this_thread()
        };
        Self { shard }
    }
}

impl<T: Send + Sync + 'static> Deref for Local<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.shard.value
    }
}

impl<T: Send + Sync + fmt::Debug + 'static> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn clones_on_two_threads_see_one_value_and_count_apart() {
        let first = Local::new(7_u32);
        let here = first.clone();
        let there =
            std::thread::scope(|scope| scope.spawn(|| first.clone()).join()).expect("joined");
        assert!(here.same(&there) && *there == 7);
        assert!(!Arc::ptr_eq(&here.shard, &there.shard));
        assert!(Arc::ptr_eq(&here.shard, &first.clone().shard));
    }

    #[test]
    fn a_thread_forgets_values_that_nobody_uses() {
        for round in 0..100_u32 {
            let handle = Local::new(round);
            let _clone = handle.clone();
        }
        assert!(SHARDS.with_borrow(Vec::len) <= SHARDS_PER_THREAD);
    }

    #[test]
    fn more_values_than_places_still_work() {
        let handles: Vec<_> = (0..40_u32).map(Local::new).collect();
        let clones: Vec<_> = handles.iter().map(Clone::clone).collect();
        assert!(
            clones
                .iter()
                .zip(0..)
                .all(|(clone, expected)| **clone == expected)
        );
    }
}
