//! What is done after an answer, while its client is away, on a thread that may take its time: long
//! texts are tokenized.

use tokio::runtime::Handle;

use crate::chat_stream::ChatStream;
use crate::record::Recording;
use crate::view::prepare::Preparation;

/// Starts what there is to do after a complete answer of a session that should be back in
/// `expected_seconds`, if that is known.
pub(crate) fn start(stream: &ChatStream, expected_seconds: Option<f64>) {
    let recording = Recording::after(stream);
    let preparation = Preparation::after(stream, expected_seconds);
    if recording.is_none() && stream.conversation.is_last {
        let mut table = stream.runtime.sessions.lock();
        table.forget(stream.conversation.session);
    }
    if recording.is_none() && preparation.is_none() {
        return;
    }
    let work = move |handle: Option<&Handle>| {
        if let Some(recording) = recording {
            recording.run();
        }
        if let Some(preparation) = preparation {
            preparation.run(handle);
        }
    };
    match Handle::try_current() {
        Ok(handle) => drop(handle.clone().spawn_blocking(move || work(Some(&handle)))),
        Err(_) => work(None),
    }
}
