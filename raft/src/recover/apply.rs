//! Making a survivor the first node of a new cluster.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};
use signet_model::time::UnixTime;

use super::error::RecoverError;
use super::found::{NewCluster, found_anew};
use super::survivor::{Survey, Survivor, WORK, short};
use crate::backup::LineageKind;
use crate::durable;
use crate::encoding::{unversioned, versioned};
use crate::open::lock;
use crate::view::View;

/// A survivor that has become a new cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// What it was.
    pub from: Survey,
    /// The new cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// Its only member; never the id of a node of the old cluster.
    pub node_id: u64,
    /// Where its log begins.
    pub index: u64,
    /// How many join tokens could still have been used, and cannot any more.
    pub voided_join_tokens: u64,
    /// Cluster time, which goes on from where it stood.
    pub cluster_time: UnixTime,
    /// Where everything that was in the data directory is now. Moving it back undoes the recovery.
    pub set_aside: PathBuf,
}

impl Survivor {
    /// Makes it the first node of a new cluster, in the same data directory. What was there is moved aside, not deleted.
    ///
    /// `carry` brings over what the rooms above keep in the data directory: it is given the state, the old directory and
    /// the new one, which is not in its place yet.
    ///
    /// # Errors
    /// [`RecoverError::Unfinished`]: the same command finishes it. After any other the directory is as it was.
    pub async fn recover(
        self,
        carry: impl FnOnce(&View, &Path, &Path) -> Result<(), String>,
    ) -> Result<Recovered, RecoverError> {
        let Self { survey, state, log, mut work, _lock, .. } = self;
        let data_dir = survey.data_dir.clone();
        let not_written = |detail: String| RecoverError::NotWritten { path: data_dir.clone(), detail };
        let new = work.new_dir();
        carry(&View::new(state.view()), &data_dir, &new).map_err(not_written)?;
        // The files are opened again below.
        drop((state, log));
        // The node keeps its peer key and port, so that an old member that comes back hears from one it trusts why it is
        // left out.
        for name in ["peer.key", "peer.port"] {
            let from = data_dir.join(name);
            if from.exists() {
                copy(&from, &new.join(name)).map_err(|cause| not_written(format!("{name}: {cause}")))?;
            }
        }
        let made = found_anew(&new, LineageKind::Recovered).await.map_err(not_written)?;
        let NewCluster { cluster_id, node_id, index, voided_join_tokens, cluster_time } = made;
        let aside = aside_name(&survey.cluster_id, survey.last_log.index);
        let swap = Swap::plan(&data_dir, &new, aside).map_err(|cause| not_written(cause.to_string()))?;
        let set_aside = data_dir.join(&swap.aside);
        durable::replace(&data_dir.join(MARKER), &versioned(&swap)).map_err(|cause| not_written(cause.to_string()))?;
        // From here on it goes forward only.
        work.kept = true;
        swap.run(&data_dir).map_err(|cause| RecoverError::Unfinished { path: data_dir.clone(), cause })?;
        Ok(Recovered { from: survey, cluster_id, node_id, index, voided_join_tokens, cluster_time, set_aside })
    }
}

/// Finishes a recovery that was interrupted after it had been decided. `false` if there is none to finish.
///
/// # Errors
/// [`RecoverError::Unfinished`]: try again when its cause is mended.
pub fn resume_recovery(data_dir: &Path) -> Result<bool, RecoverError> {
    if !is_interrupted(data_dir) {
        return Ok(false);
    }
    let _lock = lock(data_dir)?;
    let unfinished = |cause| RecoverError::Unfinished { path: data_dir.to_owned(), cause };
    let bytes = durable::read(&data_dir.join(MARKER)).map_err(unfinished)?;
    let Some(bytes) = bytes else { return Ok(false) };
    let swap: Swap = unversioned(&bytes).map_err(|cause| unfinished(cause.into()))?;
    swap.run(data_dir).map_err(unfinished)?;
    Ok(true)
}

/// The directory within the data directory that takes what was in it.
pub(super) fn aside_name(cluster_id: &str, last: u64) -> String {
    format!("before-recovery-{}-{last}", short(cluster_id))
}

/// Whether a recovery was begun and not finished: no node may run there.
pub(crate) fn is_interrupted(data_dir: &Path) -> bool {
    data_dir.join(MARKER).exists()
}

/// What changes places. Stored form, in the file [`MARKER`] while it happens.
#[derive(Debug, Encode, Decode)]
struct Swap {
    /// The directory that takes what was there.
    #[n(0)]
    aside: String,
    /// What goes aside.
    #[n(1)]
    old: Vec<String>,
    /// What takes its place.
    #[n(2)]
    new: Vec<String>,
}

impl Swap {
    fn plan(data_dir: &Path, new: &Path, aside: String) -> io::Result<Self> {
        let stays =
            |name: &String| [WORK, MARKER, "LOCK"].contains(&name.as_str()) || name.starts_with("before-recovery-");
        let old = names(data_dir)?.into_iter().filter(|name| !stays(name)).collect();
        let new = names(new)?.into_iter().filter(|name| name != "LOCK").collect();
        let taken = |aside: &String| data_dir.join(aside).exists();
        let mut candidates = std::iter::once(aside.clone()).chain((2..).map(|nth| format!("{aside}-{nth}")));
        let aside = candidates.find(|name| !taken(name)).unwrap_or(aside);
        Ok(Self { aside, old, new })
    }

    /// Each step is one rename and can be seen to be done, so this can be repeated from the beginning after a crash.
    fn run(&self, data_dir: &Path) -> io::Result<()> {
        let aside = data_dir.join(&self.aside);
        if !aside.exists() {
            DirBuilder::new().mode(0o700).create(&aside)?;
        }
        for name in &self.old {
            let (from, to) = (data_dir.join(name), aside.join(name));
            if !to.exists() && from.exists() {
                fs::rename(from, to)?;
            }
        }
        durable::sync_dir(&aside)?;
        durable::sync_dir(data_dir)?;
        let new = data_dir.join(WORK).join("new");
        for name in &self.new {
            let from = new.join(name);
            if from.exists() {
                fs::rename(from, data_dir.join(name))?;
            }
        }
        durable::sync_dir(data_dir)?;
        let work = data_dir.join(WORK);
        if work.exists() {
            fs::remove_dir_all(work)?;
        }
        fs::remove_file(data_dir.join(MARKER))?;
        durable::sync_dir(data_dir)
    }
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for item in fs::read_dir(dir)? {
        let name = item?.file_name();
        names.push(name.into_string().map_err(|name| io::Error::other(format!("the name {name:?} is no text")))?);
    }
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    // Mode bits come along.
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

/// What the marker of a recovery in the middle holds.
#[cfg(test)]
pub(crate) fn marker_of(aside: &str, old: &[&str], new: &[&str]) -> Vec<u8> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    versioned(&Swap { aside: aside.to_owned(), old: owned(old), new: owned(new) })
}

/// Names what changes places while a recovery does it.
pub(crate) const MARKER: &str = "recovery";
