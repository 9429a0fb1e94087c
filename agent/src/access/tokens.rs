//! The token file: who has which token and which role.
//!
//! ```yaml
//! - {name: ci,  role: inject, token: "long-and-random"}
//! - {name: ops, role: admin,  sha256: "…64 digits…"}      # printf %s "$TOKEN" | sha256sum
//! ```
//! Neighbours: `super` asks for the identity of a token. What is kept is the hash, also of a token that stands in clear.
//! Invariant: no word of the file but names and roles is ever in a message, and finding a token takes as long for
//! every token that is sent.

use super::{Identity, Role};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use squall_wire::name::ProxyName;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// A shorter token could be guessed.
const SHORTEST: usize = 16;
/// A longer one fits no header.
const LONGEST: usize = 4096;
/// Tokens in a file, at most: each request is compared with all.
const MOST: usize = 1000;
/// The largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;
/// Names that the audit trail uses for others.
const RESERVED: [&str; 2] = ["anonymous", "agent"];

type Hash = [u8; 32];

/// All tokens.
pub(super) struct Tokens(Vec<Token>);

struct Token {
    hash: Hash,
    identity: Identity,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|token| &token.identity)).finish()
    }
}

impl Tokens {
    /// Reads a token file; tells everything that is wrong with it.
    pub(super) fn read(path: &Path) -> Result<Self, Vec<String>> {
        let shown = path.display();
        let failed = |error: std::io::Error| vec![format!("failed to read {shown}: {error}")];
        let file = std::fs::metadata(path).map_err(failed)?;
        if !file.is_file() {
            return Err(vec![format!("{shown} is not a file")]);
        }
        if file.len() > LARGEST {
            return Err(vec![format!("{shown} is larger than {LARGEST} bytes")]);
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        parse(&text).map_err(|messages| messages.into_iter().map(|message| format!("{shown}: {message}")).collect())
    }

    /// Who has this token. Looks at every token, whether or not one before it is the one.
    pub(super) fn find(&self, token: &[u8]) -> Option<Identity> {
        let sent = hash(token);
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (index, known) in (0_u64..).zip(&self.0) {
            let same = known.hash.ct_eq(&sent);
            at.conditional_assign(&index, same);
            found |= same;
        }
        let at = usize::try_from(at).ok().filter(|_| bool::from(found))?;
        self.0.get(at).map(|token| token.identity.clone())
    }
}

fn hash(token: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

/// One entry as written. Values are read by hand: a message of serde's would quote them.
type Entry = BTreeMap<String, serde_json::Value>;

fn parse(text: &str) -> Result<Tokens, Vec<String>> {
    // The message of the parser shows the line, and with it the token.
    let options = serde_saphyr::options! { strict_booleans: true };
    let entries: Vec<Entry> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|at| format!("line {}: ", at.line())).unwrap_or_default();
        vec![format!("{line}not a list such as `- {{name: ci, role: inject, token: \"…\"}}`")]
    })?;
    if entries.is_empty() {
        return Err(vec!["no tokens: nobody could use the agent; write at least one".to_owned()]);
    }
    if entries.len() > MOST {
        return Err(vec![format!("more than {MOST} tokens")]);
    }
    let (mut tokens, mut found) = (Vec::<Token>::new(), Vec::new());
    let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    for (index, entry) in (1..).zip(&entries) {
        match token(entry) {
            Ok(token) => {
                if !names.insert(token.identity.who.clone()) {
                    found.push(format!("token {index}: there are two named `{}`", token.identity.who));
                }
                if !hashes.insert(token.hash) {
                    found.push(format!("token {index}: another has the same token"));
                }
                tokens.push(token);
            }
            Err(messages) => found.extend(messages.iter().map(|message| format!("token {index}: {message}"))),
        }
    }
    if found.is_empty() { Ok(Tokens(tokens)) } else { Err(found) }
}

fn token(entry: &Entry) -> Result<Token, Vec<String>> {
    let mut found = Vec::new();
    let text = |key: &str| entry.get(key).map(|value| value.as_str());
    if entry.keys().any(|key| !["name", "role", "token", "sha256"].contains(&key.as_str())) {
        found.push("there is a key other than `name`, `role`, `token` and `sha256`".to_owned());
    }
    let name = text("name").flatten().filter(|name| name.parse::<ProxyName>().is_ok() && !RESERVED.contains(name));
    if name.is_none() {
        found.push(format!(
            "`name` must be 1 to 64 letters, digits, `-`, `_` or `.`, and none of {}",
            RESERVED.join(", ")
        ));
    }
    let role = entry.get("role").and_then(|role| Role::deserialize(role).ok());
    if role.is_none() {
        found.push("`role` must be `read`, `inject` or `admin`".to_owned());
    }
    let hash = match (text("token"), text("sha256")) {
        (Some(Some(token)), None) => hash_of(token),
        (None, Some(Some(digits))) => from_digits(digits).ok_or("`sha256` must be 64 hexadecimal digits".to_owned()),
        (Some(None), _) | (_, Some(None)) => Err("`token` and `sha256` are texts: put them in quotes".to_owned()),
        _ => Err("either `token` or `sha256` must be there".to_owned()),
    };
    match (name, role, hash) {
        (Some(name), Some(role), Ok(hash)) if found.is_empty() => {
            Ok(Token { hash, identity: Identity { who: name.into(), role } })
        }
        (_, _, hash) => {
            found.extend(hash.err());
            Err(found)
        }
    }
}

fn hash_of(token: &str) -> Result<Hash, String> {
    if !(SHORTEST..=LONGEST).contains(&token.len()) {
        return Err(format!("`token` must have {SHORTEST} to {LONGEST} characters; `openssl rand -hex 32` makes one"));
    }
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err("`token` may have no space and nothing that a header may not have".to_owned());
    }
    Ok(hash(token.as_bytes()))
}

fn from_digits(digits: &str) -> Option<Hash> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::{Role, parse};

    // The second as `printf %s a-second-token-for-ops | sha256sum` prints it.
    const FILE: &str = "\
- {name: ci, role: inject, token: a-first-token-for-ci}
- {name: ops, role: admin, sha256: ffaf1562745e6f455b5ff4f5ba03354174f83b5d9318c781a095299342c811ab}
- {name: eye, role: read, token: 'a third token'}
";

    fn mistakes(text: &str) -> String {
        parse(text).unwrap_err().join("\n")
    }

    #[test]
    fn a_token_is_known_by_itself_or_by_its_hash() {
        let tokens = parse(&FILE.replace("'a third token'", "a-third-token-to-look")).unwrap();
        let of = |token: &str| tokens.find(token.as_bytes()).map(|found| (found.who.to_string(), found.role));
        assert_eq!(of("a-first-token-for-ci"), Some(("ci".into(), Role::Inject)));
        assert_eq!(of("a-second-token-for-ops"), Some(("ops".into(), Role::Admin)));
        assert_eq!(of("a-third-token-to-look"), Some(("eye".into(), Role::Read)));
        for wrong in ["", "a-first-token-for-c", "a-first-token-for-ci ", "A-first-token-for-ci"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_mistake_is_told_and_none_quotes_what_may_be_a_secret() {
        let text = "\
- {name: a b, role: inject, token: secret-secret-1}
- {name: ops, role: root, token: 1234567890123456}
- {name: anonymous, role: read}
- {name: x, role: read, sha256: secret, secret: 1}
- {name: y, role: read, token: 'secret secret secret'}
";
        insta::assert_snapshot!(mistakes(text), @r"
        token 1: `name` must be 1 to 64 letters, digits, `-`, `_` or `.`, and none of anonymous, agent
        token 1: `token` must have 16 to 4096 characters; `openssl rand -hex 32` makes one
        token 2: `role` must be `read`, `inject` or `admin`
        token 2: `token` and `sha256` are texts: put them in quotes
        token 3: `name` must be 1 to 64 letters, digits, `-`, `_` or `.`, and none of anonymous, agent
        token 3: either `token` or `sha256` must be there
        token 4: there is a key other than `name`, `role`, `token` and `sha256`
        token 4: `sha256` must be 64 hexadecimal digits
        token 5: `token` may have no space and nothing that a header may not have
        ");
        for broken in ["- {name: ci, token: secret-secret", "secret", "{secret: 1}", "- secret"] {
            let told = mistakes(broken);
            assert!(told.contains("not a list such as") && !told.contains("secret"), "{told}");
        }
        assert!(mistakes("[]").contains("at least one"));
    }

    #[test]
    fn two_with_one_name_or_one_token_are_a_mistake() {
        let entry = |name: &str, token: &str| format!("- {{name: {name}, role: read, token: {token}}}\n");
        let same_name = entry("a", "a-first-token-for-ci") + &entry("a", "a-second-token-for-ci");
        assert_eq!(mistakes(&same_name), "token 2: there are two named `a`");
        let same_token = entry("a", "a-first-token-for-ci") + &entry("b", "a-first-token-for-ci");
        assert_eq!(mistakes(&same_token), "token 2: another has the same token");
    }

    #[test]
    fn what_is_shown_for_debugging_has_no_hash() {
        let tokens = parse(&FILE.replace("'a third token'", "a-third-token-to-look")).unwrap();
        let shown = format!("{tokens:?}");
        assert!(shown.contains("ops") && !shown.contains("hash") && !shown.contains("ffaf"), "{shown}");
    }
}
