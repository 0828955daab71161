//! Condition types and reasons of a Function. kstatus, Argo CD and Flux read the first three.

/// Every entrypoint has a revision that takes traffic. True at zero instances.
pub const READY: &str = "Ready";
/// The operator is working towards the manifest.
pub const RECONCILING: &str = "Reconciling";
/// The manifest cannot become true until somebody changes something.
pub const STALLED: &str = "Stalled";
/// Every host of the function leads to it: those of the manifest, and the one inside the cluster.
pub const ROUTES_READY: &str = "RoutesReady";

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
    /// A new revision waits for the word of its image's registry, since there is a `maxSize`.
    MeasuringImage,
    /// A new revision's image is larger than `maxSize`.
    ImageTooLarge,
    /// Nobody says how large a new revision's image is.
    ImageUnmeasured,
    /// The annotation for a rollback names no revision that is kept.
    InvalidRollback,
    /// The annotation that rolls revisions when a Secret or ConfigMap changes is there, and the operator may not read them.
    ConfigUnreadable,
    /// The manifest breaks a rule that the API server could not check.
    InvalidSpec,
    /// The API server refused a child.
    ChildRefused,
    /// An object of the child's name exists and belongs to somebody else.
    NameConflict,
    /// Another Function has a host that the manifest asks for, or may come to have it.
    HostConflict,
    /// The chart's `hosts.allowed` does not give a host to the namespace.
    HostNotAllowed,
    /// The Gateway API, which the chart was told to use, is not there.
    GatewayMissing,
    /// The Gateway does not take the function's HTTPRoute.
    RouteNotAccepted,
}

impl Reason {
    /// The reason as it stands in a condition and an Event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Verifying => "Verifying",
            Self::RevisionFailed => "RevisionFailed",
            Self::MeasuringImage => "MeasuringImage",
            Self::ImageTooLarge => "ImageTooLarge",
            Self::ImageUnmeasured => "ImageUnmeasured",
            Self::InvalidRollback => "InvalidRollback",
            Self::ConfigUnreadable => "ConfigUnreadable",
            Self::InvalidSpec => "InvalidSpec",
            Self::ChildRefused => "ChildRefused",
            Self::NameConflict => "NameConflict",
            Self::HostConflict => "HostConflict",
            Self::HostNotAllowed => "HostNotAllowed",
            Self::GatewayMissing => "GatewayMissing",
            Self::RouteNotAccepted => "RouteNotAccepted",
        }
    }
}
