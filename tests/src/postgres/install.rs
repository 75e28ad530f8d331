//! Where PostgreSQL is on this machine, and as whom it can be run: its server refuses to run as root.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The programs of one version.
pub(crate) struct Installed {
    programs: PathBuf,
    /// Whom to become for the server, if these tests run as root.
    user: Option<(&'static str, &'static str)>,
}

impl Installed {
    /// The one whose folder of programs [`VARIABLE`] names; without that, the newest version that is installed.
    ///
    /// # Panics
    /// If there is none that will do.
    pub(crate) fn find() -> &'static Self {
        static FOUND: OnceLock<Installed> = OnceLock::new();
        FOUND.get_or_init(|| {
            let programs = named().or_else(debian).or_else(from_path).unwrap_or_else(|| {
                panic!(
                    "PostgreSQL {OLDEST} or newer is not installed: apt-get install postgresql-15 (or postgresql), \
                     or run ./tests/run"
                )
            });
            let root = fs::metadata("/proc/self").unwrap().uid() == 0;
            Self { programs, user: root.then(another_user) }
        })
    }

    /// One of its programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// One of its programs, as a user who may run it.
    pub(crate) fn command(&self, name: &str) -> Command {
        self.as_user(&self.program(name))
    }

    /// Any program, as that user.
    pub(crate) fn as_user(&self, program: &Path) -> Command {
        let Some((user, group)) = self.user else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        // It becomes the program: the process that is started is the server itself.
        command.args(["--reuid", user, "--regid", group, "--clear-groups", "--"]).arg(program);
        command
    }

    /// Gives a file or folder to that user.
    pub(crate) fn give(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            let status = Command::new("chown").arg(format!("{user}:{group}")).arg(path).status().unwrap();
            assert!(status.success(), "{} cannot be given to {user}", path.display());
        }
    }
}

/// What the one who runs the tests has chosen, which is not passed over for another.
fn named() -> Option<PathBuf> {
    let programs = PathBuf::from(env::var_os(VARIABLE).filter(|folder| !folder.is_empty())?);
    assert!(complete(&programs), "{} (by {VARIABLE}) lacks programs of PostgreSQL", programs.display());
    Some(programs)
}

/// As Debian's packages lay them out, one folder for each version.
fn debian() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let usable = versions.filter(|(version, programs)| *version >= OLDEST && complete(programs));
    usable.max().map(|(_, programs)| programs)
}

/// What `pg_config` on the search path belongs to.
fn from_path() -> Option<PathBuf> {
    let ask = |what: &str| {
        let output = Command::new("pg_config").arg(what).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // `PostgreSQL 15.20 (Debian 15.20-0+deb12u1)`
    let version = ask("--version")?;
    let digits: String =
        version.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let programs = PathBuf::from(ask("--bindir")?);
    (digits.parse::<u32>().ok()? >= OLDEST && complete(&programs)).then_some(programs)
}

fn complete(programs: &Path) -> bool {
    ["initdb", "pg_basebackup", "postgres", "psql"].iter().all(|name| programs.join(name).exists())
}

/// Who owns servers on this machine, or owns nothing at all; with its group.
fn another_user() -> (&'static str, &'static str) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = |user: &str| users.lines().any(|line| line.split(':').next() == Some(user));
    [("postgres", "postgres"), ("nobody", "nogroup")]
        .into_iter()
        .find(|(user, _)| known(user))
        .expect("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as")
}

/// The folder of the programs of another version, to run the tests with that.
const VARIABLE: &str = "WAXSEAL_TEST_POSTGRES";

/// What the store and the outbox are tested with.
const OLDEST: u32 = 15;
