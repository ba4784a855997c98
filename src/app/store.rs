use super::running::StartError;
use crate::config::{PostgresConfig, StoreConfig, StoreTls};
use crate::store::{PostgresSettings, PostgresStore, SqliteSettings, SqliteStore, Store, Tls};

/// Opens the store that the configuration names.
pub fn open_store(config: &StoreConfig) -> Result<Store, StartError> {
    Ok(match config {
        StoreConfig::Sqlite(path) => {
            Store::Sqlite(SqliteStore::open(&SqliteSettings::at(path)).map_err(StartError::Store)?)
        }
        StoreConfig::Postgres(config) => Store::Postgres(
            PostgresStore::open(&postgres_settings(config)).map_err(StartError::SharedStore)?,
        ),
    })
}

/// A shared store as the configuration describes it.
#[must_use]
pub fn postgres_settings(config: &PostgresConfig) -> PostgresSettings {
    PostgresSettings {
        server: config.server.clone(),
        listen_server: config.listen_server.clone(),
        tls: match &config.tls {
            StoreTls::Off => Tls::Off,
            StoreTls::Verified { roots, own } => {
                Tls::Verified { authorities: roots.clone(), own: own.clone() }
            }
        },
        notify: config.notify,
        connections_max: config.connections_max,
        connect_timeout: config.connect_timeout,
        pool_timeout: config.pool_timeout,
        query_timeout: config.query_timeout,
    }
}
