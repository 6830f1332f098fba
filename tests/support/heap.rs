//! An allocator that counts, for the whole program that includes this file with `#[path]`. It counts by thread.

#![allow(unsafe_code, dead_code, unreachable_pub, clippy::arithmetic_side_effects)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

fn add(bytes: usize) {
    HELD.with(|held| held.set(held.get() + signed(bytes)));
    if !PAUSED.with(Cell::get) {
        ALLOCATED.with(|all| all.set(all.get() + bytes));
        CALLS.with(|calls| calls.set(calls.get() + 1));
    }
}

fn remove(bytes: usize) {
    HELD.with(|held| held.set(held.get() - signed(bytes)));
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

// SAFETY: hands every call to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        remove(layout.size());
        add(size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The heap bytes that this thread holds now.
pub fn held() -> isize {
    HELD.with(Cell::get)
}

/// What `work` gives, how many bytes it left on the heap, and how many allocations it made.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, isize, usize) {
    let (before, calls) = (held(), CALLS.with(Cell::get));
    let result = work();
    (result, held() - before, CALLS.with(Cell::get) - calls)
}

/// What `work` gives, and the bytes it allocated, whether it gave them back or not.
pub fn allocated<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.with(Cell::get);
    let result = work();
    (result, ALLOCATED.with(Cell::get) - before)
}

/// What `work` gives, with its allocations left out of the count.
pub fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    let before = PAUSED.with(|paused| paused.replace(true));
    let result = work();
    PAUSED.with(|paused| paused.set(before));
    result
}
