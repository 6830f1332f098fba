//! An allocator without a history: what an allocation costs does not depend on what was freed before it.

#![allow(unsafe_code, reason = "the interface of an allocator is that")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The system's, until [`Arena::open`]; from then on the next bytes of an array, which are never given again.
pub(crate) struct Arena {
    is_open: AtomicBool,
    used: AtomicUsize,
    bytes: Bytes,
}

const SIZE: usize = 64 << 20;

#[repr(align(4096))]
struct Bytes(UnsafeCell<[u8; SIZE]>);

// SAFETY: each byte is given once, to one owner.
unsafe impl Sync for Bytes {}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { is_open: AtomicBool::new(false), used: AtomicUsize::new(0), bytes: Bytes(UnsafeCell::new([0; SIZE])) }
    }

    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    fn has(&self, pointer: *mut u8) -> bool {
        pointer.addr().wrapping_sub(self.bytes.0.get().addr()) < SIZE
    }
}

// SAFETY: what the array gives is aligned, inside of it, and given once; what it did not give is the system's.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.is_open.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are the system's.
            return unsafe { System.alloc(layout) };
        }
        // Of one thread: a bench's.
        let start = self.used.load(Ordering::Relaxed).next_multiple_of(layout.align().max(64));
        let end = start.saturating_add(layout.size());
        if end > SIZE {
            return null_mut();
        }
        self.used.store(end, Ordering::Relaxed);
        // SAFETY: `start` is inside of the array.
        unsafe { self.bytes.0.get().cast::<u8>().add(start) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if !self.has(pointer) {
            // SAFETY: it was the system's.
            unsafe { System.dealloc(pointer, layout) }
        }
    }
}
