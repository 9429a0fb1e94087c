//! Carries out a surge: another load for a while, and back to the normal one.
//!
//! Neighbours: `traffic` sends the load and looks at its `Rate`, `heal` brings the rate back as well. Invariant: a surge that
//! has begun is told to be over, and by then the load is the normal one.

use super::Run;
use crate::{amount::Unit, event::What, experiment::Surge};

/// The surge, to its end or to a stop.
pub(super) async fn carry_out(run: &Run, surge: &Surge) {
    let [rate, normal] = [surge.rate, run.normal_rate()].map(|rate| Unit::Rate.shown(rate));
    run.log.tell(What::Surged { step: surge.name.clone(), rate, normal: normal.clone() }).await;
    run.act_now();
    run.rate.set(surge.rate);
    // Ends at once when the run is stopped, also before it.
    run.stop.wait(surge.lasting).await;
    run.rate.set(run.normal_rate());
    run.log.tell(What::Subsided { step: surge.name.clone(), rate: normal }).await;
}
