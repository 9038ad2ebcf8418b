//! Owns the memory that the allocator keeps of what was freed.

/// Gives it back to the system. Behind a load that takes some milliseconds, in which whoever allocates may have to wait.
/// Only glibc's allocator keeps so much that it is worth the while.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no safe binding gives memory back")]
    // SAFETY: it takes no pointer and may be called at any time on any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
