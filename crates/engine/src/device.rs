//! One device for several engines: who of them computes now.
//!
//! Two models that compute at once on the same cores slow each other down by more than taking turns
//! costs, and nobody can say whose work goes first. So engines that share a device hold it in turn,
//! each for one step, whatever of it touches the model:
//!
//! 1. An engine with *foreground* requests, from their submission to their end, goes before one
//!    that has background requests only ([`Hints::background`](crate::Hints)).
//! 2. Equals get equal shares of the time, whatever their steps take: a chunk of a prompt takes
//!    some thirty decodes. This is start-time fair queueing (Goyal, Vin and Cheng, 1996): a step
//!    begins, in virtual time, at the end of the engine's last one or, if it was away, now; the
//!    earliest beginning goes first, and of these who has waited longest.
//! 3. Background work takes part in a step only while no other engine has foreground requests at
//!    all, not even between two of its steps. Those whose clients have all stopped reading do not
//!    count until one reads on.
//!
//! So nobody waits for background work any longer than for the step that is under way, and
//! background work goes on in the gaps that foreground work leaves: a tool's time, for example.
//! [`Arbiter`] decides and knows no threads; [`Device`] lets threads wait for what it decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Hints, Progress};

/// A device that several engines share; see [`Engine::with_device`](crate::Engine::with_device).
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Device {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    arbiter: Mutex<Arbiter>,
    changed: Condvar,
}

impl Device {
    /// A place among the engines that take turns.
    pub(crate) fn join(&self) -> Seat {
        let id = self.shared.lock().join();
        Seat(Arc::new(Place {
            shared: self.shared.clone(),
            id,
        }))
    }
}

impl Shared {
    /// Nothing that is done under the lock panics halfway, so what a poisoned one guards is sound.
    fn lock(&self) -> MutexGuard<'_, Arbiter> {
        self.arbiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Arbiter) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }
}

/// An engine's place at its device, given up when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Seat(Arc<Place>);

#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.change(|arbiter| arbiter.leave(self.id));
    }
}

impl Seat {
    /// Waits until the engine may take a step.
    pub(crate) fn turn(&self) -> Turn {
        let Place { shared, id } = &*self.0;
        let mut begin = None;
        let mut arbiter = shared.lock();
        arbiter.ask(*id);
        while arbiter.next() != Some(*id) {
            begin.get_or_insert_with(Instant::now);
            let waited = shared.changed.wait(arbiter);
            arbiter = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let for_background = arbiter.grant(*id);
        Turn {
            seat: self.clone(),
            waited: begin.map_or(Duration::ZERO, |begin: Instant| begin.elapsed()),
            for_background,
            shared: arbiter.engines.len() > 1,
            blocked: false,
            since: Instant::now(),
        }
    }

    /// Notes a request with these hints if it is foreground work.
    pub(crate) fn request(&self, hints: &Hints) -> Option<Foreground> {
        (!hints.background).then(|| self.foreground())
    }

    /// Notes foreground work, which ends when this is dropped.
    pub(crate) fn foreground(&self) -> Foreground {
        self.0.shared.change(|arbiter| arbiter.begin(self.0.id));
        Foreground(self.clone())
    }
}

/// Foreground work that is outstanding.
#[derive(Debug)]
pub(crate) struct Foreground(Seat);

impl Drop for Foreground {
    fn drop(&mut self) {
        let Place { shared, id } = &*self.0.0;
        shared.change(|arbiter| arbiter.end(*id));
    }
}

/// The device, held for one step; free again when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    seat: Seat,
    waited: Duration,
    for_background: bool,
    shared: bool,
    blocked: bool,
    since: Instant,
}

impl Turn {
    /// How long it was waited for; nothing if it was free.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether background work may take part in the step.
    pub(crate) fn for_background(&self) -> bool {
        self.for_background
    }

    /// Whether other engines use the device too, now or another time.
    pub(crate) fn shared(&self) -> bool {
        self.shared
    }

    /// Gives the device back after a step that did this.
    pub(crate) fn end(mut self, progress: Progress) {
        self.blocked = progress == Progress::Blocked;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Place { shared, id } = &*self.seat.0;
        let seconds = self.since.elapsed().as_secs_f64();
        shared.change(|arbiter| arbiter.release(*id, seconds, self.blocked));
    }
}

/// Who waits for the device, who holds it, and who is next. There are as many entries as engines,
/// each of which is a thread with a model.
#[derive(Debug, Default)]
struct Arbiter {
    engines: BTreeMap<u64, Standing>,
    holder: Option<u64>,
    /// Engines that joined, and times that one began to wait.
    counted: u64,
    /// Virtual time, in seconds: when the latest of all steps began.
    now: f64,
}

/// What an engine wants.
#[derive(Debug, Default)]
struct Standing {
    /// Foreground requests outstanding.
    foreground: usize,
    /// Whether its last step could do nothing for any request.
    blocked: bool,
    /// Its place in line while it waits, the smallest first.
    place: Option<(f64, u64)>,
    /// When its last step ended, in virtual time.
    served_until: f64,
}

impl Standing {
    /// Whether background work of others must keep out of its way.
    fn is_foreground(&self) -> bool {
        self.foreground > 0 && !self.blocked
    }
}

impl Arbiter {
    fn count(&mut self) -> u64 {
        self.counted += 1;
        self.counted
    }

    fn standing(&mut self, id: u64) -> &mut Standing {
        self.engines.entry(id).or_default()
    }

    /// An engine that wants nothing yet.
    fn join(&mut self) -> u64 {
        let id = self.count();
        self.engines.insert(id, Standing::default());
        id
    }

    fn leave(&mut self, id: u64) {
        self.engines.remove(&id);
    }

    /// A foreground request comes.
    fn begin(&mut self, id: u64) {
        let engine = self.standing(id);
        engine.foreground += 1;
        engine.blocked = false;
    }

    /// A foreground request has ended.
    fn end(&mut self, id: u64) {
        self.standing(id).foreground -= 1;
    }

    /// The engine wants to take a step.
    fn ask(&mut self, id: u64) {
        let (count, now) = (self.count(), self.now);
        let engine = self.standing(id);
        engine.place = Some((now.max(engine.served_until), count));
        engine.blocked = false;
    }

    /// Who takes the device now, if it is free and anybody may.
    fn next(&self) -> Option<u64> {
        if self.holder.is_some() {
            return None;
        }
        let foreground_anywhere = self.engines.values().any(Standing::is_foreground);
        let waiting = self.engines.iter();
        let waiting = waiting.filter(|(_, it)| it.is_foreground() || !foreground_anywhere);
        let waiting = waiting.filter_map(|(id, it)| Some((it.place?, *id)));
        let first =
            waiting.min_by(|((a, one), _), ((b, two), _)| a.total_cmp(b).then(one.cmp(two)));
        first.map(|(_, id)| id)
    }

    /// The engine takes the device. Returns whether its background work may take part.
    fn grant(&mut self, id: u64) -> bool {
        self.holder = Some(id);
        if let Some((begin, _)) = self.standing(id).place.take() {
            self.standing(id).served_until = begin;
            self.now = self.now.max(begin);
        }
        let mut others = self.engines.iter().filter(|(other, _)| **other != id);
        !others.any(|(_, other)| other.is_foreground())
    }

    /// The engine gives the device back after so many seconds, `blocked` if its step could do
    /// nothing.
    fn release(&mut self, id: u64, seconds: f64, blocked: bool) {
        self.holder = None;
        let engine = self.standing(id);
        engine.served_until += seconds;
        engine.blocked = blocked;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// What happens to an arbiter: to which of its engines, and what.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Begin,
        End,
        Ask,
        Grant,
        Release(u8, bool),
    }

    fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
        let step = prop_oneof![
            Just(Step::Begin),
            Just(Step::End),
            Just(Step::Ask),
            Just(Step::Ask),
            Just(Step::Grant),
            Just(Step::Grant),
            (0u8..9, any::<bool>()).prop_map(|(seconds, blocked)| Step::Release(seconds, blocked)),
        ];
        prop::collection::vec((0usize..3, step), 1..200)
    }

    /// An engine as a list of what it did: the rules, word for word.
    #[derive(Clone, Copy, Default)]
    struct Naive {
        foreground: usize,
        blocked: bool,
        asked_at: Option<usize>,
        /// Beginning and end of its last step or the next, in virtual time.
        begins: u64,
        ends: u64,
    }

    impl Naive {
        fn counts(&self) -> bool {
            self.foreground > 0 && !self.blocked
        }
    }

    fn naive_next(engines: &[Naive; 3], holder: Option<usize>) -> Option<usize> {
        if holder.is_some() {
            return None;
        }
        let mut waiting: Vec<usize> = (0..3)
            .filter(|&it| engines[it].asked_at.is_some())
            .collect();
        waiting.sort_by_key(|&it| (engines[it].begins, engines[it].asked_at));
        let foreground = waiting.iter().find(|&&it| engines[it].counts());
        let quiet = !engines.iter().any(Naive::counts);
        foreground.or(waiting.first().filter(|_| quiet)).copied()
    }

    proptest! {
        #[test]
        fn whoever_is_next_is_so_by_the_rules(steps in steps()) {
            let mut arbiter = Arbiter::default();
            let ids = [arbiter.join(), arbiter.join(), arbiter.join()];
            let mut engines = [Naive::default(); 3];
            let (mut holder, mut now) = (None, 0);
            for (at, (index, step)) in steps.into_iter().enumerate() {
                let (id, engine) = (ids[index], &mut engines[index]);
                match step {
                    Step::Begin => {
                        arbiter.begin(id);
                        engine.foreground += 1;
                        engine.blocked = false;
                    }
                    Step::End if engine.foreground > 0 => {
                        arbiter.end(id);
                        engine.foreground -= 1;
                    }
                    Step::Ask if engine.asked_at.is_none() && holder != Some(index) => {
                        arbiter.ask(id);
                        engine.begins = engine.ends.max(now);
                        engine.asked_at = Some(at);
                        engine.blocked = false;
                    }
                    Step::Grant => {
                        let next = naive_next(&engines, holder);
                        prop_assert_eq!(arbiter.next(), next.map(|index| ids[index]));
                        if let Some(index) = next {
                            engines[index].asked_at = None;
                            holder = Some(index);
                            now = now.max(engines[index].begins);
                            let others = (0..3).filter(|&other| other != index);
                            let quiet = others.map(|other| engines[other]).all(|it| !it.counts());
                            prop_assert_eq!(arbiter.grant(ids[index]), quiet);
                        }
                    }
                    Step::Release(seconds, blocked) if holder == Some(index) => {
                        arbiter.release(id, f64::from(seconds), blocked);
                        engine.ends = engine.begins + u64::from(seconds);
                        engine.blocked = blocked;
                        holder = None;
                    }
                    _ => {}
                }
            }
            // Once all foreground work has ended, everybody who waits gets the device in turn.
            for (id, engine) in ids.into_iter().zip(&mut engines) {
                (0..engine.foreground).for_each(|_| arbiter.end(id));
            }
            if let Some(index) = holder {
                arbiter.release(ids[index], 0.0, false);
            }
            let mut waiting: Vec<_> = (0..3)
                .filter_map(|it| Some((engines[it].begins, engines[it].asked_at?, it)))
                .collect();
            waiting.sort_unstable();
            for (.., index) in waiting {
                prop_assert_eq!(arbiter.next(), Some(ids[index]));
                arbiter.grant(ids[index]);
                arbiter.release(ids[index], 0.0, false);
            }
            prop_assert_eq!(arbiter.next(), None);
        }
    }

    #[test]
    fn equals_get_equal_shares_of_the_time() {
        let mut arbiter = Arbiter::default();
        let engines = [(arbiter.join(), 0.04), (arbiter.join(), 1.3)];
        let mut held = [0.0; 2];
        // The second one comes later, and neither gets what it missed nor waits for it.
        for turn in 0..1000 {
            for (index, (id, _)) in engines.into_iter().enumerate() {
                if arbiter.standing(id).place.is_none() && (index == 0 || turn >= 100) {
                    arbiter.ask(id);
                }
            }
            let next = arbiter.next().expect("somebody waits");
            let index = engines.iter().position(|(id, _)| *id == next);
            let index = index.expect("it is one of them");
            arbiter.grant(next);
            arbiter.release(next, engines[index].1, false);
            if turn >= 100 {
                held[index] += engines[index].1;
            }
        }
        let difference: f64 = held[0] - held[1];
        assert!(difference.abs() <= 1.4 && held[0] > 15.0, "{held:?}");
    }

    #[test]
    fn threads_never_hold_it_together_and_all_get_it() {
        let device = Device::default();
        let (held, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for index in 0..4 {
                let seat = device.join();
                let (held, turns) = (&held, &turns);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let request = (index % 2 == 0).then(|| seat.foreground());
                        let turn = seat.turn();
                        assert!(!held.swap(true, Ordering::SeqCst), "two hold it");
                        turns.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        held.store(false, Ordering::SeqCst);
                        turn.end(Progress::Stepped);
                        drop(request);
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 2000);
    }

    #[test]
    fn a_thread_that_panics_frees_it_and_takes_its_requests_with_it() {
        let device = Device::default();
        let broken = device.join();
        let panicked = std::thread::spawn(move || {
            let _request = broken.foreground();
            let _turn = broken.turn();
            panic!("a broken engine");
        });
        assert!(panicked.join().is_err());
        assert!(device.join().turn().for_background());
    }

    #[test]
    fn who_waits_with_background_work_goes_first_as_soon_as_foreground_comes() {
        let device = Device::default();
        let (decoding, other) = (device.join(), device.join());
        let request = decoding.foreground();
        let waiting = std::thread::spawn({
            let other = other.clone();
            move || other.turn().for_background()
        });
        // Between two steps of the one, the other takes no turn for background work, whenever it
        // asks; with a foreground request it does, and leaves background work out.
        decoding.turn().end(Progress::Stepped);
        let theirs = other.foreground();
        assert!(!waiting.join().expect("it does not panic"));
        drop(theirs);
        decoding.turn().end(Progress::Blocked);
        assert!(
            other.turn().for_background(),
            "nobody reads what the first would say"
        );
        decoding.turn().end(Progress::Stepped);
        drop(request);
        assert!(other.turn().for_background());
    }
}
