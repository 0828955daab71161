//! Whether an image is small enough for `maxSize`: a pure function of the limit, of what was found out, and of what was reported before.
//!
//! # Guarantees
//! - No pod of a revision starts before its image has been measured, unless nobody can measure it before it is on a node.
//! - What has taken traffic goes on taking it, whatever happens to the limit: a limit is for new revisions. The exception is a revision
//!   that booted unmeasured and turns out to be too large.
//! - Everything that a decision needs stands in the status, so that a restart measures nothing anew.

use std::fmt::Write as _;

use crds::{
    conditions::Reason,
    status::{EntrypointStatus, Measured, Measurer},
};

use crate::status::Trouble;

/// Layers that a message lists.
const LISTED: usize = 20;

/// An image as its registry describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Compressed layers in bytes, the lowest first.
    pub layers: Vec<u64>,
    /// Of an image for several platforms, the one that was measured.
    pub platform: Option<String>,
}

impl Size {
    /// All layers together.
    pub fn bytes(&self) -> u64 {
        self.layers
            .iter()
            .fold(0, |sum, layer| sum.saturating_add(*layer))
    }
}

/// What is known about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The answer is on its way.
    Awaited,
    /// Its registry said it.
    Registry(Size),
    /// A node that has it said how many bytes it takes there.
    Node(u64),
    /// Its registry does not say it, for this reason, and no node has it.
    Nowhere(String),
    /// Its registry does not say it, for this reason, and nodes may not be asked.
    Unknowable(String),
}

/// What there is to decide on for one entrypoint.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Name of the entrypoint.
    pub entrypoint: &'a str,
    /// The revision that the manifest asks for.
    pub wanted: &'a str,
    /// Its image.
    pub image: &'a str,
    /// Largest image in bytes.
    pub limit: Option<u64>,
    /// What was reported last.
    pub before: &'a EntrypointStatus,
}

/// Whether a revision may boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may, and take the traffic.
    pub admission: Admission,
    /// What to remember.
    pub measured: Option<Measured>,
    /// What a person should know.
    pub trouble: Option<Trouble>,
}

/// Whether a revision may boot, and take the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    #[default]
    Admitted,
    /// It may boot; who has what it needs to know before it takes the traffic of another one is the node.
    Unmeasured,
    /// Not yet.
    Waits,
    /// Not with this image.
    Refused,
}

impl Admission {
    /// Whether pods of the revision may be.
    pub fn may_boot(self) -> bool {
        match self {
            Self::Admitted | Self::Unmeasured => true,
            Self::Waits | Self::Refused => false,
        }
    }
}

/// Decides whether a revision may boot. `evidence` is asked for only where it matters, so that what is at rest asks nobody.
pub fn judge(situation: Situation<'_>, evidence: impl FnOnce() -> Evidence) -> Verdict {
    let Situation {
        wanted,
        limit,
        before,
        ..
    } = situation;
    let Some(limit) = limit else {
        return Verdict::default();
    };
    let known = before.measured.as_ref().filter(|m| m.revision == wanted);
    let is_unmeasured = known.is_some_and(|known| known.by == Measurer::Nobody);
    let has_served = before.ready_revision.as_deref() == Some(wanted)
        || before.kept_revisions.iter().any(|kept| kept == wanted);
    let fits = known.and_then(bytes).is_some_and(|bytes| bytes <= limit);
    if fits || has_served && !is_unmeasured {
        return Verdict {
            measured: known.cloned(),
            ..Verdict::default()
        };
    }
    let found = |by, bytes, layers| Found { by, bytes, layers };
    match evidence() {
        Evidence::Registry(size) => {
            let bytes = size.bytes();
            measured(
                situation,
                limit,
                found(Measurer::Registry, bytes, Some(&size)),
            )
        }
        Evidence::Node(bytes) => measured(situation, limit, found(Measurer::Node, bytes, None)),
        Evidence::Awaited if is_unmeasured => unmeasured(known.cloned()),
        // What the registry said before a restart counts until it answers again.
        Evidence::Awaited => match known.and_then(|known| Some((known.by, bytes(known)?))) {
            Some((by, bytes)) => measured(situation, limit, found(by, bytes, None)),
            None => awaited(situation),
        },
        // The first reason stands, so that a registry that fails in turn in two ways costs no writes.
        Evidence::Nowhere(_) if is_unmeasured => unmeasured(known.cloned()),
        Evidence::Nowhere(why) => unmeasured(Some(Measured {
            revision: wanted.to_owned(),
            by: Measurer::Nobody,
            bytes: None,
            message: why,
        })),
        // Nodes could be asked when it booted, and no longer.
        Evidence::Unknowable(_) if is_unmeasured => unmeasured(known.cloned()),
        Evidence::Unknowable(why) => unknowable(situation, &why),
    }
}

/// How large an image is.
struct Found<'a> {
    by: Measurer,
    bytes: u64,
    /// What is known only from its registry.
    layers: Option<&'a Size>,
}

fn bytes(measured: &Measured) -> Option<u64> {
    u64::try_from(measured.bytes?).ok()
}

fn unmeasured(measured: Option<Measured>) -> Verdict {
    Verdict {
        admission: Admission::Unmeasured,
        measured,
        trouble: None,
    }
}

fn measured(situation: Situation<'_>, limit: u64, found: Found<'_>) -> Verdict {
    let measured = Measured {
        revision: situation.wanted.to_owned(),
        by: found.by,
        bytes: Some(i64::try_from(found.bytes).unwrap_or(i64::MAX)),
        message: String::new(),
    };
    let is_refused = found.bytes > limit;
    let message = is_refused.then(|| too_large(situation, limit, &found));
    Verdict {
        admission: if is_refused {
            Admission::Refused
        } else {
            Admission::Admitted
        },
        measured: Some(measured),
        trouble: message.map(|message| Trouble::Stalled(Reason::ImageTooLarge, message)),
    }
}

fn too_large(situation: Situation<'_>, limit: u64, found: &Found<'_>) -> String {
    let Situation {
        entrypoint, image, ..
    } = situation;
    let platform = found.layers.and_then(|size| size.platform.as_ref());
    let platform = platform.map(|platform| format!(" for {platform}"));
    let how = match (found.layers, found.by) {
        (Some(size), _) => format!(", in layers of {}", layers(&size.layers)),
        (None, Measurer::Node) => {
            "; that is what it takes on a node, which knows no layers".to_owned()
        }
        (None, Measurer::Registry | Measurer::Nobody) => String::new(),
    };
    format!(
        "{entrypoint}: image {image} is {}{}, larger than maxSize {}{how}; {}",
        human(found.bytes),
        platform.unwrap_or_default(),
        human(limit),
        meanwhile(situation)
    )
}

/// Sizes of layers, the lowest first.
fn layers(all: &[u64]) -> String {
    let mut text = String::new();
    for layer in all.iter().take(LISTED) {
        let separator = if text.is_empty() { "" } else { ", " };
        // A String takes all that is written to it.
        let _infallible = write!(text, "{separator}{}", human(*layer));
    }
    let rest = all.get(LISTED..).unwrap_or_default();
    if !rest.is_empty() {
        let bytes = rest
            .iter()
            .fold(0_u64, |sum, layer| sum.saturating_add(*layer));
        let _infallible = write!(text, " and {} more of {} in all", rest.len(), human(bytes));
    }
    text
}

fn awaited(situation: Situation<'_>) -> Verdict {
    let Situation {
        entrypoint, image, ..
    } = situation;
    let message = format!(
        "{entrypoint}: its registry is being asked how large image {image} is; {}",
        meanwhile(situation)
    );
    Verdict {
        admission: Admission::Waits,
        measured: None,
        trouble: Some(Trouble::Retrying(Reason::MeasuringImage, message)),
    }
}

fn unknowable(situation: Situation<'_>, why: &str) -> Verdict {
    let Situation {
        entrypoint, image, ..
    } = situation;
    let message = format!(
        "{entrypoint}: image {image} cannot be measured: {why}, and Thaw may not ask nodes; set imageSize in the values of its chart, which lets it read pull secrets and, where it serves the whole cluster, nodes; {}",
        meanwhile(situation)
    );
    Verdict {
        admission: Admission::Waits,
        measured: None,
        trouble: Some(Trouble::Stalled(Reason::ImageUnmeasured, message)),
    }
}

fn meanwhile(situation: Situation<'_>) -> String {
    let ready = situation.before.ready_revision.as_deref();
    match ready.filter(|ready| *ready != situation.wanted) {
        Some(ready) => format!("revision {ready} keeps the traffic"),
        None => "no pod of it starts".to_owned(),
    }
}

/// A size for people: up to one decimal, in the units of Kubernetes.
pub fn human(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let Some((unit, shift)) = UNITS.iter().find(|(_, shift)| bytes >> shift > 0) else {
        return bytes.to_string();
    };
    let whole = bytes >> shift;
    // What is larger than a limit by a little must not read like the limit: rounded up.
    let rest = bytes - (whole << shift);
    let tenths = (u128::from(rest) * 10).div_ceil(1 << shift);
    match (whole, tenths) {
        (whole, 0) => format!("{whole}{unit}"),
        (whole, 10) => format!("{}{unit}", whole + 1),
        (whole, tenths) => format!("{whole}.{tenths}{unit}"),
    }
}

#[cfg(test)]
mod tests;
