//! A gate before everything that makes the log or the vote durable: while it is shut, nothing may be acknowledged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

/// The gate of one data directory. Open again when dropped.
pub(crate) struct Gate {
    path: PathBuf,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    is_open: bool,
    waiting: usize,
}

static GATES: Mutex<BTreeMap<PathBuf, Arc<State>>> = Mutex::new(BTreeMap::new());

/// Waits before the gate of `data_dir`, if there is one and it is shut.
pub(crate) fn pass(data_dir: &Path) {
    let Some(state) = GATES.lock().unwrap().get(data_dir).cloned() else { return };
    let mut inside = state.inside.lock().unwrap();
    inside.waiting += 1;
    while !inside.is_open {
        inside = state.changed.wait(inside).unwrap();
    }
    inside.waiting -= 1;
}

impl Gate {
    /// Shuts the gate of `data_dir`.
    pub(crate) fn shut(data_dir: &Path) -> Self {
        let state = Arc::<State>::default();
        GATES.lock().unwrap().insert(data_dir.to_owned(), Arc::clone(&state));
        Self { path: data_dir.to_owned(), state }
    }

    /// Whether somebody waits before it.
    pub(crate) fn is_waited_at(&self) -> bool {
        self.state.inside.lock().unwrap().waiting > 0
    }

    /// Opens it for good.
    pub(crate) fn open(&self) {
        self.state.inside.lock().unwrap().is_open = true;
        self.state.changed.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        GATES.lock().unwrap().remove(&self.path);
        self.open();
    }
}
