use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::config::Host;

use super::problem::{Place, quoted};
use super::reader::Section;
use super::{millis, minutes, seconds, secret};
use crate::tls::PairFiles;

/// Where records are kept. From `store.url`, default `sqlite:ckgate.db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// The embedded store's file; a relative path starts where the program was started.
    Sqlite(PathBuf),
    /// A PostgreSQL that many gates share.
    Postgres(Box<PostgresConfig>),
}

/// A store that many gates share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Hosts, database, user and password.
    pub server: tokio_postgres::Config,
    /// Where to listen, if not there. Default: not set.
    pub listen_server: Option<tokio_postgres::Config>,
    /// How it is encrypted. From `sslmode` in the URL and `store.tls_roots`; default: verified
    /// against the roots that browsers trust, and only over a socket of this machine in clear.
    pub tls: StoreTls,
    /// Whether deletions notify the other gates. Default true.
    pub notify: bool,
    /// Most connections for questions. Default 8.
    pub connections_max: NonZeroUsize,
    /// How long a host may take until a session is there. Default 2 s.
    pub connect_timeout: Duration,
    /// How long a question may wait for a free connection. Default 1 s.
    pub pool_timeout: Duration,
    /// How long an answer may take. Default 2 s.
    pub query_timeout: Duration,
}

/// How the connection to a shared store is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreTls {
    /// Clear text.
    Off,
    /// The server is verified.
    Verified {
        /// Against the roots in this file; `None`: against those that browsers trust.
        roots: Option<PathBuf>,
        /// What the server is shown when it asks for a certificate.
        own: Option<PairFiles>,
    },
}

/// A parsed URL.
struct Server {
    config: Box<tokio_postgres::Config>,
    tls: bool,
}

enum Url {
    Sqlite(PathBuf),
    Postgres(Server),
}

impl StoreConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let url = located(section, "url", parse);
        let listen = located(section, "listen_url", parse_listen);
        let password_path = section.path("password");
        let password = section
            .take("password")
            .and_then(|node| secret::read(section.context, &password_path, node));
        let roots = section.file("tls_roots");
        let own = section.pair();
        let notify = section.boolean("notify", true);
        let connections: usize = section.integer("connections_max", 8, 1..=1000);
        let limit = millis(10)..=minutes(1);
        let connect_timeout = section.duration("connect_timeout", seconds(2), limit.clone());
        let pool_timeout = section.duration("pool_timeout", seconds(1), limit.clone());
        let query_timeout = section.duration("query_timeout", seconds(2), limit);

        let server = match url {
            None => return Self::Sqlite(PathBuf::from("ckgate.db")),
            Some(Url::Sqlite(path)) => return Self::Sqlite(path),
            Some(Url::Postgres(server)) => server,
        };
        let with_password = |mut config: tokio_postgres::Config| {
            if let (None, Some(password)) = (config.get_password(), &password) {
                config.password(password.expose());
            }
            config
        };
        if listen.as_ref().is_some_and(|listen| listen.tls != server.tls) {
            let message = "`store.listen_url` and `store.url` must have the same `sslmode`";
            section.context.problem(Place::Whole, message);
        }
        if !server.tls && (roots.is_some() || own.is_some()) {
            let message = "`store.tls_roots`, `store.certificate` and `store.key` mean nothing for a \
                           connection that is not encrypted";
            section.context.problem(Place::Whole, message);
        }
        let tls = if server.tls { StoreTls::Verified { roots, own } } else { StoreTls::Off };
        Self::Postgres(Box::new(PostgresConfig {
            server: with_password(*server.config),
            listen_server: listen.map(|listen| with_password(*listen.config)),
            tls,
            notify,
            connections_max: NonZeroUsize::MIN.saturating_add(connections.saturating_sub(1)),
            connect_timeout,
            pool_timeout,
            query_timeout,
        }))
    }

    /// The embedded store's file, if it is that.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&PathBuf> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// What a `postgres://` URL says, with this password, these roots and this certificate, everything
    /// else at its default; for commands.
    pub fn postgres(
        url: &str,
        password: Option<&str>,
        tls_roots: Option<PathBuf>,
        certificate: Option<PairFiles>,
    ) -> Result<Self, String> {
        let toml = format!("[store]\nurl = {}\n", toml::Value::from(url));
        let mut problems = Vec::new();
        let root = super::raw::parse(&toml, &mut problems);
        let environment = super::Environment::new();
        let known = std::collections::BTreeSet::new();
        let mut context = super::Context { environment, problems, known, files: Vec::new() };
        let read = context.read("", root, |root| root.section("store", Self::read));
        match (context.problems.first(), read) {
            (Some(problem), _) => Err(problem.message.clone()),
            (None, Self::Sqlite(_)) => Err("this is no `postgres://` URL".to_owned()),
            (None, Self::Postgres(mut config)) => {
                if let Some(password) = password {
                    config.server.password(password);
                }
                match &mut config.tls {
                    StoreTls::Verified { roots, own } => (*roots, *own) = (tls_roots, certificate),
                    StoreTls::Off if tls_roots.is_none() && certificate.is_none() => {}
                    StoreTls::Off => return Err("says that nothing is encrypted".to_owned()),
                }
                Ok(Self::Postgres(config))
            }
        }
    }
}

/// Like [`Section::parsed`], with the place it stands at.
fn located<T>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl FnOnce(&str, &Place) -> Result<T, String>,
) -> Option<T> {
    let (text, place) = section.text(key)?;
    let path = section.path(key);
    parse(&text, &place)
        .map_err(|error| section.context.problem(place, format!("`{path}` {error}")))
        .ok()
}

fn parse(url: &str, place: &Place) -> Result<Url, String> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => parse_server(url, place).map(Url::Postgres),
        Some(("sqlite", path)) => parse_sqlite(url, path).map(Url::Sqlite),
        // Only the schemes are shown: the rest of such a URL often holds a password.
        _ => {
            Err("must be `sqlite:` and a path, such as `sqlite:ckgate.db`, or `postgres://` with \
                  user, host and database"
                .to_owned())
        }
    }
}

fn parse_sqlite(url: &str, path: &str) -> Result<PathBuf, String> {
    let misread = path.starts_with("//") || path.starts_with("file:") || path.contains(['?', '\0']);
    if path.is_empty() || misread {
        return Err(format!("must be `sqlite:` and a plain path, not {}", quoted(url)));
    }
    if path == ":memory:" {
        return Err("must name a file: tokens have to survive a restart".to_owned());
    }
    Ok(PathBuf::from(path))
}

fn parse_listen(url: &str, place: &Place) -> Result<Server, String> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return parse_server(url, place);
    }
    Err("must be a `postgres://` URL".to_owned())
}

/// Messages show nothing of the URL: it may hold a password.
fn parse_server(url: &str, place: &Place) -> Result<Server, String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut rest) = (None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            _ => rest.push(pair),
        }
    }
    let plain = format!("{base}?{}", rest.join("&"));
    let config = tokio_postgres::Config::from_str(plain.trim_end_matches('?'))
        .map_err(|_| "is no PostgreSQL URL: `postgres://user@host:5432/database?sslmode=…`")?;
    if config.get_user().is_none_or(str::is_empty) {
        return Err("names no user".to_owned());
    }
    if config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty() {
        return Err("must name its hosts before the database, and nowhere else".to_owned());
    }
    let ports = config.get_ports().len();
    if ports > 1 && ports != config.get_hosts().len() {
        return Err("has not as many ports as hosts".to_owned());
    }
    if config.get_password().is_some() && !matches!(place, Place::Variable(_)) {
        return Err("holds a password in clear: set `store.password`".to_owned());
    }
    let only_sockets = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    let tls = match mode.as_deref() {
        None => !only_sockets,
        Some("verify-full") => true,
        Some("disable") => false,
        Some(_) => {
            return Err(
                "has an `sslmode` other than `verify-full` (the default) and `disable`: the \
                        others do not verify who answers"
                    .to_owned(),
            );
        }
    };
    Ok(Server { config: Box::new(config), tls })
}
