//! Sees to it that no server outlives the test process, however that ends.
//!
//! A shell waits for the end of a pipe whose other end only the test process has: the kernel closes it even after
//! `kill -9`. Then the shell ends whatever works in the folder, and removes the folder. It is in a process group of its
//! own, so that Ctrl-C on a terminal does not reach it. Nothing depends on the thread that started a server, as a
//! signal at the parent's death would: the thread of a test ends before the process.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Whoever ends the server when the test process does not. Ended itself by being dropped.
pub(super) struct Guard {
    shell: Child,
    /// Nothing is ever written to it.
    alive: Option<ChildStdin>,
}

impl Guard {
    /// Watches over a server that works in the folder `data` in this one.
    pub(super) fn over(folder: &Path) -> Self {
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
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The server has ended and is about to be removed by its owner.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        self.alive = None;
    }
}

/// SIGQUIT lets the postmaster give its shared memory back; SIGKILL reaches those that were stopped.
const SCRIPT: &str = r#"
folder=$1
of_server() {
    for process in /proc/[0-9]*; do
        if [ "$(readlink "$process/cwd" 2>/dev/null)" = "$folder/data" ]; then echo "${process#/proc/}"; fi
    done
}
trap '' HUP INT TERM
read -r _
postmaster=$(head -n 1 "$folder/data/postmaster.pid" 2>/dev/null)
for pid in $(of_server); do if [ "$pid" = "$postmaster" ]; then kill -QUIT "$pid"; fi; done
tries=0
while [ -n "$(of_server)" ] && [ $tries -lt 100 ]; do
    if [ $tries -ge 20 ]; then kill -KILL $(of_server); fi
    tries=$((tries + 1))
    sleep 0.1
done
case $folder in */waxseal-postgres-*) rm -rf "$folder" ;; esac
"#;
