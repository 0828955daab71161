//! What is wrong with a manifest, and what has no effect, is said at start.

use std::process::{Command, Output};

use crate::support::{PROGRAM, Thaw, manifest, runs, write};

fn refused(yaml: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "function.yaml", yaml);
    let Output { status, stderr, .. } = Command::new(PROGRAM)
        .args(["local", "-f", "function.yaml", "--port", "0"])
        .current_dir(&dir)
        .output()
        .unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

#[test]
fn every_problem_is_said_with_its_field() {
    let said = refused(&manifest(&[
        ("web", "/", "command: [x], scale: {maximum: 1}"),
        ("api", "/api", "command: [x], comand: [y]"),
    ]));
    for field in [
        "spec.entrypoints[web].scale.maximum",
        "spec.entrypoints[api].comand",
    ] {
        assert!(
            said.contains(&format!("function.yaml: {field}: ")),
            "{said}"
        );
    }
    let said = refused(&manifest(&[("web", "/", "port: 80")]));
    assert!(
        said.contains("spec.entrypoints[web].command: set it"),
        "{said}"
    );
}

#[tokio::test]
async fn what_has_no_effect_is_said_and_the_rest_works() {
    let fields = format!(
        "port: 80, workingDir: /app/of/the/image, resources: {{limits: {{memory: 1Mi}}}}, pod: {{labels: {{a: b}}}}, {}",
        runs("serve")
    );
    let thaw = Thaw::with(&fields).await;
    thaw.get("/").await.ok();
    for field in ["port", "workingDir", "resources", "pod.labels"] {
        let note = format!("thaw | function.yaml (shop): spec.entrypoints[web].{field}: ");
        thaw.says(&note).await;
    }
    let said = thaw.said();
    let of_images = said.iter().filter(|line| line.contains("(shop): image: "));
    assert_eq!(of_images.count(), 1, "{said:#?}");
}
