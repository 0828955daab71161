//! What nodes report about the images that they have.
//!
//! The kubelet lists the largest images first, 50 of them by default (`nodeStatusMaxImages`), so what is too large is seldom left out.
//! What it calls the size of an image is the container runtime's word: containerd counts the compressed layers and the manifest, as a
//! registry does, and CRI-O what they take unpacked.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{ContainerImage, Node};
use kube::{Api, Client, api::ListParams};
use tokio::time::timeout;

use super::{OVERDUE, reference::Reference};

/// Nodes in one answer of the API server: a node's status may take 100 KiB.
const PAGE: u32 = 100;

/// The largest size that any node reports, by every name that the image has there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes(HashMap<String, u64>);

impl Sizes {
    /// Of an image as a manifest names it.
    pub(super) fn of(&self, image: &str) -> Option<u64> {
        let whole = Reference::parse(image).ok().map(|image| image.to_string());
        self.0.get(&whole.unwrap_or_default()).copied()
    }

    /// What a test needs.
    #[cfg(test)]
    pub(super) fn of_one(image: &str, bytes: u64) -> Self {
        Self(HashMap::from([(image.to_owned(), bytes)]))
    }

    fn add(&mut self, image: ContainerImage) {
        let bytes = image.size_bytes.and_then(|bytes| u64::try_from(bytes).ok());
        for name in image.names.into_iter().flatten() {
            if let (Some(bytes), Ok(name)) = (bytes, Reference::parse(&name)) {
                let largest = self.0.entry(name.to_string()).or_default();
                *largest = bytes.max(*largest);
            }
        }
    }
}

/// Asks all nodes.
pub(super) async fn sizes(client: &Client) -> Result<Sizes, String> {
    let nodes = Api::<Node>::all(client.clone());
    let mut sizes = Sizes::default();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let answer = timeout(OVERDUE, nodes.list(&page)).await;
        let answer =
            answer.map_err(|_| "the API server does not say what nodes report".to_owned())?;
        let list = answer.map_err(|error| format!("nodes cannot be read: {error}"))?;
        for node in list.items {
            let images = node.status.and_then(|status| status.images);
            images
                .into_iter()
                .flatten()
                .for_each(|image| sizes.add(image));
        }
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(sizes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(names: &[&str], bytes: i64) -> ContainerImage {
        ContainerImage {
            names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            size_bytes: Some(bytes),
        }
    }

    #[test]
    fn an_image_is_found_under_each_of_its_names_and_the_largest_counts() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let digested = format!("docker.io/library/nginx@{digest}");
        let mut sizes = Sizes::default();
        sizes.add(image(&["docker.io/library/nginx:1.29", &digested], 7));
        sizes.add(image(&["docker.io/library/nginx:1.29"], 5));
        sizes.add(image(&["dev.local/web:dev", "<none>@<none>"], 9));
        assert_eq!(sizes.of("nginx:1.29"), Some(7));
        assert_eq!(sizes.of(&format!("nginx@{digest}")), Some(7));
        assert_eq!(sizes.of("dev.local/web:dev"), Some(9));
        assert_eq!(sizes.of("dev.local/web:other"), None);
        assert_eq!(sizes.of("no image"), None);
    }
}
