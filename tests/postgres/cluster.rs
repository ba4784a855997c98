//! A PostgreSQL of the test's own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Leaf, Pki, eventually};

/// A running server, or one that was stopped. It ends when this is dropped, and at the latest with
/// the thread that started it.
pub(crate) struct Cluster {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

/// How a server is stopped.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    /// Sessions are told that it is over.
    Fast,
    /// As if the power had gone.
    Immediate,
}

impl Cluster {
    /// A fresh server on a free port of the loopback interface.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with these lines in its configuration.
    #[track_caller]
    pub(crate) fn start_with(lines: &[&str]) -> Self {
        let mut cluster = Self::empty();
        cluster.make();
        cluster.configure(lines);
        cluster.launch();
        cluster
    }

    #[track_caller]
    fn make(&self) {
        let data = self.data();
        let data = data.to_str().unwrap();
        let made = ["-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"];
        run("initdb", &[&made[..], &["--no-sync"]].concat());
    }

    /// A server that shows this certificate. Over TLS come `gate` with its password, and `mutual`
    /// with a certificate from this authority; in clear only the tests' own questions.
    #[track_caller]
    pub(crate) fn start_secure(certificate: &Leaf, clients: &Pki) -> Self {
        let mut cluster = Self::empty();
        cluster.make();
        for (name, text) in [
            ("server.crt", certificate.certificate.as_str()),
            ("server.key", certificate.key.as_str()),
            ("clients.crt", clients.pem()),
            (
                "pg_hba.conf",
                "hostnossl all postgres 127.0.0.1/32 trust\n\
                 hostssl all gate 127.0.0.1/32 scram-sha-256\n\
                 hostssl all mutual 127.0.0.1/32 trust clientcert=verify-ca\n",
            ),
        ] {
            let path = cluster.data().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((user, group)) = server_user() {
                chown(&path, Some(user), Some(group)).unwrap();
            }
        }
        cluster.configure(&["ssl = on", "ssl_ca_file = 'clients.crt'"]);
        cluster.launch();
        cluster
    }

    /// A server that replicates this one, and can take its place.
    #[track_caller]
    pub(crate) fn standby(&self) -> Self {
        let mut standby = Self::empty();
        let (data, port) = (standby.data(), self.port.to_string());
        let from = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        let to = ["-D", data.to_str().unwrap(), "-R", "-X", "stream", "--no-sync", "-c", "fast"];
        run("pg_basebackup", &[&from[..], &to[..]].concat());
        standby.configure(&[]);
        standby.launch();
        standby
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let inside = folder.path().join("server");
        fs::create_dir(&inside).unwrap();
        if let Some((user, group)) = server_user() {
            chown(&inside, Some(user), Some(group)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port, process: None }
    }

    fn configure(&self, lines: &[&str]) {
        // Nothing here survives a loss of power, and nothing has to.
        let own = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             fsync = off\nautovacuum = off\nmax_connections = 300\nshared_buffers = '64MB'\n\
             wal_level = replica\nmax_wal_senders = 4\nlogging_collector = off\n\
             log_min_duration_statement = 300\nlog_lock_waits = on\ndeadlock_timeout = 200\n\
             log_line_prefix = '%m %p '\n{}\n",
            self.port,
            lines.join("\n")
        );
        let file = self.data().join("postgresql.conf");
        let mut text = fs::read_to_string(&file).unwrap();
        text.push_str(&own);
        fs::write(&file, text).unwrap();
    }

    /// Starts the server on its data.
    #[track_caller]
    pub(crate) fn launch(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let mut command = as_server_user("postgres");
        command.arg("-D").arg(self.data()).stdin(Stdio::null());
        let errors = log.try_clone().unwrap();
        self.process = Some(command.stdout(log).stderr(errors).spawn().unwrap());
        let port = self.port.to_string();
        eventually("the server takes connections", || {
            let asked = Command::new(program("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &port])
                .status();
            std::thread::sleep(Duration::from_millis(20));
            asked.unwrap().success()
        });
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are; the certificate and key of a server that has some lie here, too.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("server/data")
    }

    /// A `postgres://` URL of one of its databases, in clear text.
    pub(crate) fn url(&self, database: &str) -> String {
        url(&[self.port], database)
    }

    /// Makes an empty database.
    #[track_caller]
    pub(crate) fn create_database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
    }

    /// Runs SQL as the superuser; what it prints, without headings.
    #[track_caller]
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let at = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", database];
        let asked = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql];
        let output = run("psql", &[&at[..], &asked[..]].concat());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What the server says to SQL that it refuses.
    #[track_caller]
    pub(crate) fn refused_sql(&self, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let at = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", database];
        let asked = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql];
        let output = as_server_user("psql").args([&at[..], &asked[..]].concat()).output().unwrap();
        assert!(!output.status.success(), "the server has done it: {sql}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Stops the server and waits until it is gone.
    #[track_caller]
    pub(crate) fn stop(&mut self, how: Stop) {
        let mut process = self.process.take().expect("a server that runs");
        let name = match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        };
        signal(name, &[process.id()]);
        process.wait().unwrap();
    }

    /// Stops every one of its processes in its tracks.
    pub(crate) fn freeze(&self) {
        let postmaster = self.process.as_ref().unwrap().id();
        signal("STOP", &[postmaster]);
        signal("STOP", &children(postmaster));
    }

    /// Lets them go on as if nothing had been.
    pub(crate) fn thaw(&self) {
        let postmaster = self.process.as_ref().unwrap().id();
        signal("CONT", &children(postmaster));
        signal("CONT", &[postmaster]);
    }

    /// Makes a standby take writes.
    #[track_caller]
    pub(crate) fn promote(&self) {
        assert_eq!(self.sql("postgres", "SELECT pg_promote(true, 60)"), "t");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.thaw();
            self.stop(Stop::Immediate);
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            println!("the server's last words, latest first:\n{}", tail.join("\n"));
        }
    }
}

/// A URL of the servers on these ports, in clear text.
pub(crate) fn url(ports: &[u16], database: &str) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/{database}?sslmode=disable", hosts.join(","))
}

/// Debian's PostgreSQL programs, of the newest version there is.
fn program(name: &str) -> PathBuf {
    let folders = fs::read_dir("/usr/lib/postgresql").expect("Debian's package `postgresql`");
    let version = |folder: &Path| {
        let name = folder.file_name()?.to_str()?;
        name.split('.').map(str::parse::<u32>).collect::<Result<Vec<_>, _>>().ok()
    };
    let newest = folders
        .map(|folder| folder.unwrap().path())
        .filter(|folder| folder.join("bin").join(name).exists())
        .max_by_key(|folder| version(folder));
    let newest = newest.unwrap_or_else(|| panic!("Debian's package `postgresql` with `{name}`"));
    newest.join("bin").join(name)
}

/// The user that a server runs as, if this process may not run one itself.
fn server_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// A server's program, as its user, to be ended with this thread.
fn as_server_user(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((user, group)) = server_user() {
        command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program(name)).current_dir("/");
    command
}

#[track_caller]
fn run(name: &str, arguments: &[&str]) -> Output {
    let output = as_server_user(name).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
    output
}

fn signal(name: &str, processes: &[u32]) {
    for process in processes {
        // A child may have ended by itself.
        let _ = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).output();
    }
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(Path::new(&path)).unwrap();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// Waits, with a deadline of its own, for what takes longer than the harness's.
#[track_caller]
pub(crate) fn within(limit: Duration, claim: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {claim}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
