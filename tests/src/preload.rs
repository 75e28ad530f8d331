//! What happens to a machine and cannot be done to one for a test, done to one program: by a small library that is
//! preloaded into it. Needs the C compiler that the project needs anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder that turns read-only under a running program, and back.
pub struct ReadOnly {
    library: Library,
    folder: PathBuf,
}

/// A clock that is set while a program runs.
pub struct Clock(Library);

struct Library {
    built: TempDir,
}

impl ReadOnly {
    /// For what is written in `folder`.
    pub fn of(folder: &Path) -> Self {
        Self { library: Library::build("read_only.c"), folder: folder.canonicalize().unwrap() }
    }

    /// Has a program see the folder as it is told to.
    pub fn preload(&self, command: &mut Command) {
        self.library.preload(command);
        command.env("READ_ONLY_FOLDER", &self.folder).env("READ_ONLY_WHILE", self.mark());
    }

    /// From now on nothing can be written there.
    pub fn begin(&self) {
        fs::write(self.mark(), "").unwrap();
    }

    /// From now on it can.
    pub fn end(&self) {
        fs::remove_file(self.mark()).unwrap();
    }

    fn mark(&self) -> PathBuf {
        self.library.file("read-only")
    }
}

impl Clock {
    /// One that is right at first.
    pub fn right() -> Self {
        Self(Library::build("clock.c"))
    }

    /// Has a program see the time that this clock says.
    pub fn preload(&self, command: &mut Command) {
        self.0.preload(command);
        command.env("CLOCK_OFFSET", self.0.file("offset"));
    }

    /// Sets it to so many seconds after the right time.
    pub fn set(&self, ahead: i64) {
        // At once, so that nobody reads half of it.
        fs::write(self.0.file("new"), ahead.to_string()).unwrap();
        fs::rename(self.0.file("new"), self.0.file("offset")).unwrap();
    }
}

impl Library {
    fn build(source: &str) -> Self {
        let built = tempfile::tempdir().unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(built.path().join("library.so"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/preload").join(source))
            .output()
            .expect("a C compiler (cc) is needed");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Self { built }
    }

    fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.file("library.so"));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.built.path().join(name)
    }
}
