use super::problem::{Place, quoted};
use super::raw::{Node, Table, Value};
use super::reader::{Context, Section};
use super::{secret, upstream};
use crate::policy::AgentId;
use crate::token::{AccountName, Secret, TokenLimits};

/// What every server key starts with.
pub const SERVER_KEY_PREFIX: &str = "sk-let-";
/// Fewest characters of a server key after its prefix.
const SERVER_KEY_RANDOM_MIN: usize = 32;
/// Most characters of a server key.
const SERVER_KEY_LENGTH_MAX: usize = 200;
/// The variable that holds the default account's server key when there are no accounts.
const SERVER_KEY_VARIABLE: &str = "CKGATE_SERVER_KEY";

/// An owner of server keys and tokens. Without any account in the configuration there is one,
/// `default`, whose server key is in the variable `CKGATE_SERVER_KEY`.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name; unique.
    pub name: AccountName,
    /// Its server keys, all equally good; no key is in two accounts. Default: none.
    pub server_keys: Vec<Secret>,
    /// Sent upstream in the place of `upstream.credential`. Default: not set.
    pub credential: Option<Secret>,
    /// Limits of its tokens, where they have none of their own. Default: none, as for all.
    pub limits: TokenLimits,
    /// Whether refusals by the policy hold for its tokens. Default true; false is shadow mode.
    pub enforce: bool,
    /// The Letta user this account acts as, `user-` and a UUID of version 4. Default: not set.
    pub user_id: Option<String>,
}

/// Reads the accounts; afterwards at least one has a key, or there is a problem.
pub(super) fn read(root: &mut Section<'_>) -> Vec<Account> {
    let given = root.take("accounts");
    let context = &mut *root.context;
    let Some(list) = given.or_else(|| default_account(context)) else {
        context.problem(Place::Whole, format!("there is no server key: {REMEDY}"));
        return Vec::new();
    };
    let place = list.place.clone();
    let problems_before = context.problems.len();
    let mut keys_seen: Vec<(Secret, String)> = Vec::new();
    let accounts: Vec<Option<Account>> = context
        .read_each("accounts", list, |section, place| account(section, place, &mut keys_seen));
    let accounts: Vec<Account> = accounts.into_iter().flatten().collect();

    for (at, account) in accounts.iter().enumerate() {
        if accounts.iter().take(at).any(|earlier| earlier.name == account.name) {
            let message = format!("two accounts have the name `{}`", account.name);
            context.problem(place.clone(), message);
        }
    }
    let without_keys = accounts.iter().all(|account| account.server_keys.is_empty());
    if without_keys && context.problems.len() == problems_before {
        context.problem(place, format!("no account has a server key: {REMEDY}"));
    }
    accounts
}

const REMEDY: &str = "set `CKGATE_SERVER_KEY`, or give an account `server_keys`; \
                      `ckgate key new --server` prints a new one";

/// What stands in for accounts that nobody wrote down.
fn default_account(context: &Context) -> Option<Node> {
    if !context.environment.contains_key(SERVER_KEY_VARIABLE) {
        return None;
    }
    let place = || Place::Variable(SERVER_KEY_VARIABLE.to_owned());
    let text = |text: &str| Value::Text(text.to_owned()).at(place());
    let table = |key: &str, value| Value::Table(Table::from([(key.to_owned(), value)]));
    let key = table("env", text(SERVER_KEY_VARIABLE)).at(place());
    let account = Table::from([
        ("name".to_owned(), text("default")),
        ("server_keys".to_owned(), Value::List(vec![key]).at(place())),
    ]);
    Some(Value::List(vec![Value::Table(account).at(place())]).at(place()))
}

fn account(
    section: &mut Section<'_>,
    place: Place,
    keys_seen: &mut Vec<(Secret, String)>,
) -> Option<Account> {
    if !section.has("name") {
        let path = section.path("name");
        section.context.problem(place, format!("`{path}` is missing"));
    }
    let name = section.parsed("name", |text| {
        AccountName::parse(text).map_err(|_| {
            format!("must be 1 to 64 of `a-z`, `0-9`, `_` and `-`, not {}", quoted(text))
        })
    });
    let server_keys = server_keys(section, keys_seen);
    let credential = upstream::credential(section, false);
    let enforce = section.boolean("enforce", true);
    let user_id = section.parsed("user_id", user_id);
    let limits = section.section("limits", |section| TokenLimits {
        requests_per_minute: section
            .integer_or_none("requests_per_minute", 1..=TokenLimits::REQUESTS_PER_MINUTE_MAX),
        concurrent_streams: section.integer_or_none("concurrent_streams", 1..=10_000),
        stream_seconds: section.integer_or_none("stream_seconds", 1..=86_400),
    });
    Some(Account { name: name?, server_keys, credential, limits, enforce, user_id })
}

fn server_keys(section: &mut Section<'_>, keys_seen: &mut Vec<(Secret, String)>) -> Vec<Secret> {
    let path = section.path("server_keys");
    let Some(node) = section.take("server_keys") else { return Vec::new() };
    let context = &mut *section.context;
    let Value::List(items) = node.value else {
        let found = node.value.kind();
        context.problem(node.place, format!("`{path}` must be a list, not {found}"));
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let path = format!("{path}[{at}]");
        let place = item.place.clone();
        let Some(key) = secret::read(context, &path, item) else { continue };
        if !is_server_key(key.expose()) {
            context.problem(
                place,
                format!(
                    "`{path}` is no server key: that is `{SERVER_KEY_PREFIX}` and at least \
                     {SERVER_KEY_RANDOM_MIN} of `A-Z`, `a-z`, `0-9`, `_` and `-`, \
                     {SERVER_KEY_LENGTH_MAX} characters at most"
                ),
            );
            continue;
        }
        if let Some((_, first)) = keys_seen.iter().find(|(seen, _)| seen.expose() == key.expose()) {
            context.problem(place, format!("`{path}` is the same server key as `{first}`"));
            continue;
        }
        keys_seen.push((key.clone(), path));
        keys.push(key);
    }
    keys
}

/// Whether a text has the form of a server key.
#[must_use]
pub fn is_server_key(text: &str) -> bool {
    let admitted = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    text.len() <= SERVER_KEY_LENGTH_MAX
        && text
            .strip_prefix(SERVER_KEY_PREFIX)
            .is_some_and(|rest| rest.len() >= SERVER_KEY_RANDOM_MIN && rest.bytes().all(admitted))
}

/// `user-` and a UUID of version 4. The form is that of an agent id under another prefix.
fn user_id(text: &str) -> Result<String, String> {
    let uuid = text.strip_prefix("user-");
    match uuid.map(|uuid| AgentId::parse(&format!("agent-{uuid}"))) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => {
            Err(format!("must be `user-` and a lower-case UUID of version 4, not {}", quoted(text)))
        }
    }
}
