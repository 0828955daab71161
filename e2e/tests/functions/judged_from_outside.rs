//! checkov judges the pod that Thaw makes of the smallest Function. What it finds and we keep is listed with reasons.

use std::env;

use anyhow::{Context, Result, ensure};
use e2e::{program::attempt, story};
use serde_json::Value;

#[tokio::test]
async fn checkov_finds_nothing_in_a_functions_pod_that_has_no_written_reason() -> Result<()> {
    let checkov =
        env::var("CHECKOV").context("CHECKOV names the checkov command (e2e/test installs it)")?;
    story("judged", async |namespace| {
        let function = "
            apiVersion: thaw.dev/v1alpha1
            kind: Function
            metadata: {name: f}
            spec:
              image: dev.local/thaw-fixture:dev
              entrypoints:
              - name: work
                path: /
                resources: {requests: {cpu: 5m, memory: 8Mi}, limits: {memory: 64Mi}}";
        namespace.apply_ready("f", function).await?;
        let deployments = namespace.deployments("work").await?;
        let mut deployment = deployments.into_iter().next().context("no Deployment")?;
        deployment.status = None;
        deployment.metadata.managed_fields = None;
        // A list item of kube carries no type of its own, and checkov looks at nothing without one.
        let manifest = serde_yaml::to_string(&deployment)?;
        ensure!(manifest.contains("kind: Deployment"), "{manifest}");

        let file = env::temp_dir().join(format!("{}.yaml", namespace.name));
        tokio::fs::write(&file, manifest).await?;
        let path = file.display().to_string();
        let arguments = [
            "--config-file",
            "e2e/checkov.yaml",
            "--file",
            &path,
            "--output",
            "json",
        ];
        let said = attempt(&checkov, &arguments, "").await;
        tokio::fs::remove_file(&file).await?;
        let said = said?;
        let report: Value =
            serde_json::from_str(&said.out).with_context(|| format!("{}{}", said.out, said.err))?;
        let failed = report["results"]["failed_checks"]
            .as_array()
            .map_or(0, Vec::len);
        ensure!(said.succeeded && failed == 0, "{report:#}");
        let passed = report["summary"]["passed"].as_i64();
        // A scan of nothing passes too.
        ensure!(
            passed > Some(50),
            "only {passed:?} checks passed: {report:#}"
        );
        Ok(())
    })
    .await
}
