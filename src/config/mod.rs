//! The configuration: what the operator typed, checked once and for all.
//!
//! Owns the file's keys, their defaults and limits, and where secrets come from. Leaves the meaning
//! of each value to the module that uses it, and the route table to `policy`. Must always hold: a
//! [`Config`] cannot be wrong in a way that could be known at start, all problems are reported at
//! once, a key that nobody knows is a problem, no secret stands in the file, and there is no
//! configuration without a server key.
//!
//! What was typed (`raw`) becomes what is used in one pass (`reader`), one file a section.

mod account;
mod client_address;
mod console;
mod decision;
mod http_target;
mod limits;
mod listen;
mod observe;
mod problem;
mod raw;
mod reader;
mod rules;
mod secret;
mod server;
mod store;
mod tls;
mod tokens;
mod upstream;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use account::{Account, SERVER_KEY_PREFIX, is_server_key};
pub use client_address::{ClientAddress, Told};
pub use console::Console;
pub use decision::Decision;
pub use limits::{Limits, SharedBy};
pub use listen::Listen;
pub use observe::{Audit, Collector, Traces};
pub use problem::Problems;
pub use rules::{Cache, Cors, HostnameRules, Preflight, Revocation, Streams, WithoutOrigin};
pub use server::{Log, LogFormat, Server};
pub use store::{PostgresConfig, StoreConfig, StoreTls};
pub use tls::{AdminListener, Tls};
pub use tokens::Tokens;
pub use upstream::{Upstream, UpstreamTls, is_metadata_address};

pub(crate) use http_target::HttpTarget;
pub(crate) use problem::quoted;
pub(crate) use reader::parse_duration;

use problem::{Place, Problem};
use raw::{Environment, Table, Value};
use reader::{Context, Section};
use tokens::{Draft, MissingKeyFile};

/// Most bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A configuration that was checked. Printing it for debugging shows no secret.
#[derive(Debug)]
pub struct Config {
    /// Where the gate answers.
    pub listen: Listen,
    /// Which certificates the gate shows.
    pub tls: Tls,
    /// The agents API behind the gate.
    pub upstream: Upstream,
    /// The owners of server keys and tokens; at least one has a key.
    pub accounts: Vec<Account>,
    /// Where records are kept.
    pub store: StoreConfig,
    /// How client tokens are made.
    pub tokens: Tokens,
    /// How requests are held to the hostname of their token.
    pub hostname: HostnameRules,
    /// How browsers' preflights are answered.
    pub cors: Cors,
    /// What is remembered of records.
    pub cache: Cache,
    /// How far a gate may be behind the feed of deletions.
    pub revocation: Revocation,
    /// How long event streams may live, and how many at once.
    pub streams: Streams,
    /// What a caller may ask of the gate's memory and patience.
    pub limits: Limits,
    /// Who may ask the decision API.
    pub decision: Decision,
    /// The operator's console.
    pub console: Console,
    /// How the process runs.
    pub server: Server,
    /// What is logged, and how.
    pub log: Log,
    /// Which proxies in front are believed.
    pub proxies: ClientAddress,
    /// Where the audit log is kept.
    pub audit: Audit,
    /// Where traces go.
    pub traces: Traces,
    /// A file that takes the place of the built-in route table. From `routes.file`, default: not
    /// set.
    pub routes: Option<PathBuf>,
    /// Every file whose change is taken up while the gate runs: this configuration's own, secrets,
    /// certificates, the route table; not the certificates of `store`, which are read at the start.
    pub files: Vec<PathBuf>,
}

/// What the command line says about the configuration; it wins over the file and the environment.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// In the place of `upstream.url`.
    pub upstream: Option<String>,
    /// In the place of `listen.public`.
    pub listen: Option<String>,
}

impl Config {
    /// The configuration to run with. Without a file every key has its default or its variable.
    ///
    /// At the first start on one machine this makes the file of the master key.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        command_line: CommandLine,
    ) -> Result<Self, Problems> {
        let text = read_file(file)?;
        let typed = Typed { text: &text, environment, command_line };
        let resolved = resolve(typed, MissingKeyFile::Create);
        let mut config = resolved.map_err(|problems| problems.of(file))?;
        config.files.extend(file.map(Path::to_owned));
        Ok(config)
    }

    /// What [`Config::load`] would give. Makes no file: in the place of a key file that is missing
    /// there is a key that ends with the process.
    pub fn check(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        command_line: CommandLine,
    ) -> Result<Self, Problems> {
        let text = read_file(file)?;
        let typed = Typed { text: &text, environment, command_line };
        resolve(typed, MissingKeyFile::Leave).map_err(|problems| problems.of(file))
    }

    /// A configuration from memory, for tests and the demonstration. Makes no file: where
    /// [`Config::load`] would make a master key's, the key ends with the process.
    pub fn from_toml(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let typed = Typed { text, environment, command_line: CommandLine::default() };
        resolve(typed, MissingKeyFile::Leave)
    }
}

impl Config {
    /// Adds the files that are read when the gate is put together.
    fn note_files(&mut self) {
        let tls = self.upstream.tls.as_ref();
        let pairs = self.tls.certificates.iter().chain(tls.and_then(|tls| tls.own.as_ref()));
        let pairs = pairs.flat_map(|pair| [&pair.certificate, &pair.key]);
        let others = [
            self.tls.admin_clients.as_ref(),
            tls.and_then(|tls| tls.authorities.as_ref()),
            self.routes.as_ref(),
        ];
        let named: Vec<PathBuf> = pairs.chain(others.into_iter().flatten()).cloned().collect();
        self.files.extend(named);
    }
}

/// All that the operator typed.
struct Typed<'t, E> {
    text: &'t str,
    environment: E,
    command_line: CommandLine,
}

fn resolve<E>(typed: Typed<'_, E>, missing: MissingKeyFile) -> Result<Config, Problems>
where
    E: IntoIterator<Item = (String, String)>,
{
    let environment: Environment = typed.environment.into_iter().collect();
    let mut problems = Vec::new();
    let mut root = raw::parse(typed.text, &mut problems);
    if !problems.is_empty() {
        // What follows a syntax error is guesswork, and so would be its problems.
        return Err(Problems::new(problems, Vec::new()));
    }
    raw::lay_environment_over(&mut root, &environment, &mut problems);
    let CommandLine { upstream, listen } = typed.command_line;
    for (section, key, option, text) in
        [("upstream", "url", "--upstream", upstream), ("listen", "public", "--listen", listen)]
    {
        if let Some(text) = text {
            let node = Value::Text(text).at(Place::CommandLine(option));
            raw::lay_over(&mut root, section, key.to_owned(), node);
        }
    }
    let mut context = Context { environment, problems, known: BTreeSet::new(), files: Vec::new() };
    let (tokens, config) = context.read("", root, read);
    if !context.problems.is_empty() {
        return Err(Problems::new(context.problems, context.files));
    }
    match tokens.settle(missing) {
        Ok(tokens) => {
            let mut config = config(tokens);
            config.files = context.files;
            config.note_files();
            Ok(config)
        }
        Err((place, message)) => {
            Err(Problems::new(vec![Problem { place, message }], context.files))
        }
    }
}

/// Reads every section. The tokens' keys may have to be made yet, so they come last.
fn read(root: &mut Section<'_>) -> (Draft, impl FnOnce(Tokens) -> Config + use<>) {
    let listen = root.section("listen", Listen::read);
    let tls = root.section("tls", Tls::read);
    let upstream = root.section("upstream", |section| Upstream::read(section, &listen));
    let accounts = account::read(root);
    let store = root.section("store", StoreConfig::read);
    let draft = root.section("tokens", |section| Draft::read(section, &store));
    let hostname = root.section("hostname", HostnameRules::read);
    let cors = root.section("cors", Cors::read);
    let cache = root.section("cache", Cache::read);
    let revocation = root.section("revocation", Revocation::read);
    let streams = root.section("streams", Streams::read);
    let limits = root.section("limits", Limits::read);
    let decision = root.section("decision", |section| Decision::read(section, &listen));
    let console = root.section("console", Console::read);
    let server = root.section("server", Server::read);
    let log = root.section("log", Log::read);
    let proxies = root.section("proxies", ClientAddress::read);
    let audit = root.section("audit", Audit::read);
    let traces = root.section("traces", Traces::read);
    let routes = root.section("routes", |section| section.file("file"));

    let config = move |tokens| Config {
        listen,
        tls,
        upstream,
        accounts,
        store,
        tokens,
        hostname,
        cors,
        cache,
        revocation,
        streams,
        limits,
        decision,
        console,
        server,
        log,
        proxies,
        audit,
        traces,
        routes,
        files: Vec::new(),
    };
    (draft, config)
}

fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("must be a path") } else { Ok(PathBuf::from(text)) }
}

fn read_file(file: Option<&Path>) -> Result<String, Problems> {
    let Some(path) = file else { return Ok(String::new()) };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        let fits = text.len() as u64 <= FILE_BYTES_MAX;
        if fits { Ok(()) } else { Err(io::Error::other("it has more than 1 MiB")) }
    });
    match read {
        Ok(()) => Ok(text),
        Err(error) => {
            let message =
                format!("the file {} cannot be read: {error}", quoted(&path.to_string_lossy()));
            Err(Problems::new(vec![Problem { place: Place::Whole, message }], Vec::new()))
        }
    }
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn minutes(n: u64) -> Duration {
    Duration::from_mins(n)
}

const fn hours(n: u64) -> Duration {
    Duration::from_hours(n)
}

const fn days(n: u64) -> Duration {
    hours(24 * n)
}
