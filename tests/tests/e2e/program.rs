//! The program as an operator uses it: from `init` to a token that `open` explains.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use waxseal_tests::process::program;
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

/// Runs `waxseal` against this sender; returns what it printed.
pub(crate) fn waxseal(folder: &SenderFolder, input: &str, arguments: &[&str]) -> String {
    let (status, stdout, stderr) = run(folder, input, arguments);
    assert!(status == 0, "waxseal {arguments:?}: {status}\n{stdout}{stderr}");
    stdout
}

/// As [`waxseal`]; returns its status and what it wrote to both outputs, whatever the status is.
pub(crate) fn run(folder: &SenderFolder, input: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(program("waxseal"))
        .args(arguments)
        .env("WAXSEAL_URL", &folder.origin)
        .env("WAXSEAL_TOKEN", &folder.token)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_up_publishes_inspects_and_explains() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let mut sink = Sink::start().await;

    let public = waxseal(&folder, "", &["keys", "generate", "--type", "x25519", "--out", "key.json"]);
    std::fs::write(folder.file("public.json"), public).unwrap();
    let private_mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder.file("key.json")).unwrap());
    assert_eq!(private_mode & 0o777, 0o600);
    waxseal(&folder, "", &["event-type", "create", "order.created"]);
    waxseal(&folder, "", &["group", "create", "partners"]);
    waxseal(&folder, "", &["consumer", "create", "acme", "--group", "partners"]);
    waxseal(&folder, "", &["consumer", "keys", "acme", "set", "public.json"]);
    let endpoint =
        ["endpoint", "create", "--consumer", "acme", "--to", &sink.url(), "--type", "order.created"];
    waxseal(&folder, "", &[&endpoint[..], &["--protection", "sealed", "--trusted"]].concat());
    let published = ["publish", "--type", "order.created", "--group", "partners", "--json"];
    let answer = waxseal(&folder, "{\"order\":\"991\", \"total\": 12.50}", &published);
    let event: Value = serde_json::from_str(&answer).unwrap();
    let token = String::from_utf8(sink.next().await.1.to_vec()).unwrap();

    let deliveries = loop {
        let listed = waxseal(&folder, "", &["deliveries", "list", "--event", event["id"].as_str().unwrap()]);
        if !listed.contains("pending") {
            break listed;
        }
    };
    assert!(deliveries.contains("delivered"), "{deliveries}");

    let open = ["open", "--issuer", &folder.origin, "--audience", "acme", "--key", "key.json", "--json"];
    let opened: Value = serde_json::from_str(&waxseal(&folder, &token, &open)).unwrap();
    assert_eq!(opened["opened"]["id"], event["id"]);
    assert_eq!(opened["opened"]["data"]["order"], "991");
    explains_each_failure(&folder, &token, &open);
    raw_levels(&folder, &token);
    assert!(sender.process.stop().success());
}

/// Each refusal names its step and its check, and the status says that there was one.
fn explains_each_failure(folder: &SenderFolder, token: &str, open: &[&str]) {
    let audience = |other: &'static str| -> Vec<&str> {
        open.iter().map(|argument| if *argument == "acme" { other } else { *argument }).collect()
    };
    let cut = &token[..token.len() - 4];
    for (arguments, token, code) in [
        (audience("globex"), token, "open.audience"),
        ([open, &["--at", "1700000000"]].concat(), token, "open.future"),
        (open.to_vec(), cut, "open.malformed"),
        (open.to_vec(), "no.token", "open.malformed"),
    ] {
        let (status, stdout, stderr) = run(folder, token, &arguments);
        assert_eq!(status, 1, "{stdout}{stderr}");
        assert!(stderr.contains("1 of 1 tokens did not open"), "{stderr}");
        let failure: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&failure["ok"], failure["code"].as_str()), (&Value::Bool(false), Some(code)), "{stdout}");
    }
}

/// `--jwe` shows what is inside of the seal, `--jws` what is inside of the signature.
fn raw_levels(folder: &SenderFolder, token: &str) {
    let inner: Value =
        serde_json::from_str(&waxseal(folder, "", &["open", "--jwe", "--key", "key.json", "--json", token]))
            .unwrap();
    let inner = inner["opened"]["content"].as_str().unwrap().to_owned();
    let jwks = format!("{}/.well-known/jwks.json", folder.origin);
    let claims: Value =
        serde_json::from_str(&waxseal(folder, "", &["open", "--jws", "--jwks", &jwks, "--json", &inner]))
            .unwrap();
    assert_eq!(claims["opened"]["payload"]["aud"], "acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_store_is_refused_in_words() {
    let folder = SenderFolder::init("", None);
    let _sender = folder.start().await;
    let second =
        Command::new(program("waxseal")).args(["serve", "--config"]).arg(config(&folder)).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success());
    assert!(said.contains("in use by another process"), "{said}");
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_remedy() {
    let folder = SenderFolder::init("", None);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(folder.file("waxseal.key"), open).unwrap();
    let refused =
        Command::new(program("waxseal")).args(["serve", "--config"]).arg(config(&folder)).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(said.contains("waxseal.key") && said.contains("chmod 600"), "{said}");
}

#[test]
fn another_key_encryption_key_is_refused_and_nothing_is_changed() {
    let (folder, other) = (SenderFolder::init("", None), SenderFolder::init("", None));
    std::fs::copy(other.file("waxseal.key"), folder.file("waxseal.key")).unwrap();
    let refused =
        Command::new(program("waxseal")).args(["serve", "--config"]).arg(config(&folder)).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(said.contains("give the key that this store was made with"), "{said}");
}

#[test]
fn init_never_overwrites() {
    let folder = SenderFolder::init("", None);
    let again = Command::new(program("waxseal"))
        .args(["init", "--issuer", "https://hooks.example.com", "--dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!again.status.success());
    assert!(String::from_utf8(again.stderr).unwrap().contains("exists; nothing was changed"));
}

fn config(folder: &SenderFolder) -> std::path::PathBuf {
    Path::join(folder.path(), "waxseal.toml")
}

#[test]
fn a_configuration_is_checked_without_serving() {
    let folder = SenderFolder::init("", None);
    let check = ["config", "check", "--config", "waxseal.toml"];
    assert_eq!(waxseal(&folder, "", &check), "waxseal.toml: the configuration is right\n");
    let (status, _, stderr) =
        run(&folder, "", &[&check[..], &["--tls-cert", "no.pem", "--tls-key", "no.key"]].concat());
    assert!(status == 2 && stderr.contains("no.pem"), "{status} {stderr}");
    std::fs::write(folder.file("waxseal.key"), "short").unwrap();
    let (status, _, stderr) = run(&folder, "", &check);
    assert!(status == 2 && stderr.contains("waxseal.key"), "{status} {stderr}");
}

#[test]
fn completions_for_each_shell_know_the_commands_and_bash_reads_its_own() {
    for shell in ["bash", "zsh", "fish"] {
        let made = Command::new(program("waxseal")).args(["completions", shell]).output().unwrap();
        let said = String::from_utf8(made.stdout).unwrap();
        assert!(made.status.success(), "{shell}: {}", String::from_utf8_lossy(&made.stderr));
        for known in ["event-type", "redeliver", "rewrap", "idempotency-key", "completions"] {
            assert!(said.contains(known), "{shell} does not know `{known}`");
        }
        if shell == "bash" {
            bash_reads(&said);
        }
    }
    let other = Command::new(program("waxseal")).args(["completions", "cmd"]).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
}

/// It is a script, and where it is sourced `waxseal` is completed by it.
fn bash_reads(script: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let checked = Command::new("bash").arg("-n").arg(file.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let ask = "source \"$0\"; COMP_WORDS=(waxseal endpoint rec); COMP_CWORD=2; \
               _waxseal waxseal rec endpoint; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let asked = Command::new("bash").args(["-c", ask]).arg(file.path()).output().unwrap();
    let said = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(said.trim(), "recover", "{}", String::from_utf8_lossy(&asked.stderr));
}

/// A store in a file has one node, which knows of its own rotations at once.
#[test]
fn a_key_that_retires_before_every_node_knows_of_it_is_refused_where_several_share_the_store() {
    let folder = SenderFolder::init("[signing]\nretiring_for = \"14s\"\n", None);
    let check = ["config", "check", "--config", "waxseal.toml"];
    assert_eq!(waxseal(&folder, "", &check), "waxseal.toml: the configuration is right\n");
    let shared = ["--store", "postgres://waxseal@127.0.0.1:1/waxseal"];
    for command in [&check[..], &["serve", "--config", "waxseal.toml"]] {
        let (status, _, stderr) = run(&folder, "", &[command, &shared].concat());
        assert!(status == 2 && stderr.contains("signing.retiring_for: expected at least 15s"), "{stderr}");
    }
    let toml = std::fs::read_to_string(config(&folder)).unwrap().replace("\"14s\"", "\"15s\"");
    std::fs::write(config(&folder), toml).unwrap();
    assert_eq!(
        waxseal(&folder, "", &[&check[..], &shared].concat()),
        "waxseal.toml: the configuration is right\n"
    );
}
