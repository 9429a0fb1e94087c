//! Resolves `${name}`, `${env:NAME}` and `${file:PATH}` in every scalar of a tree; `$${` stands for `${` itself.
//!
//! A value comes from `--set`, else from the environment file, else from the variable's `default`, which may refer to
//! others. What comes from a secret marks what it ends up in, so that no message shows it.
//! Neighbours: `yaml` gives the tree, `limits` holds values against their `max` and `min`, `validate` reads the result.
//! Invariant: what is resolved is never scanned again, and all of it together is bounded.

mod limits;
mod text;

use crate::{
    diagnostic::Reporter,
    document::VariableDoc,
    experiment::Secrets,
    yaml::{Entry, Mark, Node, Spot, Value, read},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use text::{Piece, pieces};

/// Variables that refer to each other, one behind the other.
const DEEPEST: usize = 32;
/// All resolved texts together, so that variables that double each other end soon.
const MOST_BYTES: usize = 4 << 20;
/// The largest file that a secret is read from.
const LARGEST_SECRET: u64 = 64 << 10;

/// Where values come from.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// `--set NAME=VALUE`.
    pub(crate) set: &'a BTreeMap<String, String>,
    /// The environment file's.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Secrets that are known already: a variable that contains one is one.
    pub(crate) secrets: &'a Secrets,
    /// The process's environment.
    pub(crate) env_var: &'a dyn Fn(&str) -> Option<String>,
    /// What paths are relative to.
    pub(crate) base_dir: &'a Path,
}

/// A value, and whether it must not be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resolved {
    text: String,
    secret: bool,
}

/// What resolving gave besides the changed tree.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Every variable with its value, secrets left out.
    pub(crate) variables: BTreeMap<String, String>,
    /// Every variable with its value, secrets included.
    pub(crate) all: BTreeMap<String, String>,
    /// Every secret that was resolved.
    pub(crate) secrets: Secrets,
    /// Every reference to a step's output, which the text has a sign for: see [`SIGN`].
    pub(crate) outputs: Vec<OutputReference>,
}

/// A reference to a step's output, which is known only when the step has run.
#[derive(Debug, Clone)]
pub(crate) struct OutputReference {
    /// The step.
    pub(crate) step: String,
    /// The JSON path, if one is written.
    pub(crate) path: Option<String>,
    /// Where it stands.
    pub(crate) mark: Mark,
}

/// Stands before and after the number of a reference in a resolved text. A character for private use, which no file
/// needs.
pub(crate) const SIGN: char = '\u{f8ff}';

/// Takes `variables` out of the tree and resolves what refers to them. What cannot be resolved is reported and taken
/// out. With `declare_plainly`, variables are plain values (`shop: https://…`), as in an environment file.
pub(crate) fn resolve(
    tree: &mut Node,
    sources: Sources<'_>,
    declare_plainly: bool,
    report: &mut Reporter<'_>,
) -> Outcome {
    let section = tree.take("variables");
    let place = section.as_ref().map_or(Mark::default(), |entry| entry.key_mark);
    let mut written = section.map_or_else(|| Node::empty_map(Mark::default()), |entry| entry.value);
    if declare_plainly {
        wrap_values(&mut written);
    }
    let names: Vec<String> = written.written_keys().into_iter().map(str::to_owned).collect();
    let declared: BTreeMap<String, VariableDoc> = read(&mut written, report).unwrap_or_default();
    let mut resolver = Resolver {
        sources,
        written: &written,
        declared: &declared,
        names: names.into_iter().collect(),
        states: BTreeMap::new(),
        referred: BTreeSet::new(),
        keys: Vec::new(),
        outcome: Outcome { secrets: sources.secrets.clone(), ..Outcome::default() },
        bytes: 0,
        report,
    };
    resolver.check_names();
    for name in declared.keys() {
        resolver.variable(name, 0);
    }
    resolver.tree(tree);
    resolver.check_set(place);
    resolver.finish()
}

/// `NAME: VALUE` as `NAME: {default: VALUE}`.
fn wrap_values(variables: &mut Node) {
    if let Value::Map { entries, .. } = &mut variables.value {
        for entry in entries {
            let wrapped = Node::empty_map(entry.value.mark);
            let value = std::mem::replace(&mut entry.value, wrapped);
            let default = Entry { key: "default".into(), key_mark: entry.key_mark, value };
            entry.value.value = Value::Map { entries: vec![default], pruned: Vec::new() };
        }
    }
}

enum State {
    Busy,
    Done(Option<Resolved>),
}

struct Resolver<'a, 'r, 't> {
    sources: Sources<'a>,
    written: &'a Node,
    declared: &'a BTreeMap<String, VariableDoc>,
    /// Every name that was declared, rightly or not.
    names: BTreeSet<String>,
    states: BTreeMap<String, State>,
    referred: BTreeSet<String>,
    /// The keys that lead to where the tree is being resolved.
    keys: Vec<String>,
    outcome: Outcome,
    bytes: usize,
    report: &'r mut Reporter<'t>,
}

impl Resolver<'_, '_, '_> {
    fn check_names(&mut self) {
        for entry in self.written.entries() {
            let mut letters = entry.key.chars();
            let starts = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !starts || !letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
                self.report
                    .error(entry.key_mark, format!("`{}` cannot be a variable's name", entry.key))
                    .expected("letters, digits, `_` and `-`, the first a letter");
            }
        }
    }

    fn check_set(&mut self, place: Mark) {
        let known: BTreeSet<String> =
            self.known().chain(self.referred.iter().map(String::as_str)).map(Into::into).collect();
        for name in self.sources.set.keys().filter(|name| !known.contains(*name)) {
            self.report
                .error(place, format!("`--set {name}=…`: there is no variable `{name}` in this file"))
                .nearest(name, known.iter().map(String::as_str));
        }
    }

    /// Names that are known before anything is referred to.
    fn known(&self) -> impl Iterator<Item = &str> {
        self.names.iter().chain(self.sources.environment.keys()).map(String::as_str)
    }

    /// Resolves every scalar below; takes out what cannot be resolved.
    fn tree(&mut self, node: &mut Node) -> bool {
        match &mut node.value {
            Value::Scalar { text, plain } => {
                let Some((resolved, whole)) = self.scalar(text, node.mark, 0) else { return false };
                node.mark.secret |= resolved.secret;
                if whole {
                    *plain = true;
                } else if *text != resolved.text {
                    *plain = false;
                }
                *text = resolved.text;
                return true;
            }
            Value::List { items, pruned } => items.retain_mut(|item| {
                let kept = self.tree(item);
                *pruned += usize::from(!kept);
                kept
            }),
            Value::Map { entries, pruned } => entries.retain_mut(|entry| {
                self.keys.push(entry.key.clone());
                let kept = self.tree(&mut entry.value);
                self.keys.pop();
                if !kept {
                    pruned.push(entry.key.clone());
                }
                kept
            }),
        }
        true
    }

    /// A scalar's text with everything in it resolved, and whether it was one reference and nothing else.
    fn scalar(&mut self, text: &str, mark: Mark, depth: usize) -> Option<(Resolved, bool)> {
        let parsed = match pieces(text) {
            Ok(parsed) => parsed,
            Err((reference, message)) => {
                self.report.error(self.inside(mark, reference), message);
                return None;
            }
        };
        let whole = matches!(parsed.as_slice(), [piece] if !matches!(piece, Piece::Literal(_)));
        let mut resolved = Some(Resolved { text: String::new(), secret: false });
        for piece in parsed {
            let part = match piece {
                Piece::Literal(literal) => Some(Resolved { text: literal.to_owned(), secret: false }),
                Piece::Variable(name) => self.reference(name, mark, depth),
                Piece::Env(name) => self.env(name, mark),
                Piece::File(path) => self.file(path, mark),
                Piece::Output(step, path) => self.output(step, path, mark),
            };
            match (&mut resolved, part) {
                (Some(sofar), Some(part)) => {
                    sofar.text.push_str(&part.text);
                    sofar.secret |= part.secret;
                }
                _ => resolved = None,
            }
        }
        let resolved = resolved?;
        self.bytes += resolved.text.len();
        if self.bytes > MOST_BYTES {
            if self.bytes - resolved.text.len() <= MOST_BYTES {
                self.report.error(mark, "the variables of this file resolve to more than 4 MiB of text");
            }
            return None;
        }
        Some((resolved, whole))
    }

    fn reference(&mut self, name: &str, mark: Mark, depth: usize) -> Option<Resolved> {
        self.referred.insert(name.to_owned());
        let known = self.names.contains(name)
            || self.sources.set.contains_key(name)
            || self.sources.environment.contains_key(name);
        if !known {
            let all: Vec<String> =
                self.known().chain(self.sources.set.keys().map(String::as_str)).map(Into::into).collect();
            let place = self.inside(mark, &format!("${{{name}}}"));
            let told = self.report.error(place, format!("there is no variable `{name}`"));
            told.help(format!("declare it under `variables`, or give `--set {name}=…`"));
            if let Some(near) = squall_wire::nearest::nearest(name, all.iter().map(String::as_str)) {
                told.help(format!("did you mean `${{{near}}}`?"));
            }
            return None;
        }
        match self.states.get(name) {
            Some(State::Busy) => {
                let place = self.inside(mark, &format!("${{{name}}}"));
                self.report.error(place, format!("`{name}` refers to itself"));
                None
            }
            Some(State::Done(value)) => value.clone(),
            None => self.variable(name, depth + 1),
        }
    }

    /// The value of a known variable; resolved once, its mistakes are told once.
    fn variable(&mut self, name: &str, depth: usize) -> Option<Resolved> {
        if let Some(State::Done(value)) = self.states.get(name) {
            return value.clone();
        }
        self.states.insert(name.to_owned(), State::Busy);
        let spot = Spot::root(self.written).key(name);
        let value = if depth > DEEPEST {
            self.report.error(spot.key_mark(), format!("more than {DEEPEST} variables refer to one another here"));
            None
        } else {
            self.value(name, depth)
        };
        self.states.insert(name.to_owned(), State::Done(value.clone()));
        value
    }

    fn value(&mut self, name: &str, depth: usize) -> Option<Resolved> {
        let spot = Spot::root(self.written).key(name);
        let declared = self.declared.get(name);
        let given = self.sources.set.get(name).map(|value| (value, "`--set`"));
        let given = given.or_else(|| self.sources.environment.get(name).map(|value| (value, "the environment")));
        let (value, from) = match (given, declared.and_then(|variable| variable.default.as_ref())) {
            (Some((text, from)), _) => {
                let secret = self.sources.secrets.is_in(text);
                (Resolved { text: text.clone(), secret }, Some(from))
            }
            (None, Some(default)) => (self.scalar(default.as_str(), spot.key("default").mark(), depth)?.0, None),
            (None, None) => {
                // A declaration that was wrong has been told.
                if declared.is_some() && !spot.node().had("default") {
                    self.report.error(spot.key_mark(), format!("`{name}` has no value")).help(format!(
                        "write `default: …`, give `--set {name}=…`, or set it in the environment's `variables`"
                    ));
                }
                return None;
            }
        };
        limits::check(name, &value.text, value.secret, from, spot, declared, self.report).then_some(value)
    }

    fn env(&mut self, name: &str, mark: Mark) -> Option<Resolved> {
        match (self.sources.env_var)(name) {
            Some(text) => Some(self.secret(text)),
            None => {
                let place = self.inside(mark, &format!("${{env:{name}}}"));
                self.report
                    .error(place, format!("the environment variable `{name}` is not set"))
                    .help(format!("`export {name}=…` before you start squall"));
                None
            }
        }
    }

    fn file(&mut self, path: &str, mark: Mark) -> Option<Resolved> {
        let full = self.sources.base_dir.join(path);
        let read = std::fs::metadata(&full).map_err(|e| e.to_string()).and_then(|meta| match meta.len() {
            _ if !meta.is_file() => Err("it is not a file".into()),
            length if length > LARGEST_SECRET => Err("it is larger than 64 KiB".into()),
            _ => std::fs::read_to_string(&full).map_err(|e| e.to_string()),
        });
        match read {
            Ok(text) => Some(self.secret(text.trim_end_matches(['\n', '\r']).to_owned())),
            Err(cause) => {
                let place = self.inside(mark, &format!("${{file:{path}}}"));
                self.report.error(place, format!("failed to read the secret in `{path}`: {cause}"));
                None
            }
        }
    }

    /// A sign in the place of what is known only at run time.
    fn output(&mut self, step: &str, path: Option<&str>, mark: Mark) -> Option<Resolved> {
        let written =
            path.map_or_else(|| format!("${{steps.{step}.output}}"), |path| format!("${{steps.{step}.output:{path}}}"));
        let place = self.inside(mark, &written);
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        let taken = matches!(keys.first(), Some(&("setup" | "method")))
            && keys.iter().any(|key| matches!(*key, "run" | "pause"))
            && !matches!(
                keys.last(),
                Some(&("timeout" | "secret" | "on_failure" | "default" | "method" | "exit_code" | "status"))
            );
        if !taken {
            let told = self.report.error(place, "the output of a step is known only when the step has run");
            told.help("only `run` and `pause` steps that come after it can use it");
            return None;
        }
        let number = self.outcome.outputs.len();
        self.outcome.outputs.push(OutputReference {
            step: step.to_owned(),
            path: path.map(str::to_owned),
            mark: place,
        });
        Some(Resolved { text: format!("{SIGN}{number}{SIGN}"), secret: false })
    }

    fn secret(&mut self, text: String) -> Resolved {
        self.outcome.secrets.add(&text);
        Resolved { text, secret: true }
    }

    /// The place of this reference in a scalar, or the whole scalar where it is not found as written.
    fn inside(&self, mark: Mark, reference: &str) -> Mark {
        let source = self.report.text().get(mark.start..mark.end).unwrap_or_default();
        source.find(reference).map_or(mark, |offset| {
            let start = mark.start + offset;
            Mark::new(start, start + reference.len())
        })
    }

    fn finish(mut self) -> Outcome {
        for (name, state) in self.states {
            let State::Done(Some(Resolved { text, secret })) = state else { continue };
            if secret {
                self.outcome.secrets.add(&text);
            } else {
                self.outcome.variables.insert(name.clone(), text.clone());
            }
            self.outcome.all.insert(name, text);
        }
        self.outcome
    }
}
