//! Child processes that end with the test that started them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A running program of this workspace. Killed when it is dropped.
pub struct Process {
    name: &'static str,
    child: Child,
    /// Behind a lock so that the whole of it can be shared by all tests of a process.
    lines: Mutex<Receiver<String>>,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a program.
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let heard = thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        let kept_log = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { name, child, lines: Mutex::new(lines), log, readers: vec![heard, kept_log] }
    }

    /// Waits for a line of standard output that starts with `prefix`; returns the rest of it.
    pub fn line_after(&self, prefix: &str) -> String {
        let lines = self.lines.lock().unwrap();
        loop {
            let line = lines.recv_timeout(Duration::from_secs(20));
            let line =
                line.unwrap_or_else(|_| panic!("{} never said `{prefix}`:\n{}", self.name, self.log()));
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it has ended by itself.
    #[expect(clippy::disallowed_methods, reason = "another process tells nobody when it ends")]
    pub fn until_ended(&mut self) -> ExitStatus {
        for _ in 0..2_400 {
            if let Some(status) = self.ended() {
                return status;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{} does not end:\n{}", self.name, self.log());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// `kill -9`, by somebody who does not own it: it is not waited for.
    pub fn kill_now(&self) {
        self.signal("KILL");
    }

    /// Stops it (SIGSTOP): it is there, and does nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill is part of every Unix");
    }

    /// All that it said until its end, and nobody has taken yet: standard output, then standard error.
    pub fn last_words(&mut self) -> String {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let said: Vec<_> = self.lines.get_mut().unwrap().try_iter().collect();
        format!("{}\n{}", said.join("\n"), self.log())
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.end()
    }

    /// As [`Process::stop`], and leaves what it said.
    #[expect(clippy::disallowed_methods, reason = "another process tells nobody when it ends")]
    pub fn end(&mut self) -> ExitStatus {
        self.signal("TERM");
        for _ in 0..400 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{} did not stop:\n{}", self.name, self.log());
    }

    /// What it may use of the system, as proc(5) shows it.
    pub fn limits(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap()
    }

    /// The most memory that it has had resident so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// CPU seconds that it has used so far, user and system, of all its threads.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id()).expect("it is ours, so it is there until it was waited for").own
    }
}

/// CPU seconds of a process, user and system.
#[derive(Clone, Copy, Debug)]
pub struct CpuSeconds {
    /// Of all its threads.
    pub own: f64,
    /// Of its children that have ended, and that it has waited for.
    pub ended: f64,
}

/// What a process has used so far, if it is there.
pub fn cpu_seconds(pid: u32) -> Option<CpuSeconds> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let field = |index: usize| -> f64 { after_name.split(' ').nth(index).unwrap().parse().unwrap() };
    // Fields 14 to 17 of proc(5), in ticks of a hundredth of a second.
    Some(CpuSeconds { own: (field(11) + field(12)) / 100.0, ended: (field(13) + field(14)) / 100.0 })
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.name, self.log());
        }
    }
}

/// A program of this workspace, as cargo built it beside the running test.
pub fn program(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().unwrap();
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built: run ./tests/run, or cargo build --release --workspace --bins",
        path.display()
    );
    path
}
