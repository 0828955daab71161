//! What a registry says about an image: a manifest, or an index of manifests for several platforms. Pure.

use serde::Deserialize;

use super::reference::is_digest;
use crate::size::Size;

/// Media types that are asked for: OCI's, and Docker's older ones.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The platforms that Thaw itself runs on. Of an index that has one of them, the others are not looked at: each look counts as a pull
/// with some registries.
const USUAL: [&str; 2] = ["amd64", "arm64"];
/// Most manifests of one index that are looked at.
const MOST: usize = 8;
/// Most layers of an image. Container runtimes take 127, and each is kept for as long as the answer counts.
const MOST_LAYERS: usize = 1000;
/// Longest name of a platform. Those that there are have a dozen letters, and it is kept and told.
const LONGEST_NAME: usize = 64;

/// What a name leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    /// One image.
    Image(Size),
    /// Several, of which the largest counts, since any of them may be the one that boots.
    Index(Vec<Entry>),
}

/// One image of an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) digest: String,
    /// Such as `linux/arm64`.
    pub(super) platform: String,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    layers: Option<Vec<Layer>>,
    manifests: Option<Vec<Part>>,
}

#[derive(Deserialize)]
struct Layer {
    size: u64,
}

#[derive(Deserialize)]
struct Part {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    fn is_of_linux(&self) -> bool {
        let names = self.variant.iter().chain([&self.architecture]);
        self.os == "linux" && names.map(String::len).all(|length| length <= LONGEST_NAME)
    }
}

/// Reads a manifest. `architecture` is the one that the pod asks of its node, if any.
pub(super) fn read(body: &[u8], architecture: Option<&str>) -> Option<Manifest> {
    let document: Document = serde_json::from_slice(body).ok()?;
    if document.schema_version != 2 {
        return None;
    }
    match (document.layers, document.manifests) {
        (Some(layers), None) => (layers.len() <= MOST_LAYERS).then(|| {
            Manifest::Image(Size {
                layers: layers.into_iter().map(|layer| layer.size).collect(),
                platform: None,
            })
        }),
        (None, Some(parts)) => {
            let entries = entries(parts, architecture);
            (!entries.is_empty()).then_some(Manifest::Index(entries))
        }
        _ => None,
    }
}

/// The images that a node of the cluster may run. Attestations and the like are of the platform `unknown`.
fn entries(parts: Vec<Part>, architecture: Option<&str>) -> Vec<Entry> {
    let of_linux: Vec<(Platform, String)> = parts
        .into_iter()
        .filter_map(|part| Some((part.platform?, part.digest)))
        .filter(|(platform, digest)| platform.is_of_linux() && is_digest(digest))
        .collect();
    let wanted: Vec<&str> = architecture.map_or(USUAL.to_vec(), |one| vec![one]);
    let is_wanted = |platform: &Platform| wanted.contains(&platform.architecture.as_str());
    let any = architecture.is_none() && !of_linux.iter().any(|(platform, _)| is_wanted(platform));
    let chosen = of_linux
        .into_iter()
        .filter(|(platform, _)| any || is_wanted(platform));
    let entry = |(platform, digest): (Platform, String)| {
        let variant = platform.variant.iter().map(|variant| format!("/{variant}"));
        let variant: String = variant.collect();
        Entry {
            platform: format!("{}/{}{variant}", platform.os, platform.architecture),
            digest,
        }
    };
    chosen.map(entry).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn platforms(architectures: &[&str], asked: Option<&str>) -> Vec<String> {
        let part = |architecture: &&str| {
            let os = if *architecture == "unknown" {
                "unknown"
            } else {
                "linux"
            };
            json!({"digest": format!("sha256:{}", "0".repeat(64)), "size": 1, "platform": {"os": os, "architecture": architecture}})
        };
        let parts: Vec<_> = architectures.iter().map(part).collect();
        let body = json!({"schemaVersion": 2, "manifests": parts}).to_string();
        match read(body.as_bytes(), asked) {
            Some(Manifest::Index(entries)) => entries.into_iter().map(|e| e.platform).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn a_manifest_is_the_sum_of_its_layers() {
        let body = br#"{"schemaVersion": 2, "config": {"size": 7}, "layers": [{"size": 5, "digest": "x"}, {"size": 3}]}"#;
        let size = Size {
            layers: vec![5, 3],
            platform: None,
        };
        assert_eq!(read(body, None), Some(Manifest::Image(size)));
    }

    #[test]
    fn of_an_index_those_count_that_a_node_may_run() {
        let all = ["386", "amd64", "unknown", "arm64", "s390x"];
        assert_eq!(platforms(&all, None), ["linux/amd64", "linux/arm64"]);
        assert_eq!(platforms(&all, Some("s390x")), ["linux/s390x"]);
        assert_eq!(platforms(&["s390x", "unknown"], None), ["linux/s390x"]);
        assert!(platforms(&["amd64"], Some("arm64")).is_empty());
        assert_eq!(platforms(&["riscv64"; 50], None).len(), MOST);
    }

    #[test]
    fn more_than_any_image_has_is_no_image() {
        let body = |layers: usize| {
            let layers = vec![json!({"size": 1}); layers];
            json!({"schemaVersion": 2, "layers": layers}).to_string()
        };
        let read = |layers| read(body(layers).as_bytes(), None);
        assert!(read(MOST_LAYERS).is_some());
        assert_eq!(read(MOST_LAYERS + 1), None);
        let long = "a".repeat(LONGEST_NAME + 1);
        assert!(
            platforms(&[&long], None).is_empty(),
            "no platform is called so"
        );
        assert_eq!(platforms(&[&long, "s390x"], None), ["linux/s390x"]);
    }

    #[test]
    fn what_is_no_manifest_is_not_read() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion": 1, "fsLayers": []}"#,
            r#"{"schemaVersion": 2}"#,
            r#"{"schemaVersion": 2, "layers": [{"size": -1}]}"#,
            r#"{"schemaVersion": 2, "layers": [{}]}"#,
            r#"{"schemaVersion": 2, "manifests": []}"#,
            r#"{"schemaVersion": 2, "manifests": [{"digest": "../../x", "platform": {"os": "linux", "architecture": "amd64"}}]}"#,
        ] {
            assert_eq!(read(body.as_bytes(), None), None, "{body}");
        }
    }
}
