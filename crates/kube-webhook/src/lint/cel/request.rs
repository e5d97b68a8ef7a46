//! What `request` consists of in a match condition: the one variable of a declared type. Called by
//! `grammar`.

use super::grammar::Type;

/// What a field is of; only those of `request` are known.
pub(super) fn field(of: Type, name: &str) -> Result<Type, String> {
    let Type::Request(part) = of else {
        return Ok(Type::Unknown);
    };
    let mut fields = FIELDS.iter();
    let found = fields.find(|(own, field, _)| *own == part && *field == name);
    found.map(|&(_, _, field)| field).ok_or_else(|| {
        let whole = if part.is_empty() { "request" } else { part };
        format!("`{whole}` has no field `{name}`")
    })
}

/// Of which part, its name, and of which type it is.
const FIELDS: [(&str, &str, Type); 23] = [
    ("", "dryRun", Type::Bool),
    ("", "kind", Type::Request("request.kind")),
    ("", "name", Type::String),
    ("", "namespace", Type::String),
    ("", "operation", Type::String),
    ("", "options", Type::Unknown),
    ("", "requestKind", Type::Request("request.kind")),
    ("", "requestResource", Type::Request("request.resource")),
    ("", "requestSubResource", Type::String),
    ("", "resource", Type::Request("request.resource")),
    ("", "subResource", Type::String),
    ("", "uid", Type::String),
    ("", "userInfo", Type::Request("request.userInfo")),
    ("request.kind", "group", Type::String),
    ("request.kind", "kind", Type::String),
    ("request.kind", "version", Type::String),
    ("request.resource", "group", Type::String),
    ("request.resource", "resource", Type::String),
    ("request.resource", "version", Type::String),
    ("request.userInfo", "extra", Type::Map),
    ("request.userInfo", "groups", Type::List),
    ("request.userInfo", "uid", Type::String),
    ("request.userInfo", "username", Type::String),
];
