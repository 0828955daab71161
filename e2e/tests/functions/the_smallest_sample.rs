//! The sample that a newcomer reads first works as it stands.

use anyhow::{Result, ensure};
use e2e::{program::repository, story};

#[tokio::test]
async fn hello_answers_cold_and_then_hot() -> Result<()> {
    story("hello", async |namespace| {
        let hello = repository().join("deploy/samples/hello/function.yaml");
        let hello = tokio::fs::read_to_string(hello).await?;
        namespace.apply_ready("hello", &hello).await?;
        for boot in ["cold", "hot"] {
            let answer = namespace.get("hello", "/").await?.ok()?;
            ensure!(
                answer.header("thaw-boot") == boot,
                "not {boot}: {}",
                answer.header("thaw-boot")
            );
        }
        Ok(())
    })
    .await
}
