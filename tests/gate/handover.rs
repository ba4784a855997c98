//! Listening sockets that outlive a process.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt as _, FdMapping};

use crate::harness::{A, Call, Gate, Recorder, agent_path, field, mint};

/// A successor that cannot start changes nothing.
#[test]
fn next_gate_that_cannot_start_changes_nothing() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let path = gate.directory().join("ckgate.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, "nonsense = 1").unwrap();
    gate.signal("USR2");
    let told = gate.log().wait_for("the next gate has ended", |line| {
        let message = field(line, "message")?;
        message.as_str()?.starts_with("the next gate has ended").then_some(())
    });
    assert!(told.is_some());
    std::fs::write(&path, good).unwrap();
    assert_eq!(gate.call("GET", "/v1/agents/").send().status, 401);
}

/// Sockets that the environment names, as systemd does: connections wait in them while nobody runs.
#[test]
fn sockets_of_the_environment_are_used_and_keep_what_waits() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let [public, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = public.local_addr().unwrap();
    // It connects before there is a gate.
    let waiting = Call::to(address, "GET", &agent_path(A, "/messages")).token(&token);
    let mut early = waiting.open();
    let mappings = [(3, &admin), (4, &public)].map(|(child_fd, socket)| FdMapping {
        parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
        child_fd,
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_ckgate"));
    command
        .args(["serve", "--config"])
        .arg(gate.directory().join("ckgate.toml"))
        .current_dir(gate.directory())
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "admin:public")
        .stdout(Stdio::null())
        .fd_mappings(Vec::from(mappings))
        .unwrap();
    let mut second = command.spawn().unwrap();
    assert_eq!(early.answer("GET").status, 200);
    let ready = Call::to(admin.local_addr().unwrap(), "GET", "/healthz").send_to_admin();
    assert_eq!(ready.status, 200);
    second.kill().unwrap();
    second.wait().unwrap();
}
