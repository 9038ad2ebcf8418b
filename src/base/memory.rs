//! Owns the memory that the allocator keeps of what was freed. Only glibc's keeps so much that it is worth the while.

/// Free memory at the end of what the threads of the program share, above which it goes back to the system at once.
#[cfg(target_env = "gnu")]
const KEPT_MAX: i32 = 2 << 20;
/// Blocks of this size are mapped for themselves, and go back when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_MIN: i32 = 4 << 20;
/// Asked of the system at once, and left when memory goes back, so that this is not done for every block.
#[cfg(target_env = "gnu")]
const STEP: i32 = 1 << 20;

/// Lets the allocator keep little. Left to itself it learns from the largest block that is freed to keep up to 64 MB at the
/// end of what each thread allocates from, where `give_back` does not reach. It holds for the whole process, so it is for
/// a program to ask, not for a guest in one.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (what, value) in
        [(libc::M_TRIM_THRESHOLD, KEPT_MAX), (libc::M_MMAP_THRESHOLD, MAPPED_MIN), (libc::M_TOP_PAD, STEP)]
    {
        #[expect(unsafe_code, reason = "no safe binding tells the allocator")]
        // SAFETY: it takes no pointer and may be called at any time on any thread.
        let is_taken = unsafe { libc::mallopt(what, value) } == 1;
        if !is_taken {
            tracing::debug!(what, value, "the allocator does not take this");
        }
    }
}

/// Gives memory back to the system. Behind a load that takes some milliseconds, in which whoever allocates may have to wait.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no safe binding gives memory back")]
    // SAFETY: it takes no pointer and may be called at any time on any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// Megabytes that lie in memory of what this process allocated.
    fn resident_mb() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("so it does");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1_024
    }

    #[test]
    fn what_a_thread_freed_goes_back() {
        keep_little();
        // Teaches the allocator to keep much, were it left to learn.
        drop(black_box(vec![1_u8; 31 << 20]));
        let thread = || {
            let blocks: Vec<_> = (0..40 << 4).map(|_| black_box(vec![1_u8; 1 << 16])).collect();
            let full = resident_mb();
            drop(blocks);
            full - resident_mb().min(full)
        };
        let given_back = std::thread::spawn(thread).join().expect("nothing in it panics");
        assert!(given_back >= 20, "{given_back} of 40 MB");
    }
}
