//! Listening sockets that outlive a process.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use rusqlite::Connection as Database;

use crate::harness::{
    A, Call, Connection, DEADLINE, Gate, Pki, Recorder, Reply, TOKENS, agent_path, delete,
    eventually, field, mint, replace, says,
};
use crate::load::{Load, Manner};

/// Processes that took over from a gate; they are killed when dropped.
struct Line<'g> {
    gate: &'g Gate,
    /// The last of them.
    last: u32,
    all: Vec<u32>,
}

impl<'g> Line<'g> {
    fn behind(gate: &'g Gate) -> Self {
        Self { gate, last: gate.process_id(), all: Vec::new() }
    }

    /// Lets the next one take over, and waits until it has done so.
    #[track_caller]
    fn hand_over(&mut self) {
        let before = self.said("took over from an earlier gate");
        signal(self.last, "USR2");
        let predecessor = self.last;
        eventually("the next gate is there", || {
            let next = successor_of(predecessor);
            self.all.extend(next);
            self.last = next.unwrap_or(self.last);
            next.is_some()
        });
        eventually("it takes over", || self.said("took over from an earlier gate") > before);
    }

    /// How often the gates have said this.
    fn said(&self, message: &str) -> usize {
        let said = |line: &&String| field(line, "message").is_some_and(|text| text == message);
        self.gate.log_lines().iter().filter(said).count()
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        for process in self.all.iter().filter(|process| runs(**process)) {
            signal(*process, "KILL");
        }
    }
}

fn signal(process: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
}

/// Whether a process has not ended; one that has, but whom nobody has asked how, has.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The process that was told that it takes over from this one.
fn successor_of(process: u32) -> Option<u32> {
    let mark = format!("CKGATE_PREDECESSOR={process}");
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        environment.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes()).then_some(id)
    })
}

/// A gate in this directory on these sockets, as systemd would start it.
fn start_on(directory: &Path, sockets: &[(&str, &TcpListener)]) -> Command {
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let mappings = (3..).zip(sockets).map(|(child_fd, (_, socket))| FdMapping {
        parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
        child_fd,
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_ckgate"));
    command
        .args(["serve", "--config"])
        .arg(directory.join("ckgate.toml"))
        .current_dir(directory)
        .env_clear()
        .env("LISTEN_FDS", names.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .stdout(Stdio::null())
        .fd_mappings(mappings.collect())
        .unwrap();
    command
}

fn until_it_ends(mut child: Child) {
    eventually("it ends", || child.try_wait().unwrap().is_some());
}

/// Starts the next gate with this in the place of the configuration, and waits until a gate has said this.
fn hand_over_to(gate: &Gate, config: &str, message: &str) {
    let path = gate.directory().join("ckgate.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    replace(&path, config);
    gate.signal("USR2");
    let said = gate.log().wait_for(message, |line| {
        let said = field(line, "message")?.as_str()?.starts_with(message);
        said.then_some(())
    });
    assert!(said.is_some(), "{message}");
    replace(&path, &good);
}

const GOES_ON: &str = "the next gate has ended: this one goes on";

/// A successor that cannot start changes nothing.
#[test]
fn next_gate_that_cannot_start_changes_nothing() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    hand_over_to(&gate, "nonsense = 1", GOES_ON);
    assert_eq!(gate.call("GET", "/v1/agents/").send().status, 401);
}

/// A successor that starts and cannot get ready, because it never learns what was deleted, ends, and the earlier
/// gate goes on. Asked to hand over once more meanwhile, it starts no other.
#[test]
fn next_gate_that_does_not_get_ready_ends() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    // A store like this gate's, but for the feed of deletions.
    let elsewhere = gate.directory().join("elsewhere.db");
    let own = Database::open(gate.directory().join("ckgate.db")).unwrap();
    own.execute("VACUUM INTO ?1", [elsewhere.to_str().unwrap()]).unwrap();
    let store = Database::open(&elsewhere).unwrap();
    store.execute_batch("ALTER TABLE deletions RENAME TO gone").unwrap();
    let config = std::fs::read_to_string(gate.directory().join("ckgate.toml")).unwrap();
    let line = Line::behind(&gate);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            eventually("it starts", || line.said("the next gate was started") == 1);
            gate.signal("USR2");
        });
        hand_over_to(&gate, &config.replace("ckgate.db", "elsewhere.db"), GOES_ON);
    });
    assert_eq!(line.said("the next gate is starting already"), 1);
    assert_eq!(line.said("not ready in time: the earlier gate goes on, and this one ends"), 1);
    let token = mint(&gate, A, &["read_messages"]);
    let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
    assert_eq!(answer.status, 200);
    assert_eq!(gate.admin_get("/readyz").status, 200);
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
    let mut command = start_on(gate.directory(), &[("admin", &admin), ("public", &public)]);
    let mut second = command.spawn().unwrap();
    assert_eq!(early.answer("GET").status, 200);
    let ready = Call::to(admin.local_addr().unwrap(), "GET", "/healthz").send_to_admin();
    assert_eq!(ready.status, 200);
    second.kill().unwrap();
    second.wait().unwrap();
}

/// G-04: three times a new process takes over, while clients connect, are silent first, keep their
/// connections and send bodies. Not one request is refused, reset or left without its answer.
#[test]
fn no_request_is_lost_when_the_next_gate_takes_over() {
    let recorder = Recorder::start();
    let mut gate = Gate::start(&recorder);
    let load = Load::on(gate.public(), mint(&gate, A, &["read_messages", "write_messages"]), None);
    let clients =
        [(3, Manner::Fresh), (6, Manner::Hesitant), (4, Manner::Kept), (3, Manner::Sends)];
    load.while_doing(&clients, |load| {
        let mut line = Line::behind(&gate);
        load.goes_on(50);
        for _ in 0..3 {
            let predecessor = line.last;
            line.hand_over();
            load.goes_on(100);
            eventually("the earlier gate ends", || !runs(predecessor));
        }
        load.goes_on(50);
        line
    });
    assert_eq!(gate.wait_for_exit().code(), Some(0));
}

/// G-04: the same within TLS, over both protocols.
#[test]
fn no_request_is_lost_within_tls_when_the_next_gate_takes_over() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let mut gate = Gate::start_tls(&recorder, &pki, &[]);
    let token = mint(&gate, A, &["read_messages", "write_messages"]);
    let load = Load::on(gate.public(), token, Some(pki));
    let clients = [
        (2, Manner::Fresh),
        (3, Manner::Hesitant),
        (2, Manner::Kept),
        (2, Manner::Sends),
        (4, Manner::Http2),
    ];
    load.while_doing(&clients, |load| {
        let mut line = Line::behind(&gate);
        load.goes_on(50);
        for _ in 0..2 {
            line.hand_over();
            load.goes_on(100);
        }
        line
    });
    assert_eq!(gate.wait_for_exit().code(), Some(0));
}

/// G-04: as under systemd, whose sockets stay open while one process ends and then another starts.
#[test]
fn no_request_is_lost_when_the_gate_is_started_again_on_sockets_that_stay_open() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let [public, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let start =
        || start_on(gate.directory(), &[("public", &public), ("admin", &admin)]).spawn().unwrap();
    let token = mint(&gate, A, &["read_messages", "write_messages"]);
    let load = Load::on(public.local_addr().unwrap(), token, None);
    let clients =
        [(3, Manner::Fresh), (3, Manner::Hesitant), (3, Manner::Kept), (2, Manner::Sends)];
    load.while_doing(&clients, |load| {
        let mut now = Killed(Some(start()));
        for _ in 0..2 {
            load.goes_on(50);
            let earlier = now.0.take().unwrap();
            signal(earlier.id(), "TERM");
            until_it_ends(earlier);
            now = Killed(Some(start()));
        }
        load.goes_on(50);
        now
    });
}

/// A process that does not outlive its test.
struct Killed(Option<Child>);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A gate with a stream that has begun, and the stream's token.
fn gate_with_a_stream() -> (Recorder, Gate, String, Connection) {
    let recorder = Recorder::with(|_| Reply::stream().event("one"));
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["write_messages"]);
    let call = gate.call("POST", &agent_path(A, "/messages/stream")).token(&token);
    let (_, mut stream) = call.json(&says("x")).start();
    stream.read_until("the first event", |read| read.ends_with("\n\n"));
    (recorder, gate, token, stream)
}

/// A token that is deleted at the new gate: its stream on the old one, which still drains, ends within
/// `revocation.max_staleness`. The admin listener speaks of the new one only.
#[test]
fn gate_that_drains_behind_another_feels_what_is_deleted_there() {
    let (_recorder, gate, token, mut stream) = gate_with_a_stream();
    let mut line = Line::behind(&gate);
    line.hand_over();
    eventually("the earlier gate drains", || line.said("draining") == 1);
    for _ in 0..20 {
        assert_eq!(gate.admin_get("/readyz").status, 200, "the new gate is ready");
    }
    assert!(runs(gate.process_id()), "the earlier gate has not waited for its stream");
    let start = Instant::now();
    delete(&gate, &token);
    let last = String::from_utf8(stream.until_close()).unwrap();
    assert!(last.contains("token_revoked"), "{last}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// Nobody goes on then, and nobody says otherwise.
#[test]
fn gate_that_drains_does_not_say_that_it_goes_on_when_the_next_one_ends() {
    let (_recorder, gate, _token, _stream) = gate_with_a_stream();
    let mut silent = Connection::open(gate.public());
    let refused = gate.call("GET", "/v1/agents/");
    assert_eq!(refused.send_on(&mut silent).status, 401);
    let mut line = Line::behind(&gate);
    line.hand_over();
    // Told to by the draining alone.
    silent.assert_closed();
    signal(line.last, "KILL");
    let told = gate.log().wait_for("the next gate has ended", |line| {
        let message = field(line, "message")?.as_str()?.to_owned();
        message.starts_with("the next gate has ended").then_some(message)
    });
    assert!(told.is_some_and(|told| told.contains("this one drains")));
}

/// Both gates keep one audit log, and its chain is whole.
#[test]
fn audit_log_is_one_chain_over_a_hand_over() {
    let recorder = Recorder::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.log");
    let settings = [("audit.file", file.to_str().unwrap().into())];
    let gate = Gate::start_with(&recorder, &settings);
    // On a kept connection the earlier gate answers once more, while the new one writes as well.
    let mut kept = Connection::open(gate.public());
    let refused = gate.call("GET", &agent_path(A, "/messages")).bearer("nobody");
    assert_eq!(refused.send_on(&mut kept).status, 401);
    let mut line = Line::behind(&gate);
    line.hand_over();
    for _ in 0..10 {
        assert_eq!(refused.send().status, 401);
    }
    assert_eq!(refused.send_on(&mut kept).status, 401);
    eventually("the earlier gate ends", || !runs(gate.process_id()));
    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ckgate"));
        let output = command.args(["audit", "verify"]).arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    eventually("twelve entries", || verify().1.contains("12 entries"));
    assert!(verify().0, "{}", verify().1);
}

/// Where the next configuration listens elsewhere, the socket is not taken over.
#[test]
fn next_gate_listens_where_its_configuration_says() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = gate.directory().join("ckgate.toml");
    let mut table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let listen = table["listen"].as_table_mut().unwrap();
    listen.insert("public".to_owned(), free.to_string().into());
    std::fs::write(&path, table.to_string()).unwrap();
    let mut line = Line::behind(&gate);
    line.hand_over();
    assert_eq!(Call::to(free, "GET", TOKENS).send().status, 401);
    eventually("nobody listens there any more", || {
        std::net::TcpStream::connect(gate.public()).is_err()
    });
}

/// What systemd hears: of the new main process before the earlier one ends, and that the service stops
/// only when the last one does. A second signal while one is starting starts no other.
#[test]
fn systemd_is_told_who_the_gate_is() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let socket = gate.directory().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(DEADLINE)).unwrap();
    let hear = || -> String {
        let mut buffer = [0; 1024];
        let length = systemd.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let [public, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut command = start_on(gate.directory(), &[("public", &public), ("admin", &admin)]);
    let first = command.env("NOTIFY_SOCKET", &socket).spawn().unwrap();
    let first_id = first.id();
    assert_eq!(hear().trim(), format!("MAINPID={first_id}\nREADY=1"));
    signal(first_id, "USR2");
    signal(first_id, "USR2");
    let mut next = None;
    eventually("the next gate is there", || {
        next = successor_of(first_id);
        next.is_some()
    });
    let next = next.unwrap();
    assert_eq!(hear().trim(), format!("MAINPID={next}\nREADY=1"));
    until_it_ends(first);
    signal(next, "TERM");
    assert_eq!(hear().trim(), "STOPPING=1");
    eventually("it ends", || !runs(next));
}
