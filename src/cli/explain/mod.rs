//! Why a request is permitted or refused: the gate's own judgement, told step by step.
//!
//! Owns the words, and the search for the smallest change. Leaves the judgement to `policy`. Must
//! always hold: what is explained is what the gate would do.

mod account;
mod log;
mod remedy;
mod replay;
mod request;
mod token;

use std::error::Error;
use std::io::{self, Read as _};

use bytes::Bytes;
use jiff::Timestamp;

use super::arguments::Explain;
use super::routes::{self, Table};
use super::{Environment, Outcome, print_line};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{CommandLine, Config};
use crate::policy::{
    AgentId, Asked, Bounds, Denial, Grant, Judged, OwnedId, Permit, Rules, WithoutOrigin, decide,
};
use crate::proxy::HeadRefusal;
use account::{Account, Step};
use request::Request;

/// Most bytes of a body that is explained.
const BODY_BYTES_MAX: u64 = 8 << 20;

/// What requests are explained by.
struct Bench {
    table: Table,
    config: Option<Config>,
    owner: Option<AgentId>,
    now: Timestamp,
}

/// How far the decision went.
enum Decision<'t> {
    Permit(Permit<'t>),
    Denied(Denial),
    /// The body cannot be looked at.
    Unreadable(HeadRefusal),
    /// The owner has to be known first.
    Owner(OwnedId),
}

/// Explains a request, a request of a log, or what another table would change in a log.
pub(super) fn execute(options: &Explain, environment: &Environment) -> Outcome {
    if let (Some(log), Some(policy)) = (&options.replay, &options.policy) {
        let before = routes::read(options.routes.as_deref())?;
        let after = routes::read(Some(policy))?;
        return replay::execute(log, &before, &after, options.json);
    }
    let config = match &options.config {
        Some(file) => Some(Config::check(Some(file), environment.clone(), CommandLine::default())?),
        None => None,
    };
    let configured = config.as_ref().and_then(|config| config.routes.as_deref());
    let table = routes::read(options.routes.as_deref().or(configured))?;
    if let (Some(log), Some(id)) = (&options.log, &options.request_id) {
        return print(&log::explain(log, id, &table)?, options.json);
    }
    let bench = Bench { table, config, owner: options.owner, now: SystemClock::default().now() };
    print(&explain(options, &bench, environment)?, options.json)
}

fn explain(
    options: &Explain,
    bench: &Bench,
    environment: &Environment,
) -> Result<Account, Box<dyn Error>> {
    let body = body(options)?;
    let limits = bench.config.as_ref().map(|config| &config.limits);
    let request = Request::read(options, body, limits)?;
    let mut account = Account::default();
    let asked = match request.asked() {
        Ok(asked) => asked,
        Err(refusal) => {
            account.refuse("head", refusal.message, refusal.code, None);
            return Ok(account);
        }
    };
    account.pass("head", format!("{} {}", asked.method, request.target()), None);
    let Some(grant) = token::grant(options, bench, environment, &mut account)? else {
        return Ok(account);
    };
    match judge(bench, &grant, &asked, &request) {
        Decision::Permit(permit) => account.permit(bench, &grant, &asked, &permit),
        Decision::Owner(id) => {
            account.up_to(Step::Owner, bench, &grant, &asked);
            let says = format!("{id} must be looked up: say whose it is with --owner");
            account.refuse("owner", says, "owner_unavailable", None);
        }
        Decision::Unreadable(refusal) => {
            account.up_to(Step::Parameters, bench, &grant, &asked);
            account.refuse(Step::Parameters.name(), refusal.message, refusal.code, None);
        }
        Decision::Denied(denial) => {
            account.deny(bench, &grant, &asked, &denial);
            remedy::find(&mut account, bench, grant, &asked, &request);
        }
    }
    Ok(account)
}

impl Bench {
    fn rules(&self) -> Rules<'_> {
        let config = self.config.as_ref();
        Rules {
            routes: &self.table.routes,
            without_origin: config.map_or(WithoutOrigin::Refuse, |c| c.hostname.without_origin),
            bounds: config.map_or_else(Bounds::default, |c| c.limits.policy_bounds()),
        }
    }

    fn rule(&self, line: usize) -> String {
        format!("{}:{line}", self.table.file)
    }
}

/// The gate's own judgement.
fn judge<'t>(
    bench: &'t Bench,
    grant: &Grant,
    asked: &Asked<'_>,
    request: &Request,
) -> Decision<'t> {
    let judged = decide(bench.rules(), grant, asked, bench.now);
    let judged = match (judged, bench.owner) {
        (Ok(Judged::OwnerFirst(pending)), None) => return Decision::Owner(pending.id()),
        (Ok(Judged::OwnerFirst(pending)), owner) => pending.judge_owner(owner),
        (judged, _) => judged,
    };
    let permit = match judged {
        Ok(Judged::Permit(_)) if request.has_body() => Err(Denial::body_not_admitted()),
        Ok(Judged::Permit(permit)) => Ok(permit),
        Ok(Judged::BodyFirst(pending)) => match request.body() {
            Ok(body) => pending.judge_body(body.clone()),
            Err(refusal) => return Decision::Unreadable(refusal),
        },
        Ok(Judged::OwnerFirst(pending)) => return Decision::Owner(pending.id()),
        Err(denial) => Err(denial),
    };
    permit.map_or_else(Decision::Denied, Decision::Permit)
}

fn body(options: &Explain) -> Result<Bytes, Box<dyn Error>> {
    let Some(path) = &options.body else { return Ok(Bytes::new()) };
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin().lock().take(BODY_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        let cannot = |e: io::Error| format!("{}: cannot be read: {e}", path.display());
        let file = std::fs::File::open(path).map_err(cannot)?;
        file.take(BODY_BYTES_MAX).read_to_end(&mut bytes).map_err(cannot)?;
    }
    Ok(bytes.into())
}

fn print(account: &Account, json: bool) -> Outcome {
    if json {
        print_line(&serde_json::to_string(account)?)
    } else {
        print_line(account.to_string().trim_end())
    }
}
