//! Condition types and reasons of a Function. kstatus, Argo CD and Flux read the first three.

/// Every entrypoint has a revision that takes traffic. True at zero instances.
pub const READY: &str = "Ready";
/// The operator is working towards the manifest.
pub const RECONCILING: &str = "Reconciling";
/// The manifest cannot become true until somebody changes something.
pub const STALLED: &str = "Stalled";

/// Why a condition has its status. One list, so that documentation and alerts can rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Every entrypoint's revision takes traffic; instances boot when an invocation comes.
    Available,
    /// Children are being written.
    Progressing,
    /// A new revision has to answer before it takes the traffic.
    Verifying,
    /// A new revision did not answer; the older one keeps the traffic.
    RevisionFailed,
    /// The annotation for a rollback names no revision that is kept.
    InvalidRollback,
    /// The manifest breaks a rule that the API server could not check.
    InvalidSpec,
    /// The API server refused a child.
    ChildRefused,
    /// An object of the child's name exists and belongs to somebody else.
    NameConflict,
}

impl Reason {
    /// The reason as it stands in a condition and an Event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Verifying => "Verifying",
            Self::RevisionFailed => "RevisionFailed",
            Self::InvalidRollback => "InvalidRollback",
            Self::InvalidSpec => "InvalidSpec",
            Self::ChildRefused => "ChildRefused",
            Self::NameConflict => "NameConflict",
        }
    }
}
