//! A file system of a few MiB in memory, in a mount namespace of its own: it can be full or read-only without touching
//! the machine, and needs no privileges where user namespaces are allowed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;

/// The file system, and the process that keeps its namespace. It is gone when this is dropped.
pub struct SmallDisk {
    keeper: Process,
    at: PathBuf,
    user_namespace: bool,
}

impl SmallDisk {
    /// Mounts one of `size` (`8m`) at the folder `at`, for those who [enter](Self::enter) it.
    ///
    /// # Panics
    /// If this machine allows it neither with a user namespace nor without.
    pub fn mount(at: &Path, size: &str) -> Self {
        let script = "mount -t tmpfs -o size=\"$1\",mode=0700 tmpfs \"$2\" && echo ready && exec sleep 900";
        let mut why = Vec::new();
        for (namespaces, user_namespace) in [("-rm", true), ("-m", false)] {
            let mut command = Command::new("unshare");
            command.args([namespaces, "sh", "-c", script, "sh", size]).arg(at);
            // Tried out first: a program that cannot be started says more than a test that waits for it.
            let tried = Command::new("unshare").args([namespaces, "true"]).output();
            match tried {
                Ok(output) if output.status.success() => {
                    let keeper = Process::start("a small disk", &mut command);
                    keeper.line_after("ready");
                    return Self { keeper, at: at.to_owned(), user_namespace };
                }
                Ok(output) => why.push(String::from_utf8_lossy(&output.stderr).into_owned()),
                Err(error) => why.push(error.to_string()),
            }
        }
        panic!(
            "this test needs a mount namespace: allow `unshare -rm` (kernel.unprivileged_userns_clone, \
             user.max_user_namespaces, or the container's seccomp profile), or run it as root: {why:?}"
        );
    }

    /// A command that sees the disk.
    pub fn enter(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("-t").arg(self.keeper.id().to_string()).arg("-m");
        if self.user_namespace {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.arg("--").arg(program);
        command
    }

    /// Mounts it anew with these options: `size=32m`, `ro`.
    pub fn remount(&self, options: &str) {
        let done =
            self.enter("mount").args(["-o", &format!("remount,{options}")]).arg(&self.at).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// The path of a file on the disk for those outside.
    pub fn file(&self, name: &str) -> PathBuf {
        let inside = self.at.strip_prefix("/").unwrap().join(name);
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(inside)
    }

    /// Copies a file onto the disk.
    pub fn put(&self, from: &Path, name: &str) {
        fs::copy(from, self.file(name)).unwrap();
    }
}
