//! Crash consistency: what a node makes of files that end early or hold a wrong byte.
//!
//! A history of operations is written, and the directory is copied as a crash would leave it. Then each byte of the last
//! records of both databases' write-ahead logs, of the vote, the watermark, the pointer to the state's generation and the
//! snapshot's manifest is cut off (with all that follows it in its file), or changed, one at a time, and what is left is
//! opened. The rule:
//!
//! - It is refused with an error, or it opens and is **exactly what it was after some prefix of the operations**: no hole,
//!   no changed entry, no entry of another time.
//! - That prefix reaches **at least up to the watermark**. What lies above it, the last 100 ms at most, is what the other
//!   voters' disks are there for.
//! - The vote is the last one that was answered, or it is refused.
//! - The state may be any older one of its own, whole: the log makes up for it.
//!
//! `SIGNET_CUTS` sets how many bytes are tried (default 500, `all` for every one), spread evenly over the files;
//! `SIGNET_SEED` which ones, and how they are changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::storage::RaftLogStorage;

use super::machine::Words;
use super::storage::append;
use super::storage_model::{PlainLog, PlainState, command, scratch};
use super::storage_watermark::{copy, written};
use crate::log::LogStore;
use crate::state::StateStore;
use crate::types::Vote;

/// A directory as a crash leaves it, what it may be taken for, and which bytes to try.
struct Image {
    name: &'static str,
    dir: tempfile::TempDir,
    /// What the log was after each operation that the watermark does not cover, beginning with the last one it covers.
    logs: Vec<PlainLog>,
    /// What the state was after each batch.
    states: Vec<PlainState>,
    /// Files with the range of bytes to try.
    targets: Vec<(PathBuf, std::ops::Range<usize>)>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    Flip(u8),
}

/// The newest file in `dir` with this ending: a database's write-ahead log.
fn wal(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|it| it == "log")).max().unwrap()
}

fn len(path: &Path) -> usize {
    usize::try_from(fs::metadata(path).unwrap().len()).unwrap()
}

fn whole(path: PathBuf) -> (PathBuf, std::ops::Range<usize>) {
    let end = len(&path);
    (path, 0..end)
}

fn relative(dir: &Path, targets: Vec<(PathBuf, std::ops::Range<usize>)>) -> Vec<(PathBuf, std::ops::Range<usize>)> {
    targets.into_iter().map(|(path, range)| (path.strip_prefix(dir).unwrap().to_owned(), range)).collect()
}

fn wide(index: u64) -> String {
    format!("put key{} {}", index % 5, "v".repeat(200 + usize::try_from(index).unwrap()))
}

/// A log whose last three operations are appends, or a truncation and two appends; `covered`: the watermark too.
async fn log_image(name: &'static str, truncated: bool, covered: bool) -> Image {
    let live = scratch();
    let mut log = LogStore::open(live.path()).unwrap();
    let mut model = PlainLog::new();
    let add = |model: &mut PlainLog, term, count| {
        let new: Vec<_> = (model.end()..).take(count).map(|index| command(term, index, &wide(index))).collect();
        model.entries.extend(new.iter().cloned());
        new
    };
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    append(&mut log, add(&mut model, 1, 20)).await;
    let mut unpurged = model.clone();
    unpurged.vote = Some(Vote::new(3, 2));
    model.purge(5);
    log.purge(model.purged.unwrap()).await.unwrap();
    log.save_vote(&Vote::new(3, 2)).await.unwrap();
    model.vote = Some(Vote::new(3, 2));
    written(&log, live.path(), 19, 3).await;
    let mut marked = fs::read(live.path().join("watermark")).unwrap();
    let begin = len(&wal(&live.path().join("log")));
    // Purging is not synced: the entries may come back, they are covered by a snapshot.
    let mut logs = vec![unpurged, model.clone()];
    if truncated {
        model.truncate(11);
        log.truncate_after(model.last()).await.unwrap();
        marked = fs::read(live.path().join("watermark")).unwrap();
        logs.push(model.clone());
    } else {
        append(&mut log, add(&mut model, 3, 1)).await;
        logs.push(model.clone());
    }
    for _ in 0..2 {
        append(&mut log, add(&mut model, 3, 1)).await;
        logs.push(model.clone());
    }
    if covered {
        written(&log, live.path(), model.end() - 1, 3).await;
        logs = vec![model];
    }
    let dir = scratch();
    copy(live.path(), dir.path());
    let wal = wal(&dir.path().join("log"));
    let end = len(&wal);
    assert!(end > begin + 400, "{begin} {end}");
    if !covered {
        fs::write(dir.path().join("watermark"), marked).unwrap();
    }
    let mut targets = vec![(wal, begin..end)];
    if covered {
        targets.push(whole(dir.path().join("watermark")));
        targets.push(whole(dir.path().join("vote")));
    }
    let targets = relative(dir.path(), targets);
    Image { name, dir, logs, states: Vec::new(), targets }
}

/// A state in its second generation, with a snapshot on the shelf.
fn state_image() -> Image {
    let (live, other_dir) = (scratch(), scratch());
    let open = |dir: &tempfile::TempDir| StateStore::open(dir.path(), Arc::new(Words::default())).unwrap();
    let (store, other) = (open(&live), open(&other_dir));
    let mut model = PlainState::new();
    let first: Vec<_> = (0..20).map(|at| model.put(&format!("key{}", at % 7), &format!("first{at}"))).collect();
    other.apply(&first).unwrap();
    let taken = other.checkpoint().unwrap();
    store.install(&other.shelf.complete(&taken, b"c".to_vec()).unwrap()).unwrap();
    let mut states = vec![model.clone()];
    let wal_dir = live.path().join("state/2");
    let mut begin = 0;
    for round in 0..6 {
        if round == 3 {
            begin = len(&wal(&wal_dir));
        }
        let entries: Vec<_> =
            (0..3).map(|at| model.put(&format!("key{at}"), &format!("{round} {}", "w".repeat(60)))).collect();
        store.apply(&entries).unwrap();
        states.push(model.clone());
    }
    let dir = scratch();
    copy(live.path(), dir.path());
    let wal = wal(&dir.path().join("state/2"));
    let end = len(&wal);
    assert!(end > begin + 300, "{begin} {end}");
    let snapshots = fs::read_dir(dir.path().join("snapshots")).unwrap().map(|item| item.unwrap().path());
    let manifest = snapshots.map(|path| path.join("manifest")).find(|path| path.exists()).unwrap();
    let targets = vec![(wal, begin..end), whole(dir.path().join("state/CURRENT")), whole(manifest)];
    let targets = relative(dir.path(), targets);
    Image { name: "state", dir, logs: Vec::new(), states, targets }
}

fn damage(path: &Path, at: usize, fault: Fault) {
    let mut bytes = fs::read(path).unwrap();
    match fault {
        Fault::Cut => bytes.truncate(at),
        Fault::Flip(mask) => bytes[at] ^= mask,
    }
    fs::write(path, bytes).unwrap();
}

/// Whether it opened; an error of the rule if it opened and must not have.
async fn open_log(image: &Image, dir: &Path) -> Result<bool, String> {
    let Ok(mut log) = LogStore::open(dir) else { return Ok(false) };
    let mut differences = Vec::new();
    for model in image.logs.iter().rev() {
        match model.difference(&mut log).await {
            None => return Ok(true),
            Some(difference) => differences.push(difference),
        }
    }
    Err(differences.join("; "))
}

fn open_state(image: &Image, dir: &Path) -> Result<bool, String> {
    let Ok(store) = StateStore::open(dir, Arc::new(Words::default())) else { return Ok(false) };
    if let Some(snapshot) = store.shelf.newest()
        && snapshot.meta().unwrap().last_log_id.unwrap().index != 19
    {
        return Err("another snapshot".to_owned());
    }
    let found = PlainState::of(&store);
    if image.states.contains(&found) { Ok(true) } else { Err(format!("a state that never was, at {:?}", found.last)) }
}

/// A small generator: the same seed, the same cuts.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// The faults to try at one target: `share` of them, evenly spread, or all.
fn faults(range: &std::ops::Range<usize>, share: Option<usize>, dice: &mut Dice) -> Vec<(usize, Fault)> {
    let total = range.len() * 2;
    let share = share.unwrap_or(total).min(total);
    let start = usize::try_from(dice.roll() % total as u64).unwrap();
    (0..share)
        .map(|step| {
            let place = (start + step * total / share) % total;
            // Cuts and changes in turn, over the whole range.
            let mask = u8::try_from(dice.roll() % 255).unwrap() + 1;
            let fault = if place < range.len() { Fault::Cut } else { Fault::Flip(mask) };
            (range.start + place % range.len(), fault)
        })
        .collect()
}

#[tokio::test]
async fn a_crash_forgets_and_changes_nothing_that_was_confirmed_whatever_byte_is_cut_or_flipped() {
    let images = [
        log_image("log, covered by the watermark", false, true).await,
        log_image("log, ahead of the watermark", false, false).await,
        log_image("log, truncated", true, false).await,
        log_image("log, truncated and covered", true, true).await,
        state_image(),
    ];
    let seed = std::env::var("SIGNET_SEED").map_or(1, |seed| seed.parse().unwrap());
    let targets = images.iter().map(|image| image.targets.len()).sum::<usize>();
    let wanted = std::env::var("SIGNET_CUTS").unwrap_or_else(|_| "500".to_owned());
    let mut dice = Dice(seed);
    let sizes: Vec<_> =
        images.iter().flat_map(|image| image.targets.iter().map(|(_, range)| range.len() * 2)).collect();
    let share = if wanted == "all" { None } else { Some(share(wanted.parse().unwrap(), &sizes)) };
    let (mut tried, mut recovered, mut refused) = (0, 0, 0);
    let mut regressions = Vec::new();
    let mut by_file: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for image in &images {
        for (file, range) in &image.targets {
            for (at, fault) in faults(range, share, &mut dice) {
                let dir = scratch();
                copy(image.dir.path(), dir.path());
                damage(&dir.path().join(file), at, fault);
                let opened = if image.states.is_empty() {
                    open_log(image, dir.path()).await
                } else {
                    open_state(image, dir.path())
                };
                tried += 1;
                let counts = by_file.entry(format!("{}: {}", image.name, file.display())).or_default();
                match opened {
                    Ok(true) => (recovered, counts.0) = (recovered + 1, counts.0 + 1),
                    Ok(false) => (refused, counts.1) = (refused + 1, counts.1 + 1),
                    Err(what) => {
                        regressions.push(format!("{}, {} {fault:?} at {at}: {what}", image.name, file.display()))
                    }
                }
            }
        }
    }
    for (file, (recovered, refused)) in &by_file {
        println!("  {file}: recovered {recovered}, refused {refused}");
    }
    println!("{targets} files, seed {seed}");
    println!("crash cuts: {tried}, recovered {recovered}, refused {refused}, regressions {}", regressions.len());
    assert!(regressions.is_empty(), "{regressions:#?}");
    assert!(recovered > 0 && refused > 0, "the rule was not tried");
}

/// How many faults each target gets so that all together get about `wanted`, though some have fewer.
fn share(wanted: usize, sizes: &[usize]) -> usize {
    let total = |share: usize| sizes.iter().map(|size| share.min(*size)).sum::<usize>();
    (1..=sizes.iter().copied().max().unwrap_or(1)).find(|each| total(*each) >= wanted).unwrap_or(usize::MAX)
}
