//! What a decision needs and no watch brings: what Secrets and ConfigMaps say, and how large images are. Where nobody asked for either, it
//! asks nobody.

use std::{collections::HashMap, time::Duration};

use crds::{
    Entrypoint, conditions::Reason, entrypoint::resolve, function::Function,
    status::EntrypointStatus,
};
use kube::ResourceExt;

use crate::{
    configs::{self, Hashes, Problem},
    images::{NODES_FRESH, Question},
    observe::{self, Observed},
    reconcile::Context,
    size::{Admission, Situation, Verdict, judge},
    status::Trouble,
};

/// The label of a node's architecture.
const ARCHITECTURE: &str = "kubernetes.io/arch";

/// Time within which a node that has an image says so.
const NODES_SOON: Duration = Duration::from_secs(30);
/// A node may have no word for ever, since it tells of its largest images alone: that long at most until all are asked again.
const NODES_RARELY: Duration = Duration::from_secs(300);
/// A Secret or ConfigMap that could not be read is tried again after this.
const UNREAD: Duration = Duration::from_secs(10);

/// What was found out.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Hashes of the configuration that is part of revisions, by entrypoint.
    pub configs: HashMap<String, String>,
    /// Whether revisions may boot, by entrypoint.
    pub verdicts: HashMap<String, Verdict>,
    /// What a person should know.
    pub trouble: Option<Trouble>,
    /// When more may be known.
    pub again: Option<Duration>,
}

/// Finds out what there is to know about a Function. A manifest that breaks a rule changes nothing, so nothing has to be known about it.
///
/// # Errors
/// A Secret or ConfigMap cannot be read and never was, so that nobody knows which revisions there should be.
pub async fn inquire(
    function: &Function,
    observed: &Observed,
    context: &Context,
) -> Result<Findings, Problem> {
    let mut findings = Findings::default();
    let Ok(mut entrypoints) = resolve(&function.spec) else {
        return Ok(findings);
    };
    let hashes = context
        .configs
        .hashes(&context.client, function, &entrypoints);
    match hashes.await {
        Ok(Hashes {
            by_entrypoint,
            unread,
        }) => {
            findings.configs = by_entrypoint;
            findings.again = unread.as_ref().map(|_| UNREAD);
            findings.trouble = unread.map(|problem| {
                let message = format!("{problem}; until it can be read it counts as it was");
                Trouble::Retrying(Reason::ConfigUnreadable, message)
            });
        }
        Err(problem @ Problem::Unread { .. }) => return Err(problem),
        Err(problem @ (Problem::Off | Problem::TooMany(_))) => {
            let message = problem.to_string();
            findings.trouble = Some(Trouble::Stalled(Reason::ConfigUnreadable, message));
        }
    }
    let limit = context
        .images
        .limit(function.spec.max_size.map(|size| size.0));
    for entrypoint in &mut entrypoints {
        entrypoint.template.config = findings.configs.get(&entrypoint.name).cloned();
        let (verdict, again) = verdict(function, entrypoint, observed, limit, context);
        findings.again = [findings.again, again].into_iter().flatten().min();
        findings.verdicts.insert(entrypoint.name.clone(), verdict);
    }
    Ok(findings)
}

/// Whether an entrypoint's revision may boot, and when more may be known.
fn verdict(
    function: &Function,
    entrypoint: &Entrypoint,
    observed: &Observed,
    limit: Option<u64>,
    context: &Context,
) -> (Verdict, Option<Duration>) {
    let Entrypoint { name, template, .. } = entrypoint;
    let pod = &template.pod;
    let secrets = pod.image_pull_secrets.iter().flatten();
    let question = Question {
        namespace: function.namespace().unwrap_or_default(),
        image: template.image.clone(),
        secrets: secrets.map(|secret| secret.name.clone()).collect(),
        architecture: pod.node_selector.get(ARCHITECTURE).cloned(),
    };
    let nothing = EntrypointStatus::default();
    let situation = Situation {
        entrypoint: name,
        wanted: &template.revision(&function.name_any(), name),
        image: &template.image,
        limit,
        before: observed.reported(name).unwrap_or(&nothing),
    };
    let user = configs::reference(function);
    let verdict = judge(situation, || context.images.evidence(&question, &user));
    let again = match verdict.admission {
        // While an instance is there or on its way, the nodes may have a word any moment.
        Admission::Unmeasured if is_running(observed, name) => {
            let answered = observed.answers.get(name).map(|answer| &answer.at);
            let waited = context.memory.waited(function, name, answered);
            return (verdict, Some(next_look(waited)));
        }
        Admission::Admitted | Admission::Unmeasured => None,
        Admission::Waits | Admission::Refused => context.images.until_stale(&question),
    };
    context.memory.waits_no_more(function, name);
    (verdict, again)
}

/// When nodes are asked again that had no word for so long: soon at first, and then in twice the time.
fn next_look(waited: Duration) -> Duration {
    let more = waited.saturating_sub(NODES_SOON);
    more.clamp(NODES_FRESH, NODES_RARELY)
}

fn is_running(observed: &Observed, entrypoint: &str) -> bool {
    let of_entrypoint = observed
        .children
        .iter()
        .filter(|child| observe::entrypoint(child) == entrypoint);
    let mut asked = of_entrypoint.filter_map(|child| child.spec.as_ref()?.replicas);
    asked.any(|replicas| replicas > 0)
}
