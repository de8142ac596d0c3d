//! Waiting for what somebody else does: asked again and again, and given up only where something is broken.

use std::time::Duration;

/// Fails a test that waits for what never comes; decides nothing else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Short beside everything that is waited for, long enough to leave the processor to whoever is to do it.
const PAUSE: Duration = Duration::from_millis(10);

/// What a question is answered with: yes or no, or what there is as soon as it is there.
pub(crate) trait Answer {
    type Found;
    fn found(self) -> Option<Self::Found>;
}

impl Answer for bool {
    type Found = ();
    fn found(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Answer for Option<T> {
    type Found = T;
    fn found(self) -> Option<T> {
        self
    }
}

/// Waits until `ask` says yes, or has found something. `what` completes "waited in vain until …".
pub(crate) async fn until<A: Answer>(what: &str, mut ask: impl AsyncFnMut() -> A) -> A::Found {
    let asking = async {
        loop {
            if let Some(found) = ask().await.found() {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    patiently(what, asking).await
}

/// What this comes to, which may be never where something is broken.
pub(crate) async fn patiently<T>(what: &str, coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, coming).await.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}
