//! When this node last knew from a quorum that it was not behind: what an operator wants to know when the quorum is gone.
//!
//! Each time the leader, sure of its quorum, tells this node a read point and the state has reached it, every write that
//! was acknowledged up to then is here. That is written down, at most once a second, into a small file that is written in
//! place and not fsynced: it survives the death of the process; after a power cut it may be older, which is honest too.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use signet_model::time::UnixTime;

/// Keeps the file.
#[derive(Debug)]
pub(crate) struct Contact {
    path: PathBuf,
    /// Cluster time of the last note, in milliseconds.
    noted: AtomicU64,
}

impl Contact {
    /// The file in `data_dir`; nothing is written yet.
    pub(crate) fn new(data_dir: &Path) -> Arc<Self> {
        Arc::new(Self { path: data_dir.join(FILE), noted: AtomicU64::new(0) })
    }

    /// A quorum confirmed the leader at `time`, and local state has applied `index`, which was its read point. To be
    /// called within a runtime.
    pub(crate) fn note(self: &Arc<Self>, time: UnixTime, index: u64) {
        let before = self.noted.load(Ordering::Relaxed);
        let due = time.millis() >= before.saturating_add(PAUSE_MILLIS);
        if !due || self.noted.compare_exchange(before, time.millis(), Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let this = Arc::clone(self);
        #[cfg(test)]
        if crate::sim::active() {
            let _ = this.write(time, index);
            return;
        }
        tokio::task::spawn_blocking(move || {
            if let Err(cause) = this.write(time, index) {
                tracing::debug!(path = %this.path.display(), %cause, "the last contact with a quorum was not written down");
            }
        });
    }

    fn write(&self, time: UnixTime, index: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        file.write_all_at(&form(time, index), 0)
    }
}

/// What was last written down in `data_dir`: cluster time and index. `None` if nothing was, or it is damaged.
pub(crate) fn last_contact(data_dir: &Path) -> Option<(UnixTime, u64)> {
    let bytes = std::fs::read(data_dir.join(FILE)).ok()?;
    let rest = bytes.strip_prefix(MAGIC)?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (index, _) = rest.split_first_chunk::<8>()?;
    let (time, index) = (UnixTime::from_millis(u64::from_be_bytes(*time)), u64::from_be_bytes(*index));
    (form(time, index) == bytes).then_some((time, index))
}

/// Stored form: magic, cluster time in milliseconds, index, and the first eight bytes of the SHA-256 of all that.
fn form(time: UnixTime, index: u64) -> Vec<u8> {
    let mut form = MAGIC.to_vec();
    form.extend_from_slice(&time.millis().to_be_bytes());
    form.extend_from_slice(&index.to_be_bytes());
    let sum = digest(&SHA256, &form);
    form.extend(sum.as_ref().iter().take(8));
    form
}

const FILE: &str = "contact";
const MAGIC: &[u8] = b"signetc1";
const PAUSE_MILLIS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_that_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_contact(dir.path()), None);
        let contact = Contact::new(dir.path());
        contact.write(UnixTime::from_millis(99_999), 7).unwrap();
        contact.write(UnixTime::from_millis(100_000), 8).unwrap();
        assert_eq!(last_contact(dir.path()), Some((UnixTime::from_millis(100_000), 8)));
        let good = std::fs::read(dir.path().join(FILE)).unwrap();
        assert_eq!(&good[..24], b"signetc1\0\0\0\0\0\x01\x86\xa0\0\0\0\0\0\0\0\x08");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(dir.path().join(FILE), &bad).unwrap();
            assert_eq!(last_contact(dir.path()), None, "byte {at} changed");
        }
    }
}
