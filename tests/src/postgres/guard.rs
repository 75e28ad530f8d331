//! Sees to it that no server outlives the test process, however that ends.
//!
//! A shell waits for the end of a pipe whose other end only the test process has: the kernel closes it even after
//! `kill -9`. Then the shell ends whatever works in the folder or below it, and removes the folder. It is in a process group of its
//! own, so that Ctrl-C on a terminal does not reach it. Nothing depends on the thread that started a server, as a
//! signal at the parent's death would: the thread of a test ends before the process.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Whoever ends the server when the test process does not. Ended itself by being dropped.
pub(crate) struct Guard {
    shell: Child,
    /// Nothing is ever written to it.
    alive: Option<ChildStdin>,
}

impl Guard {
    /// Watches over whatever works in this folder: a server in its `data`, or several.
    pub(crate) fn over(folder: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder.canonicalize().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        Self { alive: shell.stdin.take(), shell }
    }

    /// Ends now whatever works in the folder, and removes it.
    pub(crate) fn end_all(mut self) {
        self.alive = None;
        let _ = self.shell.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The server has ended and is about to be removed by its owner.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        self.alive = None;
    }
}

/// SIGQUIT lets a postmaster give its shared memory back; SIGKILL reaches those that were stopped, and all others.
const SCRIPT: &str = r#"
folder=$1
at_work() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/cwd" 2>/dev/null) in "$folder"/*) echo "${process#/proc/}" ;; esac
    done
}
trap '' HUP INT TERM
read -r _
for pid in $(at_work); do
    postmaster=$(head -n 1 "/proc/$pid/cwd/postmaster.pid" 2>/dev/null)
    if [ "$pid" = "$postmaster" ]; then kill -QUIT "$pid"; fi
done
tries=0
while [ -n "$(at_work)" ] && [ $tries -lt 100 ]; do
    if [ $tries -ge 20 ]; then kill -KILL $(at_work); fi
    tries=$((tries + 1))
    sleep 0.1
done
case $folder in */waxseal-postgres-* | */waxseal-page-*) rm -rf "$folder" ;; esac
"#;
