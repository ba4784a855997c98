use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::parse_duration;
use crate::policy::{AgentId, Permission, Permissions, PolicyEntry};

/// Client-side access tokens for any self-hosted Letta agents API.
#[derive(Parser)]
#[command(name = "ckgate", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run the gate.
    Serve(Serve),
    /// Report all problems of a configuration at once.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Print the route table: every operation, what it needs and what it admits.
    Routes(Routes),
    /// Say step by step why a request is permitted or refused, and what would permit it.
    Explain(Box<Explain>),
    /// Print what a refusal's code means and what to change.
    Refusal {
        /// The code, such as `hostname_mismatch`; without one, all codes.
        code: Option<String>,
    },
    /// Make keys.
    #[command(subcommand)]
    Key(Key),
    /// Prepare a shared store, or move an embedded one into it.
    #[command(subcommand)]
    Store(Store),
    /// Create, list and delete client tokens at a running gate.
    #[command(subcommand)]
    Token(Token),
    /// Read the audit log.
    #[command(subcommand)]
    Audit(Audit),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
    /// Try everything in one process, with a small stand-in agents API.
    Demo(Demo),
}

#[derive(Subcommand)]
pub(super) enum Audit {
    /// Follow the chain through the files, and find what was removed, changed or moved.
    Verify {
        /// The files of the log, oldest first.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Args)]
pub(super) struct Serve {
    /// The configuration file; without one, every key has its default or its variable.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The agents API; wins over `upstream.url`.
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<String>,
    /// Where to answer; wins over `listen.public`.
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
}

#[derive(Args)]
pub(super) struct Routes {
    /// A route table in the place of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct Explain {
    /// The request's method.
    #[arg(required_unless_present = "log_file", conflicts_with = "log_file", requires = "target")]
    pub(super) method: Option<String>,
    /// The request's target: path and query.
    pub(super) target: Option<String>,
    /// A header of the request, such as `Origin: https://app.example`; may be repeated.
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub(super) header: Vec<String>,
    /// A file with the request's body; `-` reads it from standard input.
    #[arg(long, value_name = "FILE")]
    pub(super) body: Option<PathBuf>,
    /// The variable that holds the client token: its text is checked with the keys of `--config`, its
    /// record is read from the store named there; or `--gate` is asked for it.
    #[arg(long, value_name = "NAME")]
    pub(super) token_env: Option<String>,
    /// A running gate's base URL, which is asked what the token may do, with its account's server key.
    #[arg(long, value_name = "URL", requires = "token_env", conflicts_with = "policy")]
    pub(super) gate: Option<String>,
    /// The authorities of an https gate's certificate, in PEM; without it, those that the web trusts.
    #[arg(long, value_name = "FILE", requires = "gate")]
    pub(super) gate_ca: Option<PathBuf>,
    /// The variable that holds the server key for `--gate`.
    #[arg(long, value_name = "NAME", default_value = "CKGATE_SERVER_KEY")]
    pub(super) server_key_env: String,
    /// A file with the token's policy, as the token API takes or returns it. With `--replay`: the
    /// route table to judge by.
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// The gate's configuration: its keys, its store, its rules, its route table.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// A route table in the place of the configured one.
    #[arg(long, value_name = "FILE")]
    pub(super) routes: Option<PathBuf>,
    /// The agent that the conversation or run of the request belongs to.
    #[arg(long, value_name = "ID", value_parser = AgentId::parse)]
    pub(super) owner: Option<AgentId>,
    /// A log of the gate, from which a request is explained.
    #[arg(long, value_name = "FILE", requires = "request_id", group = "log_file")]
    pub(super) log: Option<PathBuf>,
    /// Which request of the log.
    #[arg(long, value_name = "ID", requires = "log")]
    pub(super) request_id: Option<String>,
    /// A log of the gate, whose decisions are judged again by the table of `--policy`.
    #[arg(long, value_name = "LOG", requires = "policy", group = "log_file")]
    pub(super) replay: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct Demo {
    /// Take the tour, say what held, and end.
    #[arg(long)]
    pub(super) tour: bool,
    /// A real agents API in the place of the stand-in.
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<String>,
    /// The variable that holds that API's password.
    #[arg(
        long,
        value_name = "NAME",
        requires = "upstream",
        default_value = "LETTA_SERVER_PASSWORD"
    )]
    pub(super) credential_env: String,
    /// The model of the demo's agents there. Default: the first that the API offers of its own.
    #[arg(long, value_name = "HANDLE", requires = "upstream")]
    pub(super) model: Option<String>,
    /// Where to answer; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8284")]
    pub(super) listen: SocketAddr,
    /// Where health, metrics answer; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8285")]
    pub(super) listen_admin: SocketAddr,
    /// Where the chat's page is; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub(super) listen_chat: SocketAddr,
    /// How long the tokens of the chat live; its page renews them.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(super) token_lifetime: Duration,
}

/// How keys are exchanged without an outage.
const ROTATION: &str = "To exchange the key of running gates: 1. add the new one behind the others in \
`tokens.keys` of every gate, which takes the changed file up by itself, or at once at SIGHUP: all verify \
it. 2. Put it first on every gate: it mints. 3. When `ckgate key list` shows no live token of the old one, \
take that away: its tokens are refused from then on, and the log names the key that a gate lacks.";

#[derive(Subcommand)]
pub(super) enum Key {
    /// Print a fresh master key, from which tokens are derived.
    #[command(after_help = ROTATION)]
    New {
        /// Print a fresh server key instead, for an application's backend.
        #[arg(long, conflicts_with = "rotate")]
        server: bool,
        /// Say on standard error what to do with the key, step by step, given this configuration.
        #[arg(long, value_name = "FILE")]
        rotate: Option<PathBuf>,
    },
    /// Show the token keys of a configuration and of its store: which mints, which still has live
    /// tokens and until when, which may be taken away, which is missing. Reads the whole store.
    #[command(after_help = ROTATION)]
    List {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
pub(super) enum Store {
    /// Make the tables, or bring them up to date, with a role that may.
    Prepare(Target),
    /// Copy every record and deletion of an embedded store, then compare. May be repeated.
    Migrate(Migrate),
}

#[derive(Args)]
pub(super) struct Target {
    /// The shared store, such as `postgres://ckgate@db.example/ckgate`.
    #[arg(long, value_name = "URL", required_unless_present = "config", conflicts_with = "config")]
    pub(super) to: Option<String>,
    /// The variable that holds its password.
    #[arg(long, value_name = "NAME", requires = "to")]
    pub(super) password_env: Option<String>,
    /// Certificates (PEM) that vouch for its server.
    #[arg(long, value_name = "FILE", requires = "to")]
    pub(super) tls_roots: Option<PathBuf>,
    /// A certificate (PEM) to show its server.
    #[arg(long, value_name = "FILE", requires = "to", requires = "key")]
    pub(super) certificate: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(super) key: Option<PathBuf>,
    /// The shared store of this configuration.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Migrate {
    /// The embedded store, such as `sqlite:ckgate.db`.
    #[arg(long, value_name = "URL")]
    pub(super) from: String,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Subcommand)]
pub(super) enum Token {
    /// Create a token and print the gate's answer.
    Create(Create),
    /// Print live tokens.
    List(List),
    /// Delete a token.
    Delete(Delete),
}

#[derive(Args)]
pub(super) struct Gate {
    /// The gate's base URL.
    #[arg(long = "gate", value_name = "URL", default_value = "http://127.0.0.1:8284")]
    pub(super) url: String,
    /// The authorities of an https gate's certificate, in PEM; without it, those that the web trusts.
    #[arg(long = "gate-ca", value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// The variable that holds the server key.
    #[arg(long, value_name = "NAME", default_value = "CKGATE_SERVER_KEY")]
    pub(super) server_key_env: String,
}

#[derive(Args)]
pub(super) struct Create {
    #[command(flatten)]
    pub(super) gate: Gate,
    /// An agent the token opens; `--access` says how far.
    #[arg(long, value_name = "ID", requires = "access", required_unless_present = "policy")]
    #[arg(value_parser = AgentId::parse)]
    pub(super) agent: Option<AgentId>,
    /// What is permitted with the agent: `read_messages`, `write_messages`, `read_agent`,
    /// `write_agent`.
    #[arg(long, value_name = "WORDS", requires = "agent", value_parser = permissions)]
    pub(super) access: Option<Permissions>,
    /// Another agent and what is permitted with it, such as `agent-…=read_messages,write_messages`;
    /// may be repeated.
    #[arg(long, value_name = "ID=WORDS", value_parser = policy_entry)]
    pub(super) policy: Vec<PolicyEntry>,
    /// The only origin or host that may use the token.
    #[arg(long, value_name = "HOST")]
    pub(super) hostname: String,
    /// When the token expires, in ISO 8601. Without either, the gate decides: after 5 minutes.
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    pub(super) expires_at: Option<String>,
    /// Requests a minute, in the place of the account's or the gate's limit.
    #[arg(long, value_name = "N")]
    pub(super) requests_per_minute: Option<u32>,
    /// Streams open at once, likewise.
    #[arg(long, value_name = "N")]
    pub(super) concurrent_streams: Option<u32>,
    /// Longest life of a stream in seconds, likewise.
    #[arg(long, value_name = "N")]
    pub(super) stream_seconds: Option<u32>,
    /// After how long the token expires, such as `1h` or `30d`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) expires_in: Option<Duration>,
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) gate: Gate,
    /// Only tokens that open this agent.
    #[arg(long, value_name = "ID", value_parser = AgentId::parse)]
    pub(super) agent: Option<AgentId>,
    /// How many to print at most.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u32>,
    /// How many to pass over.
    #[arg(long, value_name = "N")]
    pub(super) offset: Option<u64>,
    /// With how often each permission was used, and when last.
    #[arg(long)]
    pub(super) usage: bool,
}

#[derive(Args)]
pub(super) struct Delete {
    #[command(flatten)]
    pub(super) gate: Gate,
    /// The token; `-` reads it from standard input, out of sight of other users' process lists.
    pub(super) token: String,
}

fn permissions(words: &str) -> Result<Permissions, String> {
    words
        .split(',')
        .map(|word| Permission::from_str(word.trim()).map_err(|e| e.to_string()))
        .collect()
}

fn policy_entry(text: &str) -> Result<PolicyEntry, String> {
    let (agent, words) = text.split_once('=').ok_or("there is no `=` after the agent's id")?;
    let agent = AgentId::parse(agent).map_err(|e| e.to_string())?;
    Ok(PolicyEntry { agent, access: permissions(words)? })
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "this is no duration such as `1h`".to_owned())
}
