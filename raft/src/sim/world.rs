//! What a simulation has one of: virtual time, chance, the trace, and the list of what went wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::checks::Checks;
use super::disk::Disk;
use super::net::Net;
use super::random::Random;

/// One simulation. It lives on one thread; the locks are never waited for.
pub(crate) struct World {
    /// Virtual milliseconds since the beginning.
    now: AtomicU64,
    /// Orders what happens within one millisecond.
    events: AtomicU64,
    /// The node whose turn it is.
    pub(crate) turn: AtomicUsize,
    pub(crate) random: Mutex<Random>,
    trace: Mutex<Trace>,
    pub(crate) net: Mutex<Net>,
    pub(crate) disks: Mutex<BTreeMap<PathBuf, Arc<Disk>>>,
    pub(crate) checks: Mutex<Checks>,
    violation: Mutex<Option<String>>,
    /// Nodes whose process has ended itself, and why.
    pub(crate) aborted: Mutex<BTreeMap<usize, String>>,
    /// How often each kind of fault fired.
    pub(crate) fired: Mutex<BTreeMap<&'static str, u64>>,
}

struct Trace {
    hash: u64,
    events: u64,
    file: Option<BufWriter<File>>,
}

thread_local! {
    static WORLD: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// This thread's simulation.
pub(crate) fn world() -> Arc<World> {
    find().expect("this thread simulates")
}

/// This thread's simulation, if it has one.
pub(crate) fn find() -> Option<Arc<World>> {
    WORLD.try_with(|world| world.borrow().clone()).ok().flatten()
}

impl World {
    /// Makes this thread simulate.
    pub(crate) fn begin(seed: u64, trace: Option<&Path>) -> Arc<Self> {
        super::random::seed_the_system(seed);
        let file = trace.map(|path| BufWriter::new(File::create(path).unwrap()));
        let world = Arc::new(Self {
            now: AtomicU64::new(0),
            events: AtomicU64::new(0),
            turn: AtomicUsize::new(NOBODY),
            random: Mutex::new(Random::new(seed)),
            trace: Mutex::new(Trace { hash: 0xcbf2_9ce4_8422_2325, events: 0, file }),
            net: Mutex::default(),
            disks: Mutex::default(),
            checks: Mutex::default(),
            violation: Mutex::default(),
            aborted: Mutex::default(),
            fired: Mutex::default(),
        });
        WORLD.set(Some(Arc::clone(&world)));
        world
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self) {
        self.now.fetch_add(1, Ordering::Relaxed);
    }

    /// A place in the order of everything.
    pub(crate) fn stamp(&self) -> u64 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    /// The node whose turn it is.
    pub(crate) fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.random.lock().unwrap())
    }

    /// One line of the trace.
    pub(crate) fn trace(&self, line: fmt::Arguments<'_>) {
        let line = format!("{:6} {line}\n", self.now());
        let mut trace = self.trace.lock().unwrap();
        trace.events += 1;
        for byte in line.bytes() {
            trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(file) = &mut trace.file {
            file.write_all(line.as_bytes()).unwrap();
        }
    }

    /// The hash of the whole trace and how many lines it has.
    pub(crate) fn traced(&self) -> (u64, u64) {
        let mut trace = self.trace.lock().unwrap();
        if let Some(file) = &mut trace.file {
            file.flush().unwrap();
        }
        (trace.hash, trace.events)
    }

    /// Something happened that must never happen. The first one counts.
    pub(crate) fn violated(&self, what: fmt::Arguments<'_>) {
        let mut violation = self.violation.lock().unwrap();
        if violation.is_none() {
            *violation = Some(format!("at {} ms: {what}", self.now()));
            drop(violation);
            self.trace(format_args!("VIOLATION {what}"));
        }
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.violation.lock().unwrap().clone()
    }

    pub(crate) fn fired(&self, kind: &'static str) {
        *self.fired.lock().unwrap().entry(kind).or_default() += 1;
        self.trace(format_args!("fault {kind}"));
    }
}

/// No node's turn.
pub(crate) const NOBODY: usize = usize::MAX;
