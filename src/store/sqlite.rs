//! SQLite.
/// Settings.
pub struct SqliteSettings;
/// Store.
pub struct SqliteStore;
