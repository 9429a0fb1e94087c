//! Exit codes: one place where every way to end becomes a number and a message.

use crate::{cli::Common, output};
use squall_engine::{
    diagnostic::{Diagnostic, Diagnostics},
    verdict::Verdict,
};
use std::process::ExitCode;

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// Which code it ends with.
    pub code: Code,
    /// What to tell, ready for people.
    pub message: String,
    /// Whether the message is a whole page that says by itself that it is an error.
    pub rendered: bool,
    /// The mistakes in what somebody wrote, each with its place, where they are known.
    pub mistakes: Vec<Diagnostic>,
}

/// The codes that are no verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 2: wrong usage.
    Usage,
    /// 3: the file is invalid.
    Invalid,
    /// 7: squall or an agent failed.
    Failed,
    /// 8: a fault could not be confirmed gone.
    NotHealed,
    /// 10: refused by a lease, a limit, the blast radius.
    Refused,
}

impl Code {
    /// The number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Failed => Verdict::Error.exit_code(),
            Self::NotHealed => Verdict::NotHealed.exit_code(),
            Self::Refused => 10,
        }
    }
}

impl Failure {
    /// A failure with this code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), rendered: false, mistakes: Vec::new() }
    }

    /// Mistakes in what somebody wrote, shown with their places.
    pub fn mistakes(code: Code, page: impl Into<String>) -> Self {
        Self { code, message: page.into(), rendered: true, mistakes: Vec::new() }
    }

    /// An invalid file, with its mistakes both as a page and one by one. `source` is its text.
    pub fn invalid_file(mistakes: &Diagnostics, source: &str) -> Self {
        let page = mistakes.render(source, output::colour_on_stderr());
        Self { mistakes: mistakes.mistakes.clone(), ..Self::mistakes(Code::Invalid, page) }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// An invalid file.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// Something failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    /// On stderr.
    pub fn tell(&self) {
        if self.rendered {
            output::progress(self.message.trim_end());
        } else {
            output::error(&self.message);
        }
    }

    /// As programs read it.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({"error": {"exit_code": self.code.number(), "message": self.message}})
    }

    /// It must not be done.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Code::Refused, message)
    }
}

impl From<squall_engine::agent_client::AgentError> for Failure {
    fn from(error: squall_engine::agent_client::AgentError) -> Self {
        use squall_wire::ErrorCode;
        let code = match error.code() {
            Some(ErrorCode::Leased | ErrorCode::Halted | ErrorCode::Forbidden | ErrorCode::Unauthorized) => {
                Code::Refused
            }
            Some(ErrorCode::InvalidRequest | ErrorCode::NotFound | ErrorCode::Conflict) => Code::Usage,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<squall_engine::journal::JournalError> for Failure {
    fn from(error: squall_engine::journal::JournalError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Tells the failure on stderr (and as JSON on stdout when that was asked for) and gives its exit code.
pub fn report(failure: &Failure, common: &Common) -> ExitCode {
    failure.tell();
    if common.output == crate::cli::Format::Json {
        output::json(&failure.json());
    }
    ExitCode::from(failure.code.number())
}
