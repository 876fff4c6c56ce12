//! All chance comes from the seed: the simulation's own, and what tokio, std and openraft ask the system for.

use std::cell::RefCell;
use std::ffi::c_void;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// From `from` up to and including `to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(of.len() as u64)).ok()?;
        of.get(at)
    }
}

thread_local! {
    static SYSTEM: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// From now on this thread's `getrandom` answers from the seed.
pub(crate) fn seed_the_system(seed: u64) {
    SYSTEM.with_borrow_mut(|system| *system = Some(Random::new(seed ^ 0x5151_7A7A)));
}

/// In the place of libc's: std (`RandomState`, from which tokio seeds its `select!`) and rand's thread generator (from
/// which openraft draws its election timeouts) find this one first.
///
/// # Safety
/// As libc's: `buffer` has room for `len` bytes.
#[expect(unsafe_code, reason = "stands in the place of a function of libc; only in the test program")]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(buffer: *mut c_void, len: usize, flags: u32) -> isize {
    let simulated = SYSTEM.try_with(|system| {
        let mut system = system.try_borrow_mut().ok()?;
        let random = system.as_mut()?;
        for at in 0..len {
            // SAFETY: `at` is below `len`, and the caller gave room for `len` bytes.
            unsafe { buffer.cast::<u8>().add(at).write(random.next().to_le_bytes()[4]) };
        }
        Some(len.cast_signed())
    });
    match simulated {
        Ok(Some(written)) => written,
        // SAFETY: the same arguments go on to the kernel.
        Ok(None) | Err(_) => unsafe { libc::syscall(libc::SYS_getrandom, buffer, len, flags) }.try_into().unwrap_or(-1),
    }
}
