//! The keys that tokens are derived from, and how long a token may live.
//!
//! Owns the one file this program ever makes for itself: the master key of a single machine. Must
//! always hold: a key is made only where no store exists yet, and never in the place of another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Place, quoted};
use super::raw::{Table, Value};
use super::reader::{Context, Section};
use super::secret::{self, Source};
use super::{StoreConfig, days, minutes};
use crate::token::{KeyRing, MasterKey};

/// How long a token lives when its maker does not say.
const LIFETIME_DEFAULT: Duration = minutes(5);

/// How client tokens are made.
#[derive(Debug)]
pub struct Tokens {
    /// The keys; all verify, the first mints. From `tokens.keys`, default
    /// `[{ id = 1, file = "ckgate.key" }]` beside the store, made at the first start.
    pub keys: KeyRing,
    /// Lifetime of a token made without `expires_at`: 5 minutes, not configurable.
    pub default_lifetime: Duration,
    /// Longest lifetime that may be asked for. Default 30 days.
    pub max_lifetime: Duration,
}

/// What to do about a key file that is not there and may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingKeyFile {
    /// Make it.
    Create,
    /// Go on with a key that ends with the process.
    Leave,
}

/// Tokens as far as they can be read without writing anything.
pub(super) struct Draft {
    keys: Vec<(u8, Key)>,
    max_lifetime: Duration,
}

enum Key {
    Held(MasterKey),
    ToCreate { file: PathBuf, place: Place },
}

impl Draft {
    pub(super) fn read(section: &mut Section<'_>, store: &StoreConfig) -> Self {
        let max_lifetime = section.duration("max_lifetime", days(30), LIFETIME_DEFAULT..=days(366));
        let list = section.take("keys").unwrap_or_else(|| {
            let Some(path) = store.sqlite_path() else {
                // Every gate needs the same: none can make them for itself.
                return Value::List(Vec::new()).at(Place::Whole);
            };
            let file = path.with_file_name("ckgate.key");
            let file = Value::Text(file.to_string_lossy().into_owned()).at(Place::Whole);
            let id = Value::Integer(1).at(Place::Whole);
            let key = Table::from([("id".to_owned(), id), ("file".to_owned(), file)]);
            Value::List(vec![Value::Table(key).at(Place::Whole)]).at(Place::Whole)
        });
        let place = list.place.clone();
        let context = &mut *section.context;
        let problems_before = context.problems.len();
        let keys = context.read_each("tokens.keys", list, |section, place| {
            let id = key_id(section, &place);
            let source = secret::source(section, place.clone())?;
            let path = section.path("");
            let key = key(section.context, path.trim_end_matches('.'), place, &source, store)?;
            Some((id?, key))
        });
        let keys: Vec<(u8, Key)> = keys.into_iter().flatten().collect();
        for (at, (id, _)) in keys.iter().enumerate() {
            if keys.iter().take(at).any(|(earlier, _)| earlier == id) {
                context.problem(place.clone(), format!("two of `tokens.keys` have the id `{id}`"));
            }
        }
        if keys.is_empty() && context.problems.len() == problems_before {
            let message = match store {
                StoreConfig::Sqlite(_) => "`tokens.keys` is empty: `ckgate key new` prints a key",
                StoreConfig::Postgres(_) => {
                    "`tokens.keys` is missing: gates that share a store need the same keys; \
                     `ckgate key new` prints one"
                }
            };
            context.problem(place, message);
        }
        Self { keys, max_lifetime }
    }

    /// Makes the missing key files, if that is wanted; to be called when nothing else is wrong.
    pub(super) fn settle(self, missing: MissingKeyFile) -> Result<Tokens, (Place, String)> {
        let mut masters = Vec::with_capacity(self.keys.len());
        for (id, key) in self.keys {
            let master = match key {
                Key::Held(master) => master,
                Key::ToCreate { file, place } => {
                    let failed = |error| {
                        let file = quoted(&file.to_string_lossy());
                        (place.clone(), format!("the key file {file} cannot be made: {error}"))
                    };
                    let master = MasterKey::generate()
                        .map_err(|_| failed(io::Error::other("there is no randomness")))?;
                    if missing == MissingKeyFile::Create {
                        create(&file, &master).map_err(failed)?;
                    }
                    master
                }
            };
            masters.push((id, master));
        }
        let keys =
            KeyRing::new(&masters).map_err(|e| (Place::Whole, format!("`tokens.keys`: {e}")))?;
        Ok(Tokens { keys, default_lifetime: LIFETIME_DEFAULT, max_lifetime: self.max_lifetime })
    }
}

fn key_id(section: &mut Section<'_>, place: &Place) -> Option<u8> {
    if !section.has("id") {
        let message = format!("`{}` is missing", section.path("id"));
        section.context.problem(place.clone(), message);
    }
    // Zero stands for none: the ids that may be written begin at 1.
    let id = section.integer("id", 0, 1..=255);
    (id != 0).then_some(id)
}

fn key(
    context: &mut Context,
    path: &str,
    place: Place,
    source: &Source,
    store: &StoreConfig,
) -> Option<Key> {
    if let Source::File(file) = source {
        let file = PathBuf::from(file);
        // A link to nowhere is there, and its own problem when it is read.
        if fs::symlink_metadata(&file).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            context.files.push(file.clone());
            let Some(store) = store.sqlite_path() else {
                let message = format!(
                    "`{path}`: the key file {} is missing: gates that share a store need the same \
                     keys, so none makes its own; `ckgate key new` prints one",
                    quoted(&file.to_string_lossy())
                );
                context.problem(place, message);
                return None;
            };
            if !holds_something(store) {
                return Some(Key::ToCreate { file, place });
            }
            let (file, store) = (file.to_string_lossy(), store.to_string_lossy());
            let message = format!(
                "`{path}`: the key file {} is missing, but the store {} is there: with another key \
                 all its tokens would be dead; put the key file back, or remove the store",
                quoted(&file),
                quoted(&store)
            );
            context.problem(place, message);
            return None;
        }
    }
    let master = secret::fetch(context, source).and_then(|secret| {
        MasterKey::parse(secret.expose()).map_err(|e| format!("this is no master key: {e}"))
    });
    master.map_err(|error| context.problem(place, format!("`{path}`: {error}"))).ok().map(Key::Held)
}

/// Whether a store is there. An empty file is none yet; when in doubt there is one.
fn holds_something(store: &Path) -> bool {
    match fs::metadata(store) {
        Ok(metadata) => metadata.len() > 0,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Writes a new key file that only its owner can read, and which was not there before.
fn create(path: &Path, master: &MasterKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file
        .write_all(master.to_text().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key would keep the next start from making a whole one.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    // The name has to be as durable as the content: tokens depend on it from now on.
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
