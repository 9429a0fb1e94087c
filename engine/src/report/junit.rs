//! Cases as JUnit XML, which CI systems show: one test case a file, all in one suite. Pure.
//!
//! What was learnt and is no good (deviated, aborted, not steady, not recovered, inconclusive) is a failure; what was not
//! learnt (error, not healed, stopped, invalid, refused) is an error; what was left alone is skipped.
//! Neighbours: `case` says what is what, `text` gives the details.

use super::{
    ReportError,
    case::{Case, Ending},
    text,
};
use crate::verdict::Verdict;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

/// The whole file.
///
/// # Errors
/// When it cannot be written as XML.
pub fn render(cases: &[Case]) -> Result<String, ReportError> {
    let mut suite = TestSuite::new("squall");
    suite.set_time(cases.iter().filter_map(Case::took).sum());
    suite.add_test_cases(cases.iter().map(test_case));
    let mut report = Report::new("squall");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn test_case(case: &Case) -> TestCase {
    let mut test = TestCase::new(case.name(), status(case));
    test.set_classname(&*case.file);
    test.set_time(case.took().unwrap_or_default());
    if let Ending::Ran { record, report, .. } = &case.ending {
        let start = &record.start;
        let known = [("run", &start.id), ("environment", &start.environment), ("hypothesis", &start.hypothesis)];
        test.properties.extend(known.map(|(name, value)| Property::new(name, &**value)));
        test.properties.extend(report.iter().map(|path| Property::new("report", &**path)));
        test.set_system_out(text::summary(record));
    }
    test
}

fn status(case: &Case) -> TestCaseStatus {
    if case.is_held() {
        return TestCaseStatus::success();
    }
    let mut status = match (&case.ending, case.verdict()) {
        (Ending::NotRun, _) => TestCaseStatus::skipped(),
        (_, Some(verdict)) if verdict > Verdict::Interrupted => TestCaseStatus::non_success(NonSuccessKind::Failure),
        _ => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    status.set_type(case.word()).set_message(case.reason());
    match &case.ending {
        Ending::Ran { record, regressions, .. } => {
            let reasons = record.end.iter().flat_map(|end| &end.reasons).chain(regressions).cloned();
            let reasons = reasons.collect::<Vec<_>>().join("\n");
            status.set_description(if reasons.is_empty() { case.reason() } else { reasons });
        }
        Ending::Prevented { message, mistakes, .. } => {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            status.set_description(if lines.is_empty() { message.clone() } else { lines.join("\n") });
        }
        Ending::NotRun => {}
    }
    status
}
