//! The commands of a page of the documentation, run as they are written there: one shell from the first to the last.
//!
//! A block that begins with ```` ```sh run ```` is run; a block of `text` that follows it is what the page promises to be
//! shown: each of its lines, with anything in place of `…`, is in what was said. `wxs_...` stands for the token that was
//! printed last, as a reader takes it. A command with `! ` before it must be refused.
//!
//! Relies on bash, and on what the page itself asks for. The shell is that of a user who is not root, in a folder of its
//! own. Guarantees that the first command that fails ends it, and that nothing that works in the folder outlives the test.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::postgres::guard::Guard;
use crate::postgres::install::Installed;
use crate::process::{Process, program};

/// A page, as far as it is to be run.
pub struct Page {
    name: String,
    blocks: Vec<Block>,
}

#[derive(Default)]
struct Block {
    line: usize,
    commands: Vec<String>,
    shown: Vec<String>,
}

/// A folder in which pages are run. Whatever works in it ends with it.
pub struct Place {
    // Dropped in this order: whoever ends the rest, then the folder.
    guard: Option<Guard>,
    folder: TempDir,
    installed: &'static Installed,
}

impl Page {
    /// Reads a page of this repository.
    ///
    /// # Panics
    /// If there is nothing to run in it.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name);
        Self::parse(name, &fs::read_to_string(path).unwrap())
    }

    fn parse(name: &str, text: &str) -> Self {
        let page = Self { name: name.to_owned(), blocks: blocks(text) };
        assert!(!page.blocks.is_empty(), "{name} has nothing to run");
        page
    }

    /// The same with this text in place of that: a port that is free, for one that need not be.
    #[must_use]
    pub fn with(mut self, text: &str, replacement: &str) -> Self {
        for command in self.blocks.iter_mut().flat_map(|block| &mut block.commands) {
            *command = command.replace(text, replacement);
        }
        self
    }

    /// Runs it, with these variables set.
    ///
    /// # Panics
    /// If a command fails or does not end, or what it says is not what the page shows.
    #[expect(clippy::disallowed_methods, reason = "another process tells nobody when it ends")]
    pub fn run(&self, place: &Place, variables: &[(&str, String)]) {
        let said = place.make("said");
        fs::write(place.path().join("commands"), self.script(&said)).unwrap();
        let mut shell = Process::start("bash", &mut place.shell(variables));
        let mut tries = 0;
        let status = loop {
            if let Some(status) = shell.ended() {
                break status;
            }
            tries += 1;
            assert!(tries < 6_000, "{}", self.where_it_is(place, &said, "does not end"));
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        assert!(status.success(), "{}", self.where_it_is(place, &said, "fails"));
        for (number, block) in self.blocks.iter().enumerate() {
            let text = fs::read_to_string(said.join(number.to_string())).unwrap();
            for line in block.shown.iter().filter(|line| !line.trim().is_empty()) {
                let found = text.lines().any(|said| is_like(said, line));
                assert!(found, "{}:{}: `{line}` was not said:\n{text}", self.name, block.line);
            }
        }
    }

    fn script(&self, said: &Path) -> String {
        let said = said.display();
        let printed = format!("$(cat {said}/* | grep -oE 'wxs_[A-Za-z0-9_-]+' | tail -n 1)");
        // A shell does not end at a command that succeeds although there is a `!` before it.
        let mut script = "set -e -o pipefail\nrefused() { if \"$@\"; then return 1; fi; }\n".to_owned();
        let refused = |command: &String| match command.strip_prefix("! ") {
            Some(command) => format!("refused {command}"),
            None => command.clone(),
        };
        for (number, block) in self.blocks.iter().enumerate() {
            let commands: Vec<_> = block.commands.iter().map(refused).collect();
            let commands = commands.join("\n").replace("wxs_...", &printed);
            writeln!(script, "exec >{said}/{number} 2>&1\n{commands}").unwrap();
        }
        script
    }

    /// What there is to see when something went wrong: the last block that was begun, and the logs.
    fn where_it_is(&self, place: &Place, said: &Path, what: &str) -> String {
        let begun = (0..self.blocks.len()).take_while(|number| said.join(number.to_string()).exists()).last();
        let line = begun.map_or(0, |number| self.blocks[number].line);
        let text = begun.map_or_else(String::new, |number| {
            fs::read_to_string(said.join(number.to_string())).unwrap_or_default()
        });
        let mut shown = format!("{}:{line}: a command {what}:\n{text}", self.name);
        let logs = fs::read_dir(place.make("work")).unwrap().filter_map(Result::ok).map(|entry| entry.path());
        for log in logs.filter(|path| path.extension().is_some_and(|end| end == "log")) {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<_> = text.lines().rev().take(20).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            write!(shown, "\n--- end of {} ---\n{last}", log.display()).unwrap();
        }
        shown
    }
}

impl Place {
    /// A new folder, with the program in it.
    pub fn new() -> Self {
        let installed = Installed::find();
        let folder = tempfile::Builder::new().prefix("waxseal-page-").tempdir().unwrap();
        installed.give(folder.path());
        let place = Self { guard: Some(Guard::over(folder.path())), folder, installed };
        // Where it was built may be hidden from the user who runs it.
        fs::copy(program("waxseal"), place.make("bin").join("waxseal")).unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    fn make(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).unwrap();
        self.installed.give(&path);
        path
    }

    /// A shell that reads the commands; it has nothing of what the tests have in their environment.
    fn shell(&self, variables: &[(&str, String)]) -> Command {
        let work = self.make("work");
        let programs = self.installed.program("");
        let path = format!("{}:{}", self.path().join("bin").display(), programs.display());
        let mut shell = self.installed.as_user(Path::new("bash"));
        shell
            .arg(self.path().join("commands"))
            .env_clear()
            .env("PATH", format!("{path}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"))
            .env("HOME", &work)
            .env("LC_ALL", "C.UTF-8")
            .envs(variables.iter().map(|(name, value)| (*name, value.as_str())))
            .current_dir(work)
            .stdin(Stdio::null());
        shell
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.end_all();
        }
    }
}

/// The blocks that are to be run, each with what is shown after it.
fn blocks(page: &str) -> Vec<Block> {
    #[derive(PartialEq)]
    enum In {
        Text,
        Commands,
        Shown,
        Other,
    }
    let (mut all, mut within, mut follows) = (Vec::<Block>::new(), In::Text, false);
    for (line, number) in page.lines().zip(1..) {
        let fence = line.strip_prefix("```").map(str::trim);
        within = match (&within, fence) {
            (In::Text, Some("sh run")) => {
                all.push(Block { line: number, ..Block::default() });
                In::Commands
            }
            (In::Text, Some("text")) if follows => In::Shown,
            (In::Text, Some(_)) => In::Other,
            (In::Text, None) => {
                follows = follows && line.is_empty();
                In::Text
            }
            (_, Some("")) => {
                follows = within == In::Commands;
                In::Text
            }
            _ => {
                if let Some(block) = all.last_mut() {
                    match within {
                        In::Commands => block.commands.push(line.to_owned()),
                        In::Shown => block.shown.push(line.to_owned()),
                        In::Text | In::Other => {}
                    }
                }
                within
            }
        };
    }
    all
}

/// Whether a line that was said has all that is shown of it, in this order.
fn is_like(said: &str, shown: &str) -> bool {
    let mut rest = said;
    shown.split('…').map(str::trim).all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_is_run_and_what_follows_is_shown() {
        let page = "# A\n```sh\nno\n```\n```sh run\none\ntwo\n```\n\n```text\nshown\n```\n```text\nno\n```\n\
                    ```sh run\nthree\n```\nand\n\n```text\nno\n```\n";
        let found = blocks(page);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].line, &found[0].commands, &found[0].shown),
            (5, &vec!["one".to_owned(), "two".to_owned()], &vec!["shown".to_owned()])
        );
        assert_eq!((&found[1].commands, found[1].shown.len()), (&vec!["three".to_owned()], 0));
    }

    #[test]
    fn a_line_is_like_what_is_shown_of_it() {
        assert!(is_like("node_1  one   all  86", "one … all … 86"));
        assert!(!is_like("node_1  one   all  86", "one … 86 … all"));
    }

    #[test]
    #[should_panic(expected = "two.md:4: a command fails:\nthree\n")]
    fn the_first_command_that_fails_is_named() {
        let page = "```sh run\necho one\n```\n```sh run\necho three\nfalse\necho four\n```\n";
        Page::parse("two.md", page).run(&Place::new(), &[]);
    }

    #[test]
    #[should_panic(expected = "two.md:4: a command fails:\nthree\n")]
    fn what_is_not_refused_although_it_should_be_is_named() {
        let page = "```sh run\n! false\n```\n```sh run\n! echo three   # refused\n```\n";
        Page::parse("two.md", page).run(&Place::new(), &[]);
    }

    #[test]
    #[should_panic(expected = "two.md:1: `two` was not said:\none\n")]
    fn what_is_promised_and_not_said_is_named() {
        Page::parse("two.md", "```sh run\necho one\n```\n```text\ntwo\n```\n").run(&Place::new(), &[]);
    }

    #[test]
    fn what_a_page_leaves_running_ends_with_its_place() {
        let place = Place::new();
        let path = place.path();
        Page::parse("one.md", "```sh run\nsleep 600 &\necho $! > pid\n```\n").run(&place, &[]);
        let pid = fs::read_to_string(path.join("work/pid")).unwrap();
        // Whoever adopts it may leave its remains there; those work nowhere.
        let works = || fs::read_link(Path::new("/proc").join(pid.trim()).join("cwd")).is_ok();
        assert!(works());
        drop(place);
        assert!(!works() && !path.exists());
    }
}
