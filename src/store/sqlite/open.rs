//! Making, checking and migrating the file, and the connections to it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use refinery::{Migration, Runner};
use rusqlite::{Connection, OpenFlags};

use super::SqliteSettings;
use super::fault::Fault;

/// Marks the file as a ckgate store, in the header field `SQLite` has for it: `ckgt`.
const APPLICATION_ID: i32 = 0x636b_6774;
/// The schema this version reads and writes: that of the last migration.
const SCHEMA_VERSION: i32 = 2;
/// Every step of the schema, oldest first. A step that was released is never edited.
const MIGRATIONS: [(&str, &str); 2] = [
    ("V1__tokens", include_str!("migrations/V1__tokens.sql")),
    ("V2__limits_and_usage", include_str!("migrations/V2__limits_and_usage.sql")),
];
/// The log is cut back to this size after it has been folded into the file.
const LOG_SIZE_KEPT_BYTES: u32 = 64 * 1024 * 1024;
/// Prepared statements kept by a connection; more than there are.
const STATEMENTS_KEPT: usize = 32;
/// Page size of the file.
const PAGE_SIZE_BYTES: u32 = 4096;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made or reached.
    #[error("the store file `{path}` cannot be made or opened")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is something else.
    #[error("`{path}` is not a ckgate store")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error(
        "the store `{path}` has schema {found}, and this ckgate knows schemas up to {known}: use the version that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i32,
        /// The newest schema known here.
        known: i32,
    },
    /// The file cannot be brought to this version's schema; it is as it was before.
    #[error("the store cannot be migrated")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The folder's file system cannot hold a write-ahead log (a network share, perhaps).
    #[error("the store needs a local file system: `{path}` cannot keep a write-ahead log")]
    Log {
        /// The file.
        path: PathBuf,
    },
    /// `SQLite` cannot open it.
    #[error("the store `{path}` cannot be opened")]
    Engine {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The operating system gives no thread.
    #[error("the store's threads cannot be started")]
    Thread(#[source] io::Error),
}

/// An open store, before its threads run.
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    pub(super) file: Arc<OpenFile>,
}

/// Which files are open, to notice when their paths no longer lead to them.
pub(super) struct OpenFile {
    store: (PathBuf, FileIdentity),
    log: (PathBuf, FileIdentity),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

/// Opens or makes the store that `settings` describes.
pub(super) fn open(settings: &SqliteSettings) -> Result<Opened, OpenError> {
    let path = make_file(&settings.path)
        .map_err(|source| OpenError::File { path: settings.path.clone(), source })?;
    let engine = |source| match source {
        rusqlite::Error::SqliteFailure(failure, _)
            if failure.code == rusqlite::ErrorCode::NotADatabase =>
        {
            OpenError::Foreign { path: path.clone() }
        }
        source => OpenError::Engine { path: path.clone(), source },
    };

    let mut writer = connect(&path, settings, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(engine)?;
    check_schema(&writer, &path, &engine)?;
    prepare_writer(&writer, settings, &path, &engine)?;
    migrate(&mut writer, &engine)?;
    // From here on the writer does its own waiting.
    writer.busy_timeout(Duration::ZERO).map_err(engine)?;
    // SQLite has the log open from here on: it keeps it from the first read to the last close.
    let file = Arc::new(
        OpenFile::at(&path).map_err(|source| OpenError::File { path: path.clone(), source })?,
    );
    let reader = |_| connect(&path, settings, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(engine);
    let readers = (0..settings.readers.get()).map(reader).collect::<Result<_, _>>()?;
    Ok(Opened { writer, readers, file })
}

/// Makes the file, readable by its owner alone, unless it is there. `SQLite` gives the log and the
/// shared-memory file the same mode. Returns a path that means the same file from everywhere, and
/// that `SQLite` cannot take for one of its special names.
///
/// An existing file is not opened: closing it again would release the locks that another store in
/// this process holds on it.
fn make_file(path: &Path) -> io::Result<PathBuf> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    fs::canonicalize(path)
}

fn connect(
    path: &Path,
    settings: &SqliteSettings,
    mode: OpenFlags,
) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread, so SQLite's own mutex is not needed.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(settings.busy_wait)?;
    connection.pragma_update(None, "cache_size", -i64::from(settings.cache_kib))?;
    // The file's contents cannot make SQLite run functions, and damage is looked for in every page.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// Refuses files that are not a store, and stores that are newer than this program, before anything
/// is changed in them. A fresh file is marked as a store.
fn check_schema(
    connection: &Connection,
    path: &Path,
    engine: &impl Fn(rusqlite::Error) -> OpenError,
) -> Result<(), OpenError> {
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(engine)?;
    if application != APPLICATION_ID {
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(engine)?;
        if application != 0 || tables != 0 {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
        connection.pragma_update(None, "page_size", PAGE_SIZE_BYTES).map_err(engine)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(engine)?;
    }
    match schema_version(connection).map_err(engine)? {
        found if found > SCHEMA_VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION })
        }
        _ => Ok(()),
    }
}

/// The last migration applied; 0 before the first.
fn schema_version(connection: &Connection) -> rusqlite::Result<i32> {
    let has_history: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history')",
        [],
        |row| row.get(0),
    )?;
    if !has_history {
        return Ok(0);
    }
    connection.query_row(
        "SELECT coalesce(max(version), 0) FROM refinery_schema_history",
        [],
        |row| row.get(0),
    )
}

fn prepare_writer(
    connection: &Connection,
    settings: &SqliteSettings,
    path: &Path,
    engine: &impl Fn(rusqlite::Error) -> OpenError,
) -> Result<(), OpenError> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(engine)?;
    if mode != "wal" {
        return Err(OpenError::Log { path: path.to_owned() });
    }
    // FULL syncs the log at every commit: acknowledged writes survive the loss of power.
    connection.pragma_update(None, "synchronous", "full").map_err(engine)?;
    for (limit, value) in [
        ("wal_autocheckpoint", settings.checkpoint_pages),
        ("journal_size_limit", LOG_SIZE_KEPT_BYTES),
        ("max_page_count", settings.pages_max),
    ] {
        connection.pragma_update_and_check(None, limit, value, |_| Ok(())).map_err(engine)?;
    }
    Ok(())
}

/// Brings the schema to this version, in one transaction. Does nothing when it is there already:
/// opening a store must not depend on how much is in it.
fn migrate(
    connection: &mut Connection,
    engine: &impl Fn(rusqlite::Error) -> OpenError,
) -> Result<(), OpenError> {
    if schema_version(connection).map_err(engine)? == SCHEMA_VERSION {
        return Ok(());
    }
    let outcome = MIGRATIONS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()
        .and_then(|steps| Runner::new(&steps).set_grouped(true).run(connection));
    match outcome {
        Ok(_) => Ok(()),
        // Another process may have migrated the file at the same time.
        Err(_) if schema_version(connection).is_ok_and(|found| found == SCHEMA_VERSION) => Ok(()),
        Err(error) => Err(OpenError::Migration(Box::new(error))),
    }
}

impl OpenFile {
    fn at(path: &Path) -> io::Result<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = PathBuf::from(log);
        let (store_identity, log_identity) = (identity(path)?, identity(&log)?);
        Ok(Self { store: (path.to_owned(), store_identity), log: (log, log_identity) })
    }

    /// Whether both paths still lead to the files that are open.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let in_place =
            |(path, opened): &(PathBuf, FileIdentity)| identity(path).is_ok_and(|i| i == *opened);
        if in_place(&self.store) && in_place(&self.log) { Ok(()) } else { Err(Fault::Moved) }
    }
}

fn identity(path: &Path) -> io::Result<FileIdentity> {
    let metadata = fs::symlink_metadata(path)?;
    Ok(FileIdentity { device: metadata.dev(), inode: metadata.ino() })
}
