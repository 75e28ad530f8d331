//! The program where something is not as it should be: it says what, and leaves nothing half done.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use waxseal_tests::process::{Process, program};
use waxseal_tests::sender::SenderFolder;

fn waxseal(arguments: &[&str]) -> Output {
    Command::new(program("waxseal")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn an_answer_of_something_else_is_not_taken_for_success() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4_096]).unwrap();
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<h1>Hello</h1";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let output = waxseal(&["group", "create", "partners", "--url", &url, "--token", "wxs_none"]);
    other.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("is --url a Waxseal sender?"), "{}", said(&output));
}

#[tokio::test]
async fn the_key_encryption_key_may_come_from_the_environment_alone() {
    let folder = SenderFolder::init("", None);
    let serve = |kek: Option<&str>| {
        let mut command = Command::new(program("waxseal"));
        command.args(["serve", "--kek-from-environment", "--config"]).arg(folder.file("waxseal.toml"));
        kek.map(|kek| command.env("WAXSEAL_KEK", kek));
        command
    };
    let missing = serve(None).output().unwrap();
    assert!(said(&missing).contains("WAXSEAL_KEK is not set"), "{}", said(&missing));
    let wrong = serve(Some("correct horse")).output().unwrap();
    assert!(said(&wrong).contains("WAXSEAL_KEK: a key-encryption key is"), "{}", said(&wrong));
    assert!(!said(&wrong).contains("horse"));

    let kek = std::fs::read_to_string(folder.file("waxseal.key")).unwrap();
    std::fs::remove_file(folder.file("waxseal.key")).unwrap();
    let process = Process::start("waxseal serve", &mut serve(Some(&kek)));
    for _ in 0..400 {
        if process.log().contains("serving") {
            return assert!(process.stop().success());
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("it never served:\n{}", process.log());
}

#[test]
fn a_private_key_never_leaves_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.json");
    let file = file.to_str().unwrap();
    assert!(waxseal(&["keys", "generate", "--out", file]).status.success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let endpoint =
        ["endpoint", "create", "--consumer", "acme", "--to", "https://acme.example/", "--type", "a"];
    for command in [
        vec!["consumer", "keys", "acme", "set", file],
        [&endpoint[..], &["--protection", "sealed", "--keys", file]].concat(),
    ] {
        let output = waxseal(&[&command[..], &["--url", &url, "--token", "wxs_none"]].concat());
        assert!(said(&output).contains("give its public half"), "{}", said(&output));
        assert!(listener.accept().is_err(), "something was sent");
    }
}

#[test]
fn who_cannot_listen_begins_nothing() {
    let folder = SenderFolder::init("", None);
    let address = folder.origin.strip_prefix("http://").unwrap();
    let _taken = TcpListener::bind(address).unwrap();
    let output = waxseal(&["serve", "--config", folder.file("waxseal.toml").to_str().unwrap()]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(address) && said.contains("--listen"), "{said}");
    let store = rusqlite::Connection::open(folder.file("waxseal.db")).unwrap();
    let rings: i64 = store.query_row("SELECT count(*) FROM ring", [], |row| row.get(0)).unwrap();
    assert_eq!(rings, 0, "a sender that was never started has made keys");
}

#[test]
fn causes_are_said_with_the_path() {
    let folder = SenderFolder::init("", None);
    let config = folder.file("waxseal.toml");
    let serve = |flag: &str, path: &std::path::Path| {
        let output = Command::new(program("waxseal"))
            .args(["serve", "--config"])
            .arg(&config)
            .arg(flag)
            .arg(path)
            .output()
            .unwrap();
        assert!(!output.status.success());
        said(&output)
    };
    // A folder is there and can be neither read nor opened as a file, not even by root.
    let there = folder.file("place");
    std::fs::create_dir(&there).unwrap();
    let there = there.as_path();
    let directory = "Is a directory";
    let store = serve("--store", there);
    assert!(store.contains(there.to_str().unwrap()) && store.contains(directory), "{store}");
    let key = serve("--kek-file", there);
    assert!(key.contains(there.to_str().unwrap()) && key.contains("not a regular file"), "{key}");
    let output = waxseal(&["serve", "--config", there.to_str().unwrap()]);
    let read = said(&output);
    assert!(read.contains("cannot read") && read.contains(directory), "{read}");
}

#[test]
fn an_init_that_fails_half_way_leaves_nothing_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    // The store cannot take its lock.
    let stranger = folder.path().join("waxseal.db.lock");
    std::fs::create_dir(&stranger).unwrap();
    let dir = folder.path().to_str().unwrap();
    let init = ["init", "--issuer", "https://hooks.example.com", "--dir", dir];
    let output = waxseal(&init);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("cannot make the store"), "{}", said(&output));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, std::slice::from_ref(&stranger));

    std::fs::remove_dir(stranger).unwrap();
    let output = waxseal(&init);
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test]
async fn the_limit_on_open_files_is_raised() {
    let folder = SenderFolder::init("", None);
    let mut command = Command::new("sh");
    let serve = r#"ulimit -Sn 256 && exec "$0" serve --config "$1""#;
    command.args(["-c", serve]).arg(program("waxseal")).arg(folder.file("waxseal.toml"));
    let process = Process::start("waxseal serve", &mut command);
    for _ in 0..400 {
        if process.log().contains("serving") {
            let limits = process.limits();
            let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
            let mut columns = files.split_whitespace();
            let (soft, hard) = (columns.next().unwrap(), columns.next().unwrap());
            assert!(soft != "256" && soft == hard, "{files}");
            return assert!(process.stop().success());
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("it never served:\n{}", process.log());
}
