//! Engines that share a device: never two at once, and background work out of everybody's way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentinfer_engine::{
    Batch, Completion, Device, Engine, EngineHandle, EngineOptions, Event, Finish, FinishReason,
    Hints, Model, ModelError, ModelLimits, Request, SequenceId, SimModel, SimVocabulary, TILE,
};

const CHUNK: usize = 128;

/// What the models of a device have computed: for each forward pass that began, whose it was and
/// how many tokens.
#[derive(Default)]
struct Watch {
    busy: AtomicBool,
    passes: Mutex<Vec<(&'static str, usize)>>,
}

impl Watch {
    fn passes(&self) -> Vec<(&'static str, usize)> {
        self.passes.lock().expect("nobody panics").clone()
    }
}

/// A simulated model that shares its device with others and insists on having it to itself.
struct Watched {
    model: SimModel,
    name: &'static str,
    watch: Arc<Watch>,
    gate: Option<Gate>,
}

/// Stops a model in each forward pass until its test lets it go on, or drops the other end.
struct Gate {
    entered: Sender<()>,
    open: Receiver<()>,
}

impl Watched {
    fn alone<T>(&mut self, work: impl FnOnce(&mut SimModel) -> T) -> T {
        let busy = self.watch.busy.swap(true, Ordering::SeqCst);
        assert!(!busy, "{} computes while another does", self.name);
        // Others get the chance to do so too.
        std::thread::yield_now();
        let done = work(&mut self.model);
        self.watch.busy.store(false, Ordering::SeqCst);
        done
    }
}

impl Model for Watched {
    fn limits(&self) -> ModelLimits {
        self.model.limits()
    }

    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError> {
        let pass = (self.name, batch.entries.len());
        self.watch.passes.lock().expect("nobody panics").push(pass);
        let gate = self.gate.take();
        let done = self.alone(|model| {
            if let Some(gate) = &gate {
                // The test may be through with it.
                let _ = gate.entered.send(());
                let _ = gate.open.recv();
            }
            model.forward(batch)
        });
        self.gate = gate;
        done
    }

    fn logits(&self, index: usize) -> &[f32] {
        self.model.logits(index)
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        self.alone(|model| model.share(from, to, tokens));
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: u32) {
        self.alone(|model| model.truncate(sequence, tokens));
    }

    fn saved_format(&self) -> Option<String> {
        self.model.saved_format()
    }

    fn save(&mut self, sequence: SequenceId, from: u32, to: u32) -> Result<Vec<u8>, ModelError> {
        self.alone(|model| model.save(sequence, from, to))
    }

    fn restore(
        &mut self,
        sequence: SequenceId,
        from: u32,
        tokens: u32,
        saved: &[u8],
    ) -> Result<(), ModelError> {
        self.alone(|model| model.restore(sequence, from, tokens, saved))
    }

    fn now(&self) -> f64 {
        self.model.now()
    }
}

/// The engines of a test, which share one device.
#[derive(Default)]
struct House {
    device: Device,
    watch: Arc<Watch>,
}

impl House {
    fn engine(&self, name: &'static str, gate: Option<Gate>) -> EngineHandle {
        self.engine_with(name, gate, EngineOptions::default())
    }

    fn engine_with(
        &self,
        name: &'static str,
        gate: Option<Gate>,
        options: EngineOptions,
    ) -> EngineHandle {
        let engine = self.build(name, gate, options);
        EngineHandle::spawn(name, engine).expect("a thread starts")
    }

    fn build(
        &self,
        name: &'static str,
        gate: Option<Gate>,
        options: EngineOptions,
    ) -> Engine<Watched> {
        let limits = ModelLimits {
            cells: 4096,
            ..SimModel::default().limits()
        };
        let model = Watched {
            model: SimModel::new(limits, Default::default()),
            name,
            watch: self.watch.clone(),
            gate,
        };
        let options = EngineOptions {
            prefill_chunk: CHUNK,
            ..options
        };
        let vocabulary = Arc::new(SimVocabulary::default());
        Engine::new(model, vocabulary, options).with_device(&self.device)
    }
}

/// A gate, how to see that a forward pass has begun, and how to let it go on.
fn gate() -> (Gate, Receiver<()>, Sender<()>) {
    let (entered, sees) = channel();
    let (opens, open) = channel();
    (Gate { entered, open }, sees, opens)
}

fn foreground(tokens: usize, max_tokens: u32) -> Request {
    Request {
        ignore_eos: true,
        ..Request::new(vec![97; tokens]).max_tokens(max_tokens)
    }
}

fn background(tokens: usize, max_tokens: u32) -> Request {
    Request {
        hints: Hints {
            background: true,
            ..Hints::default()
        },
        ..foreground(tokens, max_tokens)
    }
}

fn finish(mut completion: Completion) -> Finish {
    loop {
        match completion.blocking_next() {
            Some(Event::Finished(finish)) => return finish,
            Some(Event::Failed(error)) => panic!("{error}"),
            Some(_) => {}
            None => panic!("its engine broke"),
        }
    }
}

/// Waits until a counter of an engine has this value.
fn await_count(handle: &EngineHandle, name: &str, value: u64) {
    let reached = || {
        let stats = handle.stats();
        let mut entries = stats.entries();
        entries.any(|entry| entry == (name, value))
    };
    while !reached() {
        assert!(handle.is_running(), "its engine broke");
        std::thread::yield_now();
    }
}

#[test]
fn engines_never_compute_at_once() {
    let house = House::default();
    let engines = ["small", "middle", "large"].map(|name| house.engine(name, None));
    let mut completions = Vec::new();
    for round in 0..60 {
        for (index, engine) in engines.iter().enumerate() {
            // More than there is room for, so that cells are copied out and back.
            let tokens = 200 + 37 * ((round * 7 + index) % 20);
            let mut request = match round % 3 {
                0 => foreground(tokens, 20),
                1 => background(tokens, 20),
                _ => background(tokens, 0),
            };
            request.prompt[0] = 98 + round as u32 % 20;
            completions.push(engine.submit(request).expect("there is room in the queue"));
        }
    }
    for completion in completions {
        let finish = finish(completion);
        assert!(finish.reason == FinishReason::Length || finish.completion_tokens == 0);
    }
    let passes = house.watch.passes();
    let changes = passes.windows(2).filter(|pair| pair[0].0 != pair[1].0);
    assert!(changes.count() > 100, "they took turns");
    assert!(
        engines
            .iter()
            .all(|it| it.stats().device_wait_nanoseconds > 0)
    );
}

#[test]
fn steps_are_measured_while_nobody_else_computes() {
    let house = House::default();
    let small = house.engine("small", None);
    let decoding = small.submit(foreground(100, 500)).expect("a valid request");
    let mut large = house.build("large", None, EngineOptions::default());
    large.measure_steps().expect("it computes");
    let passes = house.watch.passes();
    let mut measured = passes.split(|(name, _)| *name == "small");
    let measured = measured.find(|passes| !passes.is_empty());
    let all = passes.iter().filter(|(name, _)| *name == "large").count();
    assert_eq!(measured.map(<[_]>::len), Some(all), "{passes:?}");
    finish(decoding);
}

#[test]
fn a_foreground_request_waits_for_one_step_of_background_work_at_most() {
    let run = |prewarmed: bool| {
        let house = House::default();
        let (gate, sees, opens) = gate();
        let (small, large) = (
            house.engine("small", None),
            house.engine("large", Some(gate)),
        );
        let warm = prewarmed.then(|| {
            let warm = large.submit(background(3000, 0)).expect("a valid request");
            sees.recv().expect("the first step begins");
            opens.send(()).expect("it goes on");
            sees.recv().expect("the second step begins");
            warm
        });
        let decoding = small.submit(foreground(100, 50)).expect("a valid request");
        drop(opens);
        assert_eq!(finish(decoding).completion_tokens, 50);
        let passes = house.watch.passes();
        let last = passes.iter().rposition(|(name, _)| *name == "small");
        let passes = &passes[..=last.expect("it computed")];
        let warmed: Vec<usize> = passes
            .iter()
            .filter(|it| it.0 == "large")
            .map(|it| it.1)
            .collect();
        if let Some(warm) = warm {
            // The rest is computed once nobody minds, and is there for who comes then.
            assert_eq!(finish(warm).reason, FinishReason::Length);
            let request = large.submit(foreground(3010, 1)).expect("a valid request");
            assert_eq!(finish(request).cached_tokens, 3000);
            assert!(large.stats().device_wait_nanoseconds > 0);
        }
        (passes.len() - warmed.len(), warmed)
    };
    let (alone, nothing) = run(false);
    let (beside, warmed) = run(true);
    assert_eq!((alone, beside), (50, 50));
    assert_eq!((nothing, warmed), (vec![], vec![TILE; 2]));
}

#[test]
fn foreground_work_of_two_engines_takes_turns() {
    let house = House::default();
    let (gate, sees, opens) = gate();
    let options = EngineOptions {
        event_capacity: 4096,
        ..EngineOptions::default()
    };
    let small = house.engine_with("small", Some(gate), options);
    let large = house.engine("large", None);
    let one = small
        .submit(foreground(100, 3900))
        .expect("a valid request");
    sees.recv().expect("its first step begins");
    let waiting = large.submit(background(1000, 0)).expect("a valid request");
    // This one need not wait for the first to end, although its engine waited with background work.
    let other = large.submit(foreground(90, 20)).expect("a valid request");
    drop(opens);
    for completion in [other, one, waiting] {
        assert_eq!(finish(completion).reason, FinishReason::Length);
    }
    let passes = house.watch.passes();
    let at = |name| passes.iter().position(|pass| pass.0 == name);
    let last = passes.iter().rposition(|pass| pass.0 == "small");
    assert!(at("small") < at("large") && at("large") < last);
    let large = passes.iter().filter(|it| it.0 == "large").map(|it| it.1);
    let large: Vec<usize> = large.take(20).collect();
    assert_eq!(
        large,
        [&[90][..], &[1; 19]].concat(),
        "no background work among it"
    );
}

#[test]
fn a_step_is_short_where_another_engine_has_foreground_work() {
    let house = House::default();
    let (gate, sees, opens) = gate();
    let options = EngineOptions {
        event_capacity: 4096,
        ..EngineOptions::default()
    };
    let small = house.engine_with("small", Some(gate), options);
    let large = house.engine("large", None);
    let one = small
        .submit(foreground(100, 3900))
        .expect("a valid request");
    sees.recv().expect("its first step begins");
    let other = large
        .submit(foreground(3 * CHUNK, 1))
        .expect("a valid request");
    drop(opens);
    for completion in [one, other] {
        assert_eq!(finish(completion).reason, FinishReason::Length);
    }
    let passes = house.watch.passes();
    let first = passes.iter().find(|(name, _)| *name == "large");
    assert_eq!(first, Some(&("large", CHUNK)));
}

#[test]
fn who_leaves_while_its_engine_waits_costs_nothing() {
    let house = House::default();
    let (gate, sees, opens) = gate();
    let (small, large) = (
        house.engine("small", Some(gate)),
        house.engine("large", None),
    );
    let decoding = small.submit(foreground(100, 10)).expect("a valid request");
    sees.recv().expect("its first step begins");
    for request in [background(1000, 0), foreground(1000, 10)] {
        drop(large.submit(request).expect("a valid request"));
    }
    drop(opens);
    finish(decoding);
    await_count(&large, "cancelled", 2);
    assert!(
        house
            .watch
            .passes()
            .iter()
            .all(|(name, _)| *name == "small")
    );
}

#[test]
fn a_client_that_does_not_read_keeps_no_background_work_away() {
    let house = House::default();
    let options = EngineOptions {
        event_capacity: 1,
        ..EngineOptions::default()
    };
    let (small, large) = (
        house.engine_with("small", None, options),
        house.engine("large", None),
    );
    let silent = small.submit(foreground(100, 50)).expect("a valid request");
    let warm = large.submit(background(1000, 0)).expect("a valid request");
    assert_eq!(finish(warm).reason, FinishReason::Length);
    assert_eq!(finish(silent).completion_tokens, 50);
}

#[tokio::test]
async fn an_engine_is_drained_although_another_has_foreground_work_without_end() {
    let house = House::default();
    let (small, large) = (house.engine("small", None), house.engine("large", None));
    let drained = Arc::new(AtomicBool::new(false));
    let busy = std::thread::spawn({
        let drained = drained.clone();
        let submit = move || small.submit(foreground(10, 20)).expect("a valid request");
        move || {
            let mut last = submit();
            while !drained.load(Ordering::SeqCst) {
                // The next one is there before this one ends.
                let next = submit();
                finish(std::mem::replace(&mut last, next));
            }
        }
    });
    let mut warm = large.submit(background(1000, 0)).expect("a valid request");
    large.drain(Duration::ZERO).await;
    drained.store(true, Ordering::SeqCst);
    assert!(!large.is_running());
    while let Some(event) = warm.next().await {
        assert!(!matches!(event, Event::Token(_)));
    }
    busy.join().expect("it does not panic");
}
