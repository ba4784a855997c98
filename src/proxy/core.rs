use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::body::BodyLimits;
use super::identify::Accounts;
use super::owners::Owners;
use crate::activity::Activity;
use crate::answer::RequestId;
use crate::audit::{Observers, Operation};
use crate::cache::{BoundOrigins, Front, Known, OpenStreams, Rates, Records, UsageBook};
use crate::clock::{Clock, monotonic};
use crate::config::Preflight;
use crate::policy::{self, Bounds, RouteTable, WithoutOrigin};
use crate::store::Store;
use crate::telemetry::{Metrics, OperationCounters};
use crate::token::{KeyRing, TokenDigits};
use crate::upstream::Client;

/// What all cores share.
pub struct Gate {
    /// The operations there are.
    pub routes: RouteTable,
    /// Who may use server keys.
    pub accounts: Accounts,
    /// What makes and verifies tokens.
    pub keys: Arc<KeyRing>,
    /// Records, and the deletions known.
    pub records: Arc<Records<Store>>,
    /// Streams that can be cut.
    pub streams: Arc<OpenStreams>,
    /// How fast each token may ask.
    pub rates: Rates,
    /// How often each token was used, on its way to the store.
    pub usage: Arc<UsageBook>,
    /// Origins that tokens are bound to.
    pub origins: Arc<BoundOrigins<Store>>,
    /// Whose conversations and runs are.
    pub owners: Owners,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What has lately happened, where somebody looks at it live.
    pub activity: Option<Arc<Activity>>,
    /// The rest of the configuration that the data path needs.
    pub rules: Rules,
}

/// Configuration of the data path.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What to do without an `Origin`.
    pub without_origin: WithoutOrigin,
    /// Which preflights are granted.
    pub preflight: Preflight,
    /// How much of a request the policy looks at.
    pub bounds: Bounds,
    /// Limits of a body that is inspected.
    pub inspected_body: BodyLimits,
    /// Limits of a body that is passed on unread.
    pub streamed_body: BodyLimits,
    /// Largest answer that is redacted, in bytes.
    pub redacted_answer_bytes_max: usize,
    /// How long a stream may outlive its token.
    pub expiry_grace: SignedDuration,
    /// One request in so many is traced; 0: none.
    pub trace_one_in: u32,
}

/// One core's part of the gate: its upstream connections, its front cache, its request ids.
pub struct Core {
    /// What all cores share.
    pub gate: Arc<Gate>,
    /// This core's connections to the upstream.
    pub upstream: Rc<Client>,
    pub(super) front: RefCell<Front>,
    /// Who is told of this core's requests.
    pub(super) observers: Rc<Observers>,
    /// The counters of every operation, in the order of the route table.
    operations: Vec<Rc<OperationCounters>>,
    request_ids: Cell<u128>,
    /// Tokens that were used since the last [`Core::tell_usage`].
    used: RefCell<Vec<Rc<Known>>>,
}

impl Core {
    /// A core. `seed` makes its request ids differ from every other core's, and from those of
    /// every other start.
    #[must_use]
    pub fn new(gate: Arc<Gate>, upstream: Rc<Client>, seed: u64) -> Self {
        let request_ids = Cell::new(u128::from(seed) << 64 | u128::from(seed.rotate_left(32)));
        let operations = gate.routes.operations().iter();
        let operations = operations.map(|operation| {
            let metrics = Arc::clone(&gate.metrics);
            Rc::new(OperationCounters::new(&operation.name, operation.path(), metrics))
        });
        let operations = operations.collect();
        let (metrics, activity) = (Arc::clone(&gate.metrics), gate.activity.clone());
        Self {
            front: RefCell::new(gate.records.front()),
            observers: Rc::new(Observers { metrics, activity }),
            gate,
            upstream,
            operations,
            request_ids,
            used: RefCell::default(),
        }
    }

    /// Has what is known of a credential brought from memory, while the rest of its request is looked at.
    pub(super) fn expect(&self, credential: &[u8]) {
        if let Some(token) = TokenDigits::of(credential) {
            self.front.borrow().expect(&token);
        }
    }

    /// Counts a permitted request.
    pub(super) fn count(
        &self,
        known: &Rc<Known>,
        operation: Option<&policy::Operation>,
        now: Timestamp,
    ) {
        let permission = operation.and_then(policy::Operation::permission);
        if permission.is_some_and(|permission| known.usage.count(permission, now)) {
            self.used.borrow_mut().push(Rc::clone(known));
        }
    }

    /// Lets go of tokens that nobody has used for a while; to be called every second.
    pub fn prune_front(&self) {
        self.front.borrow_mut().prune(monotonic());
    }

    /// Takes the front cache of a core that serves no longer.
    pub fn retire_front(&self) -> Front {
        self.front.replace(self.gate.records.front())
    }

    /// Passes on what was counted since the last time.
    pub fn tell_usage(&self) {
        let used = self.used.take();
        if !used.is_empty() {
            self.gate.usage.add(used.iter().flat_map(|known| known.usage.take(known.record.id)));
        }
    }

    /// An operation's name in logs and metrics.
    pub(super) fn name(&self, operation: Option<&policy::Operation>) -> Operation {
        let counters = operation.and_then(|operation| self.operations.get(operation.number));
        counters.map_or(Operation::Unknown, |counters| Operation::Routed(Rc::clone(counters)))
    }

    /// A fresh request id.
    pub fn next_request_id(&self) -> RequestId {
        // An odd multiplier spreads consecutive numbers over the low half, which is the span id.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15;
        let number = self.request_ids.get().wrapping_add(1);
        self.request_ids.set(number);
        let low = (number & u128::from(u64::MAX)).wrapping_mul(SPREAD) & u128::from(u64::MAX);
        let id = RequestId::new(number & !u128::from(u64::MAX) | low);
        id.sampled(self.gate.rules.trace_one_in)
    }
}

/// A request that has waited, for a body or an owner, may be counted when all others go on with the next
/// configuration, and this core is told nothing more.
impl Drop for Core {
    fn drop(&mut self) {
        self.tell_usage();
    }
}
