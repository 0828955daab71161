//! The name of an entrypoint revision.

use std::fmt;

/// Names one revision of an entrypoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace of the Function.
    pub namespace: String,
    /// Name of the Function.
    pub function: String,
    /// Name of the entrypoint.
    pub entrypoint: String,
    /// Revision.
    pub revision: String,
}

impl Key {
    /// Name of its Deployment.
    pub fn deployment(&self) -> String {
        crds::names::deployment(&self.function, &self.entrypoint, &self.revision)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            function,
            entrypoint,
            revision,
        } = self;
        write!(f, "{namespace}/{function}/{entrypoint}@{revision}")
    }
}
