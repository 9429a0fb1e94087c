//! A fault typed on a command line: `{latency: {delay: 800ms}}`, or a whole one with `fault:`, `percent:` and so on.
//!
//! It is the same YAML as in a file, read by the same reader, so its mistakes look the same.

use crate::{
    diagnostic::{Diagnostics, Reporter},
    experiment::Secrets,
    yaml::{self, Spot},
};
use squall_wire::{FaultKind, FaultSpec};

/// Reads one.
///
/// # Errors
/// Every mistake in it, with its place; `path` is what messages call the text.
pub fn fault(path: &str, text: &str) -> Result<FaultSpec, Diagnostics> {
    let mut report = Reporter::new(text);
    let fault = read(text, &mut report);
    match (fault, report.finish(path, &Secrets::default())) {
        (Some(fault), None) => Ok(fault),
        (_, Some(mistakes)) => Err(mistakes),
        (None, None) => Err(Diagnostics::whole_file(path, "this is not a fault", None)),
    }
}

fn read(text: &str, report: &mut Reporter<'_>) -> Option<FaultSpec> {
    let mut tree = yaml::parse(text, "a fault", report)?;
    let fault = match tree.get("fault") {
        Some(_) => yaml::read::<FaultSpec>(&mut tree, report)?,
        None => FaultSpec::of(yaml::read::<FaultKind>(&mut tree, report)?),
    };
    for mistake in fault.mistakes() {
        let field =
            if tree.get("fault").is_some() { &mistake.field } else { mistake.field.trim_start_matches("fault.") };
        report.error(Spot::root(&tree).path(field).mark(), mistake.message);
    }
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn a_kind_alone_and_a_whole_fault_are_both_understood() {
        assert_eq!(fault("fault", "{latency: {delay: 800ms}}").unwrap().fault.name(), "latency");
        let whole = fault("fault", "{fault: {reset: {}}, percent: 30}").unwrap();
        assert_eq!((whole.fault.name(), whole.percent.get()), ("reset", 30.0));
    }

    #[test]
    fn mistakes_are_told_as_in_a_file() {
        let text = "{latncy: {delay: 800ms}}";
        let told = fault("fault", text).unwrap_err().render(text, false);
        assert!(told.contains("latncy") && told.contains("did you mean `latency`?"), "{told}");
        let text = "{latency: {delay: 0s}}";
        let told = fault("fault", text).unwrap_err().render(text, false);
        assert!(told.contains("does nothing"), "{told}");
    }
}
