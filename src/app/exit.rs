//! How the program ends: five codes, the same for every command.

use std::process::ExitCode;

/// The reason a command ended, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what was asked.
    Done,
    /// 1: it ran, and a check it was asked to make failed.
    CheckFailed,
    /// 2: wrong usage, settings or input; nothing was started.
    Usage,
    /// 3: the venue, or the machine below the program, failed.
    Venue,
    /// 4: state on disk is missing, damaged, locked or of another account.
    State,
}

impl Exit {
    /// The code that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::CheckFailed => 1,
            Exit::Usage => 2,
            Exit::Venue => 3,
            Exit::State => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command ended early: the code for the shell and the line for the operator.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

impl Failure {
    pub fn new(exit: Exit, text: impl std::fmt::Display) -> Self {
        Failure {
            exit,
            text: text.to_string(),
        }
    }

    /// Wrong usage, settings or input.
    pub fn usage(text: impl std::fmt::Display) -> Self {
        Failure::new(Exit::Usage, text)
    }

    /// The venue, or the machine below the program.
    pub fn venue(text: impl std::fmt::Display) -> Self {
        Failure::new(Exit::Venue, text)
    }

    /// State on disk or in shared memory.
    pub fn state(text: impl std::fmt::Display) -> Self {
        Failure::new(Exit::State, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let all = [
            Exit::Done,
            Exit::CheckFailed,
            Exit::Usage,
            Exit::Venue,
            Exit::State,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4]);
    }
}
