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
