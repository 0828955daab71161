//! One client with one server, with and without Thaw between them.

use anyhow::{Context, Result, ensure};

use crate::{
    programs::{Language, command},
    protocols::{Protocol, manifest},
    served::Served,
    transcript::Transcript,
};

/// Checks that neither client nor function can tell whether Thaw is between them, from zero and hot.
pub(crate) async fn no_difference(
    protocol: &Protocol,
    client: Language,
    function: Language,
) -> Result<()> {
    let client = command("clients", protocol.name, client)?;
    let function = command("functions", protocol.name, function)?;
    let [seen_alone, seen_behind] = protocol.seen;

    let alone = Served::alone(&function).await?;
    let expected = Transcript::of(&client, alone.port).await?;
    expected
        .is_whole(protocol.scenarios.iter().map(|scenario| scenario.name))
        .context("without Thaw")?;
    let seen = alone.seen(seen_alone.len()).await?;
    ensure!(seen == seen_alone, "without Thaw the function saw {seen:?}");

    let thaw = Served::behind_thaw(&protocol.manifest(&function)).await?;
    let mut problems = Vec::new();
    let (mut boots, mut seen) = (0, Vec::new());
    for (run, more_boots) in ["cold", "hot"].into_iter().zip(protocol.boots()) {
        let came = Transcript::of(&client, thaw.port).await?;
        let differences = expected.differences(&came);
        problems.extend(differences.iter().map(|how| format!("{run} {how}")));

        seen.extend_from_slice(seen_behind);
        seen.sort_unstable();
        let saw = thaw.seen(seen.len()).await?;
        if saw != seen {
            problems.push(format!("{run}, the functions saw {saw:?}, not {seen:?}"));
        }

        boots += more_boots;
        if thaw.boots() != boots {
            problems.push(format!("{run}, {} boots, not {boots}", thaw.boots()));
        }
    }
    ensure!(
        problems.is_empty(),
        "{} differences (-: without Thaw, +: through it)\n{}\nThaw said:\n{}",
        problems.len(),
        problems.join("\n"),
        thaw.last_words()
    );
    Ok(())
}

/// What `clients/slots.js` has to see.
const SLOTS: &str = r#"{"scenario":"slots","sockets":4,"instances":4}
{"scenario":"slots","request":{"status":503,"error":"QueueTimeout"}}
{"scenario":"slots","socket":{"status":503,"error":"QueueTimeout"}}
{"scenario":"slots","after":"close","status":200,"sameInstance":true,"sameAgain":true}
{"scenario":"slots","after":"terminate","status":200,"sameInstance":true,"sameAgain":true}"#;

/// Checks that a socket holds its slot until it closes, and no longer.
pub(crate) async fn slots() -> Result<()> {
    let function = command("functions", "sockets", Language::Node)?;
    let fields = ["scale: {max: 4}, timeouts: {queue: 3s}"];
    let thaw = Served::behind_thaw(&manifest("slots", &function, &fields)).await?;
    let client = command("clients", "slots", Language::Node)?;
    let came = Transcript::of(&client, thaw.port).await?;
    let differences = Transcript::read(SLOTS)?.differences(&came);
    ensure!(
        differences.is_empty(),
        "{}\nThaw said:\n{}",
        differences.join("\n"),
        thaw.last_words()
    );
    Ok(())
}
