//! Listening sockets that outlive a process: taken over from systemd or from an earlier gate, and
//! handed to the next one. They stay open all the while, so that no connection is refused.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, mem};

use command_fds::{CommandFdExt as _, FdMapping};
use listenfd::ListenFd;
use rustix::process::{Pid, Resource, Signal, getppid, getrlimit, kill_process, setrlimit};
use tokio::sync::watch;

/// The first descriptor that is handed over, by systemd's convention.
const FIRST_DESCRIPTOR: i32 = 3;
/// Tells the next gate which process to end once it is ready.
const PREDECESSOR: &str = "CKGATE_PREDECESSOR";

/// How this process was started, as far as the next one has to be started in the same way.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// The program and its arguments.
    pub arguments: Vec<OsString>,
    /// `LISTEN_FDNAMES` of the environment.
    pub listener_names: Option<String>,
    /// `CKGATE_PREDECESSOR` of the environment.
    pub predecessor: Option<String>,
}

/// Listening sockets that were there before the process. Those that nobody takes are closed with it:
/// connections would wait in them for ever.
pub(super) struct Inherited {
    sockets: Vec<io::Result<Option<TcpListener>>>,
    names: Vec<String>,
    /// Whether they are an earlier gate's, whose configuration may have been another one.
    of_predecessor: bool,
}

/// The next gate, in a process of its own.
pub(super) struct Successor {
    runs: Arc<AtomicBool>,
}

impl Successor {
    /// Whether it has not ended.
    pub(super) fn runs(&self) -> bool {
        self.runs.load(Ordering::Acquire)
    }
}

impl Inherited {
    /// What the environment names, once: later there is nothing left to take.
    pub(super) fn take(invocation: &Invocation) -> Self {
        let mut given = ListenFd::from_env();
        let sockets = (0..given.len()).map(|place| given.take_tcp_listener(place)).collect();
        let names = invocation.listener_names.as_deref();
        let names = names.map(|names| names.split(':').map(str::to_owned).collect());
        let of_predecessor = invocation.predecessor.is_some();
        Self { sockets, names: names.unwrap_or_default(), of_predecessor }
    }

    /// None.
    pub(super) fn none() -> Self {
        Self { sockets: Vec::new(), names: Vec::new(), of_predecessor: false }
    }

    /// The socket for a listener at `address`: the one with its name, or else, when none of the sockets
    /// has a listener's name, the one in its place among `listeners`. Whoever gives sockets decides
    /// their addresses, but an earlier gate's are only taken where this one is to listen as well.
    pub(super) fn socket(
        &mut self,
        (name, address): (&str, SocketAddr),
        listeners: &[&str],
    ) -> io::Result<Option<TcpListener>> {
        let named = self.names.iter().any(|given| listeners.contains(&given.as_str()));
        let mut places = if named {
            self.names.iter().map(String::as_str).collect()
        } else {
            listeners.to_vec()
        };
        places.truncate(self.sockets.len());
        let Some(place) = places.iter().position(|given| *given == name) else { return Ok(None) };
        let given = self.sockets.get_mut(place).map(|socket| mem::replace(socket, Ok(None)));
        let Some(socket) = given.transpose()?.flatten() else { return Ok(None) };
        let own = socket.local_addr()?;
        let is_wanted = own == address || address.port() == 0 && own.ip() == address.ip();
        if self.of_predecessor && !is_wanted {
            return Ok(None);
        }
        socket.set_nonblocking(true)?;
        Ok(Some(socket))
    }
}

/// Starts the program again, as it is on disk now, with these sockets. This process goes on until the
/// new one tells it to end; from then on it is `draining`.
pub(super) fn start_successor(
    invocation: &Invocation,
    sockets: Vec<(&'static str, OwnedFd)>,
    draining: watch::Receiver<bool>,
) -> io::Result<Successor> {
    let mut arguments = invocation.arguments.iter();
    let program = arguments.next().ok_or(io::ErrorKind::NotFound)?;
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let mappings = (FIRST_DESCRIPTOR..).zip(sockets);
    let mappings = mappings.map(|(child_fd, (_, parent_fd))| FdMapping { parent_fd, child_fd });
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LISTEN_FDS", names.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .env_remove("LISTEN_PID")
        .env(PREDECESSOR, std::process::id().to_string());
    command.fd_mappings(mappings.collect()).map_err(io::Error::other)?;
    let mut successor = command.spawn()?;
    let runs = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&runs);
    // Somebody has to be told how it ended, if it ends before this process does.
    std::thread::Builder::new().name("ckgate-successor".to_owned()).spawn(move || {
        let status = successor.wait();
        told.store(false, Ordering::Release);
        match status {
            Ok(status) if *draining.borrow() => {
                tracing::error!(%status, "the next gate has ended, and this one drains");
            }
            Ok(status) => tracing::error!(%status, "the next gate has ended: this one goes on"),
            Err(_) => {}
        }
    })?;
    Ok(Successor { runs })
}

/// The gate that this one takes over from. It is this process's parent, or gone.
fn predecessor(invocation: &Invocation) -> Option<Pid> {
    let named = invocation.predecessor.as_ref().and_then(|text| text.parse().ok());
    named.and_then(Pid::from_raw).filter(|named| Some(*named) == getppid())
}

/// Whether there is a gate that this one takes over from.
pub(super) fn has_predecessor(invocation: &Invocation) -> bool {
    predecessor(invocation).is_some()
}

/// Tells the gate that this one takes over from to drain.
pub(super) fn relieve(invocation: &Invocation) {
    if let Some(predecessor) = predecessor(invocation) {
        let told = kill_process(predecessor, Signal::TERM);
        tracing::info!(told = told.is_ok(), "took over from an earlier gate");
    }
}

/// Lets the process have as many open files as the system lets it ask for.
pub(super) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not, the limit that there was holds.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Tells systemd, where it is there and waits to be told.
pub(super) fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
