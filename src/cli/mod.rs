//! The commands of the program.
//!
//! Owns the command line, what is printed, and exit codes: 0 done, 1 refused or failed, 2 not a
//! command. Leaves the work to the module each command names. Must always hold: secrets come from
//! variables whose names are given, never as arguments, and go to standard output only where
//! showing one is the command's purpose.

mod arguments;
mod audit;
mod documents;
mod explain;
mod gate_client;
mod key;
mod routes;
mod store;
mod token;

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::{CommandLine, Config};
use crate::token::Secret;
use crate::{app, demo, docs};
use arguments::{Arguments, Command, Demo, Serve};

/// What a command comes to.
type Outcome = Result<(), Box<dyn Error>>;

/// The process environment.
type Environment = BTreeMap<String, String>;

/// Runs the command that the arguments give, in this environment.
#[must_use]
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Nothing is left to be done if not even this can be printed.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    // What is not UTF-8 fails where it is used: the replacement character is admitted nowhere.
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let environment: Environment =
        environment.into_iter().map(|(name, value)| (lossy(name), lossy(value))).collect();
    match execute(parsed.command, environment, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "{}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command, environment: Environment, arguments: Vec<OsString>) -> Outcome {
    match command {
        Command::Serve(options) => serve(options, environment, arguments),
        Command::Check { file } => {
            let config = Config::check(Some(&file), environment, CommandLine::default())?;
            routes::read(config.routes.as_deref())?;
            app::check_files(&config)?;
            print_line("ok")
        }
        Command::Routes(options) => routes::execute(&options),
        Command::Explain(options) => explain::execute(&options, &environment),
        Command::Refusal { code: None } => {
            let codes: Vec<&str> = docs::refusals::PAGES.iter().map(|(code, _)| *code).collect();
            print_line(&codes.join("\n"))
        }
        Command::Refusal { code: Some(code) } => match docs::refusal(&code) {
            Some(page) => print_line(page.trim_end()),
            None => Err(format!("there is no code `{code}`: `ckgate refusal` lists them").into()),
        },
        Command::Key(command) => key::execute(&command, &environment),
        Command::Store(command) => store::execute(&command, &environment),
        Command::Token(command) => token::execute(command, &environment),
        Command::Audit(command) => audit::execute(&command),
        Command::Completions { shell } => documents::completions(shell),
        Command::Man => documents::man(),
        Command::Demo(options) => run_demo(options, &environment),
    }
}

fn serve(options: Serve, environment: Environment, arguments: Vec<OsString>) -> Outcome {
    let invocation = app::Invocation {
        arguments,
        listener_names: environment.get("LISTEN_FDNAMES").cloned(),
        predecessor: environment.get("CKGATE_PREDECESSOR").cloned(),
    };
    let command_line = CommandLine { upstream: options.upstream, listen: options.listen };
    let file = options.config;
    let load = move || Config::load(file.as_deref(), environment.clone(), command_line.clone());
    let config = load()?;
    Ok(app::serve(config, Box::new(load), &invocation)?)
}

fn run_demo(options: Demo, environment: &Environment) -> Outcome {
    let upstream = match options.upstream {
        Some(url) => {
            let credential = secret_in(environment, &options.credential_env)?;
            Some(demo::DemoUpstream { url, credential, model: options.model })
        }
        None => None,
    };
    let options = demo::DemoOptions {
        tour: options.tour,
        upstream,
        listen_public: options.listen,
        listen_admin: options.listen_admin,
        listen_chat: options.listen_chat,
        token_lifetime: options.token_lifetime,
    };
    Ok(demo::run(&options)?)
}

/// The secret in the variable `name`.
fn secret_in(environment: &Environment, name: &str) -> Result<Secret, Box<dyn Error>> {
    match environment.get(name).map(|text| text.trim_end_matches(['\n', '\r'])) {
        Some("") => Err(format!("the variable `{name}` is empty").into()),
        Some(text) => Ok(Secret::new(text.to_owned())),
        None => Err(format!("the variable `{name}` is not set").into()),
    }
}

/// Writes a line to standard output. A reader that went away is no failure.
fn print_line(line: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out
        .write_all(line.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// An error and what caused it. Problems of a configuration are lines of their own.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
