//! Connections to the server: who may be spoken to, how, and for how long.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::Fault;
use crate::tls::{PairFiles, TlsError, client_config};

/// What is spoken within TLS, as ALPN names it.
const PROTOCOL: &[u8] = b"postgresql";
/// What the server's side of each session is set to. Acknowledged means durable, whatever the
/// database's own default is; nothing waits for a lock longer than its caller does.
const SESSION: &str = "SET default_transaction_isolation = 'read committed';
     SELECT set_config('synchronous_commit', 'on', false)
     WHERE current_setting('synchronous_commit') = 'off'";

/// Whether and how the connection is encrypted. There is no way between the two: a server that
/// cannot show a certificate for its name is not spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Clear text: written down by the operator, or a socket of this machine.
    Off,
    /// The server's certificate is verified, and that it is for the host's name.
    Verified {
        /// The authorities that must have signed it. `None`: those that the web trusts.
        authorities: Option<PathBuf>,
        /// What the server is shown when it asks for a certificate.
        own: Option<PairFiles>,
    },
}

/// Makes connections to the first of the configured hosts that takes writes.
#[derive(Clone)]
pub(super) struct Connector {
    /// One configuration a host.
    hosts: Arc<[Config]>,
    tls: Option<MakeRustlsConnect>,
    timeout: Duration,
}

impl Connector {
    /// For the hosts of `config`, each of which gets `timeout`.
    pub(super) fn new(config: &Config, tls: &Tls, timeout: Duration) -> Result<Self, TlsError> {
        let tls = match tls {
            Tls::Off => None,
            Tls::Verified { authorities, own } => {
                let config = client_config(authorities.as_deref(), own.as_ref(), PROTOCOL)?;
                Some(MakeRustlsConnect::new(config))
            }
        };
        Ok(Self { hosts: one_a_host(config, timeout, tls.is_some()).into(), tls, timeout })
    }

    /// A session, and the task that drives it. A host that is silent does not keep the next one
    /// from being asked.
    pub(super) async fn connect(&self) -> Result<(Client, BoxedConnection), Fault> {
        let mut last = Fault::NoHost;
        for host in self.hosts.iter() {
            match tokio::time::timeout(self.timeout, self.connect_to(host)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => last = Fault::Engine(error),
                Err(_) => last = Fault::Late,
            }
        }
        Err(last)
    }

    async fn connect_to(
        &self,
        host: &Config,
    ) -> Result<(Client, BoxedConnection), tokio_postgres::Error> {
        if let Some(tls) = &self.tls {
            let (client, connection) = host.connect(tls.clone()).await?;
            return Ok((client, BoxedConnection::new(connection)));
        }
        let (client, connection) = host.connect(NoTls).await?;
        Ok((client, BoxedConnection::new(connection)))
    }

    /// How long it may take until every host has been tried.
    pub(super) fn time_for_all_hosts(&self) -> Duration {
        self.timeout * u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }
}

/// Prepares a fresh session.
pub(super) async fn prepare(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(SESSION).await
}

fn one_a_host(config: &Config, timeout: Duration, tls: bool) -> Vec<Config> {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate();
    hosts
        .map(|(at, host)| {
            let mut one = Config::new();
            match host {
                Host::Tcp(name) => one.host(name),
                Host::Unix(path) => one.host_path(path),
            };
            one.port(ports.get(at).or(ports.first()).copied().unwrap_or(5432));
            config.get_user().map(|user| one.user(user));
            config.get_password().map(|password| one.password(password));
            config.get_dbname().map(|name| one.dbname(name));
            config.get_options().map(|options| one.options(options));
            one.application_name(config.get_application_name().unwrap_or("ckgate"))
                .ssl_mode(if tls { SslMode::Require } else { SslMode::Disable })
                .ssl_negotiation(config.get_ssl_negotiation())
                .channel_binding(config.get_channel_binding())
                // A standby cannot say what was deleted: it is never asked.
                .target_session_attrs(TargetSessionAttrs::ReadWrite)
                .connect_timeout(timeout)
                .keepalives_idle(Duration::from_secs(5))
                .keepalives_interval(Duration::from_secs(2))
                .keepalives_retries(3)
                .tcp_user_timeout(Duration::from_secs(5));
            one
        })
        .collect()
}

/// A connection over clear text or TLS.
pub(super) struct BoxedConnection(Box<dyn Driven>);

impl BoxedConnection {
    fn new<T>(connection: Connection<Socket, T>) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self(Box::new(connection))
    }

    /// Drives the session; what the server says of its own accord goes to `said`.
    pub(super) async fn drive(mut self, mut said: impl FnMut()) -> io::Result<()> {
        loop {
            let polled = std::future::poll_fn(|cx| self.0.poll_said(cx)).await;
            match polled {
                None => return Ok(()),
                Some(Ok(Said::Notification)) => said(),
                Some(Ok(Said::Other)) => {}
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
    }
}

/// What a server says without having been asked.
enum Said {
    Notification,
    Other,
}

trait Driven: Send {
    fn poll_said(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Said, tokio_postgres::Error>>>;
}

impl<T> Driven for Connection<Socket, T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn poll_said(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Said, tokio_postgres::Error>>> {
        self.poll_message(cx).map(|said| {
            said.map(|said| {
                said.map(|message| match message {
                    tokio_postgres::AsyncMessage::Notification(_) => Said::Notification,
                    _ => Said::Other,
                })
            })
        })
    }
}
