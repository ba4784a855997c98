//! `ckgate store`: preparing a shared store, and moving into it.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::{Migrate, Store, Target};
use super::{Environment, Outcome, print_line, secret_in};
use crate::app;
use crate::config::{CommandLine, Config, PostgresConfig, StoreConfig};
use crate::store::{
    PostgresSettings, PostgresStore, SqliteExport, SqliteSettings, TokenStore as _,
};
use crate::tls::PairFiles;
use crate::token::{Record, TokenId};

/// Records moved at once.
const STEP: u32 = 1000;
/// A step is larger than what a gate asks.
const QUERY_TIMEOUT: Duration = Duration::from_mins(1);

pub(super) fn execute(command: &Store, environment: &Environment) -> Outcome {
    match command {
        Store::Prepare(target) => {
            PostgresStore::prepare(&settings(target, environment)?)?;
            print_line("the tables are there and up to date")
        }
        Store::Migrate(options) => migrate(options, environment),
    }
}

fn settings(
    target: &Target,
    environment: &Environment,
) -> Result<PostgresSettings, Box<dyn Error>> {
    let config = match (&target.to, &target.config) {
        (Some(url), _) => {
            let password = target.password_env.as_deref();
            let password = password.map(|name| secret_in(environment, name)).transpose()?;
            let password = password.as_ref().map(crate::token::Secret::expose);
            let pair = (target.certificate.clone(), target.key.clone());
            let own = match pair {
                (Some(certificate), Some(key)) => Some(PairFiles { certificate, key }),
                _ => None,
            };
            StoreConfig::postgres(url, password, target.tls_roots.clone(), own)
                .map_err(|problem| format!("`--to`: {problem}"))?
        }
        (None, Some(file)) => from_file(file, environment)?,
        (None, None) => return Err("name the store: `--to` or `--config`".into()),
    };
    let StoreConfig::Postgres(config) = config else {
        return Err("the configured store is not a PostgreSQL".into());
    };
    Ok(patient(&config))
}

/// A shared store for a command: nobody listens, and an answer may take longer.
pub(super) fn patient(config: &PostgresConfig) -> PostgresSettings {
    let config = config.clone();
    let config = PostgresConfig { notify: false, query_timeout: QUERY_TIMEOUT, ..config };
    app::postgres_settings(&config)
}

fn from_file(file: &Path, environment: &Environment) -> Result<StoreConfig, Box<dyn Error>> {
    let variables = environment.clone();
    Ok(Config::check(Some(file), variables, CommandLine::default())?.store)
}

fn migrate(options: &Migrate, environment: &Environment) -> Outcome {
    let path =
        options.from.strip_prefix("sqlite:").ok_or("`--from` must be `sqlite:` and a path")?;
    if !Path::new(path).exists() {
        return Err(format!("there is no store at `{path}`").into());
    }
    let source = SqliteExport::open(&SqliteSettings::at(path))?;
    let target = PostgresStore::open(&settings(&options.target, environment)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let moved = move_over(&source, &target).await?;
        verify(&source, &target).await?;
        print_line(&format!(
            "moved {} records ({} were there already) and {} deletions; every one was read back \
             and compared",
            moved.new,
            moved.records - moved.new,
            moved.deletions
        ))
    })
}

/// What a move came to.
#[derive(Default)]
struct Moved {
    records: u64,
    new: u64,
    deletions: u64,
}

async fn move_over(source: &SqliteExport, target: &PostgresStore) -> Result<Moved, Box<dyn Error>> {
    let (records, deletions) = source.counts()?;
    let bar = bar("moving", records + deletions);
    let mut moved = Moved::default();
    let mut after = None;
    loop {
        let page = source.records(after, STEP)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let ids: Vec<TokenId> = page.iter().map(|record| record.id).collect();
        let count = page.len() as u64;
        moved.records += count;
        moved.new += target.import(page).await?;
        let usage = source.usage(&ids)?;
        if !usage.is_empty() {
            target.import_usage(usage).await?;
        }
        bar.inc(count);
    }
    // After the records: what a gate has deleted meanwhile is deleted here as well.
    let mut after = 0;
    loop {
        let page = source.deletions(after, STEP)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        let count = page.len() as u64;
        moved.deletions += count;
        target.import_deletions(page.into_iter().map(|(_, deletion)| deletion).collect()).await?;
        bar.inc(count);
    }
    bar.finish_and_clear();
    Ok(moved)
}

/// Reads everything again, from both, and compares.
async fn verify(source: &SqliteExport, target: &PostgresStore) -> Outcome {
    let (records, deletions) = source.counts()?;
    let bar = bar("verifying", records + deletions);
    let mut after = None;
    loop {
        let page = source.records(after, STEP)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let mut held = target.records(page.iter().map(|record| record.id).collect()).await?;
        held.sort_unstable_by_key(|record| record.id);
        if let Some(wrong) = first_difference(&page, &held) {
            // Deleted at the new place meanwhile, perhaps: that is where it counts from now on.
            if target.get(wrong).await?.is_some() || target.deleted_among(vec![wrong]).await? == 0 {
                return Err(format!("token {wrong} is not the same at both places").into());
            }
        }
        bar.inc(page.len() as u64);
    }
    let mut after = 0;
    loop {
        let page = source.deletions(after, STEP)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        let ids: Vec<TokenId> = page.iter().map(|(_, deletion)| deletion.id).collect();
        let count = ids.len() as u64;
        if !target.records(ids.clone()).await?.is_empty() {
            return Err("a deleted token is live at the new place: move again".into());
        }
        if target.deleted_among(ids).await? != count {
            return Err("a deletion is missing at the new place: move again".into());
        }
        bar.inc(count);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The first record that is not the same on both sides, both in the order of ids.
fn first_difference(ours: &[Record], theirs: &[Record]) -> Option<TokenId> {
    let mut theirs = theirs.iter();
    ours.iter().find(|ours| theirs.next() != Some(ours)).map(|record| record.id)
}

/// Shown on a terminal only.
fn bar(what: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {per_sec} {eta}");
    let bar = ProgressBar::new(total).with_prefix(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
