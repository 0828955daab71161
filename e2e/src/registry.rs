//! A registry on this machine (Debian's `docker-registry`), and images to push into it.

use std::{
    env,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Uri};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Answer, ingress::Call, namespace::SOON, platform, program::run, until};

/// `anna:secret`, as the registry's file of users holds it (bcrypt) and as a request says it (base64).
const USERS: &str = "anna:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
/// What a request of this user carries.
const AUTHORIZATION: &str = "Basic YW5uYTpzZWNyZXQ=";

/// A registry that ends with this value.
pub struct Registry {
    /// Host and port, as they stand in the name of an image.
    pub address: String,
    _process: Child,
    _folder: TempDir,
}

impl Registry {
    /// Starts one at a port of the node's address, without TLS. Either everybody may do all, or a [`login`] is wanted.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(port: u16, access: Access) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = format!("{}:{port}", node());
        let at = |name: &str| folder.path().join(name);
        let mut config = format!(
            "{{version: 0.1, log: {{level: error, accesslog: {{disabled: true}}}}, http: {{addr: '{address}'}}, storage: {{filesystem: {{rootdirectory: {:?}}}}}",
            at("data")
        );
        if access == Access::Login {
            tokio::fs::write(at("users"), USERS).await?;
            config += &format!(
                ", auth: {{htpasswd: {{realm: thaw, path: {:?}}}}}",
                at("users")
            );
        }
        tokio::fs::write(at("config.yml"), config + "}").await?;
        let program = program();
        let process = Command::new(&program)
            .arg("serve")
            .arg(at("config.yml"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("run {program:?}: e2e/test unpacks it"))?;
        until("the registry answers", SOON, async || {
            let answer = Call::get(&address, "/v2/").send_to(&address).await?;
            ensure!(matches!(answer.status, 200 | 401), "{}", answer.status);
            Ok(())
        })
        .await?;
        Ok(Self {
            address,
            _process: process,
            _folder: folder,
        })
    }

    /// Pushes an image as `repository:tag`, and gives its name with the digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push(&self, image: &Image, repository: &str, tag: &str) -> Result<String> {
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        for (digest, blob) in &image.blobs {
            let begun = self.call(Method::POST, &uploads, Bytes::new()).await?;
            ensure!(begun.status == 202, "{} {}", begun.status, begun.text());
            let place: Uri = begun.header("location").parse()?;
            let place = place.path_and_query().context("a place for the blob")?;
            let place = format!("{place}&digest={digest}");
            let ended = self.call(Method::PUT, &place, blob.clone()).await?;
            ensure!(ended.status == 201, "{} {}", ended.status, ended.text());
        }
        let place = format!("/v2/{repository}/manifests/{tag}");
        let ended = self
            .call(Method::PUT, &place, image.manifest.clone())
            .await?;
        ensure!(ended.status == 201, "{} {}", ended.status, ended.text());
        let digest = ended.header("docker-content-digest");
        Ok(format!("{}/{repository}@{digest}", self.address))
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Answer> {
        let call = Call::new(method, &self.address, path, body)
            .header("authorization", AUTHORIZATION)
            .header("content-type", "application/vnd.oci.image.manifest.v1+json");
        call.send_to(&self.address).await
    }
}

/// Who may use a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Who has the [`login`].
    Login,
}

/// A Secret `login` with what the registry at `address` wants to hear.
pub fn login(address: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Secret
metadata: {{name: login}}
type: kubernetes.io/dockerconfigjson
stringData:
  .dockerconfigjson: '{{"auths": {{"{address}": {{"username": "anna", "password": "secret"}}}}}}'
"#
    )
}

/// An image, in parts.
#[derive(Clone, Debug)]
pub struct Image {
    manifest: Bytes,
    blobs: Vec<(String, Bytes)>,
    /// Compressed layers in bytes.
    pub layers: Vec<u64>,
}

impl Image {
    /// The fixture, with a further layer of so many bytes that no compression makes smaller.
    ///
    /// It is never the fixture itself: the kubelet remembers which image it pulled with which login, by the image's identity, and would
    /// from then on ask a registry before it runs the same image under the name that was loaded into the node.
    ///
    /// # Errors
    /// When the fixture's archive is not there, or a program fails.
    pub async fn fixture(ballast: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let original = Self::of(&archive("thaw-fixture"), &folder.path().join("original")).await?;
        let (digest, _) = original.blobs.last().context("the fixture has a layer")?;
        let layer = at(&format!("original/blobs/{}", digest.replace(':', "/")));
        run("tar", &["-xzf", &layer, "-C", &at(""), "fixture"]).await?;
        let mut random = File::open("/dev/urandom")?.take(ballast);
        std::io::copy(&mut random, &mut File::create(at("ballast"))?)?;
        let add = |name: &str| format!("{}:/{name}", at(name));
        let (fixture, ballast, large) = (add("fixture"), add("ballast"), at("large.tar"));
        let mut arguments = vec!["deploy/mkimage.py", "-t", "dev.local/large:1", "-o", &large];
        arguments.extend([
            "--base-files",
            "--add",
            &fixture,
            "--layer",
            "--add",
            &ballast,
        ]);
        arguments.extend(["--entrypoint", "/fixture", "--user", "65532:65532"]);
        run("python3", &arguments).await?;
        Self::of(Path::new(&large), &folder.path().join("large")).await
    }

    /// The image in an archive that is an OCI layout, which is unpacked into a new folder.
    async fn of(archive: &Path, folder: &Path) -> Result<Self> {
        tokio::fs::create_dir(folder).await?;
        let (archive, into) = (archive.display().to_string(), folder.display().to_string());
        run("tar", &["-xf", &archive, "-C", &into]).await?;
        let blob = async |digest: &Value| -> Result<(String, Bytes)> {
            let digest = digest.as_str().context("a digest")?;
            let path = folder.join("blobs").join(digest.replace(':', "/"));
            Ok((digest.to_owned(), tokio::fs::read(path).await?.into()))
        };
        let index = tokio::fs::read(folder.join("index.json")).await?;
        let index: Value = serde_json::from_slice(&index)?;
        let (_, manifest) = blob(&index["manifests"][0]["digest"]).await?;
        let parts: Value = serde_json::from_slice(&manifest)?;
        let mut blobs = vec![blob(&parts["config"]["digest"]).await?];
        let mut layers = Vec::new();
        for layer in parts["layers"].as_array().context("layers")? {
            blobs.push(blob(&layer["digest"]).await?);
            layers.push(layer["size"].as_u64().context("a size")?);
        }
        Ok(Self {
            manifest,
            blobs,
            layers,
        })
    }
}

/// Lets the node pull what is named `name/…` from the registry at `address`, without TLS.
///
/// # Errors
/// When the node's settings cannot be written.
pub async fn let_node_pull(name: &str, address: &str) -> Result<()> {
    let data = env::var("KB_DATA").unwrap_or_else(|_| "/var/lib/kubebox".to_owned());
    let folder = Path::new(&data).join("certs.d").join(name);
    tokio::fs::create_dir_all(&folder).await?;
    let hosts = format!(
        "server = \"http://{address}\"\n[host.\"http://{address}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    let path = folder.join("hosts.toml");
    tokio::fs::write(&path, hosts)
        .await
        .with_context(|| format!("write {}", path.display()))
}

/// An address of this machine that pods and the node reach.
fn node() -> String {
    env::var("NODE_IP").unwrap_or_else(|_| "10.200.0.1".to_owned())
}

fn cache() -> PathBuf {
    let home = || Path::new(&env::var("HOME").unwrap_or_default()).join(".cache");
    let caches = env::var("XDG_CACHE_HOME").map_or_else(|_| home(), PathBuf::from);
    env::var("THAW_CACHE").map_or_else(|_| caches.join("thaw"), PathBuf::from)
}

fn program() -> PathBuf {
    cache().join("docker-registry/usr/bin/docker-registry")
}

fn archive(image: &str) -> PathBuf {
    cache().join("images").join(format!("{image}.tar"))
}

/// Whether there can be one: it has to run on the node.
pub fn is_possible() -> bool {
    !platform::is_external()
}
