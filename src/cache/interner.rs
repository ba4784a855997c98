use std::hash::Hash;
use std::sync::Arc;

use moka::sync::Cache;

use crate::policy::BoundHost;
use crate::token::{AccountName, Record};

/// What many records have in common, kept once: an application has one account and few hostnames, however
/// many tokens. Less memory; and where a record is in memory that nothing has touched lately, these parts
/// usually are not.
#[derive(Debug)]
pub(super) struct Interner {
    accounts: Cache<AccountName, AccountName>,
    hostnames: Cache<Arc<str>, Arc<str>>,
    hosts: Cache<BoundHost, BoundHost>,
}

impl Interner {
    /// Most values of a kind: where there are more, some records keep theirs to themselves.
    const VALUES_MAX: u64 = 4096;

    pub(super) fn new() -> Self {
        Self {
            accounts: Cache::new(Self::VALUES_MAX),
            hostnames: Cache::new(Self::VALUES_MAX),
            hosts: Cache::new(Self::VALUES_MAX),
        }
    }

    /// The same record, in parts that equal records share.
    pub(super) fn intern(&self, mut record: Record) -> Record {
        record.account = the_one(&self.accounts, &record.account);
        record.hostname = the_one(&self.hostnames, &record.hostname);
        record.grant.host = the_one(&self.hosts, &record.grant.host);
        record
    }
}

/// An equal value that is kept already, or else this one.
fn the_one<T: Clone + Eq + Hash + Send + Sync + 'static>(kept: &Cache<T, T>, value: &T) -> T {
    kept.get_with_by_ref(value, || value.clone())
}
