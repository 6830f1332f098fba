//! What an input makes the library hold of memory: an allocator that counts, thread by thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

thread_local! {
    /// Bytes that this thread has allocated and not freed, and the most of them at once. What another thread frees counts there.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn note(change: isize) {
    let held = HELD.get() + change;
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

fn size(layout: Layout) -> isize {
    isize::try_from(layout.size()).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(size(layout));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(size(layout));
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-size(layout));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
    // `realloc` is the trait's own, over these: both pieces are there at once, which is the most it can take.
}

/// Does something, and gives the most bytes that it held at once on this thread, beyond what was there before. What it returns
/// counts.
pub fn held<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    let most = MOST.replace(before);
    let done = work();
    let within = MOST.get();
    MOST.set(most.max(within));
    (done, usize::try_from(within - before).unwrap_or(0))
}

/// Does something that may hold so many bytes, and no more.
#[track_caller]
pub fn within<T>(budget: usize, work: impl FnOnce() -> T) -> T {
    let (done, held) = held(work);
    assert!(held <= budget, "{held} bytes at once; there are {budget} for it");
    done
}
