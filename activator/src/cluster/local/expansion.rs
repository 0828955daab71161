//! `$(NAME)` in environment, command and arguments, as Kubernetes expands it.

use std::collections::BTreeMap;

/// Replaces `$(NAME)` by the variable's value. What names no variable stays as it is, and `$$` stands for one `$`, so that `$$(NAME)` is
/// never replaced.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after
            .strip_prefix('(')
            .and_then(|reference| reference.split_once(')'))
        {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_in_parentheses_are_replaced() {
        let variables = [("A", "1"), ("B", "$(A)")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        for (text, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(A)"),
            ("$(C)", "$(C)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("é$(A)é", "é1é"),
        ] {
            assert_eq!(expand(text, &variables), expanded, "{text}");
        }
    }
}
