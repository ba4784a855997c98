//! The real program, with its own directory, on free ports.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::inspection::assert_keeps_secrets;
use super::kept;
use super::log::{Log, field};
use super::recorder::Recorder;
use super::settings::{self, Settings};
use super::tls::Pki;
use super::{Answer, Call, DEADLINE, HOST};

/// A running gate; it is killed when dropped, and then its log must hold no secret.
pub(crate) struct Gate {
    directory: TempDir,
    child: Child,
    log: Log,
    public: SocketAddr,
    admin: SocketAddr,
    /// Whose certificate its public listener shows, if it speaks TLS.
    pki: Option<Pki>,
    /// Held for a gate that has its upstream to itself.
    _upstream: Option<Recorder>,
}

impl Gate {
    /// A gate before an upstream of its own that answers as Letta would.
    #[track_caller]
    pub(crate) fn before_letta() -> Self {
        Self::before_letta_with(&[])
    }

    /// The same with these settings.
    #[track_caller]
    pub(crate) fn before_letta_with(settings: Settings<'_>) -> Self {
        let recorder = Recorder::start();
        let address = recorder.address().to_string();
        Self::start_holding(Some(recorder), &address, settings)
    }

    /// A gate before `recorder`, everything else at its default.
    #[track_caller]
    pub(crate) fn start(recorder: &Recorder) -> Self {
        Self::start_with(recorder, &[])
    }

    /// A gate before `recorder` with these settings.
    #[track_caller]
    pub(crate) fn start_with(recorder: &Recorder, settings: Settings<'_>) -> Self {
        Self::start_before(&recorder.address().to_string(), settings)
    }

    /// The same, and the process may have so many descriptors.
    #[track_caller]
    pub(crate) fn start_within(recorder: &Recorder, descriptors: usize) -> Self {
        let directory = directory();
        settings::write(directory.path(), &recorder.address().to_string(), &[]);
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={descriptors}:{descriptors}"));
        command.arg(program());
        let (child, log) = launch_as(command, &directory);
        Self::listening(directory, child, log, None)
    }

    /// A gate whose public listener speaks TLS, with a certificate in `gate.pem` and `gate.key`.
    #[track_caller]
    pub(crate) fn start_tls(recorder: &Recorder, pki: &Pki, settings: Settings<'_>) -> Self {
        let directory = directory();
        let pair = pki.leaf(&[HOST]).write(directory.path(), "gate");
        let mut all = vec![("tls.certificates", toml::Value::from(vec![pair]))];
        all.extend(settings.iter().cloned());
        settings::write(directory.path(), &recorder.address().to_string(), &all);
        let (child, log) = launch(&directory);
        let mut gate = Self::listening(directory, child, log, None);
        gate.pki = Some(pki.clone());
        gate
    }

    /// A gate before whatever listens at `upstream`, if anything does.
    #[track_caller]
    pub(crate) fn start_before(upstream: &str, settings: Settings<'_>) -> Self {
        Self::start_holding(None, upstream, settings)
    }

    #[track_caller]
    fn start_holding(held: Option<Recorder>, upstream: &str, settings: Settings<'_>) -> Self {
        let directory = directory();
        settings::write(directory.path(), upstream, settings);
        let (child, log) = launch(&directory);
        Self::listening(directory, child, log, held)
    }

    #[track_caller]
    fn listening(directory: TempDir, child: Child, log: Log, held: Option<Recorder>) -> Self {
        let (public, admin) = (NOWHERE, NOWHERE);
        let mut gate = Self { directory, child, log, public, admin, pki: None, _upstream: held };
        gate.wait_until_it_listens();
        gate
    }

    /// The data path and the token API.
    pub(crate) const fn public(&self) -> SocketAddr {
        self.public
    }

    /// A request to the public listener.
    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::to(self.public, method, target).within_tls(self.pki.clone())
    }

    /// A GET to the admin listener, answered.
    #[track_caller]
    pub(crate) fn admin_get(&self, target: &str) -> Answer {
        Call::to(self.admin, "GET", target).host("admin.test").send_to_admin()
    }

    /// Everything it has written so far, since its last start.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// The log, to wait for lines.
    pub(crate) const fn log(&self) -> &Log {
        &self.log
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its number in the system.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM: it should drain and end.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "the gate does not end:\n{}", self.all_lines());
            // There is no way to wait for a child with a deadline but to ask again.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again on the same files; its ports change.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.inspect_log();
        (self.child, self.log) = launch(&self.directory);
        self.wait_until_it_listens();
    }

    /// The admin listener.
    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(status.success(), "could not send SIG{name}");
    }

    #[track_caller]
    fn wait_until_it_listens(&mut self) {
        // As JSON, or as text for people.
        let address = |line: &str, name: &str| match field(line, name) {
            Some(value) => value.as_str()?.parse().ok(),
            None => line.split_once(&format!(" {name}=\""))?.1.split('"').next()?.parse().ok(),
        };
        let listening = self.log.wait_for("listening", |line| {
            let message = field(line, "message");
            let listens =
                message.map_or(line.contains("message=\"listening\""), |said| said == "listening");
            listens.then_some(())?;
            Some((address(line, "listen.public")?, address(line, "listen.admin")?))
        });
        match listening {
            Some((public, admin)) => (self.public, self.admin) = (public, admin),
            None => panic!("the gate ended instead of listening:\n{}", self.all_lines()),
        }
    }

    fn all_lines(&self) -> String {
        self.log.lines().join("\n")
    }

    fn inspect_log(&self) {
        self.log.wait_for_end();
        let lines = self.log.lines();
        kept::note_gate(self.directory.path(), &lines);
        for line in lines {
            assert_keeps_secrets("the log", &line);
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        kept::note_metrics(self.admin);
        self.kill();
        if std::thread::panicking() {
            println!("the gate's output:\n{}", self.all_lines());
        } else {
            self.inspect_log();
        }
    }
}

/// Until the gate has said where it listens.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// In memory where the system has a place for it: no test survives a power loss, and many at once
/// would wait for the disk.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// The program under test: the one that was built with the tests, or the one that `CKGATE_TESTED` names.
fn program() -> OsString {
    std::env::var_os("CKGATE_TESTED").unwrap_or_else(|| env!("CARGO_BIN_EXE_ckgate").into())
}

fn launch(directory: &TempDir) -> (Child, Log) {
    launch_as(Command::new(program()), directory)
}

fn launch_as(mut program: Command, directory: &TempDir) -> (Child, Log) {
    let mut child = program
        .args(["serve", "--config"])
        .arg(directory.path().join("ckgate.toml"))
        .current_dir(directory.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Log::default();
    log.follow(child.stdout.take().unwrap());
    log.follow(child.stderr.take().unwrap());
    (child, log)
}
