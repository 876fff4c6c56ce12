//! A state machine small enough to see through: commands `put KEY VALUE`, `get KEY` and `unknown`.

use std::collections::BTreeSet;
use std::sync::Mutex;

use signet_model::rows::{Rows, RowsMut, Space};

use crate::{ApplyContext, FEATURE_LEVEL, StateMachine, UnknownCommand};

/// Keeps words in [`Space::Meta`] and remembers what it was told.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) told: Mutex<Vec<(u64, BTreeSet<Space>)>>,
    /// How many feature levels above the first it knows: with one it knows the command `shout`.
    pub(crate) newer: u32,
}

impl StateMachine for Words {
    fn apply(&self, rows: &mut dyn RowsMut, _: ApplyContext, command: &[u8]) -> Result<Vec<u8>, UnknownCommand> {
        let text = std::str::from_utf8(command).unwrap();
        let words: Vec<_> = text.splitn(3, ' ').collect();
        match words.as_slice() {
            ["put", key, value] => {
                let before = rows.row(Space::Meta, key.as_bytes()).unwrap_or_default();
                rows.put(Space::Meta, key.as_bytes(), value.as_bytes().to_vec());
                Ok(before)
            }
            ["shout", key] if self.newer > 0 => {
                rows.put(Space::Meta, key.as_bytes(), b"LOUD".to_vec());
                Ok(Vec::new())
            }
            ["get", key] => Ok(rows.row(Space::Meta, key.as_bytes()).unwrap_or_default()),
            _ => Err(UnknownCommand { detail: "not a word we know".into() }),
        }
    }

    fn feature_level(&self) -> u32 {
        FEATURE_LEVEL + self.newer
    }

    fn applied(&self, _: &dyn Rows, index: u64, changed: &BTreeSet<Space>) {
        self.told.lock().unwrap().push((index, changed.clone()));
    }
}
