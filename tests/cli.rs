//! The program as an operator runs it.

use std::error::Error;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

type Tested = Result<(), Box<dyn Error>>;

const KEY: &str = "sk-let-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const AGENT: &str = "agent-11111111-1111-4111-8111-111111111111";
const OTHER_AGENT: &str = "agent-22222222-2222-4222-8222-222222222222";
const TOKEN: &str = "ck-let-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The program in an empty environment, with a server key.
fn ckgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ckgate"));
    command.args(arguments).env_clear().env("CKGATE_SERVER_KEY", KEY).stdin(Stdio::null());
    command
}

#[track_caller]
fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let seen = (output.status.code(), text(&output.stdout), text(&output.stderr));
    assert_eq!(seen, (Some(code), stdout.to_owned(), stderr.to_owned()));
}

/// A gate that answers one request with these bytes, and gives back what it was sent.
fn gate_answering(answer: &str) -> io::Result<(String, JoinHandle<io::Result<String>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let answer = answer.to_owned();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut request = String::new();
        let mut chunk = [0; 4096];
        while !is_whole(&request) {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            request.push_str(&String::from_utf8_lossy(chunk.get(..read).unwrap_or_default()));
        }
        stream.write_all(answer.as_bytes())?;
        Ok(request)
    });
    Ok((url, served))
}

/// Whether a request has as much body as its head announces.
fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    announced.and_then(|length| length.parse().ok()).unwrap_or(0) <= body.len()
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn request_of(served: JoinHandle<io::Result<String>>) -> Result<String, Box<dyn Error>> {
    Ok(served.join().map_err(|_| "the gate's thread ended badly")??)
}

fn write_config(folder: &Path, text: &str) -> io::Result<String> {
    let file = folder.join("ckgate.toml");
    fs::write(&file, text)?;
    Ok(file.display().to_string())
}

#[test]
fn check_says_ok_and_makes_no_file() -> Tested {
    let folder = tempfile::tempdir()?;
    let file = write_config(folder.path(), include_str!("../config/ckgate.toml"))?;
    let output = ckgate(&["check", &file]).current_dir(&folder).output()?;
    check(&output, 0, "ok\n", "");
    assert_eq!(fs::read_dir(&folder)?.count(), 1);
    Ok(())
}

#[test]
fn check_reports_all_problems_and_fails() -> Tested {
    let folder = tempfile::tempdir()?;
    let text =
        "[listen]\npublic = \"x\"\n[upstream]\ncredential = \"hunter2\"\nurl = \"https://x/y\"\n";
    let file = write_config(folder.path(), text)?;
    let output =
        ckgate(&["check", &file]).env("CKGATE_LOG__LEVEL", "loud").current_dir(&folder).output()?;
    let expected = format!(
        "{file}:2: `listen.public` must be an IP address and port such as `127.0.0.1:8284`, \
         not `x`\n\
         {file}:4: `upstream.credential` holds a secret in clear: write `{{ env = \"NAME\" }}` or \
         `{{ file = \"PATH\" }}`\n\
         {file}:5: `upstream.url` must be a host and port without path or query, not `https://x/y`\n\
         CKGATE_LOG__LEVEL: `log.level` must be `error`, `warn`, `info`, `debug` or `trace`, \
         not `loud`\n"
    );
    check(&output, 1, "", &expected);
    Ok(())
}

#[test]
fn check_refuses_a_file_that_is_not_there() -> Tested {
    let output = ckgate(&["check", "/absent.toml"]).output()?;
    let expected =
        "the file `/absent.toml` cannot be read: No such file or directory (os error 2)\n";
    check(&output, 1, "", expected);
    Ok(())
}

#[test]
fn serve_refuses_to_start_without_a_server_key() -> Tested {
    let folder = tempfile::tempdir()?;
    let output = ckgate(&["serve", "--upstream", "http://127.0.0.1:1"])
        .env_remove("CKGATE_SERVER_KEY")
        .current_dir(&folder)
        .output()?;
    let expected = "there is no server key: set `CKGATE_SERVER_KEY`, or give an account \
                    `server_keys`; `ckgate key new --server` prints a new one\n";
    check(&output, 1, "", expected);
    assert_eq!(fs::read_dir(&folder)?.count(), 0);
    Ok(())
}

#[test]
fn serve_refuses_wrong_options_by_their_names() -> Tested {
    let folder = tempfile::tempdir()?;
    let arguments = ["serve", "--upstream", "http://169.254.169.254", "--listen", "x"];
    let output = ckgate(&arguments).current_dir(&folder).output()?;
    let expected = "--listen: `listen.public` must be an IP address and port such as \
                    `127.0.0.1:8284`, not `x`\n--upstream: `upstream.url` must not be a link-local \
                    or metadata address, which `http://169.254.169.254` is\n";
    check(&output, 1, "", expected);
    assert_eq!(fs::read_dir(&folder)?.count(), 0);
    Ok(())
}

#[test]
fn what_is_no_command_fails_with_2() -> Tested {
    for arguments in [&[][..], &["fly"], &["check"], &["token", "create", "--agent", AGENT]] {
        assert_eq!(ckgate(arguments).output()?.status.code(), Some(2), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn key_new_prints_fresh_keys_that_the_gate_takes() -> Tested {
    let printed = |arguments: &[&str]| -> Result<String, Box<dyn Error>> {
        Ok(String::from_utf8(ckgate(arguments).output()?.stdout)?.trim_end().to_owned())
    };
    let master = printed(&["key", "new"])?;
    let server = printed(&["key", "new", "--server"])?;
    assert_ne!(master, printed(&["key", "new"])?);
    assert_ne!(server, printed(&["key", "new", "--server"])?);

    let folder = tempfile::tempdir()?;
    let file = write_config(folder.path(), "tokens.keys = [{ id = 1, env = 'MASTER' }]")?;
    let output = ckgate(&["check", &file])
        .env("MASTER", master)
        .env("CKGATE_SERVER_KEY", server)
        .current_dir(&folder)
        .output()?;
    check(&output, 0, "ok\n", "");
    Ok(())
}

#[test]
fn token_create_sends_the_policy_and_prints_the_answer() -> Tested {
    let (url, served) = gate_answering(&answer("201 Created", "{\"token\":\"ck-let-x\"}"))?;
    let policy = format!("{OTHER_AGENT}=read_agent");
    let output = ckgate(&[
        "token",
        "create",
        "--gate",
        &url,
        "--agent",
        AGENT,
        "--access",
        "read_messages,write_messages",
        "--policy",
        &policy,
        "--hostname",
        "https://a.example",
        "--expires-at",
        "2100-01-01T00:00:00Z",
    ])
    .output()?;
    check(&output, 0, "{\"token\":\"ck-let-x\"}\n", "");

    let request = request_of(served)?;
    let (head, body) = request.split_once("\r\n\r\n").ok_or("no head")?;
    assert!(head.starts_with("POST /v1/client-side-access-tokens HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nauthorization: Bearer {KEY}")), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json"), "{head}");
    let expected = format!(
        "{{\"policy\":[{{\"type\":\"agent\",\"id\":\"{AGENT}\",\"access\":[\"read_messages\",\
         \"write_messages\"]}},{{\"type\":\"agent\",\"id\":\"{OTHER_AGENT}\",\"access\":\
         [\"read_agent\"]}}],\"hostname\":\"https://a.example\",\
         \"expires_at\":\"2100-01-01T00:00:00Z\"}}"
    );
    assert_eq!(body, expected);
    Ok(())
}

#[test]
fn token_create_counts_from_now_when_told_how_long() -> Tested {
    let (url, served) = gate_answering(&answer("201 Created", "{}"))?;
    let policy = format!("{AGENT}=read_agent");
    let arguments = [
        "token",
        "create",
        "--gate",
        &url,
        "--policy",
        &policy,
        "--hostname",
        "a",
        "--expires-in",
        "1h",
    ];
    check(&ckgate(&arguments).output()?, 0, "{}\n", "");
    let request = request_of(served)?;
    let (_, rest) = request.split_once("\"expires_at\":\"").ok_or("no expiry")?;
    let (expiry, _) = rest.split_once('"').ok_or("no end")?;
    assert!(expiry.parse::<jiff::Timestamp>().is_ok(), "{expiry}");
    Ok(())
}

#[test]
fn token_list_and_delete_ask_as_the_sdks_do() -> Tested {
    let (url, served) = gate_answering(&answer("200 OK", "{\"tokens\":[],\"hasNextPage\":false}"))?;
    let arguments =
        ["token", "list", "--gate", &url, "--agent", AGENT, "--limit", "5", "--offset", "10"];
    let output = ckgate(&arguments).output()?;
    check(&output, 0, "{\"tokens\":[],\"hasNextPage\":false}\n", "");
    let expected =
        format!("GET /v1/client-side-access-tokens?agentId={AGENT}&limit=5&offset=10 HTTP/1.1\r\n");
    assert!(request_of(served)?.starts_with(&expected));

    let (url, served) = gate_answering(&answer("200 OK", "{}"))?;
    check(&ckgate(&["token", "delete", "--gate", &url, TOKEN]).output()?, 0, "{}\n", "");
    let expected = format!("DELETE /v1/client-side-access-tokens/{TOKEN} HTTP/1.1\r\n");
    assert!(request_of(served)?.starts_with(&expected));
    Ok(())
}

#[test]
fn token_delete_takes_the_token_from_standard_input() -> Tested {
    let (url, served) = gate_answering(&answer("200 OK", "{}"))?;
    let mut child = ckgate(&["token", "delete", "--gate", &url, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child.stdin.take().ok_or("no input")?.write_all(format!("{TOKEN}\n").as_bytes())?;
    assert!(child.wait()?.success());
    assert!(request_of(served)?.contains(TOKEN));
    Ok(())
}

#[test]
fn refusals_of_the_gate_are_shown_and_fail() -> Tested {
    for (status, body, expected) in [
        (
            "400 Bad Request",
            "{\"message\":\"`hostname` is `*`\\u001b[2J\",\"code\":\"invalid_request\",\"request_id\":\"r1\"}",
            "the gate refused with 400 invalid_request: `hostname` is `*`\\u{1b}[2J (request `r1`)\n",
        ),
        ("401 Unauthorized", "nonsense", "the gate refused with 401\n"),
        ("302 Found", "{}", "the gate refused with 302\n"),
        ("200 OK", "<html>", "the answer is not JSON: is there a ckgate at this URL?\n"),
    ] {
        let (url, served) = gate_answering(&answer(status, body))?;
        check(&ckgate(&["token", "list", "--gate", &url]).output()?, 1, "", expected);
        request_of(served)?;
    }
    Ok(())
}

#[test]
fn token_commands_fail_without_sending_when_something_is_wrong_here() -> Tested {
    let gate = ["--gate", "http://127.0.0.1:1"];
    for (arguments, expected) in [
        (
            &["token", "list", "--server-key-env", "ABSENT"][..],
            "the variable `ABSENT` is not set\n",
        ),
        (&["token", "list", "--server-key-env", "BAD"], "the variable `BAD` holds no server key\n"),
        (
            &["token", "delete", "../agents"],
            "this is no token: a token is of `A-Z`, `a-z`, `0-9`, `_` and `-`\n",
        ),
        (
            &["token", "list"],
            "cannot connect to the gate at `127.0.0.1:1`: Connection refused (os error 111)\n",
        ),
    ] {
        let output = ckgate(arguments).args(gate).env("BAD", "hunter2").output()?;
        check(&output, 1, "", expected);
    }
    let output = ckgate(&["token", "list", "--gate", "https://x"]).output()?;
    let said = String::from_utf8(output.stderr)?;
    assert!(said.starts_with("cannot connect to the gate at `x`"), "{said}");
    Ok(())
}

#[test]
fn a_gate_that_hangs_up_is_an_error() -> Tested {
    let (url, served) = gate_answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")?;
    let output = ckgate(&["token", "list", "--gate", &url]).output()?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let error = String::from_utf8(output.stderr)?;
    assert!(error.starts_with("the gate's answer cannot be read: "), "{error}");
    request_of(served)?;
    Ok(())
}
