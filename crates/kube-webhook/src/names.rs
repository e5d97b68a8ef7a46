//! The syntax of names in the Kubernetes API. Used by `conversion` and `register` to refuse what the
//! API server would, and by programs on names that people may write as they like.

/// Whether it is a DNS subdomain (RFC 1123, as Kubernetes reads it): labels of lower-case letters, digits
/// and dashes between dots, of at most 253 bytes. Most kinds' objects are called so, and a name that isn't
/// one must not become part of a URL.
#[must_use]
pub fn is_subdomain(name: &str) -> bool {
    let is_label = |label: &str| {
        label.starts_with(is_lower_or_digit)
            && label.ends_with(is_lower_or_digit)
            && label.chars().all(|c| is_lower_or_digit(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// RFC 1035: what API versions are called.
pub(crate) fn is_dns_1035_label(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(is_lower_or_digit)
        && name.chars().all(|c| is_lower_or_digit(c) || c == '-')
}

/// The key of a label or annotation: a name, or a subdomain and a name.
pub(crate) fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name_part(name),
        None => is_name_part(key),
    }
}

/// The name in a qualified name.
pub(crate) fn is_name_part(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_inner)
}

/// The value of a label.
pub(crate) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name_part(value)
}

fn is_lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_api_server_does() {
        for (name, fits) in [
            ("a.b-c.1", true),
            ("a", true),
            ("portal-101.2", true),
            ("0", true),
            ("", false),
            ("a..b", false),
            ("A", false),
            ("a_b", false),
            ("-a", false),
            ("a-", false),
            ("a b", false),
            ("a/b", false),
            ("..", false),
            ("é", false),
            (&*"a".repeat(254), false),
        ] {
            assert_eq!(is_subdomain(name), fits, "{name}");
        }
        for (key, fits) in [
            ("held-by", true),
            ("a.b/C_d", true),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a/b/c", false),
            ("A.b/c", false),
            (&*"a".repeat(64), false),
        ] {
            assert_eq!(is_qualified_name(key), fits, "{key}");
        }
    }
}
