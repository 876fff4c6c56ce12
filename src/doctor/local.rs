//! What can be seen without asking a node: the machine and the data directory.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use signet_api::ops::Check;
use signet_raft::Timings;

use super::{judge, measure, skipped};
use crate::memory;
use crate::server::{Ballast, DiskConfig, DiskWatch};

/// Where to look, and what for.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) disk: DiskConfig,
    pub(crate) timings: &'a Timings,
}

/// Looks at the machine and the data directory; takes a second or two.
pub(crate) fn local(place: &Place<'_>) -> Vec<Check> {
    let mut checks = directory(place);
    checks.extend([
        judge::files(measure::open_files()),
        judge::swap(measure::swap_areas().as_deref()),
        judge::core_dumps(memory::core_size()),
        judge::ntp(measure::clock_in_step()),
    ]);
    checks
}

fn directory(place: &Place<'_>) -> Vec<Check> {
    let dir = place.data_dir;
    let own = rustix::process::geteuid().as_raw();
    let permissions = match std::fs::metadata(dir) {
        Ok(found) => judge::permissions(found.mode(), found.uid(), own),
        Err(cause) => {
            let why = format!("{} cannot be looked at: {cause}; the node makes it at its first start", dir.display());
            return ["permissions", "fsync", "disk", "ballast"].map(|name| skipped(name, &why)).into();
        }
    };
    let fsync = match measure::flushes(dir) {
        Ok(flushes) => judge::fsync(&flushes, place.timings),
        Err(cause) => skipped("fsync", &format!("cannot write a scratch file to {}: {cause}", dir.display())),
    };
    let [disk, ballast] = match DiskWatch::look_once(dir, place.disk) {
        Ok(watch) => {
            let reading = watch.reading();
            let wanted = place.disk.ballast.of(reading.space.total);
            let note = watch.note();
            [
                judge::disk(reading.state, reading.space.free, reading.space.total, note),
                judge::ballast(Ballast::of(dir).size(), wanted),
            ]
        }
        Err(cause) => ["disk", "ballast"].map(|name| skipped(name, &format!("the disk cannot be measured: {cause}"))),
    };
    vec![permissions, fsync, disk, ballast]
}
