//! A policy document as a tree with lines, and reading it so that one mistake does not hide the next.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, Spanned};

use super::{Mistake, PolicyMistakes};

/// A value and the line where it begins.
#[derive(Debug)]
pub(super) struct Node {
    line: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Parses the YAML.
pub(super) fn parse(document: &str) -> Result<Node, PolicyMistakes> {
    let whole = |line, problem: String| PolicyMistakes(vec![Mistake { path: String::new(), line, problem }]);
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(whole(0, "the document is longer than 4 MiB".to_owned()));
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_nodes: 1_000_000, max_events: 2_000_000, max_aliases: 1000, max_depth: 16 },
    };
    serde_saphyr::from_str_with_options(document, options).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line());
        whole(line, format!("not valid YAML: {}", error.without_snippet()))
    })
}

/// Collects mistakes while nodes are read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) mistakes: Vec<Mistake>,
}

/// A map whose names were checked, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Fields<'n> {
    pub(super) path: String,
    pub(super) line: u64,
    members: &'n [(String, Node)],
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        let node = self.members.iter().find(|(member, _)| member == name).map(|(_, node)| node)?;
        if matches!(node.kind, Kind::Null) { None } else { Some(node) }
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn line_of(&self, name: &str) -> u64 {
        self.members.iter().find(|(member, _)| member == name).map_or(self.line, |(_, node)| node.line)
    }
}

/// A text and where it is.
#[derive(Debug, Clone)]
pub(super) struct Text<'n> {
    pub(super) text: &'n str,
    pub(super) path: String,
    pub(super) line: u64,
}

impl Reader {
    pub(super) fn mistake(&mut self, path: impl Into<String>, line: u64, problem: impl Into<String>) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(Mistake { path: path.into(), line, problem: problem.into() });
        }
    }

    /// A map that holds only `allowed` names, each once. `None` when it is no map; other mistakes do not stop reading.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, path: String, allowed: &[&str]) -> Option<Fields<'n>> {
        let Kind::Map(members) = &node.kind else {
            self.mistake(path, node.line, format!("must be a mapping with the keys {}", allowed.join(", ")));
            return None;
        };
        let fields = Fields { path, line: node.line, members };
        let mut seen = HashSet::new();
        for (name, value) in members {
            if !allowed.contains(&name.as_str()) {
                let problem = format!("unknown key: expected one of {}", allowed.join(", "));
                self.mistake(fields.path_of(&shortened(name)), value.line, problem);
            } else if !seen.insert(name) {
                self.mistake(fields.path_of(name), value.line, "is given twice");
            }
        }
        Some(fields)
    }

    /// The member of this name as text, if it is there.
    pub(super) fn text<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<Text<'n>> {
        fields.get(name).and_then(|node| self.as_text(node, fields.path_of(name)))
    }

    /// The member of this name as text; a mistake when it is missing.
    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<Text<'n>> {
        if fields.get(name).is_none() {
            self.mistake(fields.path_of(name), fields.line, "is missing");
        }
        self.text(fields, name)
    }

    /// The member of this name as a boolean, false when it is missing.
    pub(super) fn flag(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        match fields.get(name).map(|node| (&node.kind, node.line)) {
            None => false,
            Some((Kind::Bool(flag), _)) => *flag,
            Some((_, line)) => {
                self.mistake(fields.path_of(name), line, "must be true or false");
                false
            }
        }
    }

    /// The nodes of the list of this name; nothing when it is missing.
    pub(super) fn list<'n>(&mut self, fields: &Fields<'n>, name: &str, limit: usize) -> Vec<(&'n Node, String)> {
        let Some(node) = fields.get(name) else { return Vec::new() };
        let path = fields.path_of(name);
        let Kind::List(items) = &node.kind else {
            self.mistake(path, node.line, "must be a list");
            return Vec::new();
        };
        if items.len() > limit {
            self.mistake(&path, node.line, format!("has {} items, more than {limit}", items.len()));
        }
        items.iter().take(limit).enumerate().map(|(i, item)| (item, format!("{path}[{i}]"))).collect()
    }

    /// The texts of the list of this name, each once; `required` makes a missing or empty list a mistake.
    pub(super) fn texts<'n>(&mut self, fields: &Fields<'n>, name: &str, limit: usize, required: bool) -> Vec<Text<'n>> {
        let items = self.list(fields, name, limit);
        if items.is_empty() && required && !self.mistakes.iter().any(|m| m.path == fields.path_of(name)) {
            self.mistake(fields.path_of(name), fields.line_of(name), "is missing or empty: at least one is needed");
        }
        let texts: Vec<Text<'n>> = items.into_iter().filter_map(|(item, path)| self.as_text(item, path)).collect();
        let mut seen = HashSet::new();
        for text in &texts {
            if !seen.insert(text.text) {
                self.mistake(&text.path, text.line, "is listed twice");
            }
        }
        texts
    }

    pub(super) fn as_text<'n>(&mut self, node: &'n Node, path: String) -> Option<Text<'n>> {
        let Kind::Text(text) = &node.kind else {
            self.mistake(path, node.line, "must be a text: put it in quotes if it looks like a number");
            return None;
        };
        Some(Text { text, path, line: node.line })
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), kind: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list, a text, a number or a boolean")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Kind::Map(map))
    }
}

const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
const MAX_MISTAKES: usize = 1000;
