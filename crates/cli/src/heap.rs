//! The heap of the command.

#[cfg(target_env = "gnu")]
use nix::libc;

/// Lets all threads allocate from one heap. Otherwise, each thread begins one of its own, which the system
/// makes longer page by page, while what the command line and the configuration have taken is free again.
/// Must be called before any thread is started.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no library offers it")]
pub fn share() {
    // SAFETY: it sets a parameter of the allocator: mallopt(3). If that fails, each thread has its heap.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Other allocators have one heap, or one that is short for each thread.
#[cfg(not(target_env = "gnu"))]
pub const fn share() {}
