//! Splits a scalar into literal text and references.

/// A part of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text as it stands.
    Literal(&'a str),
    /// `${name}`.
    Variable(&'a str),
    /// `${env:NAME}`.
    Env(&'a str),
    /// `${file:PATH}`.
    File(&'a str),
    /// `${steps.NAME.output}`, and where in it: `${steps.NAME.output:$.json.path}`.
    Output(&'a str, Option<&'a str>),
}

/// The parts of a scalar in their order, or what is wrong: the text to point at, and why.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, (&str, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // `$${`: the first `$` goes, the rest is text.
            literal(&mut found, &rest[..at - 1]);
            found.push(Piece::Literal("${"));
            rest = &rest[at + 2..];
            continue;
        }
        literal(&mut found, &rest[..at]);
        let reference = &rest[at..];
        let Some(end) = reference.find('}') else {
            return Err((reference, "this `${` is never closed: write `${name}`, or `$${` for the text itself".into()));
        };
        let (whole, inner) = (&reference[..=end], reference[2..end].trim());
        found.push(match inner.split_once(':') {
            Some(("env", name)) if !name.trim().is_empty() => Piece::Env(name.trim()),
            Some(("file", path)) if !path.trim().is_empty() => Piece::File(path.trim()),
            Some((reference, path)) if let Some(step) = output_of(reference) => Piece::Output(step, Some(path.trim())),
            None if let Some(step) = output_of(inner) => Piece::Output(step, None),
            None if is_name(inner) && !inner.starts_with("steps.") => Piece::Variable(inner),
            _ if inner.starts_with("steps.") => {
                let form = "write `${steps.NAME.output}`, or `${steps.NAME.output:$.json.path}`";
                return Err((whole, format!("`{whole}` is nothing that a step has: {form}")));
            }
            _ => {
                return Err((
                    whole,
                    format!("`{whole}` is no reference: write `${{name}}`, `${{env:NAME}}` or `${{file:PATH}}`"),
                ));
            }
        });
        rest = &reference[end + 1..];
    }
    if found.is_empty() || !rest.is_empty() {
        found.push(Piece::Literal(rest));
    }
    Ok(found)
}

fn literal<'a>(found: &mut Vec<Piece<'a>>, text: &'a str) {
    if !text.is_empty() {
        found.push(Piece::Literal(text));
    }
}

/// The step of `steps.NAME.output`.
fn output_of(reference: &str) -> Option<&str> {
    let name = reference.trim().strip_prefix("steps.")?.strip_suffix(".output")?;
    is_name(name).then_some(name)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::{Piece, pieces};

    #[test]
    fn references_are_found_and_escapes_are_not_references() {
        use Piece::{Env, File, Literal, Variable};
        assert_eq!(pieces("plain $5 {x}"), Ok(vec![Literal("plain $5 {x}")]));
        assert_eq!(pieces(""), Ok(vec![Literal("")]));
        assert_eq!(pieces("${a}"), Ok(vec![Variable("a")]));
        assert_eq!(pieces("x/${a}${env:B}/y"), Ok(vec![Literal("x/"), Variable("a"), Env("B"), Literal("/y")]));
        assert_eq!(pieces("${file:./t:1}"), Ok(vec![File("./t:1")]));
        assert_eq!(pieces("${steps.a-1.output}"), Ok(vec![Piece::Output("a-1", None)]));
        assert_eq!(pieces("${steps.a.output:$.b[0]}"), Ok(vec![Piece::Output("a", Some("$.b[0]"))]));
        assert_eq!(pieces("a$${b}"), Ok(vec![Literal("a"), Literal("${"), Literal("b}")]));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["${steps.a}", "${steps.a.status}", "${", "a ${b", "${}", "${a b}", "${env:}", "${exec:ls}"] {
            assert!(pieces(text).is_err(), "{text}");
        }
    }
}
