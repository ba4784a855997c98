use std::fmt;

use serde::Serialize;

use super::Bench;
use crate::policy::{AgentId, Asked, Denial, Grant, Operation, Permit, Place, Verdict};

/// What became of a request, step by step.
#[derive(Default, Serialize)]
pub(super) struct Account {
    /// The steps, in the order of the decision; the last one decided.
    pub(super) steps: Vec<StepAccount>,
    /// `permit` or `deny`.
    pub(super) verdict: &'static str,
    /// The code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// What would go upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent: Option<String>,
    /// The smallest changes that would permit the request.
    pub(super) changes: Vec<Change>,
    /// Whether the request would be permitted after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) permitted_after_changes: Option<bool>,
}

/// One step of a decision.
#[derive(Serialize)]
pub(super) struct StepAccount {
    step: &'static str,
    passed: bool,
    says: String,
    /// The rule's place: a file and its line, or the token's policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

/// A change that would let a request go on.
#[derive(Serialize)]
pub(super) struct Change {
    /// What is to be changed: `policy`, `routes` or `request`.
    pub(super) of: &'static str,
    /// How.
    pub(super) how: String,
    /// Where the rule stands, if it stands in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<String>,
}

/// The steps that the policy judges, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Expiry,
    Hostname,
    Route,
    Owner,
    Permission,
    Parameters,
}

impl Step {
    const ALL: [Self; 6] = [
        Self::Expiry,
        Self::Hostname,
        Self::Route,
        Self::Owner,
        Self::Permission,
        Self::Parameters,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Expiry => "expiry",
            Self::Hostname => "hostname",
            Self::Route => "route",
            Self::Owner => "owner",
            Self::Permission => "permission",
            Self::Parameters => "parameters",
        }
    }

    fn refusing(denial: &Denial) -> Self {
        match denial {
            Denial::TokenExpired => Self::Expiry,
            Denial::HostnameMismatch { .. } => Self::Hostname,
            Denial::RouteNotAllowed { .. } => Self::Route,
            Denial::PermissionDenied { .. } => Self::Permission,
            Denial::ParameterNotAllowed { .. } | Denial::MalformedBody { .. } => Self::Parameters,
        }
    }
}

impl Account {
    pub(super) fn pass(&mut self, step: &'static str, says: String, rule: Option<String>) {
        self.verdict = "permit";
        self.steps.push(StepAccount { step, passed: true, says, rule });
    }

    pub(super) fn refuse(
        &mut self,
        step: &'static str,
        says: String,
        code: &str,
        rule: Option<String>,
    ) {
        self.verdict = "deny";
        self.code = Some(code.to_owned());
        self.steps.push(StepAccount { step, passed: false, says, rule });
    }

    /// The steps that were passed before `end`.
    pub(super) fn up_to(&mut self, end: Step, bench: &Bench, grant: &Grant, asked: &Asked<'_>) {
        let found = bench.table.routes.look_up(asked.method, &asked.path);
        let operation = found.map(|(operation, _)| operation);
        for step in Step::ALL.into_iter().filter(|step| *step < end) {
            let agent = bench.owner.or(found.and_then(|(_, agent)| agent));
            if let Some((says, rule)) = passed(step, bench, grant, operation, agent) {
                self.pass(step.name(), says, rule);
            }
        }
    }

    pub(super) fn permit(
        &mut self,
        bench: &Bench,
        grant: &Grant,
        asked: &Asked<'_>,
        permit: &Permit<'_>,
    ) {
        self.up_to(Step::Permission, bench, grant, asked);
        let operation = permit.operation();
        for step in [Step::Permission, Step::Parameters] {
            if let Some((says, rule)) = passed(step, bench, grant, operation, permit.agent()) {
                self.pass(step.name(), says, rule);
            }
        }
        self.sent = Some(format!("{} {}", permit.method(), permit.target()));
    }

    pub(super) fn deny(
        &mut self,
        bench: &Bench,
        grant: &Grant,
        asked: &Asked<'_>,
        denial: &Denial,
    ) {
        let step = Step::refusing(denial);
        self.up_to(step, bench, grant, asked);
        let operation = bench.table.routes.look_up(asked.method, &asked.path);
        let rule = rule_of(bench, operation.map(|(operation, _)| operation), denial);
        self.refuse(step.name(), denial.to_string(), denial.code(), rule);
    }
}

/// What a step that was passed says, and its rule; `None` when there was nothing to judge.
fn passed(
    step: Step,
    bench: &Bench,
    grant: &Grant,
    operation: Option<&Operation>,
    agent: Option<AgentId>,
) -> Option<(String, Option<String>)> {
    let entry = operation.map(|operation| bench.rule(operation.lines.entry));
    Some(match step {
        Step::Expiry => (format!("the token lives until {:.3}", grant.expires_at), None),
        Step::Hostname => (format!("the request comes from `{}`", grant.host.serialised()), None),
        Step::Route => {
            let operation = operation?;
            let Verdict::Open { permission } = operation.verdict else { return None };
            (format!("`{}` is open, and needs `{permission}`", operation.name), entry)
        }
        Step::Owner => {
            let looked_up = operation?.agent.is_looked_up();
            let owner = bench.owner.filter(|_| looked_up)?;
            (format!("what the path names belongs to {owner}"), None)
        }
        Step::Permission => {
            let agent = agent?;
            let access = grant.access_to(agent);
            (format!("the policy gives `{access}` for {agent}"), Some("the token's policy".into()))
        }
        Step::Parameters => ("every query key and body field is admitted".to_owned(), entry),
    })
}

/// Where the rule that refused stands.
fn rule_of(bench: &Bench, operation: Option<&Operation>, denial: &Denial) -> Option<String> {
    match denial {
        Denial::TokenExpired | Denial::HostnameMismatch { .. } => Some("the token".to_owned()),
        Denial::PermissionDenied { .. } => Some("the token's policy".to_owned()),
        Denial::MalformedBody { .. } => None,
        Denial::RouteNotAllowed { .. } => match operation {
            Some(operation) => Some(bench.rule(operation.lines.entry)),
            None => Some(format!("{}: nothing names it", bench.table.file)),
        },
        Denial::ParameterNotAllowed { place, .. } => {
            let lines = operation?.lines;
            let line = match place {
                Place::Query => lines.query,
                Place::Body => lines.body,
                Place::Path => None,
            };
            Some(bench.rule(line.unwrap_or(lines.entry)))
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let verdict = if step.passed { "yes" } else { "NO" };
            writeln!(f, "{:<11} {verdict:<4} {}", step.step, step.says)?;
            if let Some(rule) = &step.rule {
                writeln!(f, "{:<16} rule: {rule}", "")?;
            }
        }
        match (&self.code, &self.sent) {
            (Some(code), _) => writeln!(f, "\nrefused: {code}")?,
            (None, Some(sent)) => writeln!(f, "\npermitted: {sent}")?,
            (None, None) => writeln!(f, "\npermitted")?,
        }
        if !self.changes.is_empty() {
            writeln!(f, "\nwhat would permit it:")?;
        }
        for change in &self.changes {
            write!(f, "  {}: {}", change.of, change.how)?;
            match &change.at {
                Some(at) => writeln!(f, " ({at})")?,
                None => writeln!(f)?,
            }
        }
        if self.permitted_after_changes == Some(false) {
            writeln!(f, "  (further steps could not be judged before this is changed)")?;
        }
        Ok(())
    }
}
