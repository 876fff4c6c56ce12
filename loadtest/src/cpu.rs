//! The processor time, memory and wake-ups of other processes, as Linux accounts them.

use std::fs;
use std::time::Duration;

/// Why a process's processor time is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CpuError {
    /// The process is gone, or is hidden from us. It may have been restarted: run again.
    #[error("process {pid} cannot be read; was it restarted? Start the load test again")]
    Unreadable {
        /// Which.
        pid: u32,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The text is not what proc(5) describes.
    #[error("/proc/{pid}/{file} has an unexpected form")]
    Malformed {
        /// Which.
        pid: u32,
        /// Of what is said of it.
        file: &'static str,
    },
}

/// The processor time that these processes have used together since they started, in user and kernel mode, with all
/// their threads.
pub(crate) fn time_of(pids: &[u32]) -> Result<Duration, CpuError> {
    let mut ticks = 0_u64;
    for &pid in pids {
        let stat = fs::read(format!("/proc/{pid}/stat")).map_err(|cause| CpuError::Unreadable { pid, cause })?;
        ticks = ticks.saturating_add(ticks_in(&stat).ok_or(CpuError::Malformed { pid, file: "stat" })?);
    }
    Ok(TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)))
}

/// How often the threads that this process has now have gone to sleep by themselves since they started.
pub(crate) fn wakeups_of(pid: u32) -> Result<u64, CpuError> {
    let gone = |cause| CpuError::Unreadable { pid, cause };
    let mut wakeups = 0_u64;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(gone)? {
        // One that has ended meanwhile.
        let Ok(status) = fs::read_to_string(thread.map_err(gone)?.path().join("status")) else { continue };
        let switches = field(&status, "voluntary_ctxt_switches");
        wakeups = wakeups.saturating_add(switches.ok_or(CpuError::Malformed { pid, file: "task/*/status" })?);
    }
    Ok(wakeups)
}

/// The memory of this process that is not swapped out, with the pages of its program file that are in memory.
pub(crate) fn resident_bytes_of(pid: u32) -> Result<u64, CpuError> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|cause| CpuError::Unreadable { pid, cause })?;
    let kibibytes = field(&status, "VmRSS").ok_or(CpuError::Malformed { pid, file: "status" })?;
    Ok(kibibytes.saturating_mul(1024))
}

/// The number behind `name:` in proc(5)'s `status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// `utime + stime`, fields 14 and 15 of proc(5)'s `stat`. Field 2, the program's name in parentheses, may itself hold
/// spaces, parentheses and bytes that are no text, so the fields are counted from the last `)`.
fn ticks_in(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(FIELDS_FROM_STATE_TO_UTIME);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// After the name come the fields 3 (state) to 13, and then 14 (utime).
const FIELDS_FROM_STATE_TO_UTIME: usize = 11;

/// `USER_HZ`, in which Linux reports to programs, is 100 on every architecture Rust's standard library supports with
/// the exception of Alpha; the kernel scales its precise figure to it. So a reading is short by up to 10 ms a process
/// and mode, which is why windows are seconds long.
const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_NAME: &str = " S 1 4242 4242 0 -1 4194560 2710 0 0 0 731 269 5 7 20 0 12 0 9341 1302528 2200 \
                              18446744073709551615 1 1 0 0 0 0 0 4096 17642 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0";

    fn stat(name: &[u8]) -> Vec<u8> {
        [b"4242 (", name, b")", AFTER_NAME.as_bytes()].concat()
    }

    #[test]
    fn reads_user_and_system_time_without_those_of_children() {
        assert_eq!(ticks_in(&stat(b"signet")), Some(731 + 269));
    }

    #[test]
    fn is_not_misled_by_names_with_spaces_parentheses_or_bytes_that_are_no_text() {
        for name in [&b"tokio worker 1"[..], b"a) R 1 2 3 (b", b")))", b"((", b"", b"\xff\xfe) ("] {
            assert_eq!(ticks_in(&stat(name)), Some(1000), "{name:?}");
        }
    }

    #[test]
    fn refuses_what_is_cut_short_or_not_a_number() {
        assert_eq!(ticks_in(b""), None);
        assert_eq!(ticks_in(b"1 (a"), None);
        assert_eq!(ticks_in(b"1 (a) S 1 1 1 0 -1 1 1 0 0 0 731"), None);
        assert_eq!(ticks_in(b"1 (a) S 1 1 1 0 -1 1 1 0 0 0 x 1"), None);
        assert_eq!(ticks_in(b"1 (a) S 1 1 1 0 -1 1 1 0 0 0 18446744073709551615 1"), None);
    }

    #[test]
    fn reads_a_field_of_a_status_by_its_whole_name() {
        let status =
            "Name:\tsignet\nVmRSS:\t  101244 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t95\n";
        assert_eq!(field(status, "VmRSS"), Some(101_244));
        assert_eq!(field(status, "voluntary_ctxt_switches"), Some(95));
        assert_eq!((field(status, "Vm"), field(status, "Name"), field(status, "RssAnon")), (None, None, None));
    }

    #[test]
    fn sees_this_process_hold_memory_and_sleep() {
        let pid = std::process::id();
        assert!(resident_bytes_of(pid).unwrap() > 1_000_000);
        let before = wakeups_of(pid).unwrap();
        let mut slept = 0;
        while wakeups_of(pid).unwrap() == before {
            std::thread::sleep(Duration::from_millis(1));
            slept += 1;
            assert!(slept < 20_000, "no wake-up was seen");
        }
    }

    #[test]
    fn sees_this_process_use_time() {
        let pids = [std::process::id()];
        let before = time_of(&pids).unwrap();
        let mut sum = 0_u64;
        // Bounded by count, ends as soon as the kernel has accounted for some of it.
        for round in 0..100_000_u64 {
            for n in 0..10_000_u64 {
                sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(n ^ round));
            }
            if time_of(&pids).unwrap() > before {
                break;
            }
        }
        std::hint::black_box(sum);
        assert!(time_of(&pids).unwrap() > before);
    }

    #[test]
    fn names_the_process_that_is_gone() {
        let error = time_of(&[u32::MAX]).unwrap_err();
        assert!(error.to_string().contains(&u32::MAX.to_string()), "{error}");
    }
}
