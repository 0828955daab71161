//! How many instances, and how long a wait: Thaw's engine beside Knative's published arithmetic, on the same arrivals.
//!
//! Discrete events on a virtual clock: a [`Duration`](std::time::Duration) since the start. Nothing sleeps, nothing is random but by
//! its seed: the same seed gives the same table and the same plot on every machine.
//!
//! In reading order:
//! - [`arrivals`]: requests of one function, and how long its boots take
//! - [`patterns`]: what is played
//! - [`trace`]: a CSV of counts per minute, read and generated
//! - [`cluster`]: instances come and go; what is the same for all algorithms
//! - [`thaw`] and [`knative`]: the algorithms
//! - [`outcome`]: what an algorithm cost and how long it made people wait
//! - [`table`] and [`plot`]: both, to look at

pub mod arrivals;
pub mod cluster;
pub mod knative;
pub mod outcome;
pub mod patterns;
pub mod plot;
pub mod table;
pub mod thaw;
pub mod trace;

use std::fmt;

use crds::function::Burst;

use cluster::Cluster;
use knative::Knative;
use outcome::Outcome;
use patterns::Pattern;
use thaw::Thaw;

/// What decides about instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Thaw's engine.
    Thaw(Burst),
    /// Knative's autoscaler with these settings.
    Knative(knative::Settings),
}

impl Algorithm {
    /// Those that are compared, in the order of the table.
    pub fn compared(knative: knative::Settings) -> [Self; 3] {
        [
            Self::Thaw(Burst::PerRequest),
            Self::Thaw(Burst::Drain),
            Self::Knative(knative),
        ]
    }

    /// Plays the pattern until every request is served and every instance is gone.
    pub fn play(self, pattern: &Pattern) -> Outcome {
        let mut sum = Outcome::default();
        for function in &pattern.functions {
            let cluster = Cluster::new(function, pattern.measured_from);
            sum.add(match self {
                Self::Thaw(burst) => cluster.play(Thaw::new(burst)),
                Self::Knative(settings) => {
                    cluster.play(Knative::new(settings, function.knative_phase()))
                }
            });
        }
        sum
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Thaw(Burst::PerRequest) => "Thaw PerRequest",
            Self::Thaw(Burst::Drain) => "Thaw Drain",
            Self::Knative(_) => "Knative",
        })
    }
}

#[cfg(test)]
mod tests;
