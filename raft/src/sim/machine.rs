//! A state machine of registers and tokens, and a model of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signet_model::rows::{Rows, RowsMut, Space};

use super::world::{World, find};
use crate::{ApplyContext, StateMachine, UnknownCommand};

/// What a client asks for. As text: `w OP KEY VALUE`, `c OP KEY OLD NEW`, `t OP TOKEN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Write { key: String, value: String },
    Swap { key: String, old: String, new: String },
    Take { token: String },
}

impl Command {
    pub(crate) fn to_text(&self, op: u64) -> String {
        match self {
            Self::Write { key, value } => format!("w {op} {key} {value}"),
            Self::Swap { key, old, new } => format!("c {op} {key} {old} {new}"),
            Self::Take { token } => format!("t {op} {token}"),
        }
    }

    pub(crate) fn parse(text: &str) -> (u64, Self) {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        let op = words[1].parse().unwrap();
        let command = match words[0].as_str() {
            "w" => Self::Write { key: words[2].clone(), value: words[3].clone() },
            "c" => Self::Swap { key: words[2].clone(), old: words[3].clone(), new: words[4].clone() },
            "t" => Self::Take { token: words[2].clone() },
            other => panic!("no command begins with {other}"),
        };
        (op, command)
    }

    /// Carries the command out on anything that has rows.
    pub(crate) fn run(
        &self,
        op: u64,
        read: impl Fn(&str) -> Option<String>,
        mut write: impl FnMut(&str, String),
    ) -> String {
        match self {
            Self::Write { key, value } => {
                let before = read(key).unwrap_or_else(|| "-".into());
                write(key, value.clone());
                before
            }
            Self::Swap { key, old, new } => {
                let now = read(key).unwrap_or_else(|| "-".into());
                if now != *old {
                    return format!("no {now}");
                }
                write(key, new.clone());
                "swapped".into()
            }
            Self::Take { token } => {
                if let Some(owner) = read(token) {
                    return format!("taken by {owner}");
                }
                write(token, op.to_string());
                "yours".into()
            }
        }
    }
}

/// The model: plain rows, with what each held since which index.
#[derive(Debug, Default)]
pub(crate) struct Model {
    rows: BTreeMap<String, Vec<(u64, String)>>,
}

impl Model {
    pub(crate) fn apply(&mut self, index: u64, text: &str) -> String {
        let (op, command) = Command::parse(text);
        let mut written = None;
        let outcome = command.run(op, |key| self.at(key, index), |key, value| written = Some((key.to_owned(), value)));
        if let Some((key, value)) = written {
            self.rows.entry(key).or_default().push((index, value));
        }
        outcome
    }

    /// What the key held when `index` was applied.
    pub(crate) fn at(&self, key: &str, index: u64) -> Option<String> {
        let versions = self.rows.get(key)?;
        versions.iter().rev().find(|(at, _)| *at <= index).map(|(_, value)| value.clone())
    }
}

/// The machine of one node; tells the simulation what it applies.
pub(crate) struct Registers {
    pub(crate) node: usize,
}

impl StateMachine for Registers {
    fn apply(&self, rows: &mut dyn RowsMut, at: ApplyContext, command: &[u8]) -> Result<Vec<u8>, UnknownCommand> {
        let text = std::str::from_utf8(command).unwrap();
        let (op, command) = Command::parse(text);
        let mut written = None;
        let read = |key: &str| Some(String::from_utf8(rows.row(Space::Meta, key.as_bytes())?).unwrap());
        let outcome = command.run(op, read, |key, value| written = Some((key.to_owned(), value)));
        if let Some((key, value)) = written {
            rows.put(Space::Meta, key.as_bytes(), value.into_bytes());
        }
        if let Some(world) = find() {
            world.trace(format_args!("n{} applies {} {text} = {outcome}", self.node, at.index));
            Arc::clone(&world).checks.lock().unwrap().applied(&world, self.node, at, text, &outcome);
        }
        Ok(outcome.into_bytes())
    }

    fn applied(&self, _: &dyn Rows, _: u64, _: &BTreeSet<Space>) {}
}

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<World>();
};
