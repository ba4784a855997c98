//! The demo's own gate, in this process.

use std::net::SocketAddr;

use super::scratch::ScratchDirectory;
use super::{DemoError, DemoUpstream};
use crate::app::{self, Running};
use crate::config::Config;
use crate::token::Secret;

/// What the demo decides about its gate; everything else stays at its default.
#[derive(Debug)]
pub(super) struct Settings<'d> {
    pub(super) upstream: &'d DemoUpstream,
    pub(super) server_key: &'d Secret,
    pub(super) listen_public: SocketAddr,
    pub(super) listen_admin: SocketAddr,
}

/// A running gate.
pub(super) struct Gate(Running);

impl Gate {
    /// Where the data path and the token API answer.
    pub(super) fn public_address(&self) -> SocketAddr {
        self.0.public_address()
    }

    /// Where health and metrics answer.
    pub(super) fn admin_address(&self) -> SocketAddr {
        self.0.admin_address()
    }

    /// Drains it; returns when it is gone.
    pub(super) fn stop(self) {
        self.0.stop();
    }
}

/// Starts a gate whose store, keys and credentials live in `scratch`.
pub(super) fn start(
    settings: &Settings<'_>,
    scratch: &ScratchDirectory,
) -> Result<Gate, DemoError> {
    let text = configuration(settings, scratch)?;
    let config = Config::from_toml(&text, std::iter::empty())
        .map_err(|problems| DemoError::Gate(problems.into()))?;
    app::start(config).map(Gate).map_err(|error| DemoError::Gate(error.into()))
}

/// The gate's configuration as an operator would write it.
pub(super) fn configuration(
    settings: &Settings<'_>,
    scratch: &ScratchDirectory,
) -> Result<String, DemoError> {
    let in_file = |name: &str, secret: &Secret| {
        let path = scratch.write_secret(name, secret).map_err(DemoError::Scratch)?;
        Ok::<String, DemoError>(quoted(&path.to_string_lossy()))
    };
    let credential = in_file("upstream-credential", &settings.upstream.credential)?;
    let server_key = in_file("server-key", settings.server_key)?;
    let key = quoted(&scratch.path().join("ckgate.key").to_string_lossy());
    let store = quoted(&format!("sqlite:{}", scratch.path().join("ckgate.db").display()));
    Ok(format!(
        "[listen]\npublic = \"{public}\"\nadmin = \"{admin}\"\n\
         [upstream]\nurl = {url}\ncredential = {{ file = {credential} }}\n\
         [[accounts]]\nname = \"demo\"\nserver_keys = [{{ file = {server_key} }}]\n\
         [store]\nurl = {store}\n\
         [tokens]\nkeys = [{{ id = 1, file = {key} }}]\n",
        public = settings.listen_public,
        admin = settings.listen_admin,
        url = quoted(&settings.upstream.url),
    ))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
