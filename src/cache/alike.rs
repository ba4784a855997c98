use std::hash::Hash;
use std::sync::Arc;

use moka::sync::Cache;

use crate::policy::BoundHost;
use crate::token::{AccountName, Record};

/// What many records have in common, kept once: an application has one account and few hostnames, however
/// many tokens. Less memory; and of a record that nothing has touched lately, these parts have been.
#[derive(Debug)]
pub(super) struct Alike {
    accounts: Cache<AccountName, AccountName>,
    hostnames: Cache<Arc<str>, Arc<str>>,
    hosts: Cache<BoundHost, BoundHost>,
}

impl Alike {
    /// Most values of a kind: where there are more, the rarest are kept with their records.
    const VALUES_MAX: u64 = 4096;

    pub(super) fn new() -> Self {
        Self {
            accounts: Cache::new(Self::VALUES_MAX),
            hostnames: Cache::new(Self::VALUES_MAX),
            hosts: Cache::new(Self::VALUES_MAX),
        }
    }

    /// The same record, in the parts that it shares with others.
    pub(super) fn share(&self, mut record: Record) -> Record {
        record.account = the_one(&self.accounts, &record.account);
        record.hostname = the_one(&self.hostnames, &record.hostname);
        record.grant.host = the_one(&self.hosts, &record.grant.host);
        record
    }
}

/// The value that was the first of those that equal it.
fn the_one<T: Clone + Eq + Hash + Send + Sync + 'static>(known: &Cache<T, T>, value: &T) -> T {
    known.get_with_by_ref(value, || value.clone())
}
