//! The tree: maps, lists and scalars, each with the bytes of the source that it stands on.
//!
//! What a mistake was in is taken out of the tree (`prune`), and the tree remembers that it was there, so that nobody
//! reports it as missing. Neighbours: `compose` builds it, `de` reads it, `validate` asks it for places.

/// A range of the source in bytes, and whether the value there holds a secret, which no message may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) secret: bool,
}

impl Mark {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end, secret: false }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A scalar: its text, and whether it is plain, so that it may be a number, a truth value or nothing.
    Scalar { text: String, plain: bool },
    /// A list, and how many of its items were taken out.
    List { items: Vec<Node>, pruned: usize },
    /// A map in the order of the file, and the keys that were taken out.
    Map { entries: Vec<Entry>, pruned: Vec<String> },
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_mark: Mark,
    pub(crate) value: Node,
}

impl Node {
    /// Nothing, as an absent section is read.
    pub(crate) fn empty_map(mark: Mark) -> Self {
        Self { mark, value: Value::Map { entries: Vec::new(), pruned: Vec::new() } }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a map; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map { entries, .. } => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List { items, .. } => items,
            _ => &[],
        }
    }

    /// The keys that were written, whether or not what they hold was right.
    pub(crate) fn written_keys(&self) -> Vec<&str> {
        match &self.value {
            Value::Map { entries, pruned } => {
                entries.iter().map(|entry| entry.key.as_str()).chain(pruned.iter().map(String::as_str)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether this key was written, whether or not what it holds was right.
    pub(crate) fn had(&self, key: &str) -> bool {
        self.written_keys().contains(&key)
    }

    /// Whether one of these keys was written but misspelt, which has been told: it is not missing, then.
    pub(crate) fn had_nearly(&self, keys: &[&str]) -> bool {
        let Value::Map { pruned, .. } = &self.value else { return false };
        pruned.iter().any(|key| !keys.contains(&key.as_str()) && crate::diagnostic::near(key, keys).is_some())
    }

    /// Whether something directly in it was wrong and is no longer there.
    pub(crate) fn has_lost(&self) -> bool {
        match &self.value {
            Value::Map { pruned, .. } => !pruned.is_empty(),
            Value::List { pruned, .. } => *pruned > 0,
            Value::Scalar { .. } => false,
        }
    }

    /// Takes the entry out of a map, as its value will be read by other means.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let Value::Map { entries, .. } = &mut self.value else { return None };
        let index = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(index))
    }

    /// Takes out what stands at this path of child indices; false where there is nothing.
    pub(crate) fn prune(&mut self, path: &[usize]) -> bool {
        match (path, &mut self.value) {
            ([index], Value::Map { entries, pruned }) if *index < entries.len() => {
                pruned.push(entries.remove(*index).key);
                true
            }
            ([index], Value::List { items, pruned }) if *index < items.len() => {
                items.remove(*index);
                *pruned += 1;
                true
            }
            ([index, rest @ ..], Value::Map { entries, .. }) if !rest.is_empty() => {
                entries.get_mut(*index).is_some_and(|entry| entry.value.prune(rest))
            }
            ([index, rest @ ..], Value::List { items, .. }) if !rest.is_empty() => {
                items.get_mut(*index).is_some_and(|item| item.prune(rest))
            }
            _ => false,
        }
    }

    /// Whether it or something in it comes from a secret, so that no message may quote it.
    pub(crate) fn holds_secret(&self) -> bool {
        self.mark.secret
            || self.items().iter().any(Self::holds_secret)
            || self.entries().iter().any(|entry| entry.value.holds_secret())
    }

    /// How many values it is, itself included.
    pub(crate) fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List { items, .. } => items.iter().map(Self::size).sum(),
            Value::Map { entries, .. } => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }

    /// What it is, for a message.
    pub(crate) fn what(&self) -> String {
        match &self.value {
            Value::Map { .. } => "a map".into(),
            Value::List { .. } => "a list".into(),
            Value::Scalar { text, plain } if super::scalar::is_nothing(text, *plain) => "nothing".into(),
            Value::Scalar { text, .. } => {
                let shown: String = text.chars().take(40).collect();
                if shown.len() < text.len() { format!("`{shown}…`") } else { format!("`{shown}`") }
            }
        }
    }
}

/// A place in the tree, for pointing at it: a value, and the key that leads to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot<'a> {
    node: &'a Node,
    key: Option<Mark>,
}

impl<'a> Spot<'a> {
    pub(crate) const fn root(node: &'a Node) -> Self {
        Self { node, key: None }
    }

    pub(crate) const fn of(entry: &'a Entry) -> Self {
        Self { node: &entry.value, key: Some(entry.key_mark) }
    }

    /// The value of a key; this place itself where the key is absent, so that one can always point somewhere.
    pub(crate) fn key(self, key: &str) -> Self {
        self.node.entry(key).map_or(self, |entry| Self { node: &entry.value, key: Some(entry.key_mark) })
    }

    /// Keys one after the other, separated by dots.
    pub(crate) fn path(self, path: &str) -> Self {
        path.split('.').fold(self, Self::key)
    }

    /// An item of a list.
    pub(crate) fn item(self, index: usize) -> Self {
        self.node.items().get(index).map_or(self, |node| Self { node, key: None })
    }

    pub(crate) const fn node(self) -> &'a Node {
        self.node
    }

    /// Where to point for a wrong value: the scalar itself, or the key of a map or a list.
    pub(crate) fn mark(self) -> Mark {
        let mark = match (&self.node.value, self.key) {
            (Value::Scalar { text, .. }, Some(key)) if text.is_empty() => key,
            (Value::Scalar { .. }, _) | (_, None) => self.node.mark,
            (_, Some(key)) => key,
        };
        Mark { secret: self.node.holds_secret(), ..mark }
    }

    /// Where to point for a wrong key.
    pub(crate) fn key_mark(self) -> Mark {
        self.key.unwrap_or(self.node.mark)
    }
}
