//! What users and operators of functions are promised. Each story has a namespace of its own and leaves Thaw's own parts alone;
//! those that do not are in `tests/platform`.

mod bad_manifests;
mod boots_that_fail;
mod bundles;
mod configuration;
mod entrypoints_are_islands;
mod hosts;
mod instances_are_reused;
mod isolation;
mod judged_from_outside;
mod one_invocation_one_instance;
mod only_what_is_hit_has_a_pod;
mod ready_at_zero;
mod rollouts;
mod sizes;
mod the_smallest_sample;
mod transitions;
