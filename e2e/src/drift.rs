//! Objects that somebody else changes or deletes.

use anyhow::{Result, ensure};
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{namespace::SOON, until};

/// Changes an object, then deletes it, as somebody else would; both times it has to become what it was.
///
/// # Errors
/// It has not in time.
pub async fn is_put_back<K>(api: &Api<K>, name: &str, change: Value) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let kind = api.resource_url().rsplit('/').next().unwrap_or_default();
    let object = format!("{kind}/{name}");
    let wanted = said(&api.get(name).await?)?;
    let put_back = async |what: &str| {
        let begun = Instant::now();
        let is_as_it_was = async || {
            let found = said(&api.get(name).await?)?;
            ensure!(found == wanted, "{found} instead of {wanted}");
            Ok(())
        };
        until(
            &format!("{object}, {what}, is put back"),
            SOON,
            is_as_it_was,
        )
        .await?;
        eprintln!("{object} {what}: put back after {:.2?}", begun.elapsed());
        anyhow::Ok(())
    };
    let changed = api
        .patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    ensure!(said(&changed)? != wanted, "{object}: nothing changed");
    put_back("changed").await?;
    api.delete(name, &DeleteParams::default()).await?;
    put_back("deleted").await
}

/// What an object says.
fn said(object: &impl Serialize) -> Result<Value> {
    let mut object = serde_json::to_value(object)?;
    let labels = object["metadata"]["labels"].take();
    Ok(json!([object["spec"], labels]))
}
