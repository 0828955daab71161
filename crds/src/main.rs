//! Prints the CustomResourceDefinition of `Function`.
//!
//! `cargo run -p crds -- --write` puts it where the repository keeps it: beside the types and in the chart.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let manifest = crds::manifest();
    if std::env::args().any(|argument| argument == "--write") {
        let crate_folder = env!("CARGO_MANIFEST_DIR");
        for copy in ["function.yaml", "../charts/thaw/files/function.yaml"] {
            std::fs::write(format!("{crate_folder}/{copy}"), &manifest)?;
        }
        return Ok(());
    }
    std::io::stdout().write_all(manifest.as_bytes())
}
