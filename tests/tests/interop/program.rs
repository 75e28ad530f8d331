//! Runs one program of `tests/interop` over a file of cases and reads its answers.
//!
//! Relies on the environments that `./tests/run` makes. Guarantees one answer for each case, in order.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

/// A JOSE library that is not ours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Library {
    /// npm `jose`.
    Jose,
    /// PyPI `joserfc`.
    Joserfc,
    /// PyPI `jwcrypto`.
    Jwcrypto,
}

impl Library {
    /// Hands every case to the library at once.
    pub(crate) fn run<C: Serialize, A: DeserializeOwned>(self, direction: &str, cases: &[C]) -> Vec<A> {
        let mut file = NamedTempFile::new().expect("a file for the cases");
        file.write_all(&serde_json::to_vec(cases).expect("cases are JSON")).expect("cases written");
        let output = self
            .command(direction)
            .arg(file.path())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{self:?} did not start ({error}): {INSTALL}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} {direction} ended with {}: {said}", output.status);
        let answers: Vec<A> = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{self:?} {direction} printed no answers ({error}): {said}"));
        assert_eq!(answers.len(), cases.len(), "{self:?} {direction} answered another number of cases");
        answers
    }

    fn command(self, direction: &str) -> Command {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (variable, installed, script, library) = match self {
            Self::Jose => ("WAXSEAL_TEST_NODE", "node/bin/node", "node/interop.mjs", None),
            Self::Joserfc => {
                ("WAXSEAL_TEST_PYTHON", "python/bin/python", "python/interop.py", Some("joserfc"))
            }
            Self::Jwcrypto => {
                ("WAXSEAL_TEST_PYTHON", "python/bin/python", "python/interop.py", Some("jwcrypto"))
            }
        };
        let interpreter = env::var_os(variable)
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| OsString::from(tests.join(".cache").join(installed)));
        let interpreter = PathBuf::from(interpreter);
        assert!(interpreter.exists(), "{} is missing: {INSTALL}", interpreter.display());
        let mut command = Command::new(interpreter);
        command.arg(tests.join("interop").join(script)).arg(direction).args(library);
        command
    }
}

const INSTALL: &str = "run ./tests/run, which installs it (and runs this test too)";
