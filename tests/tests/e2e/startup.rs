//! The program where something is not as it should be: it says what, and leaves nothing half done.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use waxseal_tests::process::program;

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
