//! `ckgate demo`: a stand-in agents API, a gate before it, two users with tokens, and a tour.
//!
//! Owns everything a newcomer sees in the first minute. Leaves the gate itself to `app`: the demo is
//! only its first operator. Must always hold: nothing stays behind on disk, whatever ended the demo
//! short of `kill -9`, and everything listens where it was told to, loopback unless asked otherwise.

mod agents_api;
mod api_client;
mod chat_app;
mod gate;
mod letta;
mod loopback_server;
mod scratch;
mod tour;
mod users;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::token::Secret;
use agents_api::AgentsApi;
use api_client::{ApiClient, ExchangeError};
use chat_app::ChatApp;
use jiff::SignedDuration;
use scratch::ScratchDirectory;

/// What the demo is asked to do.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Take the tour, say what held and end, instead of printing it and waiting for Ctrl-C.
    pub tour: bool,
    /// A real agents API to stand before, instead of the stand-in.
    pub upstream: Option<DemoUpstream>,
    /// Where the gate's public listener goes; port 0 picks a free one.
    pub listen_public: SocketAddr,
    /// Where the gate's admin listener goes; port 0 picks a free one.
    pub listen_admin: SocketAddr,
    /// Where the chat goes; port 0 picks a free one. The tour has no chat.
    pub listen_chat: SocketAddr,
    /// How long the tokens of the chat live; the page renews them.
    pub token_lifetime: Duration,
}

/// A real agents API and the password it asks for.
#[derive(Clone, Debug)]
pub struct DemoUpstream {
    /// `http://HOST:PORT`.
    pub url: String,
    /// Its password; it is sent as a bearer credential.
    pub credential: Secret,
    /// The model of the demo's agents; one that the API offers, unless given.
    pub model: Option<String>,
}

/// Why the demo ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The machine did not give what a process needs: a thread, a signal handler, randomness.
    #[error("the demo could not start")]
    Process(#[source] io::Error),
    /// The temporary directory could not be made or written.
    #[error("the demo's temporary directory could not be used")]
    Scratch(#[source] io::Error),
    /// The stand-in could not listen.
    #[error("the stand-in agents API could not listen")]
    AgentsApi(#[source] io::Error),
    /// The chat could not listen.
    #[error("the chat could not listen")]
    Chat(#[source] io::Error),
    /// The gate did not start.
    #[error("the gate did not start")]
    Gate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An exchange with the gate, or with the given agents API, came to nothing.
    #[error("no answer to `{request}`")]
    Exchange {
        /// Method and path.
        request: String,
        /// What happened.
        #[source]
        source: ExchangeError,
    },
    /// An answer was not the one that the demo needs in order to go on.
    #[error("`{request}` was answered with {status}: {answer}")]
    Answer {
        /// Method and path.
        request: String,
        /// The status of the answer.
        status: u16,
        /// The beginning of its body.
        answer: String,
    },
    /// The address of the given agents API is not one the demo can speak to.
    #[error("`{url}` is not `http://HOST:PORT`")]
    UpstreamUrl {
        /// As it was given.
        url: String,
    },
    /// The tour could not be printed.
    #[error("the tour could not be printed")]
    Print(#[source] io::Error),
    /// Steps of the tour did not end as they promise.
    #[error("{failed} of {steps} steps of the tour did not end as promised")]
    Tour {
        /// How many did not.
        failed: usize,
        /// How many there are.
        steps: usize,
    },
}

/// Runs the demo until Ctrl-C, or until the tour is over.
pub fn run(options: &DemoOptions) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DemoError::Process)?;
    // From here on an interrupt ends the demo in order, so that the directory is removed.
    let mut interrupt = {
        let _context = runtime.enter();
        Interrupt::listen().map_err(DemoError::Process)?
    };

    let scratch = ScratchDirectory::create().map_err(DemoError::Scratch)?;
    let server_key = Secret::new(format!("sk-let-{}", random_text()?));
    let (upstream, stand_in) = if let Some(given) = &options.upstream {
        (given.clone(), None)
    } else {
        let credential = Secret::new(random_text()?);
        let api = AgentsApi::start(credential.clone()).map_err(DemoError::AgentsApi)?;
        (
            DemoUpstream { url: format!("http://{}", api.address()), credential, model: None },
            Some(api),
        )
    };
    let settings = gate::Settings {
        upstream: &upstream,
        server_key: &server_key,
        listen_public: options.listen_public,
        listen_admin: options.listen_admin,
    };
    let gate = gate::start(&settings, &scratch)?;

    let gate_client = ApiClient::to_address(gate.public_address(), server_key);
    let shown = runtime.block_on(async {
        tokio::select! {
            biased;
            () = interrupt.heard() => Ok(None),
            shown = show(options, &upstream, &gate, &gate_client) => shown,
        }
    });
    if shown.is_ok() && !options.tour {
        runtime.block_on(interrupt.heard());
    }
    let shown = shown.map(drop);
    gate.stop();
    drop(stand_in);
    shown
}

/// Everything between the gate being up and the demo waiting or ending.
async fn show(
    options: &DemoOptions,
    upstream: &DemoUpstream,
    gate: &gate::Gate,
    client: &ApiClient,
) -> Result<Option<ChatApp>, DemoError> {
    let agents = match options.upstream {
        Some(_) => letta::find_or_create_agents(upstream).await?,
        None => agents_api::AGENT_IDS.map(str::to_owned),
    };
    let chat = if options.tour { None } else { Some(chat(options, gate, client, &agents)?) };
    let users = users::create(client, agents).await?;
    let tour = tour::Tour::new(client, gate.public_address(), &users);
    let mut out = io::stdout();
    if let Some(chat) = &chat {
        writeln!(out, "# chat      {}", chat.url()).map_err(DemoError::Print)?;
    }
    writeln!(
        out,
        "# gate      http://{}\n# admin     http://{}\n# upstream  {}\n",
        gate.public_address(),
        gate.admin_address(),
        upstream.url
    )
    .map_err(DemoError::Print)?;
    if options.tour {
        return tour.take(&mut out).await.map(|()| None);
    }
    tour.print(&mut out).map_err(DemoError::Print)?;
    writeln!(out, "Everything above ends with Ctrl-C, and nothing stays behind.")
        .and_then(|()| out.flush())
        .map_err(DemoError::Print)?;
    Ok(chat)
}

/// The chat, before this gate.
fn chat(
    options: &DemoOptions,
    gate: &gate::Gate,
    client: &ApiClient,
    agents: &[String; 2],
) -> Result<ChatApp, DemoError> {
    ChatApp::start(chat_app::Settings {
        listen: options.listen_chat,
        gate: gate.public_address(),
        server_key: client.credential().clone(),
        agents: agents.clone(),
        token_lifetime: SignedDuration::try_from(options.token_lifetime)
            .unwrap_or(SignedDuration::MAX),
    })
    .map_err(DemoError::Chat)
}

/// Ctrl-C, or the termination that a supervisor sends.
struct Interrupt {
    ctrl_c: Signal,
    terminate: Signal,
    heard: bool,
}

impl Interrupt {
    fn listen() -> io::Result<Self> {
        let ctrl_c = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { ctrl_c, terminate, heard: false })
    }

    /// Returns at the first one, and at once ever after.
    async fn heard(&mut self) {
        if !self.heard {
            tokio::select! {
                _ = self.ctrl_c.recv() => {}
                _ = self.terminate.recv() => {}
            }
            self.heard = true;
        }
    }
}

/// 43 characters that nobody guesses.
fn random_text() -> Result<String, DemoError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| DemoError::Process(io::Error::other("the system gave no randomness")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
