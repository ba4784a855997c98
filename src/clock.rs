//! The time: what tokens, records and the feed are held against is told here, so that tests can move it.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

/// Tells the wall-clock time. Safe to be ahead (tokens expire early), never to step back: a token
/// that has expired once must stay expired.
pub trait Clock: Send + Sync + 'static {
    /// The time now, never before an earlier answer.
    fn now(&self) -> Timestamp;

    /// The time at this moment, which is now or a little while ago: when the step under way began
    /// ([`step_time`]). Never before an earlier answer.
    fn at(&self, _moment: Instant) -> Timestamp {
        self.now()
    }
}

/// The monotonic time, which only differences are taken of. A test that pauses tokio's clock moves
/// it by hand.
#[must_use]
pub fn monotonic() -> std::time::Instant {
    Instant::now().into_std()
}

/// Where a core is in the step of the task it is at.
#[derive(Clone, Copy)]
enum Step {
    /// At a task that has no steps.
    Outside,
    /// Nobody has asked for the time yet.
    Begun,
    /// Somebody has.
    Timed(Instant),
}

thread_local! {
    static STEP: Cell<Step> = const { Cell::new(Step::Outside) };
    static TURN: Cell<Turn> = const { Cell::new(Turn { waits: 0, steps: 0 }) };
}

/// When the step under way first asked for the time: it is read once for all who ask here, since a
/// reading costs as much as looking a token up. For when something began, and for what goes by times far
/// longer than a step (deadlines, allowances a minute); not for whether a token may still be believed to
/// exist. Outside of [`Steps`], the time now.
#[must_use]
pub fn step_time() -> Instant {
    match STEP.get() {
        Step::Timed(at) => at,
        Step::Outside => Instant::now(),
        Step::Begun => {
            let now = Instant::now();
            STEP.set(Step::Timed(now));
            now
        }
    }
}

pin_project_lite::pin_project! {
    /// A task in steps: whatever it does between two waits is one.
    pub struct Steps<F> {
        #[pin]
        task: F,
    }
}

impl<F: Future> Steps<F> {
    /// Of this task.
    pub fn of(task: F) -> Self {
        Self { task }
    }
}

impl<F: Future> Future for Steps<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// Ends the step, also when the task panics.
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                STEP.set(Step::Outside);
            }
        }
        STEP.set(Step::Begun);
        Turn::has_taken_a_step();
        let _end = End;
        self.project().task.poll(cx)
    }
}

/// A moment in what a core's runtime does, turn by turn: it asks the system for news of all its connections
/// (waits for it, if there is nothing else to do), and then looks after tasks.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    waits: u64,
    steps: u64,
}

impl Turn {
    /// How many tasks the runtime looks after in a turn, at most (`event_interval`).
    pub const TASKS_MAX: u32 = 61;

    /// This moment, on this thread.
    #[must_use]
    pub fn now() -> Self {
        TURN.get()
    }

    /// Whether the runtime has surely asked for news since. Of the news of one moment it may hear a part a
    /// turn later: it takes 1,024 at a time, the oldest first.
    #[must_use]
    pub fn is_over(self) -> bool {
        let now = Self::now();
        now.waits != self.waits || now.steps.wrapping_sub(self.steps) > u64::from(Self::TASKS_MAX)
    }

    /// To be called whenever the runtime has waited (`on_thread_unpark`); where nobody does, few turns
    /// are known to be over.
    pub fn has_waited() {
        TURN.set(Self { waits: TURN.get().waits.wrapping_add(1), steps: 0 });
    }

    fn has_taken_a_step() {
        let Self { waits, steps } = TURN.get();
        TURN.set(Self { waits, steps: steps.wrapping_add(1) });
    }
}

/// The system's clock with a high-water mark: a clock that is set back stands still until it has
/// caught up, so no expired token comes back to life.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest_milliseconds: AtomicI64,
}

/// For how long the time is told from when it was read last: the wall clock, which may be set meanwhile, is
/// believed to the millisecond anyhow.
const READ_KEPT: Duration = Duration::from_millis(1);

thread_local! {
    /// When the wall clock was read last, and what it said.
    static READ: Cell<Option<(Instant, Timestamp)>> = const { Cell::new(None) };
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.not_before_earlier(Timestamp::now())
    }

    fn at(&self, moment: Instant) -> Timestamp {
        let last =
            READ.get().and_then(|(read, said)| Some((moment.checked_duration_since(read)?, said)));
        if let Some((since, said)) = last.filter(|(since, _)| *since < READ_KEPT)
            && let Ok(at) = said.checked_add(since)
        {
            return self.not_before_earlier(at);
        }
        let said = Timestamp::now();
        READ.set(Some((moment, said)));
        self.not_before_earlier(said)
    }
}

impl SystemClock {
    fn not_before_earlier(&self, now: Timestamp) -> Timestamp {
        let milliseconds = now.as_millisecond();
        let latest = self.latest_milliseconds.load(Ordering::Relaxed);
        if milliseconds > latest {
            self.latest_milliseconds.fetch_max(milliseconds, Ordering::Relaxed);
        } else if milliseconds < latest {
            return Timestamp::from_millisecond(latest).unwrap_or(now);
        }
        now
    }
}

/// A clock that a test moves by hand.
#[derive(Debug)]
pub struct ManualClock {
    milliseconds: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { milliseconds: AtomicI64::new(start.as_millisecond()) }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: SignedDuration) {
        let milliseconds = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.milliseconds.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let milliseconds = self.milliseconds.load(Ordering::SeqCst);
        Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
    }
}

/// A deadline that moves on far more often than it is reached. Its timer is set again only when it
/// has run out, or would run out too late.
#[derive(Debug)]
pub struct MovingDeadline {
    at: Instant,
    /// Set when it is first waited for: most deadlines have moved on by then.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer was told to wake.
    waiting: Option<Waker>,
}

impl MovingDeadline {
    /// A deadline at this moment.
    #[must_use]
    pub fn new(at: Instant) -> Self {
        Self { at, timer: None, waiting: None }
    }

    /// When it is.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Moves it.
    pub fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Ready when it has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(self.at)));
        let is_known = self.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker()));
        if is_known && timer.deadline() <= self.at && step_time() < timer.deadline() {
            // It has not run out, and will wake this task.
            return Poll::Pending;
        }
        if self.at < timer.deadline() {
            timer.as_mut().reset(self.at);
        }
        self.waiting = None;
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= self.at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.at);
        }
        // Where a step has used up what it may do, the timer was not even told whom to wake.
        self.waiting = coop::has_budget_remaining().then(|| cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;

    /// the system's clock has been set back by an hour.
    #[test]
    fn clock_that_is_set_back_stands_still_until_it_has_caught_up() {
        let clock = SystemClock::default();
        let ahead = Timestamp::now() + SignedDuration::from_hours(1);
        clock.latest_milliseconds.store(ahead.as_millisecond(), Ordering::Relaxed);
        assert_eq!(clock.now().as_millisecond(), ahead.as_millisecond());
        assert_eq!(clock.now().as_millisecond(), ahead.as_millisecond());
    }

    #[tokio::test(start_paused = true)]
    async fn time_stands_still_within_a_step_and_goes_on_in_the_next() {
        let task = async {
            let first = step_time();
            tokio::time::advance(Duration::from_secs(1)).await;
            let second = step_time();
            // Moves the clock without ending the step.
            let mut advance = std::pin::pin!(tokio::time::advance(Duration::from_secs(1)));
            let polled = advance.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(Instant::now() > second, "{polled:?}");
            assert_eq!(step_time(), second);
            second.duration_since(first)
        };
        assert_eq!(Steps::of(task).await, Duration::from_secs(1));
        let outside = step_time();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_ne!(step_time(), outside);
    }

    /// How long a deadline of one second takes that is first polled in a step that has used up what it
    /// may do, or has all of it.
    async fn taken_by_a_second(is_used_up: bool) -> Duration {
        let began = Instant::now();
        let mut deadline = MovingDeadline::new(began + Duration::from_secs(1));
        let mut uses_up = is_used_up;
        let reached = std::future::poll_fn(|cx| {
            while std::mem::take(&mut uses_up) {
                let mut one = std::pin::pin!(coop::consume_budget());
                uses_up = one.as_mut().poll(cx).is_ready();
            }
            deadline.poll(cx)
        });
        tokio::time::timeout(Duration::from_mins(1), reached).await.unwrap();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_is_kept_even_if_first_waited_for_in_a_busy_step() {
        assert_eq!(taken_by_a_second(false).await.as_secs(), 1);
        assert_eq!(taken_by_a_second(true).await.as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_moves_on_and_back() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut deadline = MovingDeadline::new(at(5));
        for (wait, next) in [(1, 9), (6, 12), (7, 8)] {
            let waited =
                tokio::time::timeout_at(at(wait), std::future::poll_fn(|cx| deadline.poll(cx)));
            assert!(waited.await.is_err(), "before {wait}");
            deadline.set(at(next));
        }
        std::future::poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 8);
    }

    /// and set forward, it goes on from there.
    #[test]
    fn clock_never_answers_earlier_than_before() {
        let clock = SystemClock::default();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now.as_millisecond() >= last.as_millisecond());
            last = now;
        }
    }

    /// Told from an earlier reading for a millisecond, and no longer.
    #[test]
    fn time_of_a_moment_is_never_behind_and_soon_read_again() {
        let clock = SystemClock::default();
        for _ in 0..10_000 {
            let before = Timestamp::now();
            let at = clock.at(Instant::now());
            assert!(at.duration_since(before) > SignedDuration::from_micros(-10), "{before} {at}");
        }
        let far = Instant::now() + Duration::from_hours(1);
        assert!(clock.at(far).duration_since(Timestamp::now()) < SignedDuration::from_mins(30));
    }

    /// A turn that is over by the count of its steps: the runtime never waits meanwhile.
    #[test]
    fn turn_is_over_only_when_the_runtime_has_heard_of_what_came_in_it() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().event_interval(Turn::TASKS_MAX);
        let runtime = runtime.build_local(tokio::runtime::LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = Rc::new(tokio::net::UnixStream::from_std(ours).unwrap());
            for _ in 0..100 {
                let (turn, ours) = (Turn::now(), Rc::clone(&ours));
                theirs.write_all(b"x").unwrap();
                let steps = std::future::poll_fn(move |cx| {
                    if turn.is_over() {
                        return Poll::Ready(ours.try_read(&mut [0; 8]));
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                });
                let heard = tokio::task::spawn_local(Steps::of(steps)).await.unwrap();
                assert_eq!(heard.unwrap(), 1);
            }
        });
    }
}
